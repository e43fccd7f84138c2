"""NVIDIA's Triton images that the project is made for, and what each of them holds.

A TensorRT plan loads in the TensorRT that built it and in no other, so the image that serves
decides which ``tensorrt`` package exports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from builder.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TritonImage:
    """``tritonserver:<release>-py3``.

    Attributes
    ----------
    tensorrt, onnxruntime
        What its backends of these names link.
    python
        What its Python backend embeds.
    cuda
        Version that it is built for.
    driver
        Oldest driver branch that runs that CUDA without the image's compatibility package, which
        only data centre GPUs may use.
    compute_capability
        Oldest GPUs that its TensorRT supports.
    """

    release: str
    tensorrt: str
    onnxruntime: str
    python: str
    cuda: str
    driver: int = 580
    compute_capability: tuple[int, int] = (7, 5)

    @property
    def name(self) -> str:
        return f"tritonserver:{self.release}-py3"


# From the release notes, the compatibility matrix and the build script of each Triton release.
# The first is the one to choose; the other is for drivers that the first does not run on.
_IMAGES: Final = (
    TritonImage("26.08", tensorrt="11.2.1.2", onnxruntime="1.28.0", python="3.12", cuda="13.4"),
    TritonImage("26.05", tensorrt="10.16.1.11", onnxruntime="1.24.4", python="3.12", cuda="13.2"),
)
IMAGES: Final[Mapping[str, TritonImage]] = {image.release: image for image in _IMAGES}

BACKENDS: Final = frozenset({"python", "onnxruntime", "tensorrt"})
"""The backends of every one of them that the targets need."""

SERVER_PACKAGES: Final = ("numpy", "tokenizers", "onnxruntime", "lark", "pyversity")
"""What the ``server`` stage of the Dockerfile installs for the Python models."""


def image_named(name: str) -> TritonImage:
    """Find an image by its release (``26.08``), tag (``26.08-py3``) or whole name.

    Raises
    ------
    ConfigError
        It is not one of IMAGES.
    """
    release = name.rpartition(":")[2].removesuffix("-py3")
    if release not in IMAGES:
        raise ConfigError(
            f"--triton-image {name}: what this image holds is not known here; known are "
            f"{', '.join(IMAGES)}. For any other, run `python -m builder doctor` inside it"
        )
    return IMAGES[release]
