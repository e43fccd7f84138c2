"""Turns a log of what users did into a model repository that Triton serves."""
