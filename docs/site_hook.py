"""What the site has beside its pages: results of `perf`, notebooks, and made references."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files, InclusionLevel

import client
from model_repository.core import contract
from model_repository.core.contract import ModelSpec, OptionSpec

ROOT: Final = Path(__file__).parents[1]
NOTEBOOKS: Final = ROOT / "docs" / "notebooks"
RESULTS: Final = ROOT / "perf" / "results"
MODELS: Final = {
    contract.RECOMMEND: contract.options_of(contract.RecommendOptions),
    contract.RANK: contract.options_of(contract.RankOptions),
    contract.RANK_TEXTS: (),
    contract.ENCODE: (),
    contract.OBSERVE: (),
    contract.CLASSIFY: (),
}


def on_files(files: Files, config: Any) -> Files:
    """Add what lies in `perf/results`, where pages link to it, and the notebooks as pages."""
    for path in (*RESULTS.glob("*.svg"), *RESULTS.glob("20*.md")):
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    for path in NOTEBOOKS.glob("*.py"):
        page = File.generated(
            config,
            f"notebooks/{path.stem}.md",
            content=notebook(path.read_text("utf-8")),
            inclusion=InclusionLevel.INCLUDED,
        )
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the references, and point links between `docs` and `perf/results` to the site."""
    reference = REFERENCES.get(page.file.src_uri)
    if reference is not None:
        return f"{markdown}\n{reference()}"
    markdown = re.sub(r"\]\(((?:notebooks/)?\w+)\.py\)", r"](\1.md)", markdown)
    return markdown.replace("](../perf/results/", "](results/").replace("](../../docs/", "](../")


def notebook(text: str) -> str:
    """A notebook of the format py:percent as Markdown; what its cells print is not in it."""
    _, *cells = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    return "\n\n".join(
        re.sub(r"^# ?", "", cell, flags=re.MULTILINE).strip()
        if "[markdown]" in kind
        else f"```python\n{cell.strip()}\n```"
        for kind, cell in zip(cells[::2], cells[1::2], strict=True)
    )


def sdk() -> str:
    """What `client` exports, the client first, for mkdocstrings to fill in."""
    for name, method in vars(client.RecommenderClient).items():
        if hasattr(method, "__wrapped__"):
            # Else what is shown is the plan that the method is made of, not its own signature.
            del method.__wrapped__
            method.__module__ = client.RecommenderClient.__module__
            method.__qualname__ = f"RecommenderClient.{name}"
    exported = [name for name in client.__all__ if isinstance(getattr(client, name), type)]
    others = [each for each in exported if not each.endswith("RecommenderClient")]
    names = ["RecommenderClient", *others, "testing.FakeServer"]
    return "\n".join(f"::: client.{name}\n" for name in names)


def models() -> str:
    """Every model that a service asks, with its tensors and options, as Markdown."""
    return "\n".join(line for model, options in MODELS.items() for line in _model(model, options))


def _model(model: ModelSpec, options: tuple[OptionSpec, ...]) -> Iterator[str]:
    yield f"## {model.name}\n"
    yield "| tensor | | type | shape | |"
    yield "|---|---|---|---|---|"
    for way, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            shape = ", ".join(map(str, tensor.dims))
            optional = "optional" if tensor.optional else ""
            yield f"| `{tensor.name}` | {way} | {tensor.dtype} | [{shape}] | {optional} |"
    if options:
        yield "\n| option | type | default | | meaning |"
        yield "|---|---|---|---|---|"
        for option in options:
            kind = type(option.default).__name__
            yield (
                f"| `{option.name}` | {kind} | `{option.default!r}` | {_limits(option)} "
                f"| {option.meaning} |"
            )
    yield ""


def _limits(option: OptionSpec) -> str:
    if option.choices:
        return " or ".join(f"`{each!r}`" for each in option.choices)
    bounds = (("from", option.minimum), ("to", option.maximum))
    return " ".join(f"{word} {value:,}" for word, value in bounds if value is not None)


def commands() -> str:
    """The help of every command, as Markdown."""
    return "\n".join(
        _help(module, name)
        for module, name in (
            ("builder.command_line", "python -m builder"),
            ("client._commands", "python -m client"),
        )
    )


def _help(module: str, name: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "typer", module, "utils", "docs", "--name", name],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    # The page has the first heading.
    return told.replace("\n#", "\n##").replace("# ", "## ", 1)


REFERENCES: Final = {
    "reference/sdk.md": sdk,
    "reference/requests.md": models,
    "reference/command-line.md": commands,
}
