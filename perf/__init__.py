"""Measurements: ``python -m perf``."""
