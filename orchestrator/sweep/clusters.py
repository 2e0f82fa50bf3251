"""What a planned cluster looks like: so many replicas of one kind of accelerator, a node each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import InputError
from ..scenario.joined import devices_with_usual_links, usual_links
from ..scenario.schema import Instance, Scenario
from ..strict import did_you_mean

#: most accelerators that one fabric joins: a rack of 72 (GB200 and GB300 NVL72), else a board of eight (HGX)
IN_A_NODE = {"gb200": 72, "gb300": 72}
HGX = 8
BETWEEN_NODES = {"type": "infiniband-ndr", "topology": "rail-optimised"}  # an adapter an accelerator, as DGX has them


class Shape(NamedTuple):
    """How the accelerators of a replica work together, with the words of the scenario."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1

    @property
    def size(self) -> int:
        """Accelerators of a replica."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    def __str__(self) -> str:
        more = (("PP", self.pipeline_parallel_size), ("DP", self.data_parallel_size))
        return ", ".join([f"TP {self.tensor_parallel_size}", *(f"{name} {size}" for name, size in more if size > 1)])


def templates(scenario: Scenario) -> dict[str, Instance]:
    """The instance of each role that replicas are made like. Raises InputError for what is not planned."""
    found: dict[str, Instance] = {}
    for instance in scenario.instances:
        first = found.setdefault(instance.role, instance)
        if instance.model != scenario.instances[0].model:
            raise _unplanned("model", instance.model, "several models")
        if instance.engine != first.engine:
            raise _unplanned(instance.name, None, f"instances of one role with other engine flags than {first.name}'s")
    for instance in found.values():
        if instance.ffn or "pim" in (instance.decode_attention, instance.gemv):
            raise _unplanned(instance.name, None, "layers or attention on devices of their own")
    if set(found) not in ({"both"}, {"prefill", "decode"}):
        raise _unplanned("role", sorted(found), "a mixture of whole and split engines")
    return found


def _unplanned(field: str, value: object, what: str) -> InputError:
    return InputError("plan", field, value, f"{what} cannot be planned; sweep over clusters of your own instead")


def ignored(scenario: Scenario) -> Iterator[str]:
    """What a scenario says of its hardware that a planned cluster does not have."""
    if scenario.components:
        yield f"components ({', '.join(scenario.components)}): a planned cluster has the reference models"
    for instance in scenario.instances:
        for field, flag in (("pipeline_parallel_size", "--pp"), ("data_parallel_size", "--dp")):
            if getattr(instance, field) > 1:
                yield f"{instance.name}.{field}: {flag} says which are tried"
    if any(node.model_fields_set & {"memory", "power"} for node in scenario.cluster.nodes):
        yield "memory and power of nodes: a planned cluster has the defaults"


def cluster(scenario: Scenario, device: str, shape: Shape, counts: Mapping[str, int]) -> dict[str, Any]:
    """Overrides of a scenario: so many replicas by role, each of such accelerators, as many as the shape has.

    Raises InputError where it is not known how the accelerators are joined.
    """
    made_like, size = templates(scenario), shape.size
    split = len(made_like) > 1
    places = [(role, number) for role in made_like for number in range(counts[role])]
    nodes: list[dict[str, Any]] = []
    instances: list[dict[str, Any]] = []
    for role, own in places:
        node = f"n{len(nodes)}"
        nodes.append({"name": node, "accelerators": {"type": device, "count": size}})
        instance = made_like[role].model_dump(mode="json", exclude_none=True, exclude_unset=True)
        name = f"{'replica' if role == 'both' else role}-{own}"
        placed = {"name": name, "accelerators": f"{node}[0:{size}]", "replicas": 1}
        instances.append({**instance, **placed, **shape._asdict()})
    networks: list[dict[str, Any]] = []
    if size > 1 or split:
        fabric, groups = _fabric(scenario, device, size), [f"{node['name']}.accelerators" for node in nodes]
        if split:
            networks = [{"name": "net", **fabric, "connects": groups, "scale_out": BETWEEN_NODES}]
        else:
            networks = [{"name": f"net{i}", **fabric, "connects": [group]} for i, group in enumerate(groups)]
    return {"cluster": {"nodes": nodes, "networks": networks}, "instances": instances, "components": {}}


def _fabric(scenario: Scenario, device: str, size: int) -> dict[str, str]:
    fabric = usual_links(scenario, device)
    if fabric is None:
        known = devices_with_usual_links()
        allowed = f"{did_you_mean(device, known)}it is of {', '.join(known)}"
        if device in scenario.devices:
            allowed = f"devices.{device}.interconnect says it; {allowed}"
        raise InputError("plan", "device", device, f"how such accelerators are joined is not known; {allowed}")
    most = IN_A_NODE.get(device, HGX)
    if size > most:
        raise InputError(
            "plan", "accelerators of a replica", size, f"at most {most} {device} are joined by {fabric['type']}"
        )
    return fabric
