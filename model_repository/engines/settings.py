"""``settings.json``: the settings of a version, beside its graph and its arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

SETTINGS: Final = "settings.json"


def read_settings(directory: Path) -> dict[str, Any]:
    """The settings of a version, given its directory."""
    found: dict[str, Any] = json.loads((directory / SETTINGS).read_text("utf-8"))
    return found
