"""How K and V get from a prefill instance to a decode instance: which devices send which heads to which."""

from __future__ import annotations

from collections.abc import Sequence

from metronome.hwmodels.interface import Attribute

from .coupling.mover import KvRoute
from .errors import InputError
from .lowering.architecture import Architecture
from .lowering.layout import Device, address
from .lowering.models.parts import Attention, Latent
from .lowering.quantity import TOKENS
from .lowering.work import Templates, Work
from .placement import UnitPlan, find_network
from .scenario.schema import Scenario


def routes_between(
    scenario: Scenario, units: Sequence[UnitPlan], templates: Templates
) -> dict[tuple[str, str], list[KvRoute]]:
    """Between every prefill and every decode replica, by their names. Raises InputError."""
    places = [(unit, member) for unit in units for member in range(len(unit.names))]

    def of(role: str) -> list[tuple[UnitPlan, int]]:
        return [(unit, member) for unit, member in places if unit.options.role == role]

    return {
        (unit.names[member], other.names[fellow]): kv_routes(scenario, unit, other, member, fellow, templates)
        for unit, member in of("prefill")
        for other, fellow in of("decode")
    }


def kv_routes(
    scenario: Scenario, source: UnitPlan, target: UnitPlan, member: int, other: int, templates: Templates
) -> list[KvRoute]:
    """How K and V get from a member of one unit to one of another: which device sends which heads of
    which layers where. Pairs that move equally much for the same layers are one send.

    Raises InputError if the two cannot share K and V.
    """
    spot = f"instances.{target.rank}"
    for what, ours, theirs in (
        ("model", source.arch, target.arch),
        ("engine.kv_cache_dtype", source.kv_dtype, target.kv_dtype),
        ("engine.block_size", source.options.engine.block_size, target.options.engine.block_size),
    ):
        if ours != theirs:
            shown = getattr(theirs, "name", theirs)
            raise InputError(
                "scenario", f"{spot}.{what}", shown, f"must be that of the prefill instance {source.names[member]}"
            )
    arch = source.arch
    kv_heads, head_bytes = heads_moved(arch, source.kv_dtype, f"{spot}.model")
    sends: dict[tuple[int, int, int], list[Device]] = {}
    for p, computed in enumerate(source.layout.layers(arch.layers)):
        for d, kept in enumerate(target.layout.layers(arch.layers)):
            first, end = max(computed.start, kept.start), min(computed.stop, kept.stop)
            if first >= end:
                continue
            senders, receivers = source.layout.ranks(member, p), target.layout.ranks(other, d)
            for j, receiver in enumerate(receivers):
                for i, heads in _senders(kv_heads, len(senders), len(receivers), j):
                    if senders[i] != receiver:
                        sends.setdefault((first, end, heads), []).extend((senders[i], receiver))
    routes = []
    name, towards = source.names[member], target.names[other]
    for (first, end, heads), devices in sends.items():
        attributes: dict[str, Attribute] = {
            "participants": len(devices),
            "ranks": ",".join(map(address, devices)),
            "owner": f"{name}>{towards}",
        }
        template = templates.declare("send", "kv_transfer", attributes)
        network = find_network(scenario, f"{spot}.accelerators", target.options.accelerators, devices)
        work = Work(network, template, TOKENS, len(devices), f"{name}>{towards}*")
        routes.append(KvRoute(work, range(first, end), heads * head_bytes))
    return routes


def heads_moved(arch: Architecture, kv_dtype: str, spot: str) -> tuple[int, int]:
    """(KV heads, bytes of a head's K and V of a token in a layer); a latent vector is one head.

    Raises InputError for models whose layers do not all keep the same of a token.
    """
    shapes = set()
    for block in arch.blocks:
        mixer = block.mixer
        if isinstance(mixer, Latent):
            shapes.add((1, mixer.kept(1, kv_dtype)))
        elif isinstance(mixer, Attention) and mixer.keeps:
            shapes.add((mixer.kv_heads, mixer.kept(mixer.kv_heads, kv_dtype)))
        else:
            shapes.add((0, 0))
    if len(shapes) > 1 or (0, 0) in shapes:
        allowed = "handing on K and V needs a model whose layers all keep the same of a token"
        raise InputError("scenario", spot, arch.name, allowed)
    return shapes.pop()


def _senders(kv_heads: int, sources: int, targets: int, j: int) -> list[tuple[int, int]]:
    """Which source ranks hold the heads of target rank ``j``, and how many each; repeated heads come from one."""
    held, wanted = max(1, kv_heads // sources), max(1, kv_heads // targets)
    copies = max(1, sources // kv_heads)
    first = j * kv_heads // targets
    found: dict[int, int] = {}
    for head in range(first, first + wanted):
        rank = head // held * copies
        found[rank] = found.get(rank, 0) + 1
    return list(found.items())
