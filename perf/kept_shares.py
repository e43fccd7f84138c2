"""How often an item stays in a list when a part of what speaks for it is kept, or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.evaluation.significance import intervals


def kept_shares(shares: Sequence[NDArray[np.float64]], ways: Sequence[str]) -> dict[str, Any]:
    """Means over users with intervals, of their shares FP64 [2 · ways]: ``alone``, ``without``."""
    together = np.array(shares)
    found = zip(together.mean(axis=0).tolist(), intervals(together), strict=True)
    rows = [{"share": share, "interval": list(interval)} for share, interval in found]
    return {
        way: {"alone": rows[place], "without": rows[len(ways) + place]}
        for place, way in enumerate(ways)
    }


def table(what: str, shares: dict[str, Any]) -> str:
    """A table in Markdown of what ``kept_shares`` gives."""

    def share(found: dict[str, Any]) -> str:
        low, high = found["interval"]
        return f"{found['share']:.3f} ({low:.3f}–{high:.3f})"

    return "\n".join(
        [
            f"| {what} | stays with them alone | stays without them |",
            "|---|---|---|",
            *(
                f"| {way} | {share(row['alone'])} | {share(row['without'])} |"
                for way, row in shares.items()
            ),
        ]
    )
