"""The targets, by name. A new one is a module here and a line below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from builder.export.targets.base import Target
from builder.export.targets.embedded import Embedded

TARGETS: Final[Mapping[str, Target]] = {target.name: target for target in (Embedded(),)}

__all__ = ["TARGETS", "Target"]
