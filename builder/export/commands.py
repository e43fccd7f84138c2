"""``python -m builder export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.errors import ConfigError
from builder.repository import DEFAULT_REPOSITORY

if TYPE_CHECKING:
    from builder.export.base import Exportable, Figures
    from builder.export.layout import Limits
    from builder.export.pipeline import Exported, Proof
    from builder.export.targets import Compiler
    from builder.progress import Progress

_MIB = 1 << 20
_CONTAINER = "\n(in Triton's container: the server that comes with pip has only the Python backend)"


def export(
    checkpoint: Annotated[
        Path | None, typer.Option(help="A finished run of `python -m builder train`.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            metavar="PATH_OR_NAME",
            help="Instead of a checkpoint: a Hugging Face sequence classifier, such as one of "
            "`python -m builder train-classifier`.",
        ),
    ] = None,
    repository: Annotated[
        Path, typer.Option(help="Model repository; made, or given its next version.")
    ] = DEFAULT_REPOSITORY,
    target: Annotated[
        str, typer.Option(help="How the networks run in Triton; see --list-targets.")
    ] = "embedded",
    *,
    max_top_k: Annotated[
        int, typer.Option(help="Most items that one request may ask to be recommended.")
    ] = 500,
    max_rows: Annotated[
        int, typer.Option(help="Largest batch of texts, and most unknown texts of a request.")
    ] = 128,
    max_users: Annotated[
        int, typer.Option(help="Most user requests that are worked on as one batch.")
    ] = 64,
    instances: Annotated[
        int,
        typer.Option(
            help="Copies of each model. More of them use more cores at a time, for the same memory "
            "of the catalogue."
        ),
    ] = 1,
    queue_delay: Annotated[
        int,
        typer.Option(
            metavar="MICROSECONDS",
            help="Longest that a request waits for others to be worked on with.",
        ),
    ] = 0,
    cached_texts: Annotated[
        int,
        typer.Option(
            help="embedded, fused: texts whose vectors are remembered, some 2 KB each; 0: none."
        ),
    ] = 10_000,
    layout: Annotated[
        str,
        typer.Option(
            help="embedded: fused (each of rank, recommend and encode in one process: several "
            "times faster) or ensemble (a model for each step, as in the container)."
        ),
    ] = "fused",
    engine: Annotated[
        str,
        typer.Option(
            help="embedded, fused: what runs BERT: onnxruntime, openvino, or auto, the faster of "
            "the two on this machine. The server needs it, too."
        ),
    ] = "onnxruntime",
    precision: Annotated[
        str,
        typer.Option(
            help="embedded, fused: what BERT computes in: fp32, bf16 (OpenVINO, on processors with "
            "instructions for it) or int8 (ONNX Runtime)."
        ),
    ] = "fp32",
    index: Annotated[
        str,
        typer.Option(
            help="How recommend searches the catalogue: exact, approximate (an "
            "index of FAISS, `pip install 'tritonrec[index]'`, published only if it finds .99 of "
            "the best 100 items), or auto: exact below 50,000 items. The server needs FAISS, too."
        ),
    ] = "auto",
    attributes: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Columns of the item file that the policy stages of the server may read.",
        ),
    ] = "",
    device: Annotated[str, typer.Option(help="onnxruntime: cpu, cuda, or cuda+tensorrt.")] = "cpu",
    optimization_level: Annotated[
        int, typer.Option(help="tensorrt: 0 (builds fast) to 5 (tries most kernels).")
    ] = 3,
    workspace_mib: Annotated[
        int, typer.Option(help="tensorrt: most GPU memory for intermediate results.")
    ] = 4096,
    timing_cache: Annotated[
        Path, typer.Option(help="tensorrt: file of measured kernel times, kept between builds.")
    ] = Path("build/tensorrt.timing"),
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="tensorrt: later versions of TensorRT load the engine too.",
        ),
    ] = False,
    hardware_compatibility: Annotated[
        str,
        typer.Option(
            help="tensorrt: GPUs that the engine runs on: none (the kind it was built on), "
            "same_compute_capability, or ampere_plus."
        ),
    ] = "none",
    proof: Annotated[
        Path | None,
        typer.Option(
            help="Where a target that only checks puts its engines and its report; "
            "build/<target> unless given."
        ),
    ] = None,
    list_targets: Annotated[
        bool,
        typer.Option("--list-targets", help="Say what this machine can build, and what it lacks."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Compile a checkpoint and publish it as the next version of a model repository.

    The compiled engines are held against PyTorch over a grid of shapes, and must recommend as well
    as the checkpoint on the validation users. If they do not, nothing is published. A classifier
    is held against transformers, on texts and over a grid of shapes.
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
    from builder.export.layout import Limits
    from builder.export.pipeline import check_named, prove, publish, target_named
    from builder.export.targets import CHECKS, TargetOptions

    options = TargetOptions(
        layout=layout,  # type: ignore[arg-type] # checked there
        engine=engine,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        index=index,  # type: ignore[arg-type]
        device=device,  # type: ignore[arg-type] # checked there
        optimization_level=optimization_level,
        workspace_mib=workspace_mib,
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,  # type: ignore[arg-type]
    )
    limits = Limits(max_top_k, max_rows, max_users, cached_texts, instances, queue_delay)
    columns = tuple(name for name in attributes.split(",") if name)
    with console.progress_bars(shown=not as_json) as progress:
        done: Exported | Proof
        if target in CHECKS:
            check = check_named(target, options)
            found = _exportable(checkpoint, classifier, check, limits, columns, progress)
            done = prove(found, proof or Path("build") / target, check, progress=progress)
        else:
            chosen = target_named(target, options)
            found = _exportable(checkpoint, classifier, chosen, limits, columns, progress)
            done = publish(found, repository, chosen, progress=progress)
    typer.echo(json.dumps(done.to_dict(), indent=2) if as_json else _told(done))


def add_items(
    items: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Items in the format of the training's; those that it knew are left as they are.",
            exists=True,
            dir_okay=False,
        ),
    ],
    repository: Annotated[
        Path, typer.Option(help="Model repository; given its next version.")
    ] = DEFAULT_REPOSITORY,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where the run is that the active version was exported from, if moved."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Publish a version that can recommend new items, by their text, without training.

    The file must hold all items that are newer than the training, those of earlier calls included.
    """
    from builder import console
    from builder.export.add_items import add_items as add

    console.quiet_transformers()
    with console.progress_bars(shown=not as_json) as progress:
        done = add(repository, items, checkpoint=checkpoint, progress=progress)
    typer.echo(json.dumps(done.to_dict(), indent=2) if as_json else _told(done))


def _exportable(
    checkpoint: Path | None,
    classifier: str | None,
    compiler: Compiler,
    limits: Limits,
    attributes: tuple[str, ...],
    progress: Progress,
) -> Exportable:
    if checkpoint is not None:
        from builder.export.recommender import recommender

        return recommender(checkpoint, compiler, limits, attributes=attributes, progress=progress)
    from builder.export.classifier import classifier as classifier_of

    if attributes:
        raise ConfigError("--attributes: a classifier has no items")
    return classifier_of(str(classifier), limits)


def _told(done: Exported | Proof) -> str:
    from builder.export.pipeline import Exported

    if isinstance(done, Exported):
        return (
            f"Published version {done.version} of {done.repository} (target {done.target})\n"
            f"{_told_figures(done.figures)}\n"
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
        f"{_told_figures(done.figures)}"
    )


def _told_figures(figures: Figures) -> str:
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
    for row in rows:
        state = "ready" if row["missing"] is None else f"lacks {row['missing']}"
        typer.echo(f"{row['target']:<14}{row['summary']}\n{'':<14}{state}")
