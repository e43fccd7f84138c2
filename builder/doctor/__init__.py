"""Says what of a model repository will not load, and why, before Triton tries."""

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
