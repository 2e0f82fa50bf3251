"""What the accelerators of a node draw by the state they are in, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..scenario.schema import Node, Scenario
from ..units import PS_PER_S

OFF = "off"  # an instance's state; in every other its accelerators are powered


class States(NamedTuple):
    """W of one accelerator that nobody uses, and that is awake with nothing to do; ``hold_ps``: awake after work."""

    idle_w: float
    standby_w: float
    hold_ps: int | None


def states(scenario: Scenario, node: Node) -> States | None:
    """None where the device's figures are not known."""
    options = scenario.components.get(f"{node.name}.accelerators")
    said = options.config if options else {}
    try:
        device = scenario.device(node.accelerators.type)
    except KeyError:
        device = None
    idle, standby = said.get("idle_w"), said.get("standby_w")
    if device is not None and idle is None:  # who says what another one draws idle says it awake, too
        idle, standby = device.idle_w, device.standby_w if standby is None else standby
    if idle is None:
        return None
    hold_s = node.power.standby_s
    if hold_s is None and device is not None:
        hold_s = device.standby_s
    return States(idle, idle if standby is None else standby, None if hold_s is None else round(hold_s * PS_PER_S))


def known(scenario: Scenario) -> bool:
    """Whether it is known of all of them."""
    return all(states(scenario, node) is not None for node in scenario.cluster.nodes)


def off_stretches(changes: Iterable[tuple[str, str, int]], end_ps: int) -> dict[str, list[tuple[int, int]]]:
    """When each instance was off. ``changes``: (instance, its state from then on, ps), by time."""
    found: dict[str, list[tuple[int, int]]] = {}
    since: dict[str, int] = {}
    for instance, state, time_ps in changes:
        if state == OFF:
            since.setdefault(instance, time_ps)
        elif instance in since:
            found.setdefault(instance, []).append((since.pop(instance), time_ps))
    for instance, begin in since.items():
        found.setdefault(instance, []).append((begin, end_ps))
    return found
