from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from builder.classifier.data import read_labelled_texts
from builder.data.dialect import Dialect
from builder.errors import DataError


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def table(path: Path, counts: dict[str, int]) -> Path:
    rows = [f"text {label} {n},{label}" for label, count in counts.items() for n in range(count)]
    return write(path, "text,label", *rows)


def test_every_problem_at_once(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv",
        "text,text_pair,label,split",
        "good,,yes,train",
        ",,yes,train",
        "no label,,,test",
        "strange split,,no,tset",
        "too,many,values,train,here",
    )
    with pytest.raises(DataError) as refusal:
        read_labelled_texts(file, 0)
    lines = str(refusal.value).splitlines()
    assert lines[0] == "4 problems in the data:"
    assert f"{file}:6: 5 values where the header has 4 columns" in lines[1]
    assert lines[2:] == [
        f"{file}:3: text: empty; fill it or remove the row",
        f"{file}:4: label: empty; fill it or remove the row",
        f"{file}:5: split: 'tset' is no split; write one of train, validation, test",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("txt,label\na,b", "no column 'text' among txt, label"),
        ("text,category\na,b", "no column 'label' among text, category"),
        ("", "empty"),
        ("text,label\na,x\nb,x\nc,x", "1 different labels; a classifier needs 2 or more"),
        ("text,label\na,x\nb,x\nc,x\nd,y", "label 'y' has 1 examples, and needs 3"),
        (
            "text,label,split\na,x,train\nb,y,train\nc,x,validation\nd,y,validation\ne,x,test",
            "label 'y' does not occur in split 'test'",
        ),
    ],
)
def test_what_cannot_be_learnt_from(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labelled_texts(write(tmp_path / "a.csv", content), 0)


def test_files_as_practitioners_have_them(tmp_path: Path) -> None:
    rows = "".join(f"größer {n};{label}\n" for label in "ab" for n in range(4))
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(f"text;label\n{rows}".encode("latin-1")))
    data = read_labelled_texts(file, 0, Dialect(encoding="latin-1"))
    assert data.labels == ("a", "b")
    assert data.train.pairs[0][0].startswith("größer")


def test_an_unknown_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"suffix '.inter' is not known"):
        read_labelled_texts(write(tmp_path / "a.inter", "text:token"), 0)
    with pytest.raises(DataError, match="cannot be read"):
        read_labelled_texts(tmp_path / "missing.csv", 0)


def test_splits_are_stratified_whole_and_seeded(tmp_path: Path) -> None:
    file = table(tmp_path / "a.csv", {"no": 200, "yes": 50, "rare": 3})
    data = read_labelled_texts(file, 0)
    counts = [Counter(part.labels.tolist()) for part in (data.train, data.validation, data.test)]
    # no, rare, yes
    assert data.labels == ("no", "rare", "yes")
    assert counts == [{0: 160, 1: 1, 2: 40}, {0: 20, 1: 1, 2: 5}, {0: 20, 1: 1, 2: 5}]
    everything = [*data.train.pairs, *data.validation.pairs, *data.test.pairs]
    assert len(set(everything)) == len(everything) == 253
    assert data.repeated() == 0
    assert all(
        data.labels[label] in text
        for (text, _), label in zip(data.test.pairs, data.test.labels, strict=True)
    )
    assert read_labelled_texts(file, 0).test.pairs == data.test.pairs
    assert read_labelled_texts(file, 1).test.pairs != data.test.pairs


def test_the_split_column_decides(tmp_path: Path) -> None:
    rows = [
        {"text": f"{label} {split} {n}", "text_pair": None, "label": label, "split": split}
        for label in (10, 9)
        for split in ("train", "validation", "test")
        for n in range(2)
    ]
    rows[-1]["text"] = rows[-5]["text"]
    file = write(tmp_path / "a.jsonl", *map(json.dumps, rows))
    data = read_labelled_texts(file, 0)
    assert data.labels == ("9", "10")  # as numbers
    assert set(data.test.pairs) == {(row["text"], "") for row in rows if row["split"] == "test"}
    assert data.repeated() == 1
