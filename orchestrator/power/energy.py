"""Energy over the clock: what the hardware draws whatever it does, plus what each operation adds."""

from __future__ import annotations

from ..scenario.schema import Scenario


def static_watts(scenario: Scenario) -> float | None:
    """Idle accelerators and each node's base power, W; None where a device's figures are not known."""
    total = 0.0
    for node in scenario.cluster.nodes:
        group = node.accelerators
        idle = (scenario.components.get(f"{node.name}.accelerators") or _NONE).config.get("idle_w")
        if idle is None:
            try:
                idle = scenario.device(group.type).idle_w
            except KeyError:
                return None
        total += node.power.base_w + idle * group.count
    return total


class _NoOptions:
    config: dict[str, float] = {}


_NONE = _NoOptions()
