"""Real-time personalised recommendation on Triton: the client, and what makes the models.

>>> from tritonrec import RecommenderClient
>>> with RecommenderClient("localhost:8001") as client:  # doctest: +SKIP
...     best = client.recommend(["50", "172"], top_k=10)

:mod:`client` is the SDK, and its names are here too. :mod:`builder` is what the command
``tritonrec`` runs, from a log to a served model; it needs ``pip install 'tritonrec[builder]'``.
"""

from client import *  # noqa: F403 - what the client exports, and nothing else
from client import __all__ as __all__
