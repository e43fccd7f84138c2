"""Text vectors on disk, so that later trainings need not encode the same texts again.

A file holds the vectors of one encoder, by a digest of each text. The name of a file is a digest of
all that decides a vector: weights, configuration, tokenizer, pooling and longest text. Two
trainings may read and write at once: a file is written beside, and then renamed. What goes wrong
with a file costs the time of encoding, never the training.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from builder.model.recommender import encode_texts
from builder.model.text_encoder import TextEncoder
from builder.progress import Progress, silent
from model_repository.engines.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

VARIABLE: Final = "TRITONREC_CACHE"
"""Names the directory of the cache; empty: nothing is kept. Default: tritonrec among the user's
caches."""
MOST_BYTES: Final = 2**30
"""All files together; those that were used longest ago are removed."""
_SUFFIX: Final = ".safetensors"
_DIGEST: Final = 16


def encode_with_cache(
    encoder: TextEncoder,
    tokenizer: TextTokenizer,
    tokenizer_file: Path,
    texts: Sequence[str],
    *,
    write: bool = True,
    progress: Progress = silent,
) -> Tensor:
    """`encode_texts`, of each text once: FP32 [m, h], in the order of the texts.

    ``tokenizer_file`` is what `tokenizer` was read from. Where several processes train together,
    one of them should ``write``. The encoder is left in eval mode.
    """
    encoder.eval()
    names = [hashlib.blake2b(text.encode(), digest_size=_DIGEST).digest() for text in texts]
    wanted = dict(zip(names, texts, strict=True))
    directory = _directory()
    file = None
    known: dict[bytes, Tensor] = {}
    if directory is not None:
        file = directory / f"{_key(encoder, tokenizer, tokenizer_file)}{_SUFFIX}"
        known = _read(file, encoder.width)
    missing = [name for name in wanted if name not in known]
    if file is not None:
        log.info(
            "text vectors: %d of %d different texts are taken from %s",
            len(wanted) - len(missing),
            len(wanted),
            file.parent,
        )
    if missing:
        fresh = encode_texts(
            encoder, tokenizer, [wanted[name] for name in missing], progress=progress
        )
        known |= zip(missing, fresh, strict=True)
        if file is not None and write:
            _write(file, known, wanted)
    return torch.stack([known[name] for name in names])


def _directory() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named is None:
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        named = f"{caches}/tritonrec"
    try:
        return Path(named).expanduser() / "text-vectors" if named else None
    except RuntimeError:  # there is no home
        return None


def _key(encoder: TextEncoder, tokenizer: TextTokenizer, tokenizer_file: Path) -> str:
    digest = hashlib.blake2b(tokenizer_file.read_bytes(), digest_size=_DIGEST)
    config = encoder.backbone.config.to_dict()  # type: ignore[union-attr, operator]
    config.pop("_name_or_path", None)  # the same network from elsewhere
    said = [
        config,
        *(encoder.pad_id, encoder.pooling, tokenizer.max_length),
        transformers.__version__,
    ]
    digest.update(json.dumps(said, sort_keys=True, default=str).encode())
    for name, value in encoder.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(file: Path, width: int) -> dict[bytes, Tensor]:
    """The vectors FP32 [h] of a file by the digests of their texts; none where there is no file."""
    try:
        found = load_file(file)
    except FileNotFoundError:
        return {}
    except (OSError, SafetensorError) as error:
        return _unread(file, str(error))
    names, vectors = found.get("texts"), found.get("vectors")
    if names is None or vectors is None or not _fit(names, vectors, width):
        return _unread(file, "it holds something else")
    with suppress(OSError):  # of a disk that is read-only
        os.utime(file)  # used now, so others go first
    return {bytes(name): vector for name, vector in zip(names.numpy(), vectors, strict=True)}


def _fit(names: Tensor, vectors: Tensor, width: int) -> bool:
    return (
        (names.dtype, *names.shape) == (torch.uint8, len(vectors), _DIGEST)
        and (vectors.dtype, *vectors.shape) == (torch.float32, len(names), width)
        and bool(torch.isfinite(vectors).all())
    )


def _unread(file: Path, why: str) -> dict[bytes, Tensor]:
    log.warning("text vectors in %s are not used, and made anew: %s", file, why)
    return {}


def _write(file: Path, known: dict[bytes, Tensor], wanted: dict[bytes, str]) -> None:
    """Keep all that is known of this encoder, or where that is too much what was wanted now."""
    size = _DIGEST + 4 * len(next(iter(known.values())))
    kept = list(known if size * len(known) <= MOST_BYTES // 2 else wanted)
    if size * len(kept) > MOST_BYTES // 2:
        log.info("text vectors: %d are too many to be kept for other trainings", len(kept))
        return
    names = torch.frombuffer(bytearray(b"".join(kept)), dtype=torch.uint8).view(-1, _DIGEST)
    unfinished = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, prefix=f"{file.stem}.", delete=False) as opened:
            unfinished = Path(opened.name)
        save_file(
            {"texts": names, "vectors": torch.stack([known[name] for name in kept])}, unfinished
        )
        unfinished.replace(file)
        _remove_oldest(file.parent)
    except (OSError, SafetensorError) as error:
        log.warning("text vectors are not kept for other trainings: %s", error)
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _remove_oldest(directory: Path) -> None:
    """What was not used for longest, unfinished files of killed trainings among it."""
    # Another training may remove files at the same time.
    found = [(stat.st_mtime_ns, stat.st_size, file) for file, stat in _there(directory)]
    total = 0
    for _, size, file in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES:
            file.unlink(missing_ok=True)


def _there(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for file in directory.iterdir():
        with suppress(FileNotFoundError):
            yield file, file.stat()
