"""Files of somebody else's that do not belong together."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    T5Config,
    T5Model,
)

from builder.classifier.checkpoint import load_classifier
from builder.errors import CheckpointError
from builder.model.backbone import fit_embeddings, load_tokenizer, load_weights
from builder.model.checkpoint import load_backbone
from tests.unit.builder.classifier.tiny import write_classifier
from tests.unit.builder.model.test_sentence_modules import flags, write_modules

Copy = Callable[[], Path]


@pytest.fixture
def copy(backbone: Path, tmp_path: Path) -> Copy:
    """The small BERT, to be changed."""
    return lambda: Path(shutil.copytree(backbone, tmp_path / "copy"))


def renamed(directory: Path, name: Callable[[str], str | None]) -> Path:
    """The directory with other names of its weights; None leaves one out."""
    file = directory / "model.safetensors"
    weights = {name(each): value for each, value in load_file(file).items()}
    kept = {each: value for each, value in weights.items() if each is not None}
    save_file(kept, file, metadata={"format": "pt"})
    return directory


def edited(directory: Path, file: str, **values: Any) -> Path:
    path = directory / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return directory


def same_encoder(model: Any, backbone: Path) -> bool:
    expected = {
        name: value
        for name, value in load_file(backbone / "model.safetensors").items()
        if not name.startswith("pooler.")
    }
    found = model.base_model.state_dict()
    return all(torch.equal(found[name], value) for name, value in expected.items())


def test_what_early_sentence_transformers_wrote(backbone: Path, tmp_path: Path) -> None:
    source = tmp_path / "sentences"
    shutil.copytree(backbone, source / "0_Transformer")
    write_modules(source, flags("mean_tokens"))
    model, tokenizer = load_backbone(str(source))
    assert same_encoder(model, backbone)
    usual = load_tokenizer(str(backbone), "here")
    assert tokenizer("toy story")["input_ids"] == usual("toy story")["input_ids"]
    masked = load_weights(AutoModelForMaskedLM, str(source), "")
    assert same_encoder(masked.model, backbone)


PREFIXES = ["student.", "model.", "module.", "bert.", "0.auto_model.", "model.student.bert."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_weights_in_a_wrapper(
    prefix: str,
    copy: Copy,
    backbone: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = str(renamed(copy(), lambda name: prefix + name))
    model: Any = load_backbone(source)[0]
    assert same_encoder(model, backbone)
    model.save_pretrained(tmp_path / "kept")  # as a checkpoint does, whose names are the plain ones
    kept = load_file(tmp_path / "kept/model.safetensors")
    assert kept.keys() == load_file(backbone / "model.safetensors").keys()
    assert ("its weights are named" in caplog.text) == (prefix != "bert.")  # a usual name
    for kind in (AutoModelForMaskedLM, AutoModelForSequenceClassification):
        found = load_weights(kind, source, "here")
        assert same_encoder(found.model, backbone)
        assert found.random


def test_a_classifier_in_a_wrapper(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "c")
    expected = load_classifier(str(source)).model.state_dict()
    renamed(source, lambda name: f"module.{name}")
    found = load_classifier(str(source)).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    "kind", [AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification], ids=str
)
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (lambda name: None if "layer.1." in name else name, r"16 weights of the Bert"),
        (lambda name: name.replace("attention", "look"), r"such as .*0\.look\."),
    ],
    ids=["missing", "other names"],
)
def test_an_encoder_is_never_random(
    kind: Any, name: Callable[[str], str | None], told: str, copy: Copy
) -> None:
    source = str(renamed(copy(), name))
    with pytest.raises(CheckpointError, match=told):
        load_weights(kind, source, "here")


def test_a_pooler_may_be_missing(copy: Copy, backbone: Path) -> None:
    source = renamed(copy(), lambda name: None if name.startswith("pooler.") else name)
    assert same_encoder(load_backbone(str(source))[0], backbone)


@pytest.mark.parametrize("more", [7, -3])
@pytest.mark.parametrize("kind", [AutoModelForMaskedLM, AutoModelForSequenceClassification])
def test_another_vocabulary_in_the_configuration(
    kind: Any, more: int, copy: Copy, backbone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = copy()
    size = json.loads((source / "config.json").read_text())["vocab_size"]
    edited(source, "config.json", vocab_size=size + more)
    assert same_encoder(load_backbone(str(source))[0], backbone)
    assert f"config.json says vocab_size {size + more} and there are embeddings of {size}" in (
        caplog.text
    )
    assert same_encoder(load_weights(kind, str(source), "here").model, backbone)


def test_weights_of_another_shape(copy: Copy) -> None:
    source = edited(copy(), "config.json", intermediate_size=48)
    message = r"encoder\.layer\.0\.intermediate\.dense\.bias is \(32,\) .* and \(48,\) by"
    with pytest.raises(CheckpointError, match=message):
        load_backbone(str(source))


def test_an_added_token_gets_the_mean(
    copy: Copy, backbone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = copy()
    tokenizer = AutoTokenizer.from_pretrained(source)
    before = load_file(backbone / "model.safetensors")["embeddings.word_embeddings.weight"]
    tokenizer.add_tokens(["zombie", "ghost"])
    tokenizer.save_pretrained(source)
    model, loaded = load_backbone(str(source))
    ids = loaded("a zombie film")["input_ids"]
    assert len(before) in ids
    assert "no embedding of 2 tokens that were added to its tokenizer (zombie, ghost)" in (
        caplog.text
    )
    weight = model.get_input_embeddings().weight  # type: ignore[operator]
    assert len(weight) == model.config.vocab_size == len(before) + 2  # type: ignore[union-attr]
    assert torch.equal(weight[: len(before)], before)
    assert torch.allclose(weight[len(before) :], before.mean(0).expand(2, -1))
    assert model(torch.tensor([ids])).last_hidden_state.isfinite().all()


def test_an_added_token_of_a_classifier(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / "c", "roberta")
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens(["zombie"])
    tokenizer.save_pretrained(source)
    found = load_classifier(str(source))
    ids = torch.tensor([found.tokenizer("a zombie")["input_ids"]])
    assert found.model(ids).logits.isfinite().all()


def test_a_tokenizer_of_another_model(copy: Copy) -> None:
    source = copy()
    file = source / "tokenizer.json"
    written = json.loads(file.read_text())
    words = written["model"]["vocab"]
    has = len(words)
    words |= {f"word{n}": has + n for n in range(5)}
    file.write_text(json.dumps(written))
    told = rf"its tokenizer knows {has + 5} tokens and the network {has}; tokenizer\.json is"
    with pytest.raises(CheckpointError, match=told):
        load_backbone(str(source))


def test_nothing_is_said_where_all_fits(backbone: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "builder"):
        model, tokenizer = load_backbone(str(backbone))
        fit_embeddings(model, tokenizer.backend_tokenizer, "here")
    assert not caplog.text


TEXTS = ["toy &amp; story", "ﬁlm", "toy-story 12", "The Matrix", "cat\u200bdog", ""]


def _entities(file: dict[str, Any]) -> None:
    replace = {"type": "Replace", "pattern": {"String": "&amp;"}, "content": "the"}
    file["normalizer"] = {
        "type": "Sequence", "normalizers": [replace, {"type": "NFKC"}, file["normalizer"]]
    }  # fmt: skip


def _whole_words(file: dict[str, Any]) -> None:
    file["pre_tokenizer"] = {"type": "WhitespaceSplit"}


def _no_end(file: dict[str, Any]) -> None:
    file["post_processor"] = None


@pytest.mark.parametrize("change", [_entities, _whole_words, _no_end])
@pytest.mark.parametrize("named", ["BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast"])
def test_the_file_of_a_tokenizer_counts(
    change: Callable[[dict[str, Any]], None], named: str, tmp_path: Path
) -> None:
    source = write_classifier(tmp_path / "c")
    edited(source, "tokenizer_config.json", tokenizer_class=named)
    file = source / "tokenizer.json"
    written = json.loads(file.read_text())
    change(written)
    file.write_text(json.dumps(written))
    expected = [each.ids for each in Tokenizer.from_file(str(file)).encode_batch(TEXTS)]
    loaded = load_tokenizer(str(source), "here")
    assert loaded(TEXTS)["input_ids"] == expected
    assert loaded.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    assert (loaded.pad_token, loaded.unk_token) == ("[PAD]", "[UNK]")
    loaded.save_pretrained(tmp_path / "kept")  # as a training does, and then everybody reads it
    kept = Tokenizer.from_file(str(tmp_path / "kept/tokenizer.json"))
    assert [each.ids for each in kept.encode_batch(TEXTS)] == expected
    assert AutoTokenizer.from_pretrained(tmp_path / "kept")(TEXTS)["input_ids"] == expected


def test_the_tokenizers_class_is_told_to_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = edited(
        write_classifier(tmp_path / "c"), "tokenizer_config.json", tokenizer_class="BertTokenizer"
    )
    load_tokenizer(str(source), "here")
    assert not caplog.text
    file = source / "tokenizer.json"
    written = json.loads(file.read_text())
    _entities(written)
    file.write_text(json.dumps(written))
    load_tokenizer(str(source), "here")
    assert re.search(r"here: transformers' BertTokenizer does not cut .*'Fish &amp;", caplog.text)


def test_a_network_that_cannot_read_a_text(copy: Copy, tmp_path: Path) -> None:
    source = edited(write_classifier(tmp_path / "c", "roberta"), "config.json", pad_token_id=None)
    for load in (load_backbone, load_classifier):
        with pytest.raises(CheckpointError, match=r"Roberta.* cannot read .* no pad_token_id"):
            load(str(source))
    other = copy()
    shape: dict[str, Any] = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(vocab_size=15, **shape, pad_token_id=0)).save_pretrained(other)
    with pytest.raises(CheckpointError, match=r"T5Model cannot read .* an encoder such as BERT"):
        load_backbone(str(other))


def test_a_tokenizer_that_makes_no_token_of_a_full_stop(copy: Copy) -> None:
    source = copy()
    file = source / "tokenizer.json"
    written = json.loads(file.read_text())
    written["post_processor"] = None
    file.write_text(json.dumps(written))
    load_tokenizer(str(source), "here")
    written["model"]["unk_token"] = "[PAD]"
    file.write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match=r"here: its tokenizer makes no token of '\.'"):
        load_tokenizer(str(source), "here")
