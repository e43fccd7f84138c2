"""``python -m tritonrec``, which is the command ``tritonrec``."""

from builder.__main__ import main

main()
