"""From what a scenario says of K and V off the devices to pools, the ways to them, and who uses which.

Everything that cannot be is refused here, before time 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metronome.hwmodels.interface import Attribute

from ..coupling.mover import KvRoute
from ..errors import InputError
from ..kv_routes import heads_moved
from ..lowering.layout import address
from ..lowering.quantity import TOKENS
from ..lowering.work import Templates, Work
from ..off_device import network_to
from ..placement import UnitPlan
from ..scenario.memory import OWN
from ..scenario.schema import Scenario
from ..serving.engines import kind_of
from ..serving.tiers.options import KvOffloading, KvTier
from ..strict import did_you_mean
from ..units import GIB

Routes = dict[tuple[str, str], list[KvRoute]]


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool: ``name`` is its own, ``tier`` the scenario's; ``chunks`` of ``chunk_bytes`` bytes fit."""

    name: str
    tier: str
    memory: str
    chunks: int
    chunk_bytes: int
    options: KvTier
    where: str


@dataclass(frozen=True, slots=True)
class UserPlan:
    """The pools of one engine, nearest first, and by whose rules it uses them: by chunks of so many tokens."""

    pools: tuple[PoolPlan, ...]
    rules: KvOffloading
    layers: int
    chunk_tokens: int


@dataclass(slots=True)
class TierPlan:
    """Of a run: ``users`` by engine, and the ways of K and V from engine to pool and back."""

    users: dict[str, UserPlan] = field(default_factory=dict)
    routes: Routes = field(default_factory=dict)

    @property
    def held(self) -> dict[str, int]:
        """Bytes that pools take, by memory."""
        pools = {pool.name: pool for user in self.users.values() for pool in user.pools}
        found: dict[str, int] = {}
        for pool in pools.values():
            found[pool.memory] = found.get(pool.memory, 0) + pool.chunks * pool.chunk_bytes
        return found


def plan_tiers(scenario: Scenario, units: Sequence[UnitPlan], templates: Templates) -> TierPlan:
    """Raises InputError for what cannot be."""
    found = TierPlan()
    shapes: dict[str, tuple[UnitPlan, str]] = {}  # of each pool its first user
    for unit in units:
        where, rules = _rules(scenario, unit)
        if rules is None or all(tier.size_gib == 0 for tier in rules.tiers):
            continue
        _check(scenario, unit, where)
        for member, name in enumerate(unit.names):
            pools = []
            for i, tier in enumerate(rules.tiers):
                if tier.size_gib == 0:  # no tier, whatever else is said of it
                    continue
                spot = f"{where}.tiers.{i}" if where == "kv_offloading" else where
                pool = _pool(scenario, unit, member, tier, rules, spot)
                _same(shapes, pool, unit, name)
                out, back = _routes(scenario, unit, member, pool, templates)
                found.routes[name, pool.name], found.routes[pool.name, name] = out, back
                pools.append(pool)
            found.users[name] = UserPlan(tuple(pools), rules, unit.arch.layers, _chunk_tokens(unit, rules))
    _check_room(scenario, found)
    return found


def _rules(scenario: Scenario, unit: UnitPlan) -> tuple[str, KvOffloading | None]:
    """(where it stands, what holds for an instance): the scenario's section, or vLLM's own flags."""
    section, engine = scenario.kv_offloading, unit.options.engine
    size, where = getattr(engine, "kv_offloading_size", None), f"instances.{unit.rank}.engine.kv_offloading_size"
    if section is not None:
        names = [instance.name for instance in scenario.instances]
        for i, name in enumerate(section.instances):
            if name not in names:
                hint = did_you_mean(name, names)
                raise _refused(f"kv_offloading.instances.{i}", name, f"{hint}instances: {', '.join(names)}")
        mine = unit.options.name in section.instances if section.instances else unit.options.role != "decode"
        if not mine:
            section = None
    if not size:
        return "kv_offloading", section
    if section is not None:
        raise _refused(where, size, "the scenario's kv_offloading says it for this instance: give one of them")
    tier = KvTier(name="cpu", memory="dram", size_gib=size)
    for i, other in enumerate(scenario.kv_offloading.tiers if scenario.kv_offloading is not None else ()):
        if other.name == tier.name:
            what = f"is the name of the tier that {where} makes: give this one another"
            raise _refused(f"kv_offloading.tiers.{i}.name", other.name, what)
    return where, KvOffloading(backend=getattr(engine, "kv_offloading_backend", "native"), tiers=[tier])


def _refused(field: str, value: object, allowed: str) -> InputError:
    return InputError("scenario", field, value, allowed)


def _at(spot: str, field: str) -> str:
    """Where a field of a tier stands; vLLM's own flag is all there is of one."""
    return spot if spot.endswith("kv_offloading_size") else f"{spot}.{field}"


def _check(scenario: Scenario, unit: UnitPlan, where: str) -> None:
    """What does not go together with K and V off the devices."""
    options, name = unit.options, unit.options.name
    engine, refused = options.engine, ""
    if not kind_of(engine.version).recalls:
        refused = f"{engine.version} keeps K and V on the device: vLLM's simulated engine can move them"
    elif options.role == "decode":
        refused = f"{name} decodes: K and V of its prompts come from their prefill instances, which may have tiers"
    elif not engine.enable_prefix_caching:
        refused = f"{name} has enable_prefix_caching off: nothing would be found again"
    elif options.decode_attention == "pim" or options.ffn:
        refused = f"{name}: K and V of PIM devices, or of attention apart from the experts, do not move"
    elif any(not group.keeps_all for group in unit.kv_groups):
        refused = f"{unit.arch.name} keeps different tokens in different layers: which of them move is not modelled"
    if refused:
        raise _refused(where, None, refused)


def _pool(scenario: Scenario, unit: UnitPlan, member: int, tier: KvTier, rules: KvOffloading, spot: str) -> PoolPlan:
    """The pool of a tier that a member of a unit uses."""
    nodes = [node for stage in range(unit.layout.pp) for node, _ in unit.layout.ranks(member, stage)]
    node = nodes[0]
    memory, facts = scenario.cluster.find_memory(tier.memory, nodes, _at(spot, "memory"))
    names = {"instance": f"{unit.names[member]}/{tier.name}", "node": f"{node}/{tier.name}", "cluster": tier.name}
    if tier.shared_by == "cluster" and tier.memory in OWN and len(scenario.cluster.nodes) > 1:
        raise _refused(
            _at(spot, "memory"), tier.memory, "a pool of the cluster is in one memory: name it, e.g. n0.dram"
        )
    tokens = _chunk_tokens(unit, rules)
    chunk = sum(_layer_bytes(unit, spot) * len(layers) * unit.layout.tp for layers in _stages(unit)) * tokens
    size = tier.size_gib if tier.size_gib is not None else facts.size_gib
    if size is None:
        raise _refused(_at(spot, "size_gib"), None, f"is missing, and {memory} has none either")
    chunks = int(size * GIB // chunk)
    if chunks < 1:
        what = f"is smaller than a chunk: {tokens} tokens of {unit.arch.name} are {chunk / GIB:.4f} GiB"
        raise _refused(_at(spot, "size_gib"), size, what)
    if tier.write == "back" and rules.blocks(unit.options.engine.block_size) > 1:
        raise _refused(f"{spot}.write", "back", "goes with chunk_blocks 1: a device lets blocks go one by one")
    if tier.write == "back" and tier.eviction in ("session", "priority"):
        what = "goes with write through: what a device lets go is of no request; with back lru, lfu, or module:Class"
        raise _refused(f"{spot}.eviction", tier.eviction, what)
    if tier.write == "back" and tier.pin_sessions:
        raise _refused(f"{spot}.pin_sessions", True, "goes with write through: what a device lets go is of no session")
    return PoolPlan(names[tier.shared_by], tier.name, memory, chunks, round(chunk), tier, spot)


def _chunk_tokens(unit: UnitPlan, rules: KvOffloading) -> int:
    size = unit.options.engine.block_size
    return rules.blocks(size) * size


def _stages(unit: UnitPlan) -> list[range]:
    return unit.layout.layers(unit.arch.layers)


def _layer_bytes(unit: UnitPlan, spot: str) -> float:
    """Of a token in a layer on one rank; heads that several ranks keep are moved by each, as each keeps its own."""
    heads, size = heads_moved(unit.arch, unit.kv_dtype, f"instances.{unit.rank}.model")
    return max(1, heads // unit.layout.tp) * size


def _same(shapes: dict[str, tuple[UnitPlan, str]], pool: PoolPlan, unit: UnitPlan, name: str) -> None:
    """Who shares a pool puts the same bytes under the same names."""
    first, its_name = shapes.setdefault(pool.name, (unit, name))
    ours, theirs = unit.options.engine, first.options.engine
    for what, mine, other in (
        ("model", unit.arch.name, first.arch.name),
        ("dtype", unit.arch.dtype, first.arch.dtype),
        ("quantization", unit.arch.quantization, first.arch.quantization),
        ("model (its layers)", unit.arch, first.arch),
        ("engine.kv_cache_dtype", unit.kv_dtype, first.kv_dtype),
        ("engine.block_size", ours.block_size, theirs.block_size),
        ("tensor_parallel_size", unit.layout.tp, first.layout.tp),
        ("pipeline_parallel_size", unit.layout.pp, first.layout.pp),
    ):
        if mine != other:
            shown = getattr(mine, "name", mine) or None
            its = "of the same name" if mine is unit.arch else other or "none"
            why = f"must be that of {its_name} ({its}): they share the pool {pool.name}"
            raise _refused(f"instances.{unit.rank}.{what}", shown, why)


def _routes(
    scenario: Scenario, unit: UnitPlan, member: int, pool: PoolPlan, templates: Templates
) -> tuple[list[KvRoute], list[KvRoute]]:
    """(to the pool, from it): every rank moves what it keeps, those of a stage at once."""
    out: list[KvRoute] = []
    back: list[KvRoute] = []
    size, name = _layer_bytes(unit, pool.where), unit.names[member]
    for stage, layers in enumerate(_stages(unit)):
        ranks = [address(device) for device in unit.layout.ranks(member, stage)]
        network = network_to(scenario, pool.memory, unit.layout.ranks(member, stage), pool.where)
        for routes, layer, pairs in (
            (out, "kv_store", [part for rank in ranks for part in (rank, pool.memory)]),
            (back, "kv_recall", [part for rank in ranks for part in (pool.memory, rank)]),
        ):
            attributes: dict[str, Attribute] = {
                "participants": len(pairs),
                "ranks": ",".join(pairs),
                "owner": f"{name} {pool.name}",
            }
            template = templates.declare("send", layer, attributes)
            work = Work(network, template, TOKENS, len(pairs), f"{name}>{pool.name}*")
            routes.append(KvRoute(work, layers, size))
    return out, back


def _check_room(scenario: Scenario, found: TierPlan) -> None:
    """Pools do not hold more than their memory does."""
    pools = {pool.name: pool for user in found.users.values() for pool in user.pools}
    for name, memory in scenario.cluster.memory().items():
        inside = [pool for pool in pools.values() if pool.memory == name]
        total = sum(pool.chunks * pool.chunk_bytes for pool in inside) / GIB
        if inside and memory.size_gib is not None and total > memory.size_gib:
            names = ", ".join(pool.name for pool in inside)
            allowed = f"{names} take {total:.1f} GiB of {name}, which has {memory.size_gib:g} GiB"
            raise _refused(_at(inside[0].where, "size_gib"), inside[0].options.size_gib, allowed)
