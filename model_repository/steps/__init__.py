"""The models that run in Triton's Python backend: files and engines around the core.

Each module has a function ``load``, which makes the handler of a model from the files of its
version. ``triton_model`` is the class that Triton asks for.
"""
