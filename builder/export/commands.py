"""``python -m builder export``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.data.config import ItemFileOptions
from builder.errors import ConfigError
from builder.export.layout import Limits
from builder.export.options import TargetOptions
from builder.options import Given, command
from builder.repository import DEFAULT_REPOSITORY
from model_repository.core.options import NO_POLICY

if TYPE_CHECKING:
    from builder.export.exportable import Exportable, Figures
    from builder.export.pipeline import Exported, Proof
    from builder.export.targets import Compiler

_MIB = 1 << 20
_OF_RECOMMENDERS = frozenset({"layout", "engine", "precision", "index"})
_CONTAINER = "\n(in Triton's container: the server that comes with pip has only the Python backend)"


@command
def export(
    checkpoint: Annotated[
        Path | None, typer.Option(help="A finished run of `python -m builder train`.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_NAME",
            help="Export a Hugging Face sequence classifier in place of a checkpoint, such as "
            "one of `python -m builder train-classifier`.",
        ),
    ] = None,
    repository: Annotated[
        Path, typer.Option(help="Model repository; made if missing, else it gets a new version.")
    ] = DEFAULT_REPOSITORY,
    target: Annotated[
        str, typer.Option(help="How the networks run in Triton; see --list-targets.")
    ] = "embedded",
    *,
    attributes: Annotated[
        str,
        typer.Option(
            metavar="NAME[:KIND],…",
            help="Columns of the item file that requests may filter and boost by, see "
            "docs/policy-expressions.md. A kind is text, number, boolean, list or date; it is "
            "guessed where none is named.",
        ),
    ] = "",
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="What recommend does unless a request says otherwise, see docs/policy.md.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    harmful_texts: Annotated[
        str,
        typer.Option(
            metavar="words|MODULE:FUNCTION",
            help="What marks items with the attribute `harmful` by their texts: English swear "
            "words, or a function of yours. The policy says what is done with them.",
        ),
    ] = "",
    target_options: Given[TargetOptions],
    limits: Given[Limits],
    proof: Annotated[
        Path | None,
        typer.Option(
            help="Directory for the engines and the report of a target that only checks. "
            "Default: build/<target>."
        ),
    ] = None,
    list_targets: Annotated[
        bool,
        typer.Option("--list-targets", help="List what this machine can build, and what it lacks."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compile a checkpoint and publish it as the next version of a model repository.

    The compiled engines are compared with PyTorch over a grid of shapes. They must recommend as
    well as the checkpoint on the validation users, or nothing is published. A classifier is
    compared with transformers, on texts and over a grid of shapes.

    Example: python -m builder export --checkpoint runs/monday --repository repository
    """
    if list_targets:
        _list_targets(as_json=as_json)
        return
    if (checkpoint is None) == (classifier is None):
        raise ConfigError(
            "name one thing to export: --checkpoint, a run of `python -m builder train`, or "
            "--classifier, a Hugging Face sequence classifier"
        )
    from builder import console
    from builder.export.pipeline import check_named, prove, publish, target_named
    from builder.export.targets import CHECKS

    options = target_options.make()
    if classifier is not None and (given := sorted(options.changed() & _OF_RECOMMENDERS)):
        raise ConfigError(
            f"{', '.join(f'--{name}' for name in given)}: only for a recommender; leave it out, "
            "since a classifier has one engine in each target"
        )
    columns = tuple(name for name in attributes.split(",") if name)
    rules = _Rules(columns, policy, harmful_texts)
    with console.progress_bars(shown=not as_json) as progress:
        done: Exported | Proof
        if target in CHECKS:
            check = check_named(target, options)
            found = _exportable(checkpoint, classifier, check, limits.make(), rules)
            done = prove(found, proof or Path("build") / target, check, progress=progress)
        else:
            chosen = target_named(target, options)
            found = _exportable(checkpoint, classifier, chosen, limits.make(), rules)
            done = publish(found, repository, chosen, progress=progress)
    typer.echo(json.dumps(done.to_dict(), indent=2) if as_json else _summary(done))


@command
def add_items(
    items: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Item file in the format of the training's. Items that the checkpoint knows "
            "stay as they are.",
            exists=True,
            dir_okay=False,
        ),
    ],
    repository: Annotated[
        Path, typer.Option(help="Model repository; it gets a new version.")
    ] = DEFAULT_REPOSITORY,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The run that the active version was exported from, if it was moved."),
    ] = None,
    *,
    reading: Given[ItemFileOptions],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Publish a version that can recommend new items, by their text, without training.

    The file must hold all items that are newer than the training, those of earlier calls included.

    Example: python -m builder add-items --items new.csv
    """
    from builder import console
    from builder.export.add_items import add_items as add

    options = reading.make()
    console.quiet_transformers()
    with console.progress_bars(shown=not as_json) as progress:
        done = add(repository, items, options, checkpoint=checkpoint, progress=progress)
    typer.echo(json.dumps(done.to_dict(), indent=2) if as_json else _summary(done))


@dataclass(frozen=True)
class _Rules:
    """What requests may name of the items, and what is done unless they say otherwise."""

    attributes: tuple[str, ...]
    policy: Path | None
    harmful_texts: str

    def refuse(self) -> None:
        """Raise ConfigError for any."""
        for name, value in vars(self).items():
            if value:
                flag = name.replace("_", "-")
                raise ConfigError(f"--{flag}: a classifier has no items; leave it out")


def _exportable(
    checkpoint: Path | None,
    classifier: str | None,
    compiler: Compiler,
    limits: Limits,
    rules: _Rules,
) -> Exportable:
    if checkpoint is not None:
        from builder.export.policy_file import read_policy_file
        from builder.export.recommender import recommender

        return recommender(
            checkpoint,
            compiler,
            limits,
            attributes=rules.attributes,
            policy=NO_POLICY if rules.policy is None else read_policy_file(rules.policy),
            harmful_texts=rules.harmful_texts,
        )
    from builder.export.classifier import classifier as classifier_of

    rules.refuse()
    return classifier_of(str(classifier), limits)


def _summary(done: Exported | Proof) -> str:
    from builder.export.pipeline import Exported

    if isinstance(done, Exported):
        return (
            f"Published version {done.version} of {done.repository} (target {done.target})\n"
            f"{_attributes_text(done.details)}"
            f"{_figures_text(done.figures)}\n"
            f"Serve it: python -m builder serve --repository {done.repository}"
            f"{'' if done.target == 'embedded' else _CONTAINER}"
        )
    built = "\n".join(
        f"  {name:<13}{built.file.stat().st_size / _MIB:7.1f} MiB in {built.seconds:.1f} s  "
        f"{built.file}"
        for name, built in done.built.items()
    )
    plural = "s" * (len(done.built) > 1)
    return (
        f"Built {len(done.built)} FP16 engine{plural} with {done.engine['engine']} "
        f"{done.engine['version']} for {done.engine['compute_capability']}\n{built}\n"
        "This is a proof and no repository: NVIDIA's parser and builder accept the graphs. No "
        "engine\nwas executed, since that takes a GPU; Triton cannot load them; nothing was "
        "published.\n"
        "The FP16 graphs that were compiled, in ONNX Runtime on the CPU:\n"
        f"{_figures_text(done.figures)}"
    )


def _attributes_text(details: Mapping[str, Any]) -> str:
    kinds = details.get("attributes")
    if not kinds:
        return ""
    return f"  attributes  {', '.join(f'{name}:{kind}' for name, kind in kinds.items())}\n"


def _figures_text(figures: Figures) -> str:
    worst = max(figures.parity, key=lambda figure: figure.difference / figure.bound)
    farthest = (
        f"{worst.model} {worst.output}, by {worst.difference:.1e} ({worst.bound:.0e} allowed)"
    )
    lines = [f"parity   {len(figures.parity)} comparisons with PyTorch; the farthest, {farthest}"]
    if ranking := figures.ranking:
        lines.append(
            f"ranking  NDCG@10 {ranking.engine:.4f}, checkpoint {ranking.checkpoint:.4f}, on "
            f"{ranking.users} validation users"
        )
    if texts := figures.texts:
        lines.append(
            f"texts    NDCG@10 {texts.engine:.4f} on new texts, checkpoint {texts.checkpoint:.4f}"
        )
    if index := figures.index:
        lines.append(
            f"index    finds {index.recall:.4f} of the best 100 items, {index.bound} required, on "
            f"{index.users} validation users; {index.probes} of {index.lists} lists are read"
        )
    lines += [
        f"alike    finds {each.recall:.4f} of the most similar {each.of}; {each.probes} of "
        f"{each.lists} lists are read"
        for each in figures.alike
    ]
    return "\n".join(f"  {line}" for line in lines)


def _list_targets(*, as_json: bool) -> None:
    from builder.export.targets import CHECKS, TARGETS

    rows = [
        {
            "target": name,
            "summary": target.summary,
            "published": name in TARGETS,
            "missing": target().missing(),
        }
        for name, target in (*TARGETS.items(), *CHECKS.items())
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max(len(str(row["target"])) for row in rows) + 2
    for row in rows:
        state = "ready" if row["missing"] is None else f"lacks {row['missing']}"
        typer.echo(f"{row['target']:<{width}}{row['summary']}\n{'':<{width}}{state}")
