"""Starts and stops the real tritonserver, on any Linux machine."""

from builder.serving.access import ServerTls
from builder.serving.installation import Installation, find_tritonserver
from builder.serving.server import ModelStatus, TritonServer

__all__ = ["Installation", "ModelStatus", "ServerTls", "TritonServer", "find_tritonserver"]
