"""The model card of a classifier: ``README.md`` of its run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from builder.classifier.config import ClassifierConfig
from builder.classifier.data import LabelledTexts
from builder.classifier.report import HEADINGS, PROTOCOL, Row
from builder.training.model_card import Backbone, card_head

_HUB_METRICS: Final = {"accuracy": "accuracy", "macro_f1": "f1", "roc_auc": "roc_auc"}
"""What the hub calls each of `HEADINGS`."""


def classifier_card(config: ClassifierConfig, data: LabelledTexts, rows: Sequence[Row]) -> str:
    """The card of the classifier that the last of ``rows`` is of."""
    name = config.data.name
    backbone = Backbone(config.backbone)
    figures = rows[-1].metrics
    head = card_head(
        f"{backbone.name} on {name}",
        backbone=backbone,
        library="transformers",
        pipeline="text-classification",
        tags=["text-classification", "triton"],
        task={"type": "text-classification", "name": "text classification"},
        data=name,
        metrics=[
            {"type": _HUB_METRICS[each], "name": heading, "value": round(figures[each], 4)}
            for each, heading in HEADINGS.items()
        ],
    )
    return _TEXT.format(
        head=head,
        base=backbone.name,
        data=name,
        labels="\n".join(_label_lines(data)),
        repeated=_repeated(data),
        protocol=PROTOCOL,
        headings=" | ".join(HEADINGS.values()),
        rows="\n".join(map(_line, rows)),
        own=rows[-1].name,
    )


def _label_lines(data: LabelledTexts) -> list[str]:
    parts = (data.train, data.validation, data.test)
    counts = [np.bincount(part.labels, minlength=len(data.labels)) for part in parts]
    return [
        f"| {_cell(label)} | {' | '.join(map(str, numbers))} |"
        for label, *numbers in zip(data.labels, *(each.tolist() for each in counts), strict=True)
    ]


def _cell(text: str) -> str:
    """A label as a cell of a table, which has one line and no bar."""
    return " ".join(text.split()).replace("|", "\\|")


def _repeated(data: LabelledTexts) -> str:
    number = data.repeated()
    if not number:
        return ""
    return (
        f"The texts of {number} of the {len(data.test)} test examples are in the training split "
        "too, so\nthe figures flatter the model.\n\n"
    )


def _line(row: Row) -> str:
    cells = [row.name, str(row.examples), *(f"{row.metrics[each]:.4f}" for each in HEADINGS)]
    return f"| {' | '.join(cells)} |"


_TEXT: Final = """---
{head}---

# {base}, fine-tuned to classify: {data}

A classifier of texts, and of pairs of texts. It was trained on `{data}`, from the backbone
`{base}`. These are its labels, and how many examples of each there were:

| label | training | validation | test |
|---|---:|---:|---:|
{labels}

## Figures

How they were measured: {protocol}. This model is *{own}*.

{repeated}| model | examples | {headings} |
|---|---:|---:|---:|---:|
{rows}

`metrics.json` has every option of the training and the versions that it ran with.

## Use

It loads in transformers:

```python
from transformers import pipeline

classify = pipeline("text-classification", model=".")
```

This serves it:

```console
$ pip install 'tritonrec[builder,embedded]'
$ python -m builder export --classifier .
$ python -m builder serve
```

An export is held against texts of the validation split, so `examples.jsonl` has some of them: think
of them before you publish this directory.
"""
