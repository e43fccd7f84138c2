"""The checkpoint: a directory that holds a trained model and its description.

::

    encoder/              loads with AutoModel.from_pretrained and, unless its pooling is
                          attention, with SentenceTransformer; tokenizer.json beside it
    adapter.safetensors   adapter, pooling, linear term, popularity, trend, text vectors, warm items
    catalogue.parquet     item ids, texts and the item file's own columns
    validation.parquet    the validation users that the ranking gate of an export is held against
    config.json           shapes, data set, training options, calibration, whether trained again
    metrics.json          the table that training ended with
    README.md             the same for readers: the model card

``config.json`` is written last, when the disk has the others, and is whole if it is there: a
directory without it is no checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel

from builder.data.sequences import Sequences
from builder.data.splits import Holdout
from builder.data.tables import Catalogue
from builder.errors import CheckpointError
from builder.model.backbone import FILES, fit_embeddings, load_tokenizer, load_weights, try_out
from builder.model.interest import AdapterConfig, InterestAdapter
from builder.model.linear import LinearTerm
from builder.model.popularity import UNKNOWN, Popularity
from builder.model.recommender import Recommender
from builder.model.sentence_modules import write_sentence_modules
from builder.model.text_encoder import TextEncoder
from builder.unfinished_run import is_interrupted
from builder.whole_files import sync, write_whole
from model_repository.core.calibration import Calibration
from model_repository.core.profile import ProfileColumn
from model_repository.core.trend import NO_TREND, Trend
from model_repository.engines.tokenizer import TextTokenizer

FORMATS: Final = (2, 3, 4, 5)
"""What this version reads. A model is written in the first that can hold it, so that an older
version reads it or says that it cannot: 3 has profiles, 4 vectors of other modalities, 5
a trend."""
_LINEAR: Final = "linear."
_ADAPTER: Final = "adapter."
_POOLING: Final = "pooling."
_TREND: Final = "trend.level"
_POPULARITY: Final = "popularity"


def save_checkpoint(
    directory: Path,
    model: Recommender,
    validation: Holdout,
    *,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> None:
    """Write `model` into `directory`; `config` says how it came about."""
    encoder = directory / "encoder"
    model.encoder.backbone.save_pretrained(encoder)  # type: ignore[operator]
    write_sentence_modules(
        encoder, model.encoder.pooling, model.tokenizer.max_length, model.text_vectors.shape[1]
    )
    tensors = {_ADAPTER + name: tensor for name, tensor in model.adapter.state_dict().items()} | {
        _LINEAR + "index": torch.from_numpy(model.linear.index),
        _LINEAR + "value": torch.from_numpy(model.linear.value),
        "text_vectors": model.text_vectors,
        "met": torch.from_numpy(model.warm),
    }
    if model.popularity is not UNKNOWN:
        both = np.stack([model.popularity.events, model.popularity.expected])
        tensors[_POPULARITY] = torch.from_numpy(both)
    if model.trend:
        tensors[_TREND] = torch.from_numpy(model.trend.level)
    if model.encoder.query is not None:
        tensors[_POOLING + "query"] = model.encoder.query.weight
    save_file(
        {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
        directory / "adapter.safetensors",
    )
    _catalogue_table(model.catalogue).to_parquet(directory / "catalogue.parquet")
    _holdout_table(validation).to_parquet(directory / "validation.parquet")
    _write_json(directory / "metrics.json", metrics)
    sync(directory)
    _write_json(
        directory / "config.json",
        {
            "format": _format_of(model),
            "adapter": model.adapter.config.to_dict(),
            "pooling": model.encoder.pooling,
            "pad_id": model.encoder.pad_id,
            "max_length": model.tokenizer.max_length,
            "actions": list(model.actions),
            "profile": [column.to_dict() for column in model.profile],
            "item_profile": [column.to_dict() for column in model.item_profile],
            "modalities": list(model.modalities),
            "linear": {"decay": model.linear.decay, "weight": model.linear.weight},
            "calibration": asdict(model.calibration),
            "cold_limit": model.cold_limit,
            "trend": model.trend.settings,
            **config,
        },
    )


def load_checkpoint(directory: Path) -> Recommender:
    """Load the model that `save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        The directory is missing, unfinished, of another format or damaged.
    """
    config = read_config(directory)
    try:
        return _load(directory, config)
    except Exception as error:  # damage shows as anything; tokenizers raises plain Exception
        raise CheckpointError(
            f"{directory}: the checkpoint is damaged ({type(error).__name__}: {error}); train again"
        ) from error


def _load(directory: Path, config: dict[str, Any]) -> Recommender:
    backbone, loading = AutoModel.from_pretrained(  # nosec B615 # not the hub's
        directory / "encoder",
        output_loading_info=True,
        local_files_only=True,  # where there is no such directory, its name is not the hub's
    )
    if missing := loading["missing_keys"]:
        raise ValueError(f"encoder/ lacks the weights {', '.join(sorted(missing)[:3])} …")
    fit_embeddings(
        backbone, Tokenizer.from_file(str(directory / "encoder/tokenizer.json")), str(directory)
    )
    tensors = load_file(directory / "adapter.safetensors")
    encoder = TextEncoder(backbone, config["pad_id"], config["pooling"])
    if encoder.query is not None:
        encoder.query.load_state_dict({"weight": tensors[_POOLING + "query"]})
    adapter = InterestAdapter(AdapterConfig.from_dict(config["adapter"]))
    adapter.load_state_dict(
        {
            name.removeprefix(_ADAPTER): tensor
            for name, tensor in tensors.items()
            if name.startswith(_ADAPTER)
        }
    )
    catalogue = _read_catalogue(directory / "catalogue.parquet")
    if len(catalogue) != adapter.config.items:
        raise ValueError(f"{len(catalogue)} items in catalogue.parquet, not {adapter.config.items}")
    return Recommender(
        encoder=encoder.eval(),
        tokenizer=TextTokenizer(directory / "encoder/tokenizer.json", config["max_length"]),
        adapter=adapter.eval(),
        linear=LinearTerm(
            tensors[_LINEAR + "index"].numpy(),
            tensors[_LINEAR + "value"].numpy(),
            **config["linear"],
        ),
        calibration=Calibration(**config["calibration"]),
        catalogue=catalogue,
        text_vectors=tensors["text_vectors"],
        actions=config["actions"],
        warm=tensors["met"].numpy(),
        cold_limit=config.get("cold_limit", 0),  # earlier runs do not move cold items
        profile=_columns(config.get("profile", ())),
        item_profile=_columns(config.get("item_profile", ())),
        modalities=config.get("modalities", ()),
        popularity=_popularity(tensors.get(_POPULARITY)),
        trend=_trend(config.get("trend"), tensors.get(_TREND)),
    )


def _popularity(both: torch.Tensor | None) -> Popularity:
    return UNKNOWN if both is None else Popularity(*both.numpy())


def _trend(config: Mapping[str, Any] | None, level: torch.Tensor | None) -> Trend:
    if config is None or level is None:
        return NO_TREND
    return Trend(level=level.numpy(), **config)


def _format_of(model: Recommender) -> int:
    if model.trend:
        return 5
    if model.modalities:
        return 4
    return 3 if model.profile or model.item_profile else 2


def _columns(written: Sequence[Mapping[str, Any]]) -> tuple[ProfileColumn, ...]:
    return tuple(ProfileColumn.from_dict(each) for each in written)


def load_catalogue(directory: Path) -> Catalogue:
    """The catalogue alone, without the model.

    Raises
    ------
    CheckpointError
        It is missing or damaged.
    """
    try:
        return _read_catalogue(directory / "catalogue.parquet")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{directory}: catalogue.parquet cannot be read ({error}); train again"
        ) from error


def load_validation(directory: Path) -> Holdout:
    """The validation users that were written beside the model."""
    try:
        return _read_holdout(directory / "validation.parquet")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{directory}: validation.parquet cannot be read ({error}); train again"
        ) from error


def read_config(directory: Path) -> dict[str, Any]:
    """``config.json`` of a checkpoint.

    Raises
    ------
    CheckpointError
        There is none, or it is not ours.
    """
    file = directory / "config.json"
    if not file.is_file():
        raise CheckpointError(
            f"{directory} is not a checkpoint: it has no config.json; "
            + (
                f"training was interrupted: continue with `python -m builder train --resume "
                f"--output {directory} …`"
                if is_interrupted(directory)
                else "make one with `python -m builder train`"
            )
        )
    try:
        config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON ({error}); train again") from error
    found = config.get("format") if isinstance(config, dict) else None
    if found not in FORMATS:
        raise CheckpointError(
            f"{file} has format {found!r} and this version reads {' and '.join(map(str, FORMATS))};"
            " train again, or use the version that wrote it"
        )
    return config


def load_backbone(name_or_path: str) -> tuple[torch.nn.Module, Any]:
    """A Hugging Face encoder and its tokenizer, by hub name or directory.

    Raises
    ------
    CheckpointError
        It cannot be loaded, has no fast tokenizer, or its files do not belong together.
    """
    where = f"--backbone {name_or_path}"
    try:
        tokenizer = load_tokenizer(name_or_path, where)
        backbone = load_weights(AutoModel, name_or_path, where).model
        fit_embeddings(backbone, tokenizer.backend_tokenizer, where)
        try_out(backbone, tokenizer, where)
    except CheckpointError:
        raise
    except Exception as error:  # whatever a file of somebody else's leads to
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{where}: it cannot be loaded ({reason}); {FILES}") from error
    return backbone, tokenizer


def _write_json(file: Path, values: Mapping[str, Any]) -> None:
    write_whole(file, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _catalogue_table(catalogue: Catalogue) -> pd.DataFrame:
    own = catalogue.columns.add_prefix("column:").reset_index(drop=True)
    table = pd.DataFrame({"item_id": catalogue.item_ids, "text": catalogue.texts})
    return pd.concat([table, own], axis=1)


def _read_catalogue(file: Path) -> Catalogue:
    table = pd.read_parquet(file)
    own = [name for name in table.columns if name.startswith("column:")]
    columns = table[own].rename(columns=lambda name: name.removeprefix("column:"))
    return Catalogue(table["item_id"].tolist(), table["text"].tolist(), columns)


def _holdout_table(holdout: Holdout) -> pd.DataFrame:
    histories = holdout.histories
    users = range(len(holdout))
    profiles, requests = histories.profiles, histories.request_times
    return pd.DataFrame(
        {
            "user_id": histories.user_ids,
            "items": [histories.items_of(user) for user in users],
            "times": [histories.times_of(user) for user in users],
            "actions": [histories.actions_of(user) for user in users],
            **({} if profiles is None else {"profile": list(profiles)}),
            **({} if requests is None else {"request_time": requests}),
            "target": holdout.targets,
        }
    )


def _read_holdout(file: Path) -> Holdout:
    table = pd.read_parquet(file)
    offsets = np.concatenate([[0], np.cumsum([len(items) for items in table["items"]])])

    def flat(name: str, dtype: type[np.generic]) -> Any:
        if table[name].isna().any():
            return None
        return np.concatenate(table[name].tolist()).astype(dtype)

    histories = Sequences(
        table["user_id"].tolist(),
        offsets.astype(np.int64),
        flat("items", np.int32),
        flat("times", np.int64),
        flat("actions", np.int32),
        _profiles(table),
        # Earlier versions did not write them.
        request_times=table["request_time"].to_numpy(np.int64) if "request_time" in table else None,
    )
    return Holdout(histories, table["target"].to_numpy(np.int32))


def _profiles(table: pd.DataFrame) -> NDArray[np.int32] | None:
    """INT32 [U, P]; None also where the version that wrote the table knew no profiles."""
    if "profile" not in table or not len(table):
        return None
    profiles: NDArray[np.int32] = np.stack(table["profile"].tolist()).astype(np.int32)
    return profiles
