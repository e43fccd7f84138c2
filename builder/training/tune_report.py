"""The result of a study as tables and as a drawing."""

from __future__ import annotations

import io
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from builder.training.tune import StudyResult, short

_SHOWN: Final = 5


def tables(result: StudyResult) -> list[Table]:
    """The best trials, their options by importance."""
    best = result.finished[:_SHOWN]
    names = list(best[0].params) if best else []
    names.sort(key=lambda name: -result.importances.get(name, 0.0))
    table = Table(
        title=f"{len(result.finished)} trials finished, {result.pruned} given up",
        caption="NDCG@10 on the validation users. Importance: share in what sets the best apart.",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("", no_wrap=True)
    table.add_column("importance" if result.importances else "", justify="right", no_wrap=True)
    for trial in best:
        table.add_column(f"trial {trial.number}", justify="right", no_wrap=True)
    table.add_row("mean", "", *(f"{trial.value:.4f}" for trial in best))
    for label, name in (("full model", "ndcg@10"), ("text alone", "ndcg@10_text")):
        table.add_row(label, "", *(f"{trial.user_attrs[name]:.4f}" for trial in best))
    for name in names:
        share = f"{result.importances[name]:.0%}" if name in result.importances else ""
        table.add_row(Text(name), share, *(short(trial.params[name]) for trial in best))
    return [table]


def drawing(result: StudyResult) -> str:
    """The figure of each trial beside the best so far, and the importances; an SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    finished = sorted(result.finished, key=lambda trial: trial.number)
    numbers = [trial.number for trial in finished]
    values = [trial.value or 0.0 for trial in finished]
    left.plot(numbers, values, "o", color="#8a94a0", label="trial")
    so_far = [max(values[: place + 1]) for place in range(len(values))]
    left.step(numbers, so_far, where="post", color="#1f5fa8", label="best so far")
    left.set_xlabel("trial")
    left.set_ylabel("validation NDCG@10")
    left.legend(frameon=False)
    names = list(result.importances)
    right.barh(names, [result.importances[name] for name in names], color="#1f5fa8")
    right.invert_yaxis()
    right.set_xlabel("importance")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "tritonrec"}):  # the same figures give the same drawing
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
