"""The scenario `systolic-array` with SCALE-Sim behind its surrogate: cold, warm, and against the tool itself.

    python -m tests.study.systolic_array [requests]

A random sample of the operations the run needed is asked of the adapter without a surrogate; the exit
code is 1 if the P95 of the differences is beyond the tolerance.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time

import numpy as np
from metronome.adapters.scalesim import ScaleSim
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.orchestrator.coupling.surrogate.link import SurrogateLink
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation

SAMPLE = 30
NAME = "n0.accelerators"


def main(requests: int = 100) -> int:
    overrides = (f"components.{NAME}.model=scalesim", f"workload.num_requests={requests}")
    scenario, folder = load("systolic-array", overrides)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["METRONOME_CACHE"] = cache
        for state in ("cold", "warm"):
            start = time.monotonic()
            with Simulation(scenario, folder) as simulation:
                simulation.run()
                link = simulation.ports.root(NAME)
                report = link.statistics(())["surrogate"]
            print(f"{state}: {time.monotonic() - start:.1f} s, {simulation.dispatcher.arrived} requests")
            print("  " + ", ".join(f"{name} {value}" for name, value in report.items()))
    if not isinstance(link, SurrogateLink):
        raise AssertionError("the scenario has a surrogate")
    adapter = ScaleSim(simulation.specs[0].config)
    return compare(link, adapter, [work.template for unit in simulation.units for work in unit.plan.works])


def compare(link: SurrogateLink, adapter: ScaleSim, templates: list[Template]) -> int:
    """A sample of what was answered, asked again of the adapter."""
    answered = sorted(link.answers)
    sample = random.Random(1).sample(answered, min(SAMPLE, len(answered)))
    adapter.declare(list({template.id: template for template in templates}.values()))
    tolerance = link.options.tolerance
    errors, start = [], time.monotonic()
    for template, values in sample:
        (done,) = adapter.advance(MAX_PS, [Operation(template, values)]).completions
        truth = done.finish_ps - done.start_ps
        errors.append(abs(link.answers[template, values].duration_ps - truth) / truth)
    p95 = float(np.percentile(errors, 95))
    print(
        f"{len(sample)} operations asked of the adapter itself ({time.monotonic() - start:.1f} s): "
        f"error P95 {p95:.3%}, worst {max(errors):.3%}; tolerance {tolerance:.0%}"
    )
    return int(p95 > tolerance)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
