"""The numbers of one export: what the contract's axes become, and the limits of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from builder.errors import ConfigError
from builder.model.recommender import Recommender
from model_repository.core.contract import ModelSpec, with_profile

_BUCKETS: Final = (8, 16, 32, 64, 128, 256, 512)

MAX_CANDIDATES: Final = 10_000
"""Longest list of candidates that an engine with bounded shapes is built for."""


@dataclass(frozen=True)
class Layout:
    """Sizes and limits of a repository.

    Attributes
    ----------
    items, text_width
        Catalogue size n and width h of a text vector.
    retrieved
        M, items that the retriever ranks: the largest ``top_k``, unless it is the catalogue.
    max_rows
        Rows of the encoder's largest batch, and so the most unknown texts of a request.
    max_users
        User requests that the tokenizer takes at a time.
    length_buckets
        Lengths in tokens that texts are padded to.
    max_history
        Events of a history that the adapter reads.
    min_slots
        Shortest list of slots that the engines take: 0, or 1 where they take no empty tensor. Then
        the tokenizer puts one `NO_ITEM` into an empty list, and refuses a request to rank nothing.
    max_candidates
        Longest list of candidates that the engines take; None for any.
    cached_texts
        Texts whose vectors the fused ``encode`` remembers.
    profile
        P, columns of a user's profile.
    """

    items: int
    text_width: int
    retrieved: int
    max_rows: int
    max_users: int
    length_buckets: tuple[int, ...]
    max_history: int
    min_slots: int = field(default=0, kw_only=True)
    max_candidates: int | None = field(default=None, kw_only=True)
    cached_texts: int = field(default=0, kw_only=True)
    profile: int = field(default=0, kw_only=True)

    @classmethod
    def of(
        cls,
        model: Recommender,
        *,
        max_top_k: int,
        max_rows: int,
        max_users: int,
        cached_texts: int = 0,
        bounded: bool = False,
    ) -> Layout:
        """Derive the layout from a model and the limits that were asked for.

        ``bounded`` is for engines that take neither empty tensors nor tensors of any length.

        Raises
        ------
        ConfigError
            A limit below 1, or a cache of less than nothing.
        """
        limits = {"--max-top-k": max_top_k, "--max-rows": max_rows, "--max-users": max_users}
        if wrong := [f"{name} {value}" for name, value in limits.items() if value < 1]:
            raise ConfigError(f"{', '.join(wrong)}: must be at least 1")
        if cached_texts < 0:
            raise ConfigError(f"--cached-texts {cached_texts}: must be at least 0")
        longest = model.tokenizer.max_length
        return cls(
            items=len(model.catalogue),
            text_width=model.text_vectors.shape[1],
            retrieved=min(max_top_k, len(model.catalogue)),
            max_rows=max_rows,
            max_users=max_users,
            length_buckets=(*(each for each in _BUCKETS if each < longest), longest),
            max_history=model.adapter.config.max_history,
            min_slots=1 if bounded else 0,
            max_candidates=MAX_CANDIDATES if bounded else None,
            cached_texts=cached_texts,
            profile=len(model.profile),
        )

    def step(self, spec: ModelSpec) -> ModelSpec:
        """The step `spec` of the contract as this export has it."""
        return with_profile(spec) if self.profile else spec

    @property
    def sizes(self) -> Mapping[str, int]:
        """Length of the axes that this export fixes, by their name in the contract."""
        fixed = {"h": self.text_width, "M": self.retrieved}
        return fixed | {"P": self.profile} if self.profile else fixed
