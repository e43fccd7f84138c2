"""The serving code that runs inside Triton; an export copies it into each model's version.

The modules import one another relatively only: Triton's Python backend imports ``model.py`` as
``<version>.model``, so each version keeps the very code that it was exported with.
"""
