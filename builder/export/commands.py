"""``python -m builder export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from builder.errors import ConfigError

if TYPE_CHECKING:
    from builder.export.pipeline import Exported, Limits
    from builder.export.proof import Proof
    from builder.export.targets import TargetOptions
    from builder.progress import Progress

_MIB = 1 << 20


def export(
    checkpoint: Annotated[
        Path | None, typer.Option(help="A finished run of `python -m builder train`.")
    ] = None,
    repository: Annotated[
        Path, typer.Option(help="Model repository; made, or given its next version.")
    ] = Path("model_repository"),
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
        int, typer.Option(help="Most user requests that are tokenized as one batch.")
    ] = 64,
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
    as the checkpoint on the validation users. If they do not, nothing is published.
    """
    if list_targets:
        _list_targets(as_json=as_json)
        return
    if checkpoint is None:
        raise ConfigError("--checkpoint is missing: name a run of `python -m builder train`")
    from builder import console
    from builder.export.pipeline import Limits
    from builder.export.targets import CHECKS, TargetOptions

    options = TargetOptions(
        device=device,  # type: ignore[arg-type] # checked there
        optimization_level=optimization_level,
        workspace_mib=workspace_mib,
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,  # type: ignore[arg-type]
    )
    limits = Limits(max_top_k, max_rows, max_users)
    with console.progress_bars(shown=not as_json) as progress:
        done: Exported | Proof
        if target in CHECKS:
            done = _prove(checkpoint, proof, target, options, limits, progress)
        else:
            done = _export(checkpoint, repository, target, options, limits, progress)
    typer.echo(json.dumps(done.to_dict(), indent=2) if as_json else _told(done))


def _export(
    checkpoint: Path,
    repository: Path,
    target: str,
    options: TargetOptions,
    limits: Limits,
    progress: Progress,
) -> Exported:
    from builder.export.pipeline import export as run
    from builder.export.pipeline import target_named

    return run(checkpoint, repository, target_named(target, options), limits, progress=progress)


def _prove(
    checkpoint: Path,
    directory: Path | None,
    target: str,
    options: TargetOptions,
    limits: Limits,
    progress: Progress,
) -> Proof:
    from builder.export.pipeline import check_named
    from builder.export.proof import prove

    where = directory or Path("build") / target
    return prove(checkpoint, where, check_named(target, options), limits, progress=progress)


def _told(done: Exported | Proof) -> str:
    from builder.export.pipeline import Exported

    return _told_export(done) if isinstance(done, Exported) else _told_proof(done)


def _told_export(done: Exported) -> str:
    return (
        f"Published version {done.version} of {done.repository} (target {done.target})\n"
        f"{_told_figures(done)}\n"
        f"Serve it: python -m builder serve --repository {done.repository}"
    )


def _told_proof(done: Proof) -> str:
    built = "\n".join(
        f"  {name:<10}{built.file.stat().st_size / _MIB:7.1f} MiB in {built.seconds:.1f} s  "
        f"{built.file}"
        for name, built in done.built.items()
    )
    return (
        f"Built {len(done.built)} FP16 engines with {done.engine['engine']} "
        f"{done.engine['version']} for {done.engine['compute_capability']}\n{built}\n"
        "This is a proof and no repository: NVIDIA's parser and builder accept the graphs. The "
        "engines\nwere not executed, since that takes a GPU; Triton cannot load them; nothing was "
        "published.\n"
        "The FP16 graphs that they were built from, in ONNX Runtime on the CPU:\n"
        f"{_told_figures(done.figures)}"
    )


def _told_figures(figures: Any) -> str:
    worst = max(figures.parity, key=lambda figure: figure.difference / figure.bound)
    ranking = figures.ranking
    return (
        f"  parity   {len(figures.parity)} outputs agree with PyTorch; the farthest, "
        f"{worst.model}.{worst.output}, by {worst.difference:.1e} standard deviations "
        f"({worst.bound:.0e} allowed)\n"
        f"  ranking  NDCG@10 {ranking.engine:.4f}, checkpoint {ranking.checkpoint:.4f}, on "
        f"{ranking.users} validation users"
    )


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
