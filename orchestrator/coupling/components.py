"""Which components a scenario has, and who answers for each."""

from __future__ import annotations

import warnings
from collections.abc import Container, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from metronome.hwmodels import catalog
from metronome.hwmodels.interface import ConfigError

from ..errors import InputError, NoEffectWarning
from ..scenario.components import ComponentOptions
from ..scenario.joined import joined
from ..scenario.memory import Memory
from ..scenario.schema import Instance, Scenario
from ..strict import Strict, did_you_mean
from . import registry
from .link import Link, LocalLink, raised, refused
from .watch import WatchedLink

HBM = ".hbm"  # of a node: the memory of each of its accelerators
DEFAULT_MODEL = {"accelerator": "roofline", "network": "alpha-beta", "memory": "bandwidth-latency", "pim": "dram-pim"}


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """One component before it is started; ``rank`` is its place in the order of the scenario.

    ``facts``: what the scenario knows of the hardware, for a model that is not installed here; what its
    configuration has fields for is only known once it is asked. ``stated`` says where in the scenario the facts stand
    that its author wrote down. ``folder`` is where paths start from. ``substitute`` answers where it has failed for
    good. ``factors`` its times are multiplied by, by part (`CalibratedLink`). ``wires``: its ports, and whom it asks
    there.
    """

    name: str
    kind: str
    rank: int
    model: str
    config: Mapping[str, Any]
    options: ComponentOptions
    seed: int
    folder: Path = Path()
    facts: Mapping[str, Any] | None = None
    stated: Mapping[str, str] = field(default_factory=dict, compare=False)
    substitute: ComponentSpec | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    wires: tuple[tuple[str, str], ...] = ()


def warn_of_unread(component: str, model: str, stated: Mapping[str, str], fields: Container[str]) -> None:
    """Facts that the scenario states and the model's configuration has no ``fields`` for."""
    for fact, place in stated.items():
        if fact not in fields:
            text = f"{place} has no effect: {model}, which answers for {component}, has no such field"
            warnings.warn(text, NoEffectWarning, stacklevel=2)


def _warn_of_replaced(component: str, stated: Mapping[str, str], config: Container[str]) -> None:
    """Facts that the scenario states and the component's own configuration says again, which wins."""
    for fact, place in stated.items():
        wins = "ini" if fact == "part" and "ini" in config else fact  # of PIM: a file in place of a part
        if wins in config:
            text = f"{place} has no effect: components.{component}.{wins} is given"
            warnings.warn(text, NoEffectWarning, stacklevel=3)


def specify(scenario: Scenario, folder: Path) -> list[ComponentSpec]:
    """Every component of the scenario, in order: accelerators, memories and PIM by node, then networks.

    What the scenario knows of a piece of hardware (its ``facts``) is handed to a model whose configuration has a field
    of that name; what ``components`` says wins. A fact that is written down is warned about where the model has no
    field for it, or ``components`` says it again.
    """
    hardware = _hardware(scenario)
    _warn_of_unreached(scenario)
    for name in scenario.components:
        if name not in hardware:
            raise InputError(
                "scenario", f"components.{name}", None, f"no such hardware; there is {', '.join(hardware)}"
            )
    wires = _wires(scenario, hardware)
    specs = []
    for rank, (name, (kind, facts, stated)) in enumerate(hardware.items()):
        options = scenario.components.get(name, ComponentOptions())
        substitute = _substitute(scenario, name, kind, rank, facts)
        factors = _factors(scenario, kind)
        model = options.model or (options.command[0] if options.run == "command" and options.command else None)
        model = model or _default_model(kind, facts)
        if _elsewhere(options):
            known = {fact: value for fact, value in (facts | _limits(options)).items() if value is not None}
            config = dict(options.config)
            told = (known, stated, substitute, factors, wires[name])
            specs.append(ComponentSpec(name, kind, rank, model, config, options, scenario.seed, folder, *told))
            continue
        fields = _fields(f"components.{name}.model", model, kind)
        if name.endswith(HBM) and "energy_pj_per_bit" in options.config:
            what = f"components.{name}.energy_pj_per_bit has no effect: its accelerator says the energy of both"
            warnings.warn(what, NoEffectWarning, stacklevel=2)
        warn_of_unread(name, model, stated, fields)
        _warn_of_replaced(name, stated, options.config)
        if kind == "network" and model == "fabric":
            without = "" if options.model else _default_model(kind, {**facts, "scale_out": None})
            _warn_of_one_node(scenario, name, without)
        if kind == "pim" and "devices" in options.config:
            allowed = (
                "cluster.nodes[].memory.pim.devices_per_accelerator says how many there are, for time and for room"
            )
            raise InputError("scenario", f"components.{name}.devices", options.config["devices"], allowed)
        if facts.get("memories") and "memories" not in fields:
            allowed = f"does not know memories as endpoints ({facts['memories'][0]['name']}): fabric does"
            raise InputError("scenario", f"components.{name}.model", model, allowed)
        known = facts | _limits(options)
        config = {fact: value for fact, value in known.items() if fact in fields and value is not None}
        config |= {key: _absolute(fields.get(key), value, folder) for key, value in options.config.items()}
        if "custom_all_reduce" in fields:
            _warn_of_no_peers(scenario, name, config)
        common = (options, scenario.seed, folder)
        made = ComponentSpec(name, kind, rank, model, config, *common, substitute=substitute, factors=factors)
        specs.append(replace(made, wires=wires[name], stated=stated))
    return specs


def asked_by_one(specs: Sequence[ComponentSpec]) -> dict[str, str]:
    """Memories that one component alone asks, and which: over a wire, or as the memory of its devices."""
    own = {spec.name: spec.name.removesuffix(HBM) + ".accelerators" for spec in specs if spec.name.endswith(HBM)}
    return own | {target: spec.name for spec in specs for _, target in spec.wires}


def _wires(scenario: Scenario, hardware: Mapping[str, Any]) -> dict[str, tuple[tuple[str, str], ...]]:
    """(port, whom it asks) of each component. Raises InputError for hardware that is not there."""
    found: dict[str, tuple[tuple[str, str], ...]] = dict.fromkeys(hardware, ())
    for number, wire in enumerate(scenario.wires):
        name, _, port = wire["from"].rpartition(".")
        for end, given, part in (("from", wire["from"], name), ("to", wire["to"], wire["to"])):
            if part not in found:
                known = f"{did_you_mean(part, found)}known: {', '.join(found)}"
                form = "COMPONENT.PORT" if end == "from" else "a component"
                raise InputError("scenario", f"wires.{number}.{end}", given, f"{form}; {known}")
        found[name] = (*found[name], (port, wire["to"]))
    return found


def _factors(scenario: Scenario, kind: str) -> Mapping[str, float]:
    """The scenario's calibration of a component of that kind, by part; memory and PIM have none."""
    if scenario.calibration is None or kind not in ("accelerator", "network"):
        return {}
    factors = scenario.calibration.factors
    return {part: factor for part, factor in factors.items() if (part == "link") == (kind == "network")}


def _substitute(scenario: Scenario, name: str, kind: str, rank: int, facts: Mapping[str, Any]) -> ComponentSpec | None:
    """The model that `on_failure` names, configured by what the scenario knows of the hardware."""
    on_failure = scenario.components.get(name, ComponentOptions()).on_failure
    if isinstance(on_failure, str):
        return None
    fields = _fields(f"components.{name}.on_failure.fallback", on_failure.fallback, kind)
    config = {fact: value for fact, value in facts.items() if fact in fields and value is not None}
    return ComponentSpec(name, kind, rank, on_failure.fallback, config, ComponentOptions(), scenario.seed)


def _fields(where: str, model: str, kind: str) -> Mapping[str, Any]:
    """The configuration of a model of that kind. Raises InputError."""
    found = _model(where, model)
    if found.description.kind != kind:
        raise InputError("scenario", where, model, f"models a piece of {found.description.kind}, not of {kind}")
    fields: Mapping[str, Any] = found.config_schema().get("properties", {})
    return fields


def _limits(options: ComponentOptions) -> dict[str, float]:
    """``timeout_s``, where the scenario gives it: also of the tool, for a model that drives one."""
    return {"timeout_s": options.timeout_s} if "timeout_s" in options.model_fields_set else {}


def _elsewhere(options: ComponentOptions) -> bool:
    """Whether only the component itself knows its model: somebody else's server, program, or image."""
    if options.run in ("address", "command"):
        return True
    return options.run == "container" and options.model is not None and not registry.known(options.model)


def _default_model(kind: str, facts: Mapping[str, Any]) -> str:
    """``alpha-beta`` knows one kind of link by two figures; what says more is a ``fabric``."""
    if kind == "network" and (
        facts.get("type") or facts.get("scale_out") or facts["topology"] != "switch" or facts.get("memories")
    ):
        return "fabric"
    return DEFAULT_MODEL[kind]


def _hardware(scenario: Scenario) -> dict[str, tuple[str, dict[str, Any], dict[str, str]]]:
    """name -> (kind, facts, where each fact stands that is written down; what others read of it is left out)."""
    found: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {}
    for node in scenario.cluster.nodes:
        name = node.accelerators.type
        facts: dict[str, Any] = {"device": name}
        if name in scenario.devices:
            own = scenario.devices[name].model_dump(exclude_none=True)
            facts = {"device": own, "device_name": f"devices.{name}"}
        if name in scenario.devices or catalog.canonical(name):
            device = scenario.device(name)
            facts |= {"idle_w": device.idle_w, "standby_w": device.standby_w, "active_w": device.active_w}
            facts["reached_gb_s"] = device.memory_bandwidth * device.memory_efficiency / 1e9
        cap, place = scenario.cluster.accelerators_cap_w(node)
        if cap is not None and cap <= facts.get("standby_w", 0):
            awake = f"{facts.get('standby_w', 0):g} W with nothing to do"
            raise InputError("scenario", place, None, f"leaves {cap:g} W for an accelerator, which draws {awake}")
        facts["power_cap_w"] = cap
        stated = {} if cap is None else {"power_cap_w": place}
        found[f"{node.name}.accelerators"] = ("accelerator", facts, stated)
        if node.name + HBM in {*scenario.components, *(wire["to"] for wire in scenario.wires)}:
            found[node.name + HBM] = ("memory", _hbm(scenario, node.accelerators.type, node.name), {})
        if node.memory.dram:
            found[f"{node.name}.dram"] = ("memory", *_host_memory(scenario, node.name, node.memory.dram))
        if node.memory.pim:
            pim, read = node.memory.pim, {"devices_per_accelerator", "size_gib"}
            facts = {**pim.model_dump(exclude=read), "devices": pim.devices_per_accelerator}
            given = scenario.components.get(f"{node.name}.pim", ComponentOptions()).config
            if not given.keys() & {"part", "ini"}:
                read.add("part")  # it says the size, too
            found[f"{node.name}.pim"] = ("pim", facts, _stated(f"nodes.{node.name}.memory.pim", pim, read))
    counts = {f"{node.name}.accelerators": (node.name, node.accelerators.count) for node in scenario.cluster.nodes}
    for i, network in enumerate(scenario.cluster.networks):
        facts = joined(scenario, i).model_dump(exclude_none=True)
        groups = [group for group in network.connects if group in counts]
        facts["groups"] = [dict(zip(("name", "count"), counts[group], strict=True)) for group in groups]
        if endpoints := _endpoints(scenario, network.connects):
            facts["memories"] = endpoints
        found[network.name] = ("network", facts, _stated(f"networks.{network.name}", network, {"name", "connects"}))
    return found


def _host_memory(scenario: Scenario, node: str, dram: Memory) -> tuple[dict[str, Any], dict[str, str]]:
    """(facts, where they stand) of a host memory that a model answers for; networks read the rest themselves."""
    figures = dram.figures()
    facts = {
        "bandwidth_gb_s": figures.bandwidth_gb_s,
        "latency_ns": figures.latency_ns,
        "size_gib": dram.size_gib,
        "energy_pj_per_bit": dram.energy_pj_per_bit,
    }
    read = {"type", "channels", "read_gb_s", "write_gb_s", "loaded_latency"}
    if any(f"{node}.dram" in network.connects for network in scenario.cluster.networks):
        read.add("size_gib")
    return facts, _stated(f"nodes.{node}.memory.dram", dram, read)


def _warn_of_unreached(scenario: Scenario) -> None:
    """Memories that nothing reaches."""
    reached = {name for network in scenario.cluster.networks for name in network.connects}
    for name in scenario.cluster.memory():
        if name.endswith(".dram"):
            continue  # a component of its own
        if name not in reached:
            warnings.warn(f"memory {name} has no effect: no network connects it", NoEffectWarning, stacklevel=3)


def _warn_of_one_node(scenario: Scenario, name: str, without: str) -> None:
    """Links between nodes of a network that has one node; ``without`` them that model would answer, "" if one is
    stated."""
    network = next(one for one in scenario.cluster.networks if one.name == name)
    nodes = {end.rpartition(".")[0] or end for end in network.connects}  # a memory of no node is reached over them
    if network.scale_out is not None and len(nodes) == 1:
        but = " but that fabric answers for it" if without not in ("", "fabric") else ""
        text = f"cluster.networks.{name}.scale_out has no effect{but}: {name} connects one node"
        warnings.warn(text, NoEffectWarning, stacklevel=3)


def _warn_of_no_peers(scenario: Scenario, name: str, config: Mapping[str, Any]) -> None:
    """All-reduces that read peers' memory, switched off where there are none."""
    if config.get("custom_all_reduce") is not False:
        return
    kind, groups = config.get("type"), [group["count"] for group in config.get("groups", ())]
    link = catalog.interconnect(kind) if kind in catalog.interconnect_names() else None
    if link is None or link.peer_access is None:
        why = f"over {kind or 'links of plain figures'} none reads its peers' memory"
    elif (max(groups, default=0) if config.get("scale_out") else sum(groups)) < 2:
        why = "no device has a peer there"
    elif not any(_read_peers(instance, link.peer_access.most_ranks) for instance in scenario.instances):
        why = (
            f"over {kind} an even number of up to {link.peer_access.most_ranks} devices does so, and no instance's are"
        )
    else:
        return
    text = f"components.{name}.custom_all_reduce has no effect: {why}"
    warnings.warn(text, NoEffectWarning, stacklevel=3)


def _read_peers(instance: Instance, most: int) -> bool:
    """Whether its all-reduces may be done so, by so many devices at most."""
    size = instance.tensor_parallel_size
    return size is None or instance.ffn is not None or (1 < size <= most and size % 2 == 0)


def _endpoints(scenario: Scenario, connects: Sequence[str]) -> list[dict[str, Any]]:
    """The memories that a network connects, as its model takes them."""
    found = []
    for name, memory in scenario.cluster.memory().items():
        if name in connects:
            curve = {"loaded_latency": memory.loaded_latency} if memory.loaded_latency else {}
            found.append({"name": name, **asdict(memory.figures()), **curve})
    return found


def _hbm(scenario: Scenario, kind: str, node: str) -> dict[str, Any]:
    """The memory of one accelerator, as far as its device is known: what large kernels reach of its bandwidth."""
    config = scenario.components.get(f"{node}.accelerators", ComponentOptions()).config
    kind = config.get("device", kind)
    if not isinstance(kind, str) or (kind not in scenario.devices and not catalog.canonical(kind)):
        return {}
    device = scenario.device(kind)
    rate = device.memory_bandwidth * (config.get("memory_efficiency") or device.memory_efficiency)
    return {"bandwidth_gb_s": rate / 1e9, "latency_ns": 0, "size_gib": device.memory_bytes / 2**30}


def _stated(place: str, part: Strict, read: Set[str] = frozenset()) -> dict[str, str]:
    return {name: f"cluster.{place}.{name}" for name in sorted(part.model_fields_set - read)}


def _absolute(field: Any, value: Any, folder: Path) -> Any:
    """Paths in a configuration start from the scenario's folder; so does a program, unless it is a name on the PATH."""
    if isinstance(field, Mapping) and isinstance(value, str):
        form = _format(field)
        if form == "path" or (form == "program" and "/" in value):
            return str((folder / value).resolve())
    if isinstance(field, Mapping) and isinstance(value, Mapping) and _format(field) == "models":
        return {kind: _part(part, folder) for kind, part in value.items()}
    if isinstance(field, Mapping) and isinstance(value, list) and value and _format(field) == "command":
        return [_absolute({"format": "program"}, value[0], folder), *value[1:]]
    return value


def _part(part: Any, folder: Path) -> Any:
    """The configuration of a model within a model's; what it is worth, that model says."""
    if not isinstance(part, Mapping) or not registry.known(str(part.get("model"))):
        return part
    fields = registry.find(str(part["model"])).config_schema().get("properties", {})
    return {key: _absolute(fields.get(key), value, folder) for key, value in part.items()}


def _format(field: Mapping[str, Any]) -> str:
    """What the schema says a value is, optional or not."""
    return next((str(one["format"]) for one in (field, *field.get("anyOf", ())) if "format" in one), "")


def _model(where: str, name: str) -> Any:
    try:
        return registry.find(name)
    except registry.UnknownComponent as error:
        raise InputError("scenario", where, name, str(error)) from None


def open_local(spec: ComponentSpec) -> Link:
    """The component in this process; InputError if it refuses its configuration."""
    try:
        make = partial(registry.find(spec.model), spec.config, spec.seed)
        own = ":" in spec.model  # of the user's: nobody has seen that it always comes back
        return WatchedLink(spec.name, make, spec.options.timeout_s) if own else LocalLink(spec.name, make)
    except ConfigError as error:
        fact, dot, below = error.field.partition(".")
        place = "" if fact in spec.options.config else spec.stated.get(fact)
        if place:  # what the scenario says of the hardware, not the component's own configuration
            raise InputError("scenario", place + dot + below, error.value, error.allowed) from None
        raise refused(spec.name, error) from None
    except BaseException as error:
        raise raised(spec.name, error, "being made") from error
