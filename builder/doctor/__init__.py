"""Checks that a model repository will load, before Triton tries, and says why it will not."""

from builder.doctor.diagnosis import Report, diagnose
from builder.doctor.findings import Finding
from builder.doctor.images import IMAGES, TritonImage, image_named
from builder.doctor.server import Gpu, Server, image_server, local_server

__all__ = [
    "IMAGES",
    "Finding",
    "Gpu",
    "Report",
    "Server",
    "TritonImage",
    "diagnose",
    "image_named",
    "image_server",
    "local_server",
]
