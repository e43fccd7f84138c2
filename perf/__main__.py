"""``python -m perf``: the measurements, each a command of its own.

Start with ``run --quick``, which takes two minutes and shows what a full run does. ``COMMAND
--help`` says what each needs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from contextlib import nullcontext

from builder.errors import BuilderError
from perf import analyze, catalogue, engines, profile, run, soak
from perf.client_overhead import footprint, measure, small_server
from perf.errors import PerfError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m perf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run.add_commands(commands)
    analyze.add_command(commands)
    profile.add_command(commands)
    soak.add_command(commands)
    catalogue.add_command(commands)
    overhead = commands.add_parser(
        "client-overhead", help="CPU time of a call in the client, beside tritonclient's"
    )
    overhead.add_argument("--address", help="host:port of a server; else a small one is started")
    overhead.add_argument("--ids", default="1,2,3", help="ids of its catalogue, with --address")
    overhead.add_argument("--blocks", type=int, default=40)
    overhead.add_argument("--json", action="store_true")
    overhead.set_defaults(run=_client_overhead)
    engines.add_command(commands)
    options = parser.parse_args(arguments)
    # As Ctrl-C does, so that servers and peers end with us.
    earlier = signal.signal(signal.SIGTERM, _stop)
    try:
        return int(options.run(options))
    except (PerfError, BuilderError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _client_overhead(options: argparse.Namespace) -> int:
    server = (
        nullcontext((options.address, options.ids.split(",")))
        if options.address
        else small_server()
    )
    with server as (address, ids):
        results = measure(address, ids=ids, blocks=options.blocks)
    cost = footprint()
    if options.json:
        report = {
            "calls": [dataclasses.asdict(each) for each in results],
            "footprint": dataclasses.asdict(cost),
        }
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return 0
    of_client = {each.candidates: each.cpu for each in results if each.way == "client"}
    lines = [f"{'candidates':>10}  {'':14}  {'CPU us':>8}  {'wall us':>8}  {'CPU / client':>12}"]
    lines += [
        f"{each.candidates:>10}  {each.way:14}  {each.cpu:8.0f}  {each.wall:8.0f}  "
        f"{each.cpu / of_client[each.candidates]:12.2f}"
        for each in results
    ]
    lines.append(
        f"import {cost.import_seconds:.3f} s, own files {cost.own:.2f} MiB, "
        f"with dependencies {cost.installed:.0f} MiB"
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
