"""``python -m client``: ask a server from the terminal."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from client import (
    Item,
    RecommenderClient,
    RecommenderError,
    ScoredItem,
    Tls,
    Unsupported,
)
from client._targets import DEFAULT_TARGET
from model_repository.core.contract import OPTIONS, OptionSpec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or 1 with the error on standard error."""
    options = _parser().parse_args(arguments)
    try:
        with _connect(options) as client:
            found, text = options.run(client, options)
    except (RecommenderError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write((json.dumps(found, indent=2) if options.json else text) + "\n")
    return int(options.run is _status and not found["ready"])


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--target", action="append", metavar="HOST:PORT", help=f"default {DEFAULT_TARGET}; or more"
    )
    common.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS")
    common.add_argument("--json", action="store_true", help="print JSON")
    common.add_argument("--ca", metavar="FILE", help="use TLS, with this authority")
    common.add_argument("--certificate", metavar="FILE", help="of this client, for mutual TLS")
    common.add_argument("--key", metavar="FILE", help="of the certificate")
    common.add_argument("--token-file", metavar="FILE", help="holds a bearer token")

    parser = argparse.ArgumentParser(prog="python -m client", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    recommend = commands.add_parser("recommend", parents=[common], help="find the best items")
    _add_history(recommend)
    recommend.add_argument("--exclude", type=_ids, default=[], metavar="ID,ID")
    _add_options(recommend, RecommenderClient.recommend)
    recommend.set_defaults(run=_recommend)

    rank = commands.add_parser("rank", parents=[common], help="score items for a user")
    _add_history(rank)
    rank.add_argument("--candidates", type=_ids, default=[], metavar="ID,ID")
    rank.add_argument(
        "--new", action="append", type=_new, default=[], metavar="ID=TEXT",
        help="a candidate that the catalogue does not know; may be repeated",
    )  # fmt: skip
    _add_options(rank, RecommenderClient.rank)
    rank.add_argument(
        "--skip-unknown", dest="on_unknown", action="store_const", const="skip",
        help="the same as --on-unknown skip",
    )  # fmt: skip
    rank.set_defaults(run=_rank)

    classify = commands.add_parser("classify", parents=[common], help="label texts")
    classify.add_argument("texts", nargs="+", metavar="TEXT")
    classify.add_argument("--pair", action="append", metavar="TEXT", help="one for each text")
    classify.set_defaults(run=_classify)

    status = commands.add_parser("status", parents=[common], help="say what a server does")
    status.set_defaults(run=_status)
    return parser


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--history", type=_ids, default=[], metavar="ID,ID", help="oldest first; none: a new user"
    )
    parser.add_argument(
        "--profile", type=_profile, metavar="NAME=VALUE,NAME=VALUE", help="such as age=24,gender=F"
    )


def _options_of(method: Callable[..., object]) -> list[OptionSpec]:
    """Return the declared options of a request that a method of the client takes."""
    taken = inspect.signature(method).parameters
    return [option for option in OPTIONS if option.name in taken]


def _add_options(parser: argparse.ArgumentParser, method: Callable[..., object]) -> None:
    for option in _options_of(method):
        flag = f"--{option.name.replace('_', '-')}"
        told: dict[str, Any] = {
            "default": option.default,
            "help": f"{option.meaning} (default %(default)s)",
        }
        if isinstance(option.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **told)
        else:
            kind = type(option.default)
            parser.add_argument(flag, type=kind, choices=option.choices or None, **told)


def _chosen(options: argparse.Namespace, method: Callable[..., object]) -> dict[str, Any]:
    return {option.name: getattr(options, option.name) for option in _options_of(method)}


def _ids(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _profile(text: str) -> dict[str, str]:
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    if not all(name and equals for name, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE,NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _new(text: str) -> Item:
    item, equals, described = text.partition("=")
    if not item or not equals or not described:
        raise argparse.ArgumentTypeError(f"{text!r} is not ID=TEXT")
    return Item(item, described)


def _connect(options: argparse.Namespace) -> RecommenderClient:
    secure = options.ca or options.certificate or options.key
    token = options.token_file and Path(options.token_file).read_text("utf-8").strip()
    return RecommenderClient(
        options.target or DEFAULT_TARGET,
        timeout=options.timeout,
        tls=Tls(options.ca, options.certificate, options.key) if secure else None,
        token=token or None,
    )


def _recommend(client: RecommenderClient, options: argparse.Namespace) -> tuple[Any, str]:
    found = client.recommend(
        options.history,
        exclude=options.exclude,
        profile=options.profile,
        **_chosen(options, RecommenderClient.recommend),
    )
    return _show(list(found), found.skipped)


def _rank(client: RecommenderClient, options: argparse.Namespace) -> tuple[Any, str]:
    ranking = client.rank(
        options.history,
        [*options.candidates, *options.new],
        profile=options.profile,
        **_chosen(options, RecommenderClient.rank),
    )
    return _show(ranking.sorted(), ranking.skipped)


def _show(items: Sequence[ScoredItem], skipped: int) -> tuple[Any, str]:
    width = max([4, *(len(item.id) for item in items)])
    lines = [f"{'item':<{width}}  interest    logit"]
    lines += [f"{item.id:<{width}}  {item.interest:8.4f}  {item.logit:7.3f}" for item in items]
    if skipped:
        lines.append(f"({skipped} events of the history are not in the catalogue)")
    return {"items": [_scored(item) for item in items], "skipped": skipped}, "\n".join(lines)


def _scored(item: ScoredItem) -> dict[str, Any]:
    # JSON knows no NaN.
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in dataclasses.asdict(item).items()
    }


def _classify(client: RecommenderClient, options: argparse.Namespace) -> tuple[Any, str]:
    found = client.classify(options.texts, options.pair)
    told = found.activation in ("softmax", "sigmoid")  # else there are values, and no label applies
    predicted = found.predicted() if told else [()] * len(options.texts)
    rows, lines = [], []
    for text, labels, values in zip(
        options.texts, predicted, found.probabilities.tolist(), strict=True
    ):
        by_label = dict(zip(found.labels, values, strict=True))
        rows.append({"text": text, "labels": labels, "probabilities": by_label})
        lines.append(text)
        lines += [
            f"{'*' if label in labels else ' '} {value:7.4f}  {label}"
            for label, value in sorted(by_label.items(), key=lambda pair: -pair[1])
        ]
    return {"activation": found.activation, "texts": rows}, "\n".join(lines)


def _status(client: RecommenderClient, options: argparse.Namespace) -> tuple[Any, str]:  # noqa: ARG001
    live = client.live()
    found: dict[str, Any] = {"live": live, "ready": live and client.ready()}
    lines = [f"live   {_yes(live)}", f"ready  {_yes(found['ready'])}"]
    if live:
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


def _statistics(client: RecommenderClient) -> list[Any]:
    try:
        return list(client.statistics())
    except Unsupported:  # a server that was built without them
        return []


def _milliseconds(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 3)


def _cell(number: Any) -> str:
    return "-" if number is None else f"{number:.3f}"


def _yes(answer: bool) -> str:  # noqa: FBT001 - it is the value to show
    return "yes" if answer else "no"


if __name__ == "__main__":
    sys.exit(main())
