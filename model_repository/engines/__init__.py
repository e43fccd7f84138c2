"""What runs the networks: in this process, or as other models of the same server."""

import os

# ONNX Runtime reads it when it is imported. Plain Triton imports nothing else of ours.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
