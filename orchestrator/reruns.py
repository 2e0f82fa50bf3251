"""Intervals of a run's means: the scenario again with every component quicker, and again slower, by its own error bar.

A queue multiplies an error of the service time, so the interval of a time to first token does not follow from that of a
step. Here it comes from two more runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .coupling.calibrated import CalibratedLink
from .coupling.components import ComponentSpec
from .coupling.link import Link
from .report.result import Ending
from .report.results import collect, time_spent
from .report.uncertainty import MEANS, relative_errors
from .scenario.calibration import PARTS
from .scenario.inputs import Inputs
from .scenario.schema import Scenario
from .simulation import Simulation
from .source import LiveSource

LEAST = 0.05  # a component whose error bar is all of its time is not for nothing: times this


class Paced(LiveSource):
    """Components whose times are multiplied, ``times`` by name, over what the scenario's calibration does."""

    def __init__(self, times: Mapping[str, float]) -> None:
        super().__init__()
        self._times = times

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        with super().open(specs) as links:
            for name, times in self._times.items():
                links[name] = CalibratedLink(links[name], dict.fromkeys([*PARTS, ""], times))
            yield links


def errors(simulation: Simulation, components: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, float], list[str]]:
    """Of a run that is over: relative errors of components that can be asked for other times, by name; and those that
    cannot, as they share the clock with several users. ``components`` as in `result.json`."""
    off, left = {}, []
    for name, error in relative_errors(time_spent(simulation, components)).items():
        if "stepped" in simulation.ports.modes(name):
            left.append(name)
        else:
            off[name] = error
    return off, left


def intervals(
    scenario: Scenario, inputs: Inputs, strict: bool, off: Mapping[str, float], metrics: Mapping[str, Any]
) -> dict[str, list[float] | None]:
    """Of each mean the least and the most of three runs: that of ``metrics`` (`Result.metrics`), and two in which every
    component is as far ``off`` as it says, all of them to one side. Raises what a run raises."""
    runs = [metrics]
    for sign in (-1, 1):
        times = {name: max(LEAST, 1 + sign * error) for name, error in off.items()}
        runs.append(_metrics(scenario, inputs, strict, times))
    found: dict[str, list[float] | None] = {}
    for name in MEANS:
        known = [run[name] for run in runs if run[name] is not None]
        found[name] = None if metrics[name] is None else [min(known), max(known)]
    return found


def _metrics(scenario: Scenario, inputs: Inputs, strict: bool, times: Mapping[str, float]) -> Mapping[str, Any]:
    with Simulation(scenario, inputs, Paced(times), strict=strict, whole=False) as simulation:
        simulation.run()
        return collect(simulation, 0.0, Ending()).metrics
