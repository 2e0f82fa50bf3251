"""Weights off the devices: how many of an instance, in which memory, and over which network they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from metronome.hwmodels.interface import Attribute

from .coupling.streamed import ExpertStream, LayerStream, Stream
from .errors import InputError
from .lowering.architecture import Architecture, one_expert_bytes
from .lowering.expert_cache import expert_cache
from .lowering.layout import Device, Layout, address
from .lowering.quantity import TOKENS
from .lowering.routing import Routing
from .lowering.work import Templates, Work
from .scenario.schema import Scenario
from .scenario.weights import WeightOffloading
from .units import GIB


@dataclass(frozen=True, slots=True)
class OffDevice:
    """Of each device ``size`` bytes of weights, those of ``layers`` layers (not always whole), lie in ``memory``.

    ``layer``: bytes of one of its layers, the largest; ``buffers``: bytes on the device for layers fetched ahead.
    Where it is experts, of ``expert`` bytes over all layers, the device keeps some that lie in memory, too.
    """

    memory: str
    size: int
    layer: int
    layers: float
    prefetch_step: int
    where: str
    cached_experts: int = 0
    expert: float = 0.0

    @property
    def buffers(self) -> int:
        """For layers that lie off the device: the last of them may not do so whole."""
        return min(self.prefetch_step * self.layer, self.size)

    @property
    def lies(self) -> int:
        """Bytes in the memory, for each device."""
        return self.size + round(self.cached_experts * self.expert)


class Placed(Protocol):
    """Whose weights: a unit of the placement, of the instance numbered ``rank``."""

    @property
    def rank(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def arch(self) -> Architecture: ...

    @property
    def layout(self) -> Layout: ...

    @property
    def routing(self) -> Routing | None: ...


def off_device(scenario: Scenario, index: int, arch: Architecture, layout: Layout) -> OffDevice | None:
    """What the scenario puts off the devices of an instance; None if nothing. Raises InputError."""
    instance = scenario.instances[index]
    options, where = instance.weight_offloading, f"instances.{index}.weight_offloading"
    asked = getattr(instance.engine, "cpu_offload_gb", 0)
    if asked:
        if options is not None:
            raise _refused(
                f"instances.{index}.engine.cpu_offload_gb", asked, "weight_offloading says it: give one of them"
            )
        options = WeightOffloading(gib=asked, prefetch_step=0)
        where = f"instances.{index}.engine.cpu_offload_gb"
    if options is None:
        return None
    if layout.pp > 1 or layout.ffn:
        raise _refused(where, None, "goes without pipeline stages and without ffn: which of them wait is not modelled")
    nodes = [node for node, _ in layout.devices]
    spot = where if asked else f"{where}.memory"
    memory, _ = scenario.cluster.find_memory(options.memory, nodes, spot, asked or None)
    if options.cached_experts is not None:
        return _experts(where, options.cached_experts, memory, arch, layout)
    sizes = [arch.weight_bytes(layout.tp, layout.expert_ranks, range(i, i + 1), ends=0) for i in range(arch.layers)]
    total = sum(sizes)
    size = total if options.gib is None else min(total, round(options.gib * GIB))
    layers = arch.layers * size / total
    return OffDevice(memory, size, max(sizes), layers, min(options.layers_ahead, ceil(layers)), where)


def _experts(where: str, cached: int, memory: str, arch: Architecture, layout: Layout) -> OffDevice:
    """Each device keeps so many of its experts of a layer; the others lie in memory."""
    local = arch.experts // layout.expert_ranks
    if cached >= local:
        there = f"must be below the {local} of a layer that a device has" if local else f"{arch.name} has no experts"
        raise _refused(f"{where}.cached_experts", cached, there)
    with_experts = [block.experts for block in arch.blocks if block.experts]
    one = sum(one_expert_bytes(some, layout.tp, layout.expert_ranks, arch.dtype) for some in with_experts)
    return OffDevice(memory, round((local - cached) * one), 0, 0, 0, where, cached, one)


def stage_weights(arch: Architecture, layout: Layout, stage: int) -> int:
    """Bytes of weights that each rank of a pipeline stage works with, wherever they lie."""
    ends = (stage == 0) + (stage == layout.pp - 1)
    layers = layout.layers(arch.layers)[stage]
    return arch.weight_bytes(layout.tp, layout.expert_ranks, layers, ends, experts=not layout.ffn)


def _refused(field: str, value: object, allowed: str) -> InputError:
    return InputError("scenario", field, value, allowed)


class Room:
    """What memories have room for; ``held``: bytes that lie in them already."""

    def __init__(self, scenario: Scenario, held: Mapping[str, int]) -> None:
        self._memories, self._held = scenario.cluster.memory(), dict(held)

    def take(self, memory: str, size: int, where: str) -> None:
        """Raises InputError where a memory has no room for so many bytes more."""
        self._held[memory] = self._held.get(memory, 0) + size
        room = self._memories[memory].size_gib
        if room is not None and self._held[memory] > room * GIB:
            allowed = f"{self._held[memory] / GIB:.1f} GiB would lie in {memory}, which has {room:g} GiB"
            raise _refused(where, None, allowed)


def weight_streams(scenario: Scenario, units: Sequence[Placed], room: Room, templates: Templates) -> dict[str, Stream]:
    """By unit what streams in each of its steps.

    Raises InputError for a memory that no link reaches, or that has no room.
    """
    found: dict[str, Stream] = {}
    for unit in units:
        name, arch, layout = unit.name, unit.arch, unit.layout
        off = off_device(scenario, unit.rank, arch, layout)
        if off is None:
            continue
        room.take(off.memory, off.lies * len(layout.devices), off.where)
        work = _send(scenario, name, layout, off, templates)
        if off.cached_experts and unit.routing is not None:
            cache = expert_cache(unit.routing, layout.expert_ranks, off.cached_experts)
            found[name] = ExpertStream(work, cache, off.expert)
        else:
            found[name] = LayerStream(work, off.size, off.layer, arch.layers, off.layers, off.prefetch_step)
    return found


def _send(scenario: Scenario, name: str, layout: Layout, off: OffDevice, templates: Templates) -> Work:
    """What brings weights to all devices at once; its value is the bytes of each."""
    network = network_to(scenario, off.memory, layout.devices, off.where)
    pairs = [part for device in layout.devices for part in (off.memory, address(device))]
    attributes: dict[str, Attribute] = {"participants": len(pairs), "ranks": ",".join(pairs), "owner": name}
    template = templates.declare("send", "weights", attributes)
    return Work(network, template, TOKENS, len(pairs), f"{name}>weights*")


def network_to(scenario: Scenario, memory: str, devices: Sequence[Device], where: str) -> str:
    """The smallest network that connects a memory with these devices. Raises InputError if none does."""
    wanted = {f"{node}.accelerators" for node, _ in devices} | {memory}
    found = scenario.cluster.network_between(wanted)
    if found is None:
        allowed = f"no link reaches it: no network connects {' and '.join(sorted(wanted))}"
        raise _refused(f"{where}.memory", memory, allowed)
    return found
