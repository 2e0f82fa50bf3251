"""``fmi``: a memory whose physics is a co-simulation unit (FMU) of FMI 2.0 or 3.0. ``fmi-network``: a way to one.

K and V off the devices, and weights, move as sends over a network that connects their memory; a unit in its place has
all bytes of these pass it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from metronome.hwmodels.interface import Description, Feature, Operation, Template, TimePolicy
from metronome.hwmodels.memory.fifo import moved
from metronome.hwmodels.network.ranks import ranks_of
from pydantic import Field

from .stepping import FmiConfig, Stepped

FEATURES = frozenset({Feature.PROGRESS, Feature.INSPECT, Feature.SNAPSHOT})
MOST = 20_000  # operations at once


class FmiMemory(Stepped[FmiConfig]):
    """Reads and writes alike pass the unit; a copy's bytes pass it twice."""

    description: ClassVar[Description] = Description(
        name="fmi",
        kind="memory",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=frozenset({"read", "write", "copy", "move", "load", "store"}),
        features=FEATURES,
        memoryless=False,
        max_batch_ops=MOST,
        summary="a co-simulation unit of FMI 2.0 or 3.0, in steps (metronome tools install fmi)",
    )

    def moves(self, operation: Operation) -> tuple[int, int]:
        return moved(self.templates[operation.template].kind, operation.values)


class FmiNetworkConfig(FmiConfig):
    """The unit, and what the scenario's network connects."""

    groups: list[dict[str, Any]] = Field(default=[], description="accelerators by node: name, count")
    memories: list[dict[str, Any]] = Field(default=[], description="their names; the unit knows the rest")


class FmiNetwork(Stepped[FmiNetworkConfig]):
    """Sends between devices and memories; what leaves a memory is read, all else is written."""

    description: ClassVar[Description] = Description(
        name="fmi-network",
        kind="network",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=frozenset({"send"}),
        features=FEATURES,
        memoryless=False,
        max_batch_ops=MOST,
        summary="the way to a memory, a co-simulation unit of FMI 2.0 or 3.0 (metronome tools install fmi)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        self._memories = frozenset(str(one["name"]) for one in own.memories)
        self._devices = {f"{one['name']}.{i}" for one in own.groups for i in range(int(one["count"]))}
        self._pairs: dict[int, tuple[int, int]] = {}  # of a template: how many read, how many write

    def check_template(self, template: Template) -> None:
        have = ", ".join([*(str(one["name"]) for one in self.config.groups), *sorted(self._memories)])
        ranks = ranks_of(self.description.name, template, self._devices | self._memories, have)
        out = sum(source in self._memories for source in ranks[::2])
        self._pairs[template.id] = out, len(ranks) // 2 - out

    def moves(self, operation: Operation) -> tuple[int, int]:
        out, back = self._pairs[operation.template]
        return out * operation.values[0], back * operation.values[0]
