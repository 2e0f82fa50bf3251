"""What joins the accelerators of a node where a scenario's network does not say it: their usual links."""

from __future__ import annotations

from collections.abc import Iterator

from metronome.hwmodels import catalog

from ..errors import InputError
from .links import Network, misfit, usual_topology
from .schema import Scenario

END = ".accelerators"


def usual_links(scenario: Scenario, device: str) -> dict[str, str] | None:
    """``type`` and ``topology`` of what joins such devices in a node: one's own device says it, else the catalog's.

    None where neither knows.
    """
    own, known = scenario.devices.get(device), catalog.canonical(device)
    kind = (own.interconnect if own else None) or (catalog.device(known).interconnect if known else "")
    return catalog.node_links(kind) if kind else None


def devices_with_usual_links() -> list[str]:
    """Of the catalog."""
    return [name for name in catalog.device_names() if catalog.device(name).interconnect]


def joined(scenario: Scenario, index: int) -> Network:
    """A network of the scenario with its links and their topology: those it names, or the usual ones of its devices.

    Raises InputError where these are of several kinds, or not known, or not all it connects are devices of a node.
    """
    network = scenario.cluster.networks[index]
    if network.says_links:
        return network.model_copy(update={"topology": network.topology or usual_topology(network.type)})
    found = dict[str, dict[str, str]]()
    for kind in _kinds(scenario, network):
        links = usual_links(scenario, kind)
        if links is None:
            raise _refuse(index, f"how {kind} are joined is not known")
        found[kind] = links
    others = [end for end in network.connects if not end.endswith(END)]
    if others:
        raise _refuse(index, f"it connects {others[0]}, too, which is no device")
    if len(network.connects) > 1 and network.scale_out is None:
        raise _refuse(index, "it connects several nodes: or give scale_out, the links between them")
    usual, *more = found.values()
    if any(links != usual for links in more):
        raise _refuse(index, f"{' and '.join(found)} are joined otherwise")
    stated = {"topology": network.topology} if network.topology else {}
    if wrong := misfit(usual["type"], network.topology, bool(network.dims)):
        raise InputError("scenario", f"cluster.networks.{index}", network.topology, wrong)
    return network.model_copy(update=usual | stated)


def topology(scenario: Scenario, index: int) -> str:
    """A network's, whoever says it; a switch where nobody knows."""
    try:
        return joined(scenario, index).topology or "switch"
    except InputError:
        return "switch"


def borrowed(scenario: Scenario) -> Iterator[str]:
    """Of each network that has the links of the catalog's devices because it names none, which these are."""
    for i, network in enumerate(scenario.cluster.networks):
        kinds = [] if network.says_links else _kinds(scenario, network)
        if any(kind not in scenario.devices or scenario.devices[kind].interconnect is None for kind in kinds):
            links = joined(scenario, i)
            yield (
                f"cluster.networks.{i} ({network.name}) says no type: {links.type} as topology {links.topology}, "
                f"by which {' and '.join(kinds)} are usually joined"
            )


def _kinds(scenario: Scenario, network: Network) -> list[str]:
    """Of the devices that it connects, each once."""
    nodes = {f"{node.name}{END}": node for node in scenario.cluster.nodes}
    return list(dict.fromkeys(nodes[end].accelerators.type for end in network.connects if end in nodes))


def _refuse(index: int, why: str) -> InputError:
    names = ", ".join(catalog.interconnect_names())
    figures = "bandwidth_gb_s (per device and direction) and latency_ns"
    return InputError("scenario", f"cluster.networks.{index}.type", None, f"{why}: give one of {names}, or {figures}")
