"""Whatever a port wants: what is wired to the ports of a component while it is checked."""

from __future__ import annotations

from dataclasses import replace

from metronome.hwmodels.base import Config
from metronome.hwmodels.interface import Description, Operation, TimePolicy
from metronome.hwmodels.memory.fifo import Fifo
from metronome.hwmodels.ports import Port
from pydantic import Field


class CounterpartConfig(Config):
    """What each request takes."""

    latency_ps: int = Field(default=1000, gt=0)


class Counterpart(Fifo[CounterpartConfig]):
    """One request after another, in the order in which they are due."""

    description = Description(
        name="counterpart",
        kind="memory",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset(),
    )

    def transfer_ps(self, operation: Operation) -> int:
        return self.config.latency_ps


def counterpart(port: Port, latency_ps: int) -> Counterpart:
    """One that does what that port asks for."""
    made = Counterpart({"latency_ps": latency_ps})
    kinds = frozenset(template.kind for template in port.templates)
    made.description = replace(made.description, kind=port.kind, op_kinds=kinds)  # type: ignore[misc]
    return made
