"""``python -m builder evaluate``, ``compare`` and ``baselines``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder import console
from builder.data.config import DataConfig
from builder.data.splits import Method
from builder.errors import ConfigError
from builder.options import Given, command
from builder.training.config import TrainingConfig

if TYPE_CHECKING:
    from rich.table import Table

    from builder.reports.figures import Figures

AsJson = Annotated[bool, typer.Option("--json", help="Write the figures as JSON, and no progress.")]
Replay = Annotated[
    bool,
    typer.Option(
        "--replay",
        help="Ask about the events of the test window in the order of time, at most 2,000 of them, "
        "each with everything before it in histories and counts. Needs --split temporal.",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write the figures and plots as one HTML page too."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Directory of the data. Default: where training read it. It is read with the "
        "same options.",
    ),
]


@command
def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Checkpoint made by `python -m builder train`.")
    ],
    *,
    data: Data = None,
    with_baselines: Annotated[
        bool,
        typer.Option("--baselines/--no-baselines", help="Include baselines; SASRec is left out."),
    ] = True,
    replay: Replay = False,
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML with options of `recommend`, as in `diversity: 0.5`: the lists with them, "
            "beside those without.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the item file: what share of the lists each of its values has.",
        ),
    ] = None,
    by_user: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of the user file: how good the lists of each group of users are.",
        ),
    ] = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Rank the whole catalogue for every test user and print the figures.

    The figures have 95 % bootstrap intervals over users, and are also given by length of history
    and by popularity of the item. Beyond-accuracy metrics are coverage, novelty, diversity and
    popularity. A run trained with --hold-out-items has figures for its held-out items too.

    With --policy, --by or --by-user it makes whole lists of 10 by the code that serves, and prints
    their figures instead.

    Example: python -m builder evaluate runs/monday --html monday.html
    """
    if policy is not None or by is not None or by_user is not None:
        if html is not None:
            raise ConfigError(
                "--html shows no lists; leave it out, or --policy, --by and --by-user"
            )
        _show_lists(
            run, data, policy=policy, by=by, by_user=by_user, replay=replay, as_json=as_json
        )
        return
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.reports.figures import run_figures
    from builder.reports.html_page import run_page
    from builder.reports.html_parts import check_page, write_page
    from builder.reports.tables import run_tables
    from builder.reports.trained_run import load_run

    if html is not None:
        check_page(html)
    console.quiet_transformers()
    with console.progress_bars(shown=not as_json) as progress:
        loaded = load_run(run, data, replay=replay)
        figures = run_figures(loaded, with_baselines=with_baselines, progress=progress)
    _tell(figures, run_tables, as_json=as_json)
    if html is not None:  # last, for a disk that is full loses no figures then
        write_page(html, run_page(figures))


def _tell(figures: Figures, tables: Callable[[Figures], list[Table]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        console.show(*tables(figures))


def _show_lists(
    directory: Path,
    data: Path | None,
    *,
    policy: Path | None,
    by: str | None,
    by_user: str | None,
    replay: bool,
    as_json: bool,
) -> None:
    from builder.reports.lists import list_figures, list_tables, read_policy
    from builder.reports.trained_run import load_run, user_values

    console.quiet_transformers()
    with console.progress_bars(shown=not as_json) as progress:
        run = load_run(directory, data, replay=replay)
        options = None if policy is None else read_policy(policy)
        users = None if by_user is None else user_values(run, by_user)
        figures = list_figures(run, options, by=by, users=users, progress=progress)
    _tell(figures, list_tables, as_json=as_json)


@command
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A checkpoint.")],
    second: Annotated[
        Path, typer.Argument(metavar="RUN_B", help="Another checkpoint, tested on the same users.")
    ],
    *,
    data: Data = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Test whether RUN_B is better than RUN_A, or the difference is chance.

    Both rank for the same test users. The difference has a 95 % paired bootstrap interval and the
    p-value of a paired randomisation test. Decide on NDCG@10: of many metrics, one will look
    significant by chance.

    Example: python -m builder compare runs/monday runs/tuesday
    """
    from builder.reports.figures import compared_figures
    from builder.reports.html_page import comparison_page
    from builder.reports.html_parts import check_page, write_page
    from builder.reports.tables import comparison_tables
    from builder.reports.trained_run import load_run

    if html is not None:
        check_page(html)
    console.quiet_transformers()
    figures = compared_figures(load_run(first, data), load_run(second, data))
    _tell(figures, comparison_tables, as_json=as_json)
    if html is not None:
        write_page(html, comparison_page(figures))


@command
def baselines(
    *,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory of the log and the items; or give --against."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="A checkpoint to compare with the baselines, on its own data and split; "
            "--data then only says where that data is now.",
        ),
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Scores that another program wrote: an .npz with user_ids, item_ids and scores "
            "[users, items] after each test history. Repeatable.",
        ),
    ] = None,
    with_sasrec: Annotated[
        bool, typer.Option("--sasrec/--no-sasrec", help="Train SASRec too, which takes minutes.")
    ] = True,
    replay: Replay = False,
    as_json: AsJson = False,
    data_options: Given[DataConfig],
    split: Annotated[Method, typer.Option(help="As in `train`.")] = TrainingConfig.split,
    seed: Annotated[int, typer.Option(help="As in `train`.")] = TrainingConfig.seed,
) -> None:
    """Train and test the baselines, under the protocol of `evaluate`.

    SASRec is the network of the model without text; ALS needs the package implicit. Their
    parameters are chosen on validation.

    Example: python -m builder baselines --against runs/monday
    """
    recorded = _files_by_name(scores or ())
    if against is None and data is None:
        raise ConfigError("give --data DIR, or --against RUN to use the data of a checkpoint")
    # Imported here: it takes seconds, and --help needs none of it.
    from builder.reports.baselines import BaselineTask, baseline_figures
    from builder.reports.tables import rows_tables
    from builder.reports.trained_run import load_run

    console.quiet_transformers()
    if against is not None:
        task = BaselineTask.against(load_run(against, data, replay=replay))
    elif data is not None:
        config = data_options.make(directory=data.absolute())
        training = TrainingConfig(config, backbone="", split=split, seed=seed)
        task = BaselineTask.of_data(training, replay=replay)
    with console.progress_bars(shown=not as_json) as progress:
        figures = baseline_figures(task, recorded, with_sasrec=with_sasrec, progress=progress)
    _tell(figures, rows_tables, as_json=as_json)


def _files_by_name(entries: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for entry in entries:
        name, equals, file = entry.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"--scores {entry!r}: write NAME=FILE, as in RecBole=scores.npz")
        if name in files:
            raise ConfigError(f"--scores {entry!r}: {name} has {files[name]}; give another name")
        files[name] = Path(file)
    return files
