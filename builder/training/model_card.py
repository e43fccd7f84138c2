"""The model card: ``README.md`` of a run, with the head that Hugging Face's hub reads."""

from __future__ import annotations

from collections.abc import Sequence
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


def model_card(
    config: TrainingConfig, model: Recommender, split: Split, rows: Sequence[Row], name: str
) -> str:
    """The card of `model`. ``name`` is that of its rows, such as "fine-tuned: "."""
    data = config.data.directory.name
    backbone = Path(config.backbone)
    # The path of a directory says something of this machine alone.
    base = backbone.name if backbone.exists() else config.backbone
    tested = [row for row in rows if row.name.startswith(name)]
    head: dict[str, Any] = {
        "library_name": "tritonrec",
        "pipeline_tag": "feature-extraction",
        "tags": ["recommendation", "sequential-recommendation", "triton"],
        **({} if backbone.exists() else {"base_model": config.backbone}),
        "model-index": [{"name": f"{base} on {data}", "results": [_result(data, tested[0])]}],
    }
    return _TEXT.format(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True),
        base=base,
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


def _result(data: str, row: Row) -> dict[str, Any]:
    return {
        "task": {"type": "recommendation", "name": "next item"},
        "dataset": {"type": data, "name": data, "split": "test"},
        "metrics": [
            {"type": each.replace("@", "_at_"), "name": each, "value": round(row.metrics[each], 4)}
            for each in _METRICS
        ],
    }


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
$ python -m builder export --checkpoint .
$ python -m builder serve
```

{sentences}

An export is held against the validation users, so `validation.parquet` has their ids and histories:
think of them before you publish this directory.
"""
