"""New items into a repository that is served, without training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from builder.data.config import DataConfig, Format, ItemFileOptions
from builder.data.item_file import read_items
from builder.data.layouts import FORMATS, usual_template
from builder.data.tables import Catalogue
from builder.data.template import Template
from builder.errors import CheckpointError, ConfigError
from builder.export.harmful_texts import DETAIL as HARMFUL_TEXTS
from builder.export.layout import Limits
from builder.export.pipeline import Exported, publish, target_named
from builder.export.policy_file import POLICY
from builder.export.recommender import recommender
from builder.export.targets import TargetOptions
from builder.model.checkpoint import load_checkpoint, read_config
from builder.model.new_items import with_new_items
from builder.model.recommender import Recommender
from builder.progress import Progress, silent
from builder.repository.family import check_family
from builder.repository.manifest import VersionRecord, read_manifest
from builder.repository.publish import check_publishable
from model_repository.core.contract import RECOMMEND, TOKENIZER
from model_repository.core.options import RepositoryPolicy
from model_repository.steps.catalogue_files import CATALOGUE_FILE, load_catalogue

AS_TRAINED: Final = ItemFileOptions()
_NAMED: Final = 5
"""Item ids that an error names; the rest are counted."""


def add_items(
    repository: Path,
    items: Path,
    reading: ItemFileOptions = AS_TRAINED,
    *,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Exported:
    """Publish the next version, which knows the items of a file too.

    The version is exported from the checkpoint that the active one was made from, with its target,
    limits, attributes and policy, through the same gates. Items of the file that the checkpoint
    knows stay as they were trained. The file is read as the training's was, but for what
    ``reading`` says.

    Raises
    ------
    ConfigError
        The file has no new item, or lacks some that an earlier call has added.
    CheckpointError
        The checkpoint is gone.
    RepositoryError
        Another version became active meanwhile; or as in `publish`.
    DataError, ExportError, GateError
        As in `read_items` and `publish`.
    """
    check_family(repository, "recommender")
    manifest = read_manifest(repository)
    check_publishable(repository)  # encoding takes minutes
    active = manifest.versions[manifest.active]
    checkpoint = checkpoint or Path(active.checkpoint)
    if not checkpoint.is_dir():
        raise CheckpointError(
            f"version {manifest.active} of {repository} was exported from {checkpoint}, which "
            "does not exist any more; give its new path with --checkpoint"
        )
    model = load_checkpoint(checkpoint)
    training = DataConfig.from_dict(read_config(checkpoint)["training"]["data"])
    config, template = _as_trained(training, model.catalogue)
    found = read_items(reading.over(config), items, template)
    new = _unknown(model, found, config.columns.item_key)
    served = _served_items(repository, manifest.active)
    kept = {*model.catalogue.item_ids, *new.item_ids}
    if lost := [item for item in served if item not in kept]:
        raise ConfigError(
            f"--items {items}: lacks {_some(lost)}, which version {manifest.active} serves "
            "and the checkpoint does not hold; give a file with all items that are newer "
            "than the training"
        )
    if not len(new):
        raise ConfigError(f"--items {items}: the checkpoint knows all of its {len(found)} items")
    target = target_named(active.target, TargetOptions(**_options_of(active)))
    exportable = recommender(
        checkpoint,
        target,
        _limits_of(active),
        model=with_new_items(model, new, progress=progress),
        trained=len(model.catalogue),
        attributes=_attributes_of(active),
        policy=RepositoryPolicy(**active.details.get(POLICY, {})),
        harmful_texts=active.details.get(HARMFUL_TEXTS, ""),
    )
    return publish(exportable, repository, target, made_from=manifest.active, progress=progress)


def _served_items(repository: Path, version: int) -> list[str]:
    """The ids of the items that a version serves."""
    directory = repository / RECOMMEND.name / str(version)
    if (directory / CATALOGUE_FILE).is_file():
        strings = load_catalogue(directory).ids.strings
        return [strings[place].decode() for place in range(len(strings))]
    # Versions of schema 1; the ensembles among them kept their items with the tokenizer.
    files = (directory, repository / TOKENIZER.name / str(version))
    file = next(path for each in files if (path := each / "items.json").is_file())
    found: list[str] = json.loads(file.read_text("utf-8"))
    return found


def _attributes_of(version: VersionRecord) -> Sequence[str]:
    """What ``--attributes`` was; earlier versions do not tell the kinds."""
    told: dict[str, str] | list[str] = version.details.get("attributes", [])
    if isinstance(told, list):
        return told
    return [f"{name}:{kind}" for name, kind in told.items()]


def _limits_of(version: VersionRecord) -> Limits:
    layout = version.details["layout"]
    if "limits" in layout:
        return Limits(**layout["limits"])
    cached = layout.get("cached_texts", 0)
    return Limits(layout["retrieved"], layout["max_rows"], layout["max_users"], cached)


def _options_of(version: VersionRecord) -> dict[str, Any]:
    details = version.details
    if "options" in details:
        options = dict(details["options"])
        if "timing_cache" in options and options["timing_cache"] is not None:
            options["timing_cache"] = Path(options["timing_cache"])
        return options
    if version.target != "embedded":
        return {}
    return dict(details.get("fused") or {"layout": "ensemble"})


def _as_trained(config: DataConfig, known: Catalogue) -> tuple[DataConfig, Template]:
    """The configuration with the format and the column of ids of a training, and its template.

    The training may have found them, so they are told from the ``known`` items. The file that is
    to be read must not decide: it may have faults, which are to be reported.
    """
    ids = [str(name) for name in known.columns if known.columns[name].tolist() == known.item_ids]
    said = config.columns.item_key or config.columns.item
    key = said if said in ids else next(iter(ids), None)
    config = replace(config, columns=replace(config.columns, item_key=key))
    if config.text is not None:
        return config, Template.parse(config.text)
    usual = {kind: each.columns.item_key or each.columns.item for kind, each in FORMATS.items()}
    for kind in sorted(usual, key=lambda kind: (kind != "table", usual[kind] != key)):
        template = usual_template(kind, known.columns, key or "")
        if not template.columns:
            continue
        made = replace(known, texts=template.render(known.columns))
        if made.with_ids_for_texts().texts == known.texts:
            return replace(config, format=cast("Format", kind)), template
    raise ConfigError(
        "the checkpoint does not tell how the texts of its items are made of their columns; train "
        "with an item file and with --text, as in --text '{title}'"
    )


def _unknown(model: Recommender, found: Catalogue, key: str | None) -> Catalogue:
    """The items of a file that the model does not know, with their ids in the column ``key``."""
    rows = [row for row, item in enumerate(found.item_ids) if item not in model.catalogue.index]
    item_ids = [found.item_ids[row] for row in rows]
    columns = found.columns.iloc[rows]
    return Catalogue(
        item_ids,
        [found.texts[row] for row in rows],
        columns if key is None else columns.assign(**{key: item_ids}),
        {name: vectors[rows] for name, vectors in found.vectors.items()},
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
