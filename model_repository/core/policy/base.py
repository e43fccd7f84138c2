"""The interface of a stage of the policy."""

from __future__ import annotations

from dataclasses import dataclass

from ..arrays import NO_ITEMS, Indices
from ..batch import Tensors
from ..catalogue import Candidates, Catalogue
from ..item_sets import ItemSet
from ..options import Options
from ..requests import UserRequest
from ..score_terms import Users
from .facts import Facts
from .trace import Trace


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage may know of a request.

    Attributes
    ----------
    user
        The one who asks, once the state is known; None before that, and where it cannot be known,
        so that popular items are recommended.
    facts
        What rules are about, in one state.
    trace
        What is told of the list, where the request asks for it.
    """

    request: UserRequest
    catalogue: Catalogue
    facts: Facts
    trace: Trace | None = None
    user: Users | None = None

    @property
    def options(self) -> Options:
        return self.request.options


class Stage:
    """Base of the stages: does nothing.

    Options that a stage reads are declared in the contract. Each method may raise
    `InvalidRequest`.

    Attributes
    ----------
    name
        What a user calls it.
    masks_only
        Whether ``masked`` and ``allowed`` are all that it does.
    """

    name = "policy"
    masks_only = False

    def applies(self, options: Options) -> bool:  # noqa: ARG002
        """Whether a request with these options asks for it."""
        return True

    def check(self, context: Context) -> None:
        """Raise `InvalidRequest` for options that are wrong; those of right types come here."""

    def masked(self, context: Context) -> Indices:  # noqa: ARG002
        """The items INT32 [E] that must not be recommended."""
        return NO_ITEMS

    def allowed(self, context: Context) -> ItemSet | None:  # noqa: ARG002
        """The only items that may be recommended; None for all."""
        return None

    def required(self, context: Context) -> Indices:  # noqa: ARG002
        """Items INT32 [r] that have to be among the candidates, unless they are masked."""
        return NO_ITEMS

    def wanted(self, context: Context) -> int:  # noqa: ARG002
        """How many candidates `rerank` chooses from; 0 for ``top_k``."""
        return 0

    def rerank(self, candidates: Candidates, context: Context) -> Candidates:  # noqa: ARG002
        """The candidates in another order, or some of them; the first ``top_k`` are recommended."""
        return candidates

    def lacking(self, chosen: Candidates, context: Context) -> bool:  # noqa: ARG002
        """Whether `rerank` needs more candidates than it had."""
        return False

    def outputs(self, chosen: Candidates, context: Context) -> Tensors:  # noqa: ARG002
        """What the answer says beside the list, optional outputs of ``recommend`` by their name."""
        return {}
