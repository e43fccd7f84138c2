"""The commands of ``python -m client``; needs typer, which the rest of the client does without."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import io
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_origin

import typer

from client import (
    DeadlineExceeded,
    Event,
    Item,
    Reason,
    ReasonWord,
    Recommendations,
    RecommenderClient,
    RecommenderError,
    ScoredItem,
    Tls,
    Unavailable,
    Unsupported,
)
from client._addresses import DEFAULT_TARGET
from client._methods import health
from model_repository.core.contract import OPTIONS, OptionSpec

_REQUEST: Final = "Request"
_Answer = tuple[dict[str, Any], str]  # as JSON, and as text

app = typer.Typer(
    help="Ask a server from the terminal.",
    epilog="`tritonrec-client` is the same, and completes: tritonrec-client --install-completion",
    no_args_is_help=True,
    add_completion=Path(sys.argv[0]).name != "__main__.py",  # a shell completes no `python -m`
    pretty_exceptions_enable=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # an id may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _option(
    meaning: str, metavar: str | None = None, panel: str | None = None, flag: str | None = None
) -> Any:
    names = [flag] if flag else []  # else as the parameter is called
    return typer.Option(*names, metavar=metavar, help=meaning, rich_help_panel=panel)


_reach: Final = functools.partial(_option, panel="Connection")


def _connect(
    target: Annotated[
        list[str] | None,
        _reach(f"A server. Repeatable. Default: {DEFAULT_TARGET}.", "HOST:PORT"),
    ] = None,
    timeout: Annotated[float, _reach("Time limit of a call, retries included.", "SECONDS")] = 10,
    ca: Annotated[str | None, _reach("Use TLS with this certificate authority.", "FILE")] = None,
    certificate: Annotated[
        str | None, _reach("Certificate of this client, for mutual TLS.", "FILE")
    ] = None,
    key: Annotated[str | None, _reach("Private key of the certificate.", "FILE")] = None,
    token_file: Annotated[Path | None, _reach("File with a bearer token.", "FILE")] = None,
) -> RecommenderClient:
    token = token_file and token_file.read_text("utf-8").strip()
    return RecommenderClient(
        target or DEFAULT_TARGET,
        timeout=timeout,
        tls=Tls(ca, certificate, key) if ca or certificate or key else None,
        token=token or None,
    )


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    """The parameters of a function that are flags."""
    # get_type_hints of Python 3.10 makes Optional[Annotated[...]] of what is None by default.
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function, eval_str=True).parameters.values()
        if get_origin(each.annotation) is Annotated
    ]


def _flag(option: OptionSpec) -> inspect.Parameter:
    kind: Any = Literal[option.choices] if option.choices else type(option.default)
    shown = _option(f"{option.meaning[0].upper()}{option.meaning[1:]}.", panel=_REQUEST)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[kind, shown],
    )


def _command(ask: Callable[..., _Answer]) -> Callable[..., _Answer]:
    """Make a command of a function that asks a connected client.

    Its flags are those of the function, those of a connection, and the options of a request that
    the client's method of the same name takes.
    """
    method = getattr(RecommenderClient, ask.__name__, None)
    taken = inspect.signature(method).parameters if method else {}
    connection = _parameters(_connect)
    flags = [*_parameters(ask), *(_flag(each) for each in OPTIONS if each.name in taken)]

    def run(
        *,
        as_json: Annotated[bool, _option("Write JSON.", flag="--json")] = False,
        **given: Any,
    ) -> None:
        reached_by = {each.name: given.pop(each.name) for each in connection}
        # As in the SDK: a server that was exported before an option was declared refuses it.
        for each in OPTIONS:
            if each.name in given and given[each.name] == each.default:
                del given[each.name]
        try:
            with _connect(**reached_by) as client:
                found, text = ask(client, **given)
        except (RecommenderError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            raise typer.Exit(1) from None
        sys.stdout.write((json.dumps(found, indent=2) if as_json else text) + "\n")
        if not found.get("ready", True):
            raise typer.Exit(1)

    flags += [*_parameters(run), *connection]
    run.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in flags}
    app.command(ask.__name__, help=ask.__doc__)(run)
    return ask


_History = Annotated[str, _option("Item ids, oldest first; none for a new user.", "ID,ID")]
_Exclude = Annotated[str, _option("Item ids that must not be recommended.", "ID,ID")]
_Profile = Annotated[
    str, _option("Profile of the user, such as age=24,gender=F.", "NAME=VALUE,NAME=VALUE")
]


@_command
def recommend(
    client: RecommenderClient,
    history: _History = "",
    exclude: _Exclude = "",
    profile: _Profile = "",
    **options: Any,
) -> _Answer:
    """Find the best items for a user.

    Example: python -m client recommend --history 1,50,172 --top-k 5
    """
    found = client.recommend(
        _ids(history), exclude=_ids(exclude), profile=_profile(profile), **options
    )
    return _listed(found, options)


@_command
def related(
    client: RecommenderClient,
    item: Annotated[str, typer.Argument(metavar="ID", help="What the items are to be like.")],
    text: Annotated[
        str, _option("Text of the item, where the catalogue does not know it.", "TEXT")
    ] = "",
    history: _History = "",
    exclude: _Exclude = "",
    profile: _Profile = "",
    **options: Any,
) -> _Answer:
    """Find items that are like one.

    Example: python -m client related 50 --top-k 5
    """
    found = client.related(
        Item(item, text or None),
        history=_ids(history),
        exclude=_ids(exclude),
        profile=_profile(profile),
        **options,
    )
    return _listed(found, options)


def _listed(found: Recommendations, options: dict[str, Any]) -> _Answer:
    content, text = _shown(list(found), found.skipped)
    if found.fallback:
        text += "\n(popular items, the same for all users: the server's network over users failed)"
    content["fallback"] = found.fallback
    if found.propensities is not None:
        content["propensities"] = found.propensities.tolist()
        content["propensity_kind"] = found.propensity_kind
        numbers = " ".join(f"{each:.4f}" for each in content["propensities"])
        text += f"\npropensities ({found.propensity_kind}): {numbers}"
    if found.trace is not None:
        content["trace"] = dataclasses.asdict(found.trace)
        text += "".join(
            [
                *(f"\n{item}: {'; '.join(rules)}" for item, rules in found.trace.items.items()),
                *(f"\n{item} is not there: {rule}" for item, rule in found.trace.removed.items()),
                *(f"\nnot met: {rule}" for rule in found.trace.unmet),
            ]
        )
    if found.similarities is not None:
        content["similarities"] = [_finite(each) for each in found.similarities.tolist()]
        text += f"\nsimilarities: {' '.join(f'{each:.4f}' for each in found.similarities)}"
    if options.get("cursor"):
        content["cursor"] = found.cursor
        text += f"\nnext page: --cursor {found.cursor}" if found.cursor else "\n(the last page)"
    if found.reasons is not None:
        text += _told(content, list(zip(found.ids, found.reasons, strict=True)))
    return content, text


def _told(content: dict[str, Any], reasons: Sequence[tuple[str, Reason]]) -> str:
    """Lines that say why each item is there; they are added to the ``content`` too."""
    content["reasons"] = [dataclasses.asdict(reason) for _, reason in reasons]
    return "".join(f"\n{item}: {_reason(reason)}" for item, reason in reasons)


def _reason(reason: Reason) -> str:
    """The events, the words and the parts of the logit, each with its amount."""
    events = ", ".join(
        f"{event.id} {event.effect:+.2f}" + f" ({_words(event.words)})" * bool(event.words)
        for event in reason.events
    )
    terms = ", ".join(f"{name} {part:+.2f}" for name, part in reason.terms.items())
    told = [
        f"because of {events}" * bool(events),
        f"words {_words(reason.words)}" * bool(reason.words),
        f"like {', '.join(reason.neighbours)}" * bool(reason.neighbours),
        f"moved by {', '.join(reason.rules)}" * bool(reason.rules),
        f"logit: {terms}" * bool(terms),
    ]
    return "; ".join(filter(None, told)) or (
        "popular" if reason.fallback else "nothing is known of it"
    )


def _words(words: Sequence[ReasonWord]) -> str:
    return ", ".join(f"{each.word!r} {each.effect:+.2f}" for each in words)


@_command
def rank(
    client: RecommenderClient,
    history: _History = "",
    candidates: Annotated[str, _option("Item ids to score.", "ID,ID")] = "",
    new: Annotated[
        list[str] | None,
        _option("A candidate that is not in the catalogue. Repeatable.", "ID=TEXT"),
    ] = None,
    profile: _Profile = "",
    *,
    skip_unknown: Annotated[
        bool, _option("The same as --on-unknown skip.", None, _REQUEST, "--skip-unknown")
    ] = False,
    **options: Any,
) -> _Answer:
    """Score items for a user.

    Example: python -m client rank --history 1,50 --candidates 181,7 --new "x=A new film (2024)"
    """
    if skip_unknown:
        options["on_unknown"] = "skip"
    items: list[str | Item] = [*_ids(candidates), *(_new(each) for each in new or ())]
    ranking = client.rank(_ids(history), items, profile=_profile(profile), **options)
    content, text = _shown(ranking.sorted(), ranking.skipped)
    if ranking.reasons is not None:
        by_id = dict(zip(ranking.ids, ranking.reasons, strict=True))
        text += _told(content, [(item.id, by_id[item.id]) for item in ranking.sorted()])
    return content, text


@_command
def observe(
    client: RecommenderClient,
    item: Annotated[list[str], _option("Id of the item. Repeatable.", "ID")],
    action: Annotated[str, _option("What was done, in the words of the log.", "ACTION")] = "",
    time: Annotated[int, _option("When, in Unix seconds; 0 is now.", "SECONDS")] = 0,
    event_id: Annotated[str, _option("Names the event: told again, it counts once.", "ID")] = "",
) -> _Answer:
    """Tell the servers of events as they happen.

    Example: python -m client observe --item 50 --action buy
    """
    if event_id and len(item) > 1:
        raise typer.BadParameter("names one event; give one --item", param_hint="--event-id")
    events = [Event(each, action or None, time or None, event_id or None) for each in item]
    found = client.observe(events)
    text = f"{found.accepted} counted, {found.unknown} of unknown items, {found.repeated} repeated"
    return dataclasses.asdict(found), text


@_command
def classify(
    client: RecommenderClient,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="What to label.")],
    pair: Annotated[
        list[str] | None,
        _option("Second text of each pair, for a classifier of pairs. Repeatable.", "TEXT"),
    ] = None,
) -> _Answer:
    """Label texts, or pairs of texts.

    Example: python -m client classify "what a film" "not again" --json
    """
    found = client.classify(texts, pair or None)
    found = dataclasses.replace(found, labels=_told_apart(found.labels))
    told = found.activation in ("softmax", "sigmoid")  # else there are values, and no label applies
    predicted = found.predicted() if told else [()] * len(texts)
    rows, lines = [], []
    for text, labels, values in zip(texts, predicted, found.probabilities.tolist(), strict=True):
        by_label = dict(zip(found.labels, values, strict=True))
        rows.append({"text": text, "labels": labels, "probabilities": by_label})
        lines.append(text)
        lines += [
            f"{'*' if label in labels else ' '} {value:7.4f}  {label}"
            for label, value in sorted(by_label.items(), key=lambda pair: -pair[1])
        ]
    return {"activation": found.activation, "texts": rows}, "\n".join(lines)


def _told_apart(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, with its number behind each whose name another has too."""
    return tuple(
        f"{label} #{place}" if labels.count(label) > 1 else label
        for place, label in enumerate(labels)
    )


@_command
def status(client: RecommenderClient) -> _Answer:
    """Say whether a server is ready, or why not, and what it has done; exit code 1 if it is not.

    Example: python -m client status --target triton-a:8001 --target triton-b:8001
    """
    servers = client._run(health(client._service))  # noqa: SLF001 - both are of this package
    live, ready = any(each.live for each in servers), any(each.ready for each in servers)
    found: dict[str, Any] = {
        "live": live,
        "ready": ready,
        "servers": [dataclasses.asdict(each) for each in servers],
    }
    lines = [f"live   {_yes(live)}", f"ready  {_yes(ready)}"]
    lines += [f"why    {each.server}: {each.reason}" for each in servers if each.reason]
    if live:
        with contextlib.suppress(Unavailable, DeadlineExceeded):  # one of several that is not there
            server = client.metadata()
            found["server"] = {"name": server.name, "version": server.version}
            lines.append(f"server {server.name} {server.version}")
        found["models"] = []
        lines.append(
            f"{'model':<14}{'requests':>10}{'failed':>8}{'queue ms':>10}{'compute ms':>12}"
        )
        for each in _statistics(client):
            row = {
                "server": each.server,
                "model": each.name,
                "version": each.version,
                "requests": each.success.count,
                "failed": each.fail.count,
                "queue_ms": _milliseconds(each.queue.mean),
                "compute_ms": _milliseconds(each.compute_infer.mean),
            }
            found["models"].append(row)
            lines.append(
                f"{each.name:<14}{each.success.count:>10}{each.fail.count:>8}"
                f"{_cell(row['queue_ms']):>10}{_cell(row['compute_ms']):>12}"
            )
    return found, "\n".join(lines)


def _ids(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _profile(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _ids(text)]
    if not all(name and equals for name, equals, _ in pairs):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE,NAME=VALUE", param_hint="--profile")
    return {name: value for name, _, value in pairs}


def _new(text: str) -> Item:
    item, _, described = text.partition("=")
    if not item or not described:
        raise typer.BadParameter(f"{text!r} is not ID=TEXT", param_hint="--new")
    return Item(item, described)


def _shown(items: Sequence[ScoredItem], skipped: int) -> _Answer:
    width = max([4, *(len(item.id) for item in items)])
    lines = [f"{'item':<{width}}  interest    logit"]
    lines += [f"{item.id:<{width}}  {item.interest:8.4f}  {item.logit:7.3f}" for item in items]
    if skipped:
        lines.append(f"({skipped} events of the history are not in the catalogue)")
    return {"items": [_scored(item) for item in items], "skipped": skipped}, "\n".join(lines)


def _scored(item: ScoredItem) -> dict[str, Any]:
    return {
        name: _finite(value) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(item).items()
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None  # JSON knows no other


def _statistics(client: RecommenderClient) -> list[Any]:
    try:
        return list(client.statistics())
    except (Unsupported, Unavailable, DeadlineExceeded):
        return []  # a server that was built without them, or none has any and one is not there


def _milliseconds(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 3)


def _cell(number: Any) -> str:
    return "-" if number is None else f"{number:.3f}"


def _yes(answer: bool) -> str:  # noqa: FBT001 - it is the value to show
    return "yes" if answer else "no"
