"""The fidelity ladder: one scenario with one model of a kind after another, and what each swap changes and costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ..api import execute
from ..coupling import registry
from ..coupling.components import specify
from ..errors import InputError
from ..scenario.components import ComponentOptions
from ..scenario.loading import validate
from ..scenario.schema import Scenario
from .progress import progress_bar

FIGURES = (
    ("TTFT (ms)", "mean_ttft_ms"),
    ("TPOT (ms)", "mean_tpot_ms"),
    ("E2EL (ms)", "mean_e2el_ms"),
    ("output tokens/s", "output_throughput"),
)


def climb(scenario: Scenario, folder: Path, output: Path, ladder: str, quiet: bool) -> None:
    """Run the scenario with each model, results in ``output``/MODEL, and print the table. Raises InputError."""
    which, _, listed = ladder.partition("=")
    models = [model.strip() for model in listed.split(",") if model.strip()]
    names = _named(scenario, folder, which)
    if not names or not models:
        kinds = sorted({spec.kind for spec in specify(scenario, folder)})
        known = ", ".join([*kinds, *(spec.name for spec in specify(scenario, folder))])
        raise InputError("run", "--compare-fidelity", ladder, f"KIND=MODEL,MODEL,...; KIND is one of {known}")
    rungs: list[tuple[str, dict[str, Any]]] = []
    for model in models:
        if not quiet:
            click.echo(f"{which} = {model} ...", err=True)
        started = time.perf_counter()
        with progress_bar(quiet) as progress:
            result, failure = execute(
                _with(scenario, names, model), folder, output / model.replace(":", "-"), started, progress
            )
        if failure:
            click.echo(f"metronome: with {which} = {model} the run did not end", err=True)
            raise failure
        rungs.append((model, result.metrics))
    _show(rungs, names)
    click.echo(f"results in {output}/MODEL")


def _named(scenario: Scenario, folder: Path, which: str) -> list[str]:
    """The components of that kind, or the one of that name."""
    return [spec.name for spec in specify(scenario, folder) if which in (spec.kind, spec.name)]


def _with(scenario: Scenario, names: list[str], model: str) -> Scenario:
    """The scenario with that model for these components; of the rest of their options, what that one knows."""
    data = scenario.model_dump(mode="json", exclude_unset=True)  # what it does not say cannot be without effect
    own = registry.find(model).config_schema()["properties"] if registry.known(model) else None
    for name in names:
        options = data.setdefault("components", {}).setdefault(name, {})
        for key in [] if own is None else set(options) - set(ComponentOptions.model_fields) - set(own):
            del options[key]
        options["model"] = model
    return validate(data, "scenario")


def _show(rungs: list[tuple[str, dict[str, Any]]], names: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="what each model changes against the first, and what it costs")
    table.add_column("")
    for model, _ in rungs:
        table.add_column(model, justify="right")
    first = rungs[0][1]
    for label, key in FIGURES:
        table.add_row(label, *(_against(data[key], None if data is first else first[key]) for _, data in rungs))
    parts = [[data["metronome"]["components"][name] for name in names] for _, data in rungs]
    answers = [sum(part["calls"] for part in each) for each in parts]
    asked = [sum(part["calls"] - part["cached"] for part in each) for each in parts]
    walls = [sum(part["wall_s"] for part in each) for each in parts]
    table.add_row("answers", *(f"{count:,}" for count in answers))
    table.add_row("of them asked for", *(f"{count:,}" for count in asked))
    table.add_row("waited for them (s)", *(f"{wall:.3f}" for wall in walls))
    table.add_row("whole loop (s)", *(f"{data['metronome']['wall_s']:.3f}" for _, data in rungs))
    Console(soft_wrap=True).print(table)


def _against(value: float | None, first: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if not first else f"{value:,.1f} ({(value - first) / first:+.1%})"
