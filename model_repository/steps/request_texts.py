"""The id and the parameters of a request, which Triton hands over as they came.

Over HTTP they may be any bytes, and Triton reads them as text only here (tried with Triton 2.51).
What is no text must not end the batch that it is in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..core.errors import InvalidRequest


def texts_of(request: Any) -> tuple[str, str]:
    """The parameters of a request, a JSON object or empty, and its id.

    Raises
    ------
    InvalidRequest
        One of them is no text.
    """
    try:
        return request.parameters() or "", request.request_id()
    except UnicodeDecodeError:
        raise InvalidRequest(
            "the id of the request, or a parameter, is no UTF-8 text; send it as UTF-8"
        ) from None


def id_of(request: Any) -> str:
    """The id of a request; empty where it has none that is a text."""
    try:
        name: str = request.request_id()
    except UnicodeDecodeError:
        return ""
    return name


def options_of(request: Any) -> Mapping[str, Any]:
    """The parameters of a request; none where they cannot be read."""
    try:
        options: dict[str, Any] = json.loads(request.parameters() or "{}")
    except ValueError:
        return {}
    return options
