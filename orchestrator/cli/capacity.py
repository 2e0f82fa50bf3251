"""``metronome capacity``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from ..scenario.loading import load, parse_overrides
from ..sweep.capacity import MOST_RUNS, Capacity, check, knob, longer, search
from ..sweep.page import number
from ..sweep.places import for_points
from ..sweep.runs import Runs
from ..sweep.slo import Promise, promise
from . import computing, under_slo
from .complete import scenarios
from .progress import counting_bar

SHOWN = ("request_throughput", "output_throughput", "usd_per_million_output_tokens", "joules_per_output_token")


@click.command("capacity")
@click.argument("scenario", required=False, shell_complete=scenarios)
@under_slo.promised
@under_slo.many_runs
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--quiet", is_flag=True, help="Print the answer alone.")
def command(
    scenario: str | None,
    slo: str,
    percentile: str,
    overrides: tuple[str, ...],
    output: Path | None,
    workers: int,
    cluster: str | None,
    certs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """The highest load at which SCENARIO keeps its promise, between what still does and what no longer does.

    Turned is workload.request_rate, or workload.max_concurrency of a closed loop, or the rate of a recorded trace. At
    most 20 runs, two at a time. A run that is too short cannot show an overload: give enough requests.

    \b
      metronome capacity quickstart --slo ttft=2000,tpot=50
      metronome capacity my.yaml --slo tpot=30 --percentile 90 --set workload.num_requests=2000
    """
    promised = promise(slo, int(percentile))
    given = parse_overrides(overrides)
    loaded = load(scenario, given)[0]
    path, start, whole = knob(loaded)
    places = for_points(min(workers, 2), computing.cluster_at(cluster, certs))
    with ExitStack() as stack:
        tell = stack.enter_context(counting_bar("runs", quiet or as_json))
        runs = Runs(scenario or "quickstart", stack.enter_context(places), {}, output)
        tried = 0

        def evaluate(loads: Sequence[float]) -> list[dict[str, Any]]:
            nonlocal tried
            rows = runs.ended([{**given, path: int(load) if whole else load} for load in loads])
            tried += len(rows)
            tell(tried, MOST_RUNS)
            return rows

        found = search(path, start, whole, promised, evaluate)
        check(found, whole, promised, evaluate)
    for text in () if quiet else runs.warnings():
        click.echo(f"warning: {text}", err=True)
    if as_json:
        click.echo(json.dumps(_facts(found, promised, longer(loaded)), indent=1))
        return
    _show(found, promised, quiet, longer(loaded))


def _show(found: Capacity, promised: Promise, quiet: bool, more: str) -> None:
    click.echo(f"{promised}: {found}")
    if not quiet:
        for text in found.doubts(promised, more):
            click.echo(f"> {text}")
        for tried_at, kept in sorted(found.runs):
            click.echo(f"  {number(tried_at):>8}  {'kept' if kept else 'broken'}")
        shown = [(name, found.figures[name]) for name in SHOWN if found.figures.get(name) is not None]
        click.echo(f"{len(found.runs)} runs" + (f"; at {number(found.kept)}:" if shown else ""))
        for name, value in shown:
            click.echo(f"  {number(value):>8}  {name}")


def _facts(found: Capacity, promised: Promise, more: str) -> dict[str, Any]:
    return {
        "promise": {"percentile": promised.percentile, "limits_ms": promised.limits},
        "knob": found.knob,
        "kept": found.kept,
        "broken": found.broken,
        "monotone": found.monotone,
        "kept_again_at": found.again,
        "too_short": found.too_short,
        "percentile_rests_on": found.rests_on(promised),
        "doubts": found.doubts(promised, more),
        "runs": [{"load": load, "kept": kept} for load, kept in found.runs],
        "figures": found.figures,
    }
