"""The model card: ``README.md`` of a run, with the head that Hugging Face's hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from builder.data import Split
from builder.evaluation.report import PROTOCOL, Row
from builder.model.recommender import Recommender
from builder.training.config import TrainingConfig

_INTERVAL: Final = 1.96
"""Standard errors on either side of a mean, for 95 %."""
_METRICS: Final = ("ndcg@10", "hr@10", "mrr")


@dataclass(frozen=True, slots=True)
class Backbone:
    """What a model was fine-tuned from, by directory or hub name."""

    source: str

    @property
    def on_hub(self) -> bool:
        return not Path(self.source).exists()

    @property
    def name(self) -> str:
        """For readers elsewhere: the path of a directory says something of this machine alone."""
        return self.source if self.on_hub else Path(self.source).name


def card_head(
    title: str,
    *,
    backbone: Backbone,
    library: str,
    pipeline: str,
    tags: Sequence[str],
    task: Mapping[str, str],
    data: str,
    metrics: Sequence[Mapping[str, Any]],
) -> str:
    """The head that the hub reads, as YAML: what the model is, and its ``metrics`` on ``data``.

    It names no license, since nobody said one.
    """
    result = {
        "task": dict(task),
        "dataset": {"type": data, "name": data, "split": "test"},
        "metrics": [dict(each) for each in metrics],
    }
    head: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": pipeline,
        "tags": list(tags),
        **({"base_model": backbone.source} if backbone.on_hub else {}),
        "model-index": [{"name": title, "results": [result]}],
    }
    text: str = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    return text


def model_card(
    config: TrainingConfig, model: Recommender, split: Split, rows: Sequence[Row], name: str
) -> str:
    """The card of `model`. ``name`` is that of its rows, such as "fine-tuned: "."""
    data = config.data.directory.name
    backbone = Backbone(config.backbone)
    tested = [row for row in rows if row.name.startswith(name)]
    figures = tested[0].metrics
    head = card_head(
        f"{backbone.name} on {data}",
        backbone=backbone,
        library="tritonrec",
        pipeline="feature-extraction",
        tags=["recommendation", "sequential-recommendation", "triton"],
        task={"type": "recommendation", "name": "next item"},
        data=data,
        metrics=[
            {"type": each.replace("@", "_at_"), "name": each, "value": round(figures[each], 4)}
            for each in _METRICS
        ],
    )
    return _TEXT.format(
        head=head,
        base=backbone.name,
        data=data,
        items=len(model.catalogue),
        users=len(split.train),
        events=len(split.train.items),
        split=config.split,
        protocol=PROTOCOL,
        rows="\n".join(map(_line, rows)),
        own=name.removesuffix(": "),
        refitted=_REFITTED if config.refit == "all" else "",
        sentences=_NO_SENTENCES if model.encoder.pooling == "attention" else _SENTENCES,
    )


def _line(row: Row) -> str:
    mean, half = row.metrics["ndcg@10"], _INTERVAL * row.ndcg_standard_error
    others = [f"{row.metrics[each]:.4f}" for each in _METRICS[1:]]
    error = "" if row.ece is None else f"{row.ece:.3f}"
    cells = [row.name, str(row.users), f"{mean:.4f} ± {half:.4f}", *others, error]
    return f"| {' | '.join(cells)} |"


_REFITTED: Final = (
    "After these figures were measured, the model was trained again on all events, the tested\n"
    "ones too. They are of the model before.\n\n"
)
_NO_SENTENCES: Final = "The encoder pools by attention, so it loads with this software alone."
_SENTENCES: Final = """\
The encoder loads in sentence-transformers, with the vectors that the server gives:

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("encoder").encode(["a space opera"])
```"""
_TEXT: Final = """---
{head}---

# {base}, fine-tuned to recommend: {data}

A recommender: the order in which users met items, and the texts of the items, give what a user
wants next. It was trained on {events:,} events of {users:,} users and {items:,} items of `{data}`,
from the backbone `{base}`.

## Figures

Held-out events ({split}): {protocol}. This model is *{own}*.

{refitted}| model | events | NDCG@10, 95 % | HR@10 | MRR | calibration error |
|---|---:|---:|---:|---:|---:|
{rows}

`config.json` has every option of the training and the versions that it ran with.

## Use

```console
$ pip install 'tritonrec[builder,embedded]'
$ tritonrec export --checkpoint .
$ tritonrec serve
```

{sentences}

An export is held against the validation users, so `validation.parquet` has their ids and histories:
think of them before you publish this directory.
"""
