"""Which files of a directory are the data, what their columns are, and what an item's text is."""

from builder.data.layouts.item_text import plain_values, tidy_items, usual_template
from builder.data.layouts.known import FORMATS
from builder.data.layouts.layout import Layout, find_layout, layout_of_items
from builder.data.layouts.peek import is_time, peek
from builder.data.layouts.roles import of_events

__all__ = [
    "FORMATS",
    "Layout",
    "find_layout",
    "is_time",
    "layout_of_items",
    "of_events",
    "peek",
    "plain_values",
    "tidy_items",
    "usual_template",
]
