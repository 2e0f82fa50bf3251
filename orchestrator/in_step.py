"""Ranks that work in step over several nodes: the component of the first one's node is asked, for all of them.

So the nodes have to be alike in whatever moves their times.
"""

from __future__ import annotations

from collections.abc import Mapping

from .lowering.layout import Layout
from .scenario.components import ComponentOptions
from .scenario.schema import Node, Scenario

PARTS = ("accelerators", "hbm", "pim")


def difference(scenario: Scenario, layout: Layout, pim: bool) -> str | None:
    """What two nodes of such ranks have unlike, in words; None if all are alike. ``pim``: of PIM devices, too."""
    nodes = {node.name: node for node in scenario.cluster.nodes}
    for first, others in layout.homes.items():
        for other in others:
            for what, one, two in _facts(scenario, nodes[first], nodes[other], pim):
                if one != two:
                    return f"{first} and {other} are not alike in {what}"
    return None


def answers_for(homes: Mapping[str, Mapping[str, int]], node: str) -> str | None:
    """The node whose component is asked for ranks on ``node``, if that is another."""
    return next((first for first, others in homes.items() if node in others and first != node), None)


def _facts(scenario: Scenario, one: Node, two: Node, pim: bool) -> list[tuple[str, object, object]]:
    """(what it is, of one node, of the other)."""
    cap_w = scenario.cluster.accelerators_cap_w
    found: list[tuple[str, object, object]] = [
        ("power: the cap of an accelerator", cap_w(one)[0], cap_w(two)[0]),
    ]
    if pim:
        found.append(("memory.pim", one.memory.pim, two.memory.pim))
    for part in PARTS if pim else PARTS[:-1]:
        name = f"components.NODE.{part}"
        found.append((name, _model(scenario, f"{one.name}.{part}"), _model(scenario, f"{two.name}.{part}")))
    return found


def _model(scenario: Scenario, component: str) -> tuple[object, ...]:
    """Which model, and its configuration; where it runs is all the same."""
    options = scenario.components.get(component, ComponentOptions())
    return options.model, options.config
