"""From a log and a list of items, in any of several formats, to sequences and splits.

``read`` → ``Interactions`` and ``Catalogue`` → ``Sequences`` → ``split_log`` → ``Split``.
"""

from builder.data.config import Columns, DataConfig
from builder.data.readers import read
from builder.data.sequences import Sequences
from builder.data.splits import Holdout, Split, leave_one_out, split_log, temporal_split
from builder.data.tables import Catalogue, Interactions

__all__ = [
    "Catalogue",
    "Columns",
    "DataConfig",
    "Holdout",
    "Interactions",
    "Sequences",
    "Split",
    "leave_one_out",
    "read",
    "split_log",
    "temporal_split",
]
