"""Turns a log of what users did into a model repository that Triton serves."""

import os

# Libraries read these when they are imported, and the processes that are started here inherit them.
# Who wants the reports of one of them sets its variable to 0.
for _variable in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")
