"""Where an instance that starts gets its weights: from which memory or instance, over which network, how many bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from metronome.hwmodels.interface import Attribute

from .coupling.loading import Load, WeightRoutes
from .errors import InputError
from .lowering.architecture import Architecture
from .lowering.layout import Device, address
from .lowering.quantity import TOKENS
from .lowering.work import Templates, Work
from .off_device import Room, network_to, off_device, stage_weights
from .placement import UnitPlan
from .scenario.schema import Scenario

WHERE = "start_up.weights_from"
Ranks = Sequence[tuple[Device, int]]  # devices, each with the bytes that it keeps


def weight_routes(
    scenario: Scenario, units: Sequence[UnitPlan], room: Room, templates: Templates
) -> WeightRoutes | None:
    """None where a start takes a given time. A memory holds the checkpoint of each model once.

    Raises InputError for a memory that is not there, that no link reaches, or that has no room.
    """
    options = scenario.start_up
    if options is None or options.weights_from is None or not (scenario.failures or scenario.autoscaling):
        return None
    ranks = {instance.name: list(_ranks(scenario, instance.name, units)) for instance in scenario.instances}
    kept: set[tuple[str, Architecture]] = set()
    from_memory = {}
    for unit in units:
        name = unit.options.name
        for node in sorted({device[0] for device, _ in ranks[name]}):
            memory = scenario.cluster.find_memory(options.weights_from, [node], WHERE)[0]
            if (memory, unit.arch) not in kept:
                kept.add((memory, unit.arch))
                room.take(memory, unit.arch.weight_bytes(1), WHERE)
        if name not in from_memory:
            from_memory[name] = _from_memory(scenario, options.weights_from, unit, ranks[name], templates)
    from_peers = _from_peers(scenario, units, ranks, templates) if options.from_peers else {}
    return WeightRoutes(options.weights_from, from_memory, from_peers)


def _ranks(scenario: Scenario, name: str, units: Sequence[UnitPlan]) -> Iterator[tuple[Device, int]]:
    """Each device of an instance; weights that lie off it stay where they are."""
    for unit in units:
        if unit.options.name != name:
            continue
        layout, arch = unit.layout, unit.arch
        off = off_device(scenario, unit.rank, arch, layout)
        for member in range(layout.dp):
            for stage in range(layout.pp):
                size = stage_weights(arch, layout, stage) - (off.size if off else 0)
                yield from ((device, size) for device in layout.ranks(member, stage))
        for device in layout.ffn:
            yield device, arch.weight_bytes(1, layout.expert_ranks, ends=0, dense=False)


def _from_memory(scenario: Scenario, kept_in: str, unit: UnitPlan, ranks: Ranks, templates: Templates) -> Load:
    pairs: dict[tuple[str, int], list[str]] = {}
    for device, size in ranks:
        memory = scenario.cluster.find_memory(kept_in, [device[0]], WHERE)[0]
        network = network_to(scenario, memory, [device], WHERE)
        pairs.setdefault((network, size), []).extend((memory, address(device)))
    return _load(pairs, unit.options.name, unit.arch.layers, templates)


def _from_peers(
    scenario: Scenario, units: Sequence[UnitPlan], ranks: Mapping[str, Ranks], templates: Templates
) -> dict[tuple[str, str], Load]:
    """From every instance of the same model, laid out alike, that a network connects."""
    shapes = {unit.options.name: (unit.arch, [size for _, size in ranks[unit.options.name]]) for unit in units}
    found: dict[tuple[str, str], Load] = {}
    for source, shape in shapes.items():
        for target in shapes:
            if source == target or shapes[target] != shape:
                continue
            pairs: dict[tuple[str, int], list[str]] = {}
            for (giver, size), (taker, _) in zip(ranks[source], ranks[target], strict=True):
                network = scenario.cluster.network_between({f"{node}.accelerators" for node, _ in (giver, taker)})
                if network is not None:
                    pairs.setdefault((network, size), []).extend((address(giver), address(taker)))
            if sum(len(ends) // 2 for ends in pairs.values()) == len(ranks[source]):
                found[source, target] = _load(pairs, target, shape[0].layers, templates)
    if not found:
        why = "no two instances with the same model and layout are connected by a network"
        raise InputError("scenario", "start_up.from_peers", True, why)
    return found


def _load(pairs: Mapping[tuple[str, int], list[str]], name: str, layers: int, templates: Templates) -> Load:
    """One send for all devices that get equally much over one network; in as many parts as there are layers, so that
    an instance that fails meanwhile soon reads no more."""
    sends = []
    for (network, size), ends in pairs.items():
        attributes: dict[str, Attribute] = {"participants": len(ends), "ranks": ",".join(ends), "owner": name}
        template = templates.declare("send", "start_up", attributes)
        sends.append((Work(network, template, TOKENS, len(ends), f"{name}>start_up*"), size))
    return Load(tuple(sends), layers)
