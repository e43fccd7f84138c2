"""The interface of a stage of the policy."""

from __future__ import annotations

import numpy as np

from ..arrays import Indices
from ..catalogue import Candidates, Catalogue
from ..options import Options
from ..requests import UserRequest


class Stage:
    """Base of the stages: does nothing.

    Options that a stage reads are declared in the contract.
    """

    def applies(self, options: Options) -> bool:  # noqa: ARG002
        """Whether a request with these options asks for it."""
        return True

    def mask(self, request: UserRequest, catalogue: Catalogue) -> Indices:  # noqa: ARG002
        """The items INT32 [E] that must not be recommended."""
        return np.zeros(0, np.int32)

    def wanted(self, options: Options, top_k: int) -> int:  # noqa: ARG002
        """How many candidates `rerank` chooses from."""
        return top_k

    def rerank(self, candidates: Candidates, request: UserRequest) -> Candidates:  # noqa: ARG002
        """The candidates in another order, or some of them; the first ``top_k`` are recommended."""
        return candidates
