"""What most teams would build for ``recommend``: an embedding server and a vector index.

The history's texts go to infinity as one text, and FAISS finds the nearest of the catalogue's
vectors, which infinity made beforehand.
"""

from __future__ import annotations

import http
import http.client
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perf.errors import PerfError
from perf.load import TIMEOUT, Call
from perf.systems import HttpService
from perf.workload import EVENTS, User, Workload

_TOP: Final = 10
_ROWS: Final = 128


class TwoStep:
    """Searches exactly, by cosine; items of the history are left out of what was found.

    Raises
    ------
    PerfError
        faiss is not installed.
    """

    def __init__(self, service: HttpService, workload: Workload) -> None:
        try:
            import faiss
        except ImportError as error:
            raise PerfError("infinity + FAISS needs `pip install tritonrec[perf]`") from error
        self._service = service
        self._ids = np.array(workload.item_ids)
        texts = workload.texts
        vectors = np.concatenate(
            [service.vectors(texts[i : i + _ROWS]) for i in range(0, len(texts), _ROWS)]
        )
        self._index: Any = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(_normalised(vectors))

    def recommend(self, history: Sequence[str], vector: NDArray[np.float32]) -> list[str]:
        _, found = self._index.search(_normalised(vector[np.newaxis]), _TOP + EVENTS)
        seen = set(history)
        return [item for item in self._ids[found[0]].tolist() if item not in seen][:_TOP]

    def answer(self, user: User, workload: Workload) -> list[str]:
        (vector,) = self._service.vectors([_in_words(user, workload)])
        return self.recommend(user.history, vector)

    def connect(self, workload: Workload) -> Callable[[], Call]:
        """Return what connects and then recommends to one user after another."""
        users = workload.users
        bodies = [self._service.body([_in_words(user, workload)]) for user in users]

        def connect() -> Call:
            connection = http.client.HTTPConnection(self._service.address, timeout=TIMEOUT)

            def call(number: int) -> list[str]:
                place = number % len(users)
                connection.request(
                    "POST", self._service.path, bodies[place],
                    {"Content-Type": "application/json"},
                )  # fmt: skip
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != http.HTTPStatus.OK:
                    raise PerfError(f"infinity answered {answer.status}: {content[:300]!r}")
                vector = np.array(json.loads(content)["data"][0]["embedding"], np.float32)
                return self.recommend(users[place].history, vector)

            return call

        return connect


def _in_words(user: User, workload: Workload) -> str:
    return "; ".join(workload.history_texts(user))


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / lengths, np.float32)
