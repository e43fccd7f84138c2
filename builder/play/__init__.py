"""A local page over a running server: put a history together, and see the list change."""
