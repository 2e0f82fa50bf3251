"""``metronome plan``."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Any

import click
from metronome.hwmodels.catalog import canonical, device

from ..errors import InputError
from ..scenario.loading import load, parse_overrides
from ..scenario.schema import Scenario
from ..sweep import costs
from ..sweep.capacity import longer
from ..sweep.clusters import Shape, ignored
from ..sweep.page import number
from ..sweep.places import for_points
from ..sweep.planner import Option, Planner
from ..sweep.runs import RefusedError, Runs
from ..sweep.slo import Promise, promise
from . import computing, grid, under_slo
from .complete import scenarios
from .progress import counting_bar

SHORT = ("TP", "PP", "DP")  # of a shape's sizes
WIDTH = 80


@click.command("plan")
@click.argument("scenario", required=False, shell_complete=scenarios)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), required=True, help="Requests a second to hold.")
@under_slo.promised
@click.option(
    "--device", "devices", multiple=True, help="Accelerators to try; more than once [default: the scenario's]."
)
@click.option("--tp", default="1,2,4,8", show_default=True, help="Tensor parallel sizes to try.")
@click.option("--pp", default="1", show_default=True, help="Pipeline parallel sizes to try, with each of them.")
@click.option(
    "--dp",
    default="1",
    show_default=True,
    help="Data parallel sizes to try, with each of them; experts then take the scenario's enable_expert_parallel.",
)
@click.option("--prices", type=click.Path(path_type=Path), help="YAML of USD per hour by accelerator.")
@under_slo.many_runs
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def command(
    scenario: str | None,
    rate: float,
    slo: str,
    percentile: str,
    devices: tuple[str, ...],
    tp: str,
    pp: str,
    dp: str,
    prices: Path | None,
    overrides: tuple[str, ...],
    output: Path | None,
    workers: int,
    cluster: str | None,
    certs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """The cheapest cluster of SCENARIO's model that holds a load under an SLO.

    For each accelerator, and each way several of them share a replica: what one replica carries (as
    `metronome capacity` finds it), how many replicas hold the load behind the scenario's router (by running them), and
    what they cost. Traffic, model and engine flags are the scenario's. Where it splits prefill from decode, how many of
    either. Built-in prices are estimates: give your own.

    \b
      metronome plan quickstart --rate 20 --slo ttft=2000,tpot=50
      metronome plan prefill-decode --rate 20 --slo ttft=2000,tpot=50 --tp 2,4
      metronome plan pipeline-parallel --rate 4 --slo ttft=2000,tpot=80 --tp 1,2 --pp 1,2,4
      metronome plan my.yaml --rate 50 --slo tpot=30 --device h100-sxm --device h200 --prices prices.yaml
    """
    promised, given = promise(slo, int(percentile)), parse_overrides(overrides)
    loaded, _ = load(scenario, given)
    sizes = [_sizes(name, text) for name, text in (("--tp", tp), ("--pp", pp), ("--dp", dp))]
    kinds = [(kind, Shape(*shape)) for kind in _devices(loaded, devices) for shape in product(*sizes)]
    asked, own = costs.read(prices) if prices else {}, costs.own(loaded)
    known = {**costs.built_in(), **own, **asked}
    places = for_points(min(workers, 2), computing.cluster_at(cluster, certs))
    with ExitStack() as stack:
        runs = Runs(scenario or "quickstart", stack.enter_context(places), asked, output)
        tell = stack.enter_context(counting_bar("kinds of replica", quiet or as_json))
        done: list[Option] = []

        def told(option: Option) -> None:
            done.append(option)
            tell(len(done), len(kinds))

        options = Planner(loaded, given, promised, runs, known).plan(rate, kinds, told)
    if not quiet:
        _warn(loaded, runs)
    title = f"{rate:g} requests/s, {promised}"
    if as_json:
        click.echo(json.dumps([_facts(option, rate, promised) for option in options], indent=1))
    else:
        rest = "the scenario's price" if options[0].device in own else "prices are estimates"
        _show(options, rate, title, f"prices: {prices}" if options[0].device in asked else rest)
        best = options[0].capacity
        for doubt in best.doubts(promised, longer(loaded)) if best else ():
            click.echo(fill(f"> {doubt}", WIDTH, subsequent_indent="  ", break_long_words=False))
    if all(option.capacity is None for option in options):
        sys.exit(RefusedError.exit_code)  # none could be tried, and each says why


def _warn(loaded: Scenario, runs: Runs) -> None:
    for text in (*(f"not used: {text}" for text in ignored(loaded)), *runs.warnings()):
        click.echo(f"warning: {text}", err=True)


def _devices(loaded: Any, asked: tuple[str, ...]) -> list[str]:
    """Those asked for, or those of the scenario's instances, by the catalog's names. Raises InputError for one that it
    lacks."""
    for name in set(asked) - set(loaded.devices):
        try:
            device(name)
        except KeyError as error:
            raise InputError("plan", "--device", name, str(error.args[0])) from None
    kinds = {node.name: node.accelerators.type for node in loaded.cluster.nodes}
    found = asked or tuple(kinds[node] for instance in loaded.instances for node, _ in instance.devices)
    return list(dict.fromkeys(name if name in loaded.devices else canonical(name) or name for name in found))


def _sizes(name: str, text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise InputError(name, "sizes", text, "must be whole numbers with commas between them, e.g. 1,2,4")
    return list(dict.fromkeys(sizes))


def _facts(option: Option, rate: float, promised: Promise) -> dict[str, Any]:
    """Cost is at the load asked for, so that of the run, in which what is sent at its end counts too, is left out."""
    return {
        "device": option.device,
        **option.shape._asdict(),
        "requests_per_s_of_one": option.capacity.kept if option.capacity else None,
        "too_short": option.capacity.too_short if option.capacity else None,
        "percentile_rests_on": option.capacity.rests_on(promised) if option.capacity else None,
        "replicas": option.counts,
        "accelerators": option.accelerators,
        "usd_per_hour": option.usd_per_hour,
        "usd_per_million_output_tokens": option.usd_per_million_tokens(rate),
        "figures": {key: value for key, value in option.figures.items() if key != "usd_per_million_output_tokens"},
        "why_not": option.why,
    }


def _show(options: list[Option], rate: float, title: str, prices: str) -> None:
    split = any("both" not in option.counts for option in options if option.counts)
    replicas = "prefill_+ decode" if split else "replicas"
    more = [place for place in (1, 2) if any(option.shape[place] > 1 for option in options)]
    shape = ["TP", *(SHORT[place] for place in more)]
    heads = ("device", *shape, replicas, "one_holds_/s", "devices", "USD/h", "USD/M_tokens", "p99_TTFT", "p99_TPOT")
    rows = [
        (
            option.device,
            *(str(option.shape[place]) for place in (0, *more)),
            " + ".join(map(str, option.counts.values())) or "-",
            _one_holds(option),
            str(option.accelerators or "-"),
            number(option.usd_per_hour),
            number(option.usd_per_million_tokens(rate)),
            *(number(option.figures.get(f"p99_{name}_ms")) for name in ("ttft", "tpot")),
        )
        for option in options
    ]
    grid.show(title, heads, rows, names=2 + len(shape))
    if any(option.capacity and option.capacity.too_short for option in options):
        click.echo("> more load made no difference there: the run is too short to show an overload")
    for option in options:
        if option.why:
            click.echo(f"{option.device}, {option.shape}: {option.why}")
    best = options[0]
    if best.counts:
        priced = best.usd_per_hour is not None
        cost = f", USD {number(best.usd_per_hour)} an hour ({prices})" if priced else "; without a price"
        click.echo(
            f"{'cheapest' if priced else 'fewest devices'}: {_counts(best)} of {best.shape.size} {best.device}"
            f"{f' ({best.shape})' if more else ''}{cost}"
        )
    else:
        untried = all(option.why and not option.capacity for option in options)
        click.echo("none of these could be tried" if untried else f"none of these holds {title}")


def _one_holds(option: Option) -> str:
    """``>`` where more load made no difference: the run is too short to show an overload."""
    found = option.capacity
    text = number(found.kept or None if found else None)
    return f">{text}" if found and found.too_short else text


def _counts(option: Option) -> str:
    """So many replicas; of split engines by role, prefill before decode."""
    return " + ".join(str(count) if role == "both" else f"{count} {role}" for role, count in option.counts.items())
