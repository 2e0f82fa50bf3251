"""The scenario file: one YAML document that says what is simulated. `metronome validate --schema`
prints it as JSON Schema for editors. Field names are vLLM's and Hugging Face's where they have one."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from metronome.hwmodels import catalog
from metronome.hwmodels.catalog import DeviceFacts
from pydantic import Discriminator, Field, PrivateAttr, Tag, field_validator, model_validator

from ..errors import InputError
from ..serving import engines
from ..serving.fleet.options import Autoscaling, Failure, OnFailure, StartUp
from ..serving.options import EngineOptions
from ..serving.tiers.options import KvOffloading
from ..strict import Strict, did_you_mean
from ..units import MOST_GIB
from ..workload.options import WorkloadOptions
from ..workload.schema import workload_type
from ..workload.slo import Slo
from .calibration import Calibration
from .components import ComponentOptions, Wire
from .links import Network
from .memory import OWN, ClusterMemory, Memory, NodeMemory, on_one_network
from .names import Name, unique
from .origin import Origin
from .power import Electricity, NodePower, Rack
from .replicas import written_out
from .weights import WeightOffloading

MOST_DEVICES = 65536  # of a node: a slip of the hand must not fill the memory


if TYPE_CHECKING:
    Workload = WorkloadOptions
else:  # options of the format that it names: each has some of its own
    Workload = workload_type()


class Accelerators(Strict):
    """``count`` equal devices of a node; ``type`` names a catalog device unless all is given."""

    type: str = Field(description="a catalog device, or one of `devices`")
    count: int = Field(ge=1, le=MOST_DEVICES, description="accelerators of the node")
    memory_gib: float | None = Field(
        default=None, gt=0, le=MOST_GIB, description="of one device; default: the catalog's"
    )


class Node(Strict):
    """One server."""

    name: Name = Field(description="unique among nodes")
    accelerators: Accelerators = Field(description="what serves instances")
    memory: NodeMemory = Field(default=NodeMemory(), description="beside the accelerators own")
    power: NodePower = Field(default=NodePower(), description="whatever its accelerators do")


class Cluster(Strict):
    """The hardware."""

    nodes: list[Node] = Field(min_length=1, description="servers")
    networks: list[Network] = Field(
        default=[], description="between accelerators; needed where an instance has several"
    )
    memories: list[ClusterMemory] = Field(default=[], description="that several nodes reach: pools, stores")
    racks: list[Rack] = Field(default=[], description="nodes that share a cap on their power")
    electricity: Electricity | None = Field(default=None, description="what the energy costs and emits")

    def accelerators_cap_w(self, node: Node) -> tuple[float | None, str]:
        """(what each accelerator of the node may draw, the field that says so); None without a cap."""
        own = node.power.accelerators_caps_w(node.accelerators.count)
        caps = [(watts, f"cluster.nodes.{node.name}.power.{field}") for watts, field in own]
        for rack in self.racks:
            if node.name in rack.nodes:
                nodes = [one for one in self.nodes if one.name in rack.nodes]
                left, count = (
                    rack.cap_w - sum(n.power.besides_w for n in nodes),
                    sum(n.accelerators.count for n in nodes),
                )
                caps.append((left / count, f"cluster.racks.{rack.name}.cap_w"))
        return min(caps, default=(None, ""))

    def memory(self) -> dict[str, Memory]:
        """Every memory that networks can connect, by name: of nodes, then of the cluster."""
        found = {f"{node.name}.{kind}": one for node in self.nodes for kind, one in node.memory.tiers().items()}
        return found | {memory.name: memory for memory in self.memories}

    def find_memory(self, name: str, nodes: Collection[str], where: str, given: object = None) -> tuple[str, Memory]:
        """(name, figures) of a memory as an instance on these nodes says it: dram, cxl or nvme are a node's own.

        Raises InputError, which says what there is; ``where``: the field that names it, or asks for it by ``given``.
        """
        known, given = self.memory(), name if given is None else given
        if name in OWN and len(set(nodes)) > 1:
            on = sorted(set(nodes))
            allowed = (
                f"devices of {', '.join(on)} each have another, which is not modelled: name one, e.g. {on[0]}.{name}"
            )
            raise InputError("scenario", where, given, allowed)
        found = f"{next(iter(nodes))}.{name}" if name in OWN else name
        if found not in known:
            hint = did_you_mean(found, known)
            there = f"there is {', '.join(known)}" if known else "there is none: cluster.nodes.0.memory.dram makes one"
            raise InputError("scenario", where, given, f"no memory {found}; {hint}{there}")
        return found, known[found]

    def network_between(self, ends: Collection[str]) -> str | None:
        """The smallest network that connects all of these, accelerators and memories; None if there is none."""
        found = [network for network in self.networks if set(ends) <= set(network.connects)]
        return min(found, key=lambda network: len(network.connects)).name if found else None

    @model_validator(mode="after")
    def _names(self) -> Cluster:
        unique("node", [node.name for node in self.nodes])
        unique("network", [network.name for network in self.networks])
        unique("memory", [memory.name for memory in self.memories] + [network.name for network in self.networks])
        unique("rack", [rack.name for rack in self.racks])
        racked = [node for rack in self.racks for node in rack.nodes]
        unique("node in a rack", racked)
        for name in racked:
            if name not in (there := [node.name for node in self.nodes]):
                raise ValueError(f"racks: no node {name}; {did_you_mean(name, there)}there are {', '.join(there)}")
        known = [*(f"{node.name}.accelerators" for node in self.nodes), *self.memory()]
        for network in self.networks:
            for group in network.connects:
                if group not in known:
                    hint = did_you_mean(group, known)
                    raise ValueError(f"network {network.name} connects '{group}'; {hint}there are {', '.join(known)}")
            if not any(group.endswith(".accelerators") for group in network.connects):
                raise ValueError(f"network {network.name} connects no accelerators")
        on_one_network([(network.name, network.connects) for network in self.networks], self.memory())
        return self


SELECTION = re.compile(r"^(?P<node>[A-Za-z0-9][A-Za-z0-9_-]*)\[(?P<first>\d+)(:(?P<end>\d+))?\]$")


class Devices(Strict):
    """A selection of accelerators; on several nodes as a list, in rank order."""

    accelerators: str | list[str] = Field(description="e.g. n0[0:4], n0[3], or [n0[0:8], n1[0:8]]")

    @field_validator("accelerators")
    @classmethod
    def _selection(cls, value: str | list[str]) -> str | list[str]:
        for text in [value] if isinstance(value, str) else value:
            match = SELECTION.match(text)
            if not match:
                raise ValueError("must be NODE[FIRST:END] or NODE[INDEX], e.g. n0[0:4], or a list of these")
            if max(len(match["first"]), len(match["end"] or "")) > 6 or int(match["end"] or 0) > MOST_DEVICES:
                raise ValueError(f"a node has at most {MOST_DEVICES} accelerators")
        return value

    @property
    def devices(self) -> list[tuple[str, int]]:
        """(node, number) of each, in rank order."""
        found = []
        for text in [self.accelerators] if isinstance(self.accelerators, str) else self.accelerators:
            match = SELECTION.match(text)
            if match is None:
                raise ValueError(text)
            first = int(match["first"])
            found += [(match["node"], i) for i in range(first, int(match["end"] or first + 1))]
        return found


class Ffn(Devices):
    """Devices of their own for the experts (attention/FFN disaggregation)."""

    micro_batches: int = Field(default=2, ge=1, le=8, description="steps in flight, to keep both sides busy")


class ExpertRouting(Strict):
    """How tokens pick their experts."""

    model: Literal["balanced", "uniform", "zipf", "histogram"] = Field(
        default="uniform", description="how even the choice is"
    )
    exponent: float = Field(default=1.0, ge=0, description="zipf: the i-th expert's share falls as 1/i^exponent")
    histogram: list[Annotated[float, Field(ge=0)]] = Field(default=[], description="recorded counts, one an expert")


def _kind(data: Any) -> str:
    """The kind of engine whose flags these are."""
    version = data.get("version") if isinstance(data, dict) else getattr(data, "version", None)
    return engines.kind_name(EngineOptions().version if version is None else version)


if TYPE_CHECKING:
    EngineFlags = EngineOptions
else:  # flags of the engine that ``version`` names: each kind may have some of its own
    EngineFlags = Annotated[
        Union[*(Annotated[kind.options, Tag(name)] for name, kind in engines.kinds().items())], Discriminator(_kind)
    ]


class Instance(Devices):
    """One served deployment of a model: data-parallel members of pipeline stages of tensor-parallel ranks."""

    name: Name = Field(description="unique among instances")
    model: str = Field(description="a bundled name, or a path to a config.json or its folder")
    role: Literal["both", "prefill", "decode"] = Field(
        default="both", description="whether it computes prompts, decodes, or both"
    )
    tensor_parallel_size: int | None = Field(default=None, ge=1, description="default: what the others leave")
    pipeline_parallel_size: int = Field(default=1, ge=1, description="stages of layers, one after another")
    data_parallel_size: int = Field(default=1, ge=1, description="engines that share the requests")
    replicas: int = Field(
        default=1,
        ge=1,
        le=MOST_DEVICES,
        description="so many instances NAME-0, NAME-1, ...; they share the accelerators",
    )
    enable_expert_parallel: bool = Field(default=False, description="whole experts on each rank instead of slices")
    ffn: Ffn | None = Field(default=None, description="attention here, experts there")
    expert_routing: ExpertRouting | None = Field(default=None, description="of a model with experts")
    decode_attention: Literal["accelerator", "pim"] = Field(
        default="accelerator", description="pim: K and V are in the node's PIM devices, which do it"
    )
    gemv: Literal["accelerator", "pim"] = Field(default="accelerator", description="pim: layers' products, if quicker")
    sub_batch_interleaving: bool = Field(default=False, description="with pim: half batches take turns where it pays")
    weight_offloading: WeightOffloading | None = Field(
        default=None, description="weights that come from a memory in every step"
    )
    dtype: Literal["auto", "bf16", "fp16", "fp32", "bfloat16", "float16", "half", "float32", "float"] = Field(
        default="auto", description="of weights and activations; auto: the checkpoint as vLLM takes it"
    )
    quantization: str | None = Field(
        default=None,
        description="vLLM's name of the checkpoint's method; of a plain checkpoint: fp8, bitsandbytes, ...",
    )
    engine: EngineFlags = Field(
        default=engines.kind_of(EngineOptions().version).options(),
        description="flags of the serving engine, by the names that engine has for them",
    )

    @field_validator("engine", mode="before")
    @classmethod
    def _version(cls, value: Any) -> Any:
        version = value.get("version") if isinstance(value, dict) else None
        known = engines.versions()
        if version is not None and version not in known:
            hint = did_you_mean(str(version), known)
            raise ValueError(f"version: there is no engine '{version}'; {hint}known: {', '.join(known)}")
        return value

    @property
    def all_devices(self) -> list[tuple[str, int]]:
        """Those of its experts, too."""
        return [*self.devices, *(self.ffn.devices if self.ffn else ())]


class RouterOptions(Strict):
    """How requests find an instance."""

    policy: str = Field(
        default="least-loaded",
        description="least-loaded, internal-lb, round-robin, random, prefix-aware, session, pd-aware, "
        "predicted-latency, least-energy, or module:Class",
    )
    max_waiting: int | None = Field(
        default=None, ge=1, description="a request that finds as many waiting at every instance is not let in"
    )
    report_period_s: float | None = Field(
        default=None, ge=0.001, le=9e6, description="the router sees loads as they were reported last, not as they are"
    )


class KvTransfer(Strict):
    """How K and V get from a prefill to a decode instance."""

    mode: Literal["pull", "push"] = Field(
        default="pull", description="the decode instance reserves after the prompt, or before it"
    )
    granularity: Literal["whole", "layer"] = Field(
        default="whole", description="what is sent at once; layer needs push"
    )
    connector: Literal["nixl", "mooncake", "p2p-nccl", "lmcache", "distserve"] = Field(
        default="nixl",
        description="vLLM's have the decode instance compute the prompt's last token again and give the first token; "
        "distserve: the prefill instance gives it",
    )

    @model_validator(mode="after")
    def _possible(self) -> KvTransfer:
        if self.mode == "pull" and self.granularity == "layer":
            raise ValueError("granularity layer needs mode push: with pull the prompt is computed already")
        return self


class Scenario(Strict):
    """A whole run."""

    name: str = Field(default="scenario", description="what the run is called in its results")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of everything that is drawn")
    workload: Workload = Field(description="what is sent, and when")
    cluster: Cluster = Field(description="the hardware")
    instances: list[Instance] = Field(min_length=1, description="what serves")
    router: RouterOptions = Field(default=RouterOptions(), description="who gets a request")
    kv_transfer: KvTransfer = Field(default=KvTransfer(), description="with prefill and decode apart")
    kv_offloading: KvOffloading | None = Field(
        default=None, description="K and V beside the devices: in host memory, expanders, pools, stores"
    )
    components: dict[str, ComponentOptions] = Field(
        default={}, description="who answers for a piece of hardware, by its name: n0.accelerators, n0.dram, a network"
    )
    wires: list[Wire] = Field(default=[], description="components that ask others, at ports of theirs")
    slo: Slo = Field(default=Slo(), description="what a good request meets")
    failures: list[Failure] = Field(default=[], description="of the simulated cluster")
    on_failure: OnFailure = Field(default=OnFailure(), description="of requests whose instance fails")
    start_up: StartUp | None = Field(default=None, description="needed where instances fail or are scaled")
    autoscaling: list[Autoscaling] = Field(default=[], description="how many replicas of an instance serve")
    devices: dict[Name, DeviceFacts] = Field(
        default={}, description="devices of one's own by name, as in the catalog; or a YAML file of them"
    )

    calibration: Calibration | None = Field(
        default=None, description="factors on times, as `metronome calibrate` writes them; or the file of them"
    )

    _origin: Origin = PrivateAttr(default=Origin())

    @property
    def origin(self) -> Origin:
        """The file it was read from."""
        return self._origin

    def came_from(self, origin: Origin) -> None:
        self._origin = origin

    def device(self, name: str) -> catalog.Device:
        """One's own device of that name, else the catalog's; KeyError says what there is."""
        return self.devices[name].device(name) if name in self.devices else catalog.device(name)

    def device_name(self, name: str) -> str:
        """What one's own device of that name is called, else the catalog's, else as it is."""
        return name if name in self.devices else catalog.canonical(name) or name

    def replaced_devices(self) -> dict[str, str]:
        """One's own devices that have a name of the catalog's, and which it is there."""
        found = {name: catalog.canonical(name) for name in self.devices}
        return {name: known for name, known in found.items() if known is not None}

    @field_validator("instances", mode="after")
    @classmethod
    def _replicas(cls, instances: list[Instance]) -> list[Instance]:
        """Each written out: what follows knows instances only."""
        return [one for instance in instances for one in written_out(instance)]

    @model_validator(mode="after")
    def _references(self) -> Scenario:
        unique("instance", [instance.name for instance in self.instances])
        nodes = {node.name: node for node in self.cluster.nodes}
        taken: dict[tuple[str, int], str] = {}
        for i, instance in enumerate(self.instances):
            for field, part in (("", instance), (".ffn", instance.ffn)):
                if part is None:
                    continue
                spot = f"instances.{i}{field}.accelerators = {part.accelerators!r}"
                if not part.devices:
                    raise ValueError(f"{spot}: selects no accelerator")
                for node, device in part.devices:
                    if node not in nodes:
                        raise ValueError(f"{spot}: no node '{node}'; there are {', '.join(nodes)}")
                    if device >= nodes[node].accelerators.count:
                        raise ValueError(
                            f"{spot}: node {node} has accelerators 0 to {nodes[node].accelerators.count - 1}"
                        )
                    if (node, device) in taken:
                        raise ValueError(f"{spot}: {node}[{device}] already serves instance '{taken[node, device]}'")
                    taken[node, device] = instance.name
        if self.router.policy == "internal-lb" and len(self.instances) > 1:
            raise ValueError("router.policy: internal-lb chooses among the data-parallel ranks of one instance")
        served = sorted({instance.model for instance in self.instances})
        for model in sorted(self.workload.models - {"", *served}):
            hint = did_you_mean(model, served)
            raise ValueError(f"workload.classes: no instance serves {model}; {hint}served: {', '.join(served)}")
        roles = {instance.role for instance in self.instances}
        for one, other in (("prefill", "decode"), ("decode", "prefill")):
            if one in roles and other not in roles:
                raise ValueError(f"instances: there is a {one} instance but no {other} instance")
        return self
