"""What sentence-transformers has beside a backbone: its pooling, and how long a text may be."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import nn

from builder.errors import CheckpointError
from builder.model.backbone import file_of, position_count
from builder.model.pooling import Pooling

log = logging.getLogger(__name__)

_POOLINGS: Final[Mapping[str, Pooling]] = {
    "pooling_mode_cls_token": "cls",  # nosec B105 # of BERT
    "pooling_mode_mean_tokens": "mean",
    "cls": "cls",
    "mean": "mean",
}
"""As flags, or by the name that newer versions write."""


@dataclass(frozen=True)
class SentenceModules:
    """None of it where the backbone has no ``modules.json``.

    ``unused`` names what it has and we do not use, in words.
    """

    pooling: Pooling | None = None
    max_length: int | None = None
    unused: tuple[str, ...] = ()


def read_sentence_modules(source: str, where: str) -> SentenceModules:
    """Read ``modules.json`` and what it leads to, of a directory or hub name.

    Raises
    ------
    CheckpointError
        One of the files is damaged.
    """
    try:
        return _read(source)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{where}: modules.json, or a file that it leads to, is not as sentence-transformers "
            f"writes it ({type(error).__name__}: {error}); repair it, or remove modules.json"
        ) from error


def write_sentence_modules(directory: Path, pooling: Pooling, max_length: int, width: int) -> None:
    """Let sentence-transformers load the encoder in `directory`, with the vectors that we make.

    ``max_length`` is in tokens, ``width`` that of a vector. Attention pooling has weights of its
    own, which sentence-transformers does not know: then nothing is written.
    """
    if pooling == "attention":
        return
    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": place, "name": str(place), "path": path,
         "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds.items())
    ]  # fmt: skip
    (directory / "1_Pooling").mkdir(exist_ok=True)
    # As flags: every version of sentence-transformers reads these.
    flags = {name: _POOLINGS[name] == pooling for name in _POOLINGS if name.startswith("pooling_")}
    for name, content in {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": width, **flags},
    }.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def longest_text(asked: int, backbone: nn.Module, said: SentenceModules) -> int:
    """Longest text in tokens: as asked, but no longer than the backbone takes."""
    most = [each for each in (position_count(backbone), said.max_length) if each is not None]
    longest = min([asked, *most])
    if longest < asked:
        log.info("texts are cut at %d tokens, the most that the backbone takes", longest)
    return longest


def _read(source: str) -> SentenceModules:
    pooling, length, unused = None, None, []
    for module in _json(source, "modules.json") or ():
        path, kind = module["path"], module["type"].rpartition(".")[2]
        if kind == "Transformer":
            found = _json(source, _within(path, "sentence_bert_config.json")) or {}
            length = found.get("max_seq_length")
            if found.get("do_lower_case") is True:
                unused.append("do_lower_case (write the texts in lower case)")
        elif kind == "Pooling":
            modes = _modes(_json(source, _within(path, "config.json")) or {})
            pooling = _POOLINGS.get(modes[0]) if len(modes) == 1 else None
            if pooling is None:
                unused.append(f"the pooling {' + '.join(modes)}")
        elif kind != "Normalize":  # whitening gives the vectors a length of its own
            unused.append(f"{path} ({kind})")
    prompts = _json(source, "config_sentence_transformers.json") or {}
    if (name := prompts.get("default_prompt_name")) is not None:
        prompt = prompts["prompts"][name]
        unused.append(f"the prompt {prompt!r} (put it into --text if you want it)")
    return SentenceModules(pooling, None if length is None else int(length), tuple(unused))


def _modes(config: Mapping[str, Any]) -> list[str]:
    if named := config.get("pooling_mode"):
        return [named] if isinstance(named, str) else list(named)
    flags = [name for name, on in config.items() if name.startswith("pooling_mode_") and on is True]
    return flags or ["mean"]


def _json(source: str, name: str) -> Any:
    """What a file holds; None where it is not there."""
    file = file_of(source, name)
    if file is None:
        return None
    with open(file, encoding="utf-8") as stream:  # noqa: PTH123 - a path as text
        return json.load(stream)


def _within(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
