"""Energy over the clock: what the hardware draws whatever it does, plus what each operation adds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..scenario.schema import Node, Scenario
from ..units import PS_PER_S

OFF = "off"  # an instance's state; in every other its accelerators are powered

Step = tuple[int, float]  # from that time on (ps), so many W


def static_watts(scenario: Scenario) -> float | None:
    """Idle accelerators and each node's base power, W; None where a device's figures are not known."""
    total = 0.0
    for node in scenario.cluster.nodes:
        idle = _idle_w(scenario, node)
        if idle is None:
            return None
        total += node.power.base_w + idle * node.accelerators.count
    return total


def _idle_w(scenario: Scenario, node: Node) -> float | None:
    """Of one accelerator of that node."""
    options = scenario.components.get(f"{node.name}.accelerators")
    idle: float | None = options.config.get("idle_w") if options else None
    if idle is not None:
        return idle
    try:
        return scenario.device(node.accelerators.type).idle_w
    except KeyError:
        return None


def static_steps(scenario: Scenario, changes: Iterable[tuple[str, str, int]]) -> list[Step]:
    """What is drawn whatever is computed, over the clock; nothing where a device's figures are not known.

    ``changes``: (instance, its state from then on, ps), by time. While an instance is off, each of its accelerators
    draws its node's ``power.off_w`` in place of its idle power.
    """
    watts = static_watts(scenario)
    if watts is None:
        return [(0, 0.0)]
    saved_w = {node.name: (_idle_w(scenario, node) or 0.0) - node.power.off_w for node in scenario.cluster.nodes}
    saved = {one.name: sum(saved_w[node] for node, _ in one.all_devices) for one in scenario.instances}
    steps: list[Step] = [(0, watts)]
    off: set[str] = set()
    for instance, state, time_ps in changes:
        if (state == OFF) != (instance in off):
            off ^= {instance}
            steps.append((time_ps, watts - sum(saved[name] for name in sorted(off))))
    return steps


def joules(steps: Sequence[Step], end_ps: int) -> float:
    """What these steps come to from time 0 to the end."""
    ends = [*(since for since, _ in steps[1:]), end_ps]
    return sum(watts * (end - since) / PS_PER_S for (since, watts), end in zip(steps, ends, strict=True))


def watts_by_second(steps: Sequence[Step], seconds: int) -> NDArray[np.float64]:
    """The mean of each of the first so many seconds."""
    watts = np.full(seconds, steps[0][1])
    for (_, before), (since, after) in pairwise(steps):
        second = since // PS_PER_S
        watts[second : second + 1] += (after - before) * ((second + 1) * PS_PER_S - since) / PS_PER_S
        watts[second + 1 :] += after - before
    return watts
