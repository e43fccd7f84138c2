"""The code that runs inside Triton; an export copies this package into each version of a model.

The modules import one another relatively only: Triton's Python backend imports a version's
``model.py`` as ``<version>.model``, so each version keeps the very code that it was exported with.

=========== ==========================================================================
``core``    the wire contract, reading a request, scoring, policy: numpy, and no files
``engines`` what runs the networks: in this process, or as other models of the server
``steps``   the models: they read files, put core and engines together, answer Triton
=========== ==========================================================================
"""
