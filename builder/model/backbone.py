"""Reads somebody else's network and tokenizer, and takes neither their names nor sizes on trust.

What does not belong together does not raise by itself: ``from_pretrained`` fills a weight that it
does not find with random numbers, and a token beyond the embeddings fails when a text first has it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from builder.errors import CheckpointError
from model_repository.engines.tokenizer import STAND_IN

log = logging.getLogger(__name__)

FILES: Final = (
    "give a directory with config.json, model.safetensors and tokenizer.json, or a hub name where "
    "the hub can be reached"
)
AWKWARD: Final = (
    "Fish &amp; Chips", "Amélie", "UPPER lower", "A-B c_d 12,345.67 %", "七人の侍",
    "two\u200bparts", "ﬁne ½ ™", "a  b\tc\nd", "don't", "😀", "",
)  # fmt: skip
"""Texts that tokenizers which are nearly alike cut differently."""
_DEEPER: Final = "0_Transformer"
_SECTIONS: Final = ("normalizer", "pre_tokenizer", "post_processor", "model", "added_tokens")
_SPECIAL: Final = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class Weights:
    """A network, with what of it was not in the file and is random.

    ``mismatched`` are the shapes of what the file has otherwise: there, and by ``config.json``.
    """

    model: nn.Module
    random: Sequence[str]
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]


def load_weights(kind: Any, source: str, where: str, **options: Any) -> Weights:
    """``kind.from_pretrained`` in FP32, whose encoder has all of its weights.

    A prefix that all weights have beside their names, as a wrapper leaves it, is taken off. Where
    ``config.json`` claims another vocabulary than there are embeddings, the embeddings count. Heads
    and poolers may be random; `Weights.random` names them.

    Parameters
    ----------
    kind
        One of the ``AutoModel`` classes.
    where
        What the user gave, for messages.

    Raises
    ------
    CheckpointError
        Weights of the encoder are missing or have another shape.
    """

    def read(**more: Any) -> tuple[Any, dict[str, Any]]:
        found: tuple[Any, dict[str, Any]] = kind.from_pretrained(
            source,
            subfolder=_subfolder(source),
            **{**options, **more},
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        return found

    more: dict[str, Any] = {}
    model, loading = read()
    lost = _of_encoder(model, loading["missing_keys"])
    if lost and (prefix := _prefix(model, lost, loading["unexpected_keys"])):
        log.warning("%s: its weights are named %s…; they are taken without it", where, prefix)
        more["key_mapping"] = {f"^{re.escape(prefix)}": ""}
        model, loading = read(**more)
    if rows := _embeddings(model, loading["mismatched_keys"]):
        log.warning(
            "%s: config.json says vocab_size %d and there are embeddings of %d tokens, which count",
            where,
            model.config.vocab_size,
            rows,
        )
        model, loading = read(**more, vocab_size=rows)
    if "key_mapping" in more:
        model._weight_conversions = None  # noqa: SLF001 - or save_pretrained puts the prefix back
    if lost := _of_encoder(model, loading["missing_keys"]):
        there = sorted(loading["unexpected_keys"])[:2]
        raise CheckpointError(
            f"{where}: {len(lost)} weights of the {type(model).__name__} that config.json "
            f"describes are not in its file, {', '.join(lost[:2])} among them"
            + (f"; it has others, such as {', '.join(there)}" if there else "")
            + "; save the network itself with save_pretrained, not a module around it"
        )
    others = {
        name: (tuple(found), tuple(asked)) for name, found, asked in loading["mismatched_keys"]
    }
    if wrong := _of_encoder(model, others):
        found, asked = others[wrong[0]]
        raise CheckpointError(
            f"{where}: {wrong[0]} is {found} in the file of weights and {asked} by config.json; "
            "one of the two files is another model's"
        )
    return Weights(model, sorted({*loading["missing_keys"], *others}), others)


def _of_encoder(model: Any, names: Any) -> list[str]:
    """Those of the weights that the token states are made by: no head, and no pooler."""
    base = f"{model.base_model_prefix}."
    whole = model.base_model is model
    own = (name if whole else name.removeprefix(base) for name in names)
    kept = [
        (name, inside)
        for name, inside in zip(names, own, strict=True)
        if (whole or inside != name) and not inside.startswith("pooler.")
    ]
    return sorted(name for name, _ in kept)


def _prefix(model: Any, lost: Sequence[str], unexpected: Any) -> str | None:
    """What stands before the name of each weight that was not found, if it is one and the same."""
    base = "" if model.base_model is model else f"{model.base_model_prefix}."
    there: set[str] = set(unexpected)
    for tail in (lost[0], lost[0].removeprefix(base)):
        for name in sorted(there):
            prefix = name.removesuffix(tail)
            if prefix not in ("", name) and prefix.endswith("."):
                cut = len(lost[0]) - len(tail)
                if all(prefix + each[cut:] in there for each in lost):
                    return prefix
    return None


def _embeddings(model: Any, mismatched: Any) -> int | None:
    """Rows of the embeddings in the file, where nothing but their number is another."""
    vocabulary = getattr(model.config, "vocab_size", None)
    rows = set()
    for name, found, asked in mismatched:
        if asked[0] != vocabulary or found[1:] != asked[1:]:
            if _of_encoder(model, [name]):
                return None
            continue
        rows.add(int(found[0]))
    return rows.pop() if len(rows) == 1 else None


def file_of(source: str, name: str) -> str | None:
    """Where a file of a directory or hub name lies here; None where it has none."""
    found: str | None = cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found


def _subfolder(source: str) -> str:
    """Where of a directory or hub name the network is: sentence-transformers once had it deeper."""
    if file_of(source, "config.json") is None and file_of(source, f"{_DEEPER}/config.json"):
        return _DEEPER
    return ""


def load_tokenizer(source: str, where: str) -> Any:
    """A fast tokenizer that cuts texts as ``tokenizer.json`` says, which is what is served.

    ``transformers`` builds tokenizers of some classes anew, and drops what of the file is not the
    class's own.

    Raises
    ------
    CheckpointError
        It has no ``tokenizer.json`` or no padding token, or makes no token of a full stop.
    """
    tokenizer = _as_written(source, where)
    if not {*tokenizer(STAND_IN)["input_ids"]} - {tokenizer.pad_token_id}:
        raise CheckpointError(
            f"{where}: its tokenizer makes no token of {STAND_IN!r}, and has no special tokens; "
            "give it a token for unknown words (unk_token) other than the padding token"
        )
    return tokenizer


def _as_written(source: str, where: str) -> Any:
    subfolder = _subfolder(source)
    # The user names the model, and may name a directory of a fixed one.
    tokenizer = AutoTokenizer.from_pretrained(  # nosec B615
        source, subfolder=subfolder, use_fast=True
    )
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"{where}: its tokenizer has no tokenizer.json or no padding token, which serving "
            "needs; choose another"
        )
    file = file_of(source, str(PurePosixPath(subfolder, "tokenizer.json")))
    if file is None:
        return tokenizer
    written = Tokenizer.from_file(file)
    given = json.loads(written.to_str())
    built = json.loads(tokenizer.backend_tokenizer.to_str())
    if all(given[section] == built[section] for section in _SECTIONS):
        return tokenizer
    kept = PreTrainedTokenizerFast(
        tokenizer_object=written,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        **{f"{name}_token": getattr(tokenizer, f"{name}_token") for name in _SPECIAL},
    )
    for text in AWKWARD:
        if kept(text)["input_ids"] != tokenizer(text)["input_ids"]:
            log.warning(
                "%s: transformers' %s does not cut texts as tokenizer.json says, %r for one; "
                "tokenizer.json counts, in training and in serving",
                where,
                type(tokenizer).__name__,
                text,
            )
            break
    return kept


def fit_embeddings(model: Any, tokenizer: Tokenizer, where: str) -> None:
    """Give each token of the tokenizer an embedding: one that was added the mean of the others.

    Raises
    ------
    CheckpointError
        The vocabulary itself is larger than the network's.
    """
    has = model.get_input_embeddings().num_embeddings
    own = tokenizer.get_vocab(with_added_tokens=False)
    if (most := max(own.values(), default=-1) + 1) > has:
        raise CheckpointError(
            f"{where}: its tokenizer knows {most} tokens and the network {has}; tokenizer.json is "
            "another model's: give the one that the network was trained with"
        )
    every = tokenizer.get_vocab(with_added_tokens=True)
    added = [token for token, place in sorted(every.items(), key=lambda each: each[1])
             if place >= has]  # fmt: skip
    if not added:
        return
    log.warning(
        "%s: the network has no embedding of %d tokens that were added to its tokenizer (%s%s); "
        "they get the mean of the others, and mean something once they are trained on",
        where,
        len(added),
        ", ".join(added[:3]),
        " …" if added[3:] else "",
    )
    mean = model.get_input_embeddings().weight.detach().mean(0)
    model.resize_token_embeddings(max(every.values()) + 1, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[has:] = mean


def position_count(model: nn.Module) -> int | None:
    """Tokens that the network has positions for; None where it has no end of them."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa and its kin number positions from padding_idx + 1.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - offset
    told = getattr(model.config, "max_position_embeddings", None)
    return int(told) if isinstance(told, int) and told > 0 else None


def check_length(length: int, tokenizer: Any, where: str, *, pairs: bool = False) -> None:
    """Raise `CheckpointError` where not even one token of a text fits beside the special ones."""
    special = tokenizer.num_special_tokens_to_add(pair=pairs)
    if length <= special:
        raise CheckpointError(
            f"{where}: it has places for {length} tokens and {special} of them are special, so no "
            "text fits; max_position_embeddings or pad_token_id in config.json is wrong, or it "
            "is another kind of network"
        )


@torch.no_grad()
def try_out(model: Any, tokenizer: Any, where: str) -> None:
    """Raise `CheckpointError` where the network cannot read a short text."""
    if (places := position_count(model)) is not None:
        check_length(places, tokenizer, where)
    ids = torch.tensor([tokenizer(STAND_IN)["input_ids"]])
    try:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except Exception as error:  # whatever a network that is none of ours wants
        reason = (str(error) or type(error).__name__).splitlines()[0]
        missing = model.config.pad_token_id is None
        raise CheckpointError(
            f"{where}: its {type(model).__name__} cannot read a text ({reason}); "
            + (
                "config.json has no pad_token_id, which it may need to number positions: give the "
                "one that it was trained with"
                if missing
                else "give an encoder such as BERT, with the config.json it was trained with"
            )
        ) from error
