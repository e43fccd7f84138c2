"""A BERT, a network and a log that are real and very small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from builder.data import Catalogue, Holdout, Sequences, Split
from builder.data.profiles import item_ids
from builder.data.vectors import side_by_side
from builder.model.ease import dense_ease
from builder.model.interest import AdapterConfig, InterestAdapter
from builder.model.linear import LinearTerm
from builder.model.pooling import Pooling
from builder.model.recommender import Recommender, encode_texts
from builder.model.text_encoder import TextEncoder
from model_repository.core.calibration import Calibration
from model_repository.core.profile import ProfileColumn
from model_repository.engines.tokenizer import TextTokenizer
from tests.unit.model_repository.conftest import SPECIAL, WORDS

ITEMS = 12
USERS = 30
EVENTS = 7
TEXTS = [
    f"{WORDS[index % len(WORDS)]} {WORDS[(3 * index + 1) % len(WORDS)]}" + " film" * (index % 3)
    for index in range(ITEMS)
]
SHAPE: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "initializer_range": 0.3,  # the usual 0.02 makes all texts of so small a model alike
}


def sequences(
    *histories: Sequence[int],
    times: Sequence[Sequence[int]] | None = None,
    actions: Sequence[Sequence[int]] | None = None,
    target: Sequence[Sequence[int]] | None = None,
) -> Sequences:
    def flat(rows: Sequence[Sequence[int]], dtype: type[np.generic]) -> NDArray[Any]:
        return np.array([value for row in rows for value in row], dtype)

    return Sequences(
        [f"u{number}" for number in range(len(histories))],
        np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64),
        flat(histories, np.int32),
        None if times is None else flat(times, np.int64),
        None if actions is None else flat(actions, np.int32),
        target=None if target is None else flat(target, np.bool_),
    )


PROFILE = (
    ProfileColumn("age", edges=(20.0, 30.0)),
    ProfileColumn("gender", values=("F", "M")),
)


GENRES = [["drama", "comedy", ""][index % 3] for index in range(ITEMS)]
YEARS = [str(1990 + index) for index in range(ITEMS)]
ITEM_PROFILE = (
    ProfileColumn("genre", values=("comedy", "drama")),
    ProfileColumn("year", edges=(1995.0,)),
)


def split_of(train: Sequences, held_out: Holdout, refit: Sequences | None = None) -> Split:
    """The same users for validation and test."""
    nobody = Holdout(train.rows(0, 0), np.empty(0, np.int32))
    return Split(train, held_out, held_out, np.empty(0, np.int32), nobody, train, refit)


def write_backbone(directory: Path, tokenizer_file: Path, **shape: Any) -> Path:
    """A BERT of three layers with its tokenizer, as Hugging Face lays them out."""
    torch.manual_seed(0)
    BertModel(BertConfig(**SHAPE | shape)).save_pretrained(directory)
    PreTrainedTokenizerFast(
        tokenizer_file=str(tokenizer_file),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(directory)
    return directory


def write_log(directory: Path) -> Path:
    """Users who each walk round the items in their order, starting anywhere."""
    directory.mkdir()
    items = [f"i{index}\t{text}" for index, text in enumerate(TEXTS)]
    (directory / "tiny.item").write_text("\n".join(["item_id:token\ttitle:token_seq", *items]))
    events = [
        f"u{user}\ti{(user + step) % (ITEMS - 1)}\t{1_700_000_000 + 60 * step}"
        for user in range(USERS)
        for step in range(EVENTS)
    ]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (directory / "tiny.inter").write_text("\n".join([header, *events]))
    return directory


def adapter(*, width: int = 8, seed: int = 0, **shape: Any) -> InterestAdapter:
    """In eval mode, with nothing left at zero."""
    torch.manual_seed(seed)
    config = AdapterConfig(
        **{"items": ITEMS, "text_width": 16, "actions": 2, "max_history": 6, "width": width} | shape
    )
    network = InterestAdapter(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def recommender(
    backbone: Path,
    pooling: Pooling = "mean",
    profile: Sequence[ProfileColumn] = (),
    item_profile: Sequence[ProfileColumn] = (),
    vectors: Mapping[str, NDArray[np.float32]] | None = None,
) -> Recommender:
    """A full model that was never trained."""
    torch.manual_seed(0)
    encoder = TextEncoder(BertModel.from_pretrained(backbone), 0, pooling)
    if encoder.query is not None:
        torch.nn.init.normal_(encoder.query.weight)
    tokenizer = TextTokenizer(backbone / "tokenizer.json", 8)
    text_vectors = encode_texts(encoder, tokenizer, TEXTS)
    widths = {name: each.shape[1] for name, each in (vectors or {}).items()}
    network = adapter(
        profile=tuple(column.ids for column in profile),
        item_profile=tuple(column.ids for column in item_profile),
        modalities=tuple(widths.values()),
    )
    if vectors:
        given = torch.from_numpy(side_by_side(vectors, widths, ITEMS))
        network.fit_modalities(given, torch.ones(ITEMS).bool())
    columns = pd.DataFrame({"title": TEXTS, "genre": GENRES, "year": YEARS})
    if network.item_ids is not None:
        network.item_ids.copy_(torch.from_numpy(item_ids(item_profile, columns)))
    network.fit_whitening(text_vectors)
    train = sequences([0, 1, 2], [1, 2, 3], [2, 3, 4, 5], [6, 0, 1])
    linear = LinearTerm.pruned(dense_ease(train, ITEMS, regularisation=1.0), 4)
    return Recommender(
        encoder=encoder,
        tokenizer=tokenizer,
        adapter=network,
        linear=linear.weighted(decay=0.9, weight=2.0),
        calibration=Calibration(0.7, -0.3, 0.95),
        catalogue=Catalogue(
            [f"i{index}" for index in range(ITEMS)],
            TEXTS,
            columns if item_profile else columns[["title"]],
        ),
        text_vectors=text_vectors,
        actions=["buy", "view"],
        warm=np.ones(ITEMS, bool),
        profile=profile,
        item_profile=item_profile,
        modalities=tuple(widths),
    )
