"""``python -m perf quality``: how well the defaults rank, on several sets and beside the baselines.

Each set is trained on by the command that a user would give, and tested by `evaluate` and
`baselines`, each in a process of its own. What these write is kept, so that a bench that was
stopped goes on where it was. The baselines have one seed, which most of them do not depend on.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from builder.options import command
from perf.errors import PerfError
from perf.machine import describe_machine, describe_versions
from perf.measured_command import run_command
from perf.options import Json, note
from perf.quality_sets import SETS, QualitySet
from perf.quality_table import markdown, summary
from perf.report import FORMAT

_OUTPUT: Final = Path(__file__).with_name("results") / "quality"
_SETTINGS: Final = "settings.json"


@dataclass(frozen=True)
class Bench:
    """One bench: where sets, pretrained BERT and results are, and what takes part.

    Attributes
    ----------
    scores
        Name of a set → arguments ``NAME=FILE`` of `baselines --scores`.
    options
        More options of `train`; none but where the bench itself is tried out.
    """

    sets: Path
    backbone: Path
    seeds: int
    output: Path
    scores: Mapping[str, Sequence[str]]
    options: tuple[str, ...] = ()


@command
def quality(
    *,
    sets: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Directory of the data sets: "
            f"{', '.join(dict.fromkeys(each.source for each in SETS))}. Those that it does not "
            "have are named and left out.",
        ),
    ],
    backbone: Annotated[
        Path, typer.Option(metavar="DIR", help="The pretrained BERT that is fine-tuned.")
    ] = Path(".data/minilm"),
    seeds: Annotated[int, typer.Option(help="Trainings on each set, by seed from 0.", min=1)] = 3,
    only: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Some of the sets. Default: all.")
    ] = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET:NAME=FILE",
            help="Scores of another program for a set, as for `builder baselines --scores`. "
            "Repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory of runs, figures and the table.")
    ] = _OUTPUT,
    as_json: Json = False,
) -> None:
    """Train with defaults on several data sets and test beside the baselines: one table.

    The baselines are made once, with seed 0.

    The sets are MovieLens-100K and two others, slices of them that imitate other shapes of data,
    and a temporal split with its replay. Repeat the command to go on after a stop: what is done is
    not run again.

    Example: python -m perf quality --sets .data --seeds 3
    """
    names = [each.name for each in SETS]
    given: dict[str, list[str]] = defaultdict(list)
    for text in scores or ():
        name, _, entry = text.partition(":")
        if name not in names or "=" not in entry:
            raise PerfError(
                f"--scores {text!r}: write SET:NAME=FILE with a set of {', '.join(names)}"
            )
        program, _, file = entry.partition("=")
        given[name].append(f"{program}={Path(file).absolute()}")
    chosen = names if only is None else only.split(",")
    if unknown := [name for name in chosen if name not in names]:
        raise PerfError(f"--only {','.join(unknown)}: there are {', '.join(names)}")
    bench = Bench(sets.absolute(), backbone.absolute(), seeds, output.absolute(), given)
    report = run_bench(bench, [each for each in SETS if each.name in chosen])
    text = markdown(report)
    typer.echo(json.dumps(report) if as_json else text, nl=as_json)
    note(f"written to {output / 'quality'}.json and .md")
    if report["failed"]:
        raise PerfError("\n".join(f"{name}: {why}" for name, why in report["failed"].items()))


def run_bench(bench: Bench, sets: Sequence[QualitySet]) -> dict[str, Any]:
    """Train and test on each set that is there; write the report, and return it.

    A set that fails is left out and named in ``failed``, one that is not there in ``absent``.

    Raises
    ------
    PerfError
        None of the sets is there, or the output is of a bench with other settings.
    """
    absent = [each.name for each in sets if not (bench.sets / each.source).is_dir()]
    for name in absent:
        note(f"{name}: left out, it is not in {bench.sets}")
    if len(absent) == len(sets):
        raise PerfError(f"none of the sets is in {bench.sets}; name their directory with --sets")
    _check_settings(bench)
    failed: dict[str, str] = {}
    tested: dict[str, list[list[dict[str, Any]]]] = {}
    costs: dict[str, list[dict[str, float]]] = {}
    for each in sets:
        if each.name in absent:
            continue
        try:
            data = each.directory(bench.sets, bench.output / "sets")
            seeds = [_of_seed(bench, each, data, seed) for seed in range(bench.seeds)]
        except PerfError as error:
            note(f"{each.name}: {error}")
            failed[each.name] = str(error)
            continue
        costs[each.name] = [cost for cost, _ in seeds]
        for test in seeds[0][1]:
            tested[test] = [rows[test] for _, rows in seeds]
    report = {
        "format": FORMAT,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "seeds": bench.seeds,
        "rows": summary(tested),
        "training": costs,
        "absent": absent,
        "failed": failed,
    }
    _write(bench.output / "quality.json", report)
    (bench.output / "quality.md").write_text(markdown(report), "utf-8")
    return report


def _check_settings(bench: Bench) -> None:
    """What is there already was trained from this BERT, with these options, on these sets."""
    settings = {
        "sets": str(bench.sets),
        "backbone": str(bench.backbone),
        "options": list(bench.options),
    }
    file = bench.output / _SETTINGS
    if not file.exists():
        bench.output.mkdir(parents=True, exist_ok=True)
        _write(file, settings)
    elif json.loads(file.read_text("utf-8")) != settings:
        raise PerfError(
            f"{bench.output} has results with other --sets or another --backbone; give another "
            "--output"
        )


def _of_seed(
    bench: Bench, each: QualitySet, data: Path, seed: int
) -> tuple[dict[str, float], dict[str, list[dict[str, Any]]]]:
    """What a training cost, and the rows of each test by its name."""
    directory = bench.output / each.name.replace(" ", "-") / f"seed-{seed}"
    directory.mkdir(parents=True, exist_ok=True)
    run, cost = directory / "run", directory / "train.json"
    if not cost.exists():
        note(f"{each.name}, seed {seed}: training")
        # Of a training that was stopped nobody knows what it cost.
        for left in (run, run.with_name("run.partial")):
            shutil.rmtree(left, ignore_errors=True)
        usage = run_command(
            [
                *("builder", "train", "--data", str(data), "--backbone", str(bench.backbone)),
                *(*each.options, *bench.options, "--seed", str(seed), "--output", str(run)),
            ],
            log=directory / "train.log",
        )
        _write(cost, asdict(usage))
    tests = {each.name: list[str]()}
    if each.temporal:
        tests[f"{each.name}, replay"] = ["--replay"]
    rows = {
        name: _tested(directory, run, seed, name, options, bench.scores.get(name, ()))
        for name, options in tests.items()
    }
    return json.loads(cost.read_text("utf-8")), rows


def _tested(
    directory: Path, run: Path, seed: int, name: str, options: list[str], scores: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of the model's parts, then with seed 0 of the baselines and other programs."""
    suffix = "-replay" if options else ""
    parts, others = directory / f"parts{suffix}.json", directory / f"baselines{suffix}.json"
    peers = [entry.partition("=")[0] for entry in scores]
    if not parts.exists():
        _figures(["evaluate", str(run), "--no-baselines", *options], parts)
    if seed:
        return _rows(parts)
    if not others.exists() or not set(peers) <= {row["name"] for row in _rows(others)}:
        note(f"{name}, {directory.name}: baselines")
        given = [word for entry in scores for word in ("--scores", entry)]
        _figures(["baselines", "--against", str(run), *options, *given], others)
    model = _rows(parts)
    own = {row["name"] for row in model}
    return [*model, *(row for row in _rows(others) if row["name"] not in own)]


def _figures(arguments: list[str], file: Path) -> None:
    partial = file.with_suffix(".partial")
    run_command(["builder", *arguments, "--json"], output=partial, log=file.with_suffix(".log"))
    partial.replace(file)


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["rows"]
    return rows


def _write(file: Path, values: Mapping[str, Any]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(values, indent=1), "utf-8")
    partial.replace(file)
