"""From a scenario's instances to devices, networks and KV blocks; every combination that cannot be is
refused here, before time 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from metronome.hwmodels import catalog

from .errors import InputError
from .in_step import difference
from .kv_layout import KvLayout
from .lowering.architecture import Architecture, served
from .lowering.builder import Hardware
from .lowering.layout import Device, Layout
from .lowering.models.fields import DTYPES
from .lowering.models.limits import Asked, block_step, unserved
from .lowering.models.load import load
from .lowering.models.sglang_limits import unserved_by_sglang
from .lowering.plan import lower
from .lowering.routing import Routing, routing
from .lowering.slices import uncut
from .lowering.work import Plan, Templates
from .off_device import off_device, stage_weights
from .pim_devices import PimDevices
from .scenario.inputs import Inputs
from .scenario.schema import Instance, Node, Scenario
from .serving.engines import costs_of, kind_of
from .serving.kv.capacity import Kept, num_blocks
from .serving.kv.groups import KvGroup
from .serving.options import EngineOptions
from .serving.spec import DeviceFacts, Start
from .units import GIB
from .working_memory import demand


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """What steps together: an instance, or one data-parallel rank of it where ranks need not meet.

    ``rank`` is the instance's place in the scenario; ``names`` those of its engines.
    """

    options: Instance
    rank: int
    names: tuple[str, ...]
    arch: Architecture
    layout: Layout
    plan: Plan
    blocks: int
    max_model_len: int
    kv_dtype: str
    given: EngineOptions  # the scenario's flags, before any that are left open were filled in
    kv_groups: tuple[KvGroup, ...] = ()  # of layers, where some keep fewer tokens than others
    encoder_tokens: int = 0  # of images, in a step
    routing: Routing | None = None  # how tokens pick experts; None without any
    tpu: str = ""  # the device, if it is one

    @property
    def compiles(self) -> bool:
        """Whether its engine compiles every step, as vLLM does for TPUs."""
        return bool(self.tpu) and self.options.engine.version.startswith("vllm")

    @property
    def name(self) -> str:
        """What its events and figures are called by: its only engine's name, or that of all its members."""
        return self.names[0] if len(self.names) == 1 else self.options.name


def place(scenario: Scenario, inputs: Inputs, templates: Templates) -> list[UnitPlan]:
    """Every unit of the scenario, in order. Raises InputError."""
    return [unit for i in range(len(scenario.instances)) for unit in _Placement(scenario, i, inputs).units(templates)]


class _Placement:
    """One instance worked out."""

    def __init__(self, scenario: Scenario, index: int, inputs: Inputs) -> None:
        self.scenario, self.index = scenario, index
        self.options = scenario.instances[index]
        self.where = f"instances.{index}"
        self.nodes = {node.name: node for node in scenario.cluster.nodes}
        arch = load(self.options.model, inputs.path, self.options.quantization)
        asked, device = self.options.dtype, self._device
        self.arch = (
            served(arch, device.flops if device else ()) if asked == "auto" else replace(arch, dtype=DTYPES[asked])
        )
        choice = self.options.engine.kv_cache_dtype
        self.kv_dtype = self.arch.kv_dtype or self.arch.dtype if choice == "auto" else DTYPES[choice]
        self.layout, self.pims = self._layout(), PimDevices(scenario, index)
        self._check()
        options = self.options
        whole = options.role == "both" and not self.pims.attend  # vLLM has one table with KV connectors
        grouped = whole and kind_of(options.engine.version).hybrid_kv_cache
        self.kv = KvLayout(self.arch, self.layout.tp, self.kv_dtype, grouped)
        self.options = options.model_copy(update={"engine": self._engine()})

    @property
    def _length(self) -> int:
        """The longest sequence that is asked for, or by default; with ``auto`` it may not fit."""
        asked = self.options.engine.max_model_len
        return asked if isinstance(asked, int) else self.arch.usual_positions

    @property
    def _device(self) -> catalog.Device | None:
        """What its devices are; None where only their model knows."""
        try:
            return self.scenario.device(self.nodes[self.options.devices[0][0]].accelerators.type)
        except KeyError:
            return None

    def _engine(self) -> EngineOptions:
        """Its engine's flags, those left open as its version and device have them."""
        engine = self.options.engine
        device = self.scenario.device_name(self.nodes[self.layout.devices[0][0]].accelerators.type)
        longest = self._length
        facts = DeviceFacts(device, self._memory(self.layout.devices), longest, self.layout.tp * self.layout.pp)
        resolved = kind_of(engine.version).resolve(engine, facts)
        change: dict[str, Any] = {"block_size": self.kv.block_size(engine.block_size)}
        if self.kv.has_states:
            if engine.enable_prefix_caching and "enable_prefix_caching" in engine.model_fields_set:
                text = "enable_prefix_caching: not modelled with states, and off: every prompt is computed whole"
                self.arch = replace(self.arch, warnings=(*self.arch.warnings, f"{self.arch.name}: {text}"))
            change["enable_prefix_caching"] = False
        return resolved.model_copy(update=change)

    def _refuse(self, field: str, value: object, allowed: str) -> InputError:
        return InputError("scenario", f"{self.where}.{field}", value, allowed)

    def _layout(self) -> Layout:
        options, devices = self.options, tuple(self.options.devices)
        pp, dp = options.pipeline_parallel_size, options.data_parallel_size
        tp = options.tensor_parallel_size or max(1, len(devices) // (pp * dp))
        if tp * pp * dp != len(devices):
            product = f"tensor x pipeline x data parallel = {tp} x {pp} x {dp} = {tp * pp * dp}"
            raise self._refuse("tensor_parallel_size", tp, f"needs {product} accelerators, it has {len(devices)}")
        ffn = tuple(options.ffn.devices) if options.ffn else ()
        return Layout(devices, dp, pp, tp, options.enable_expert_parallel, ffn)

    def _check(self) -> None:
        """Raises InputError for the first combination that cannot be."""
        arch, layout, options = self.arch, self.layout, self.options
        self._check_slices()
        longest = self._length
        if longest > arch.max_positions:
            raise self._refuse(
                "engine.max_model_len",
                longest,
                f"the model's own limit is {arch.max_positions} tokens (vLLM refuses more)",
            )
        if layout.pp > arch.layers:
            raise self._refuse("pipeline_parallel_size", layout.pp, f"the model has {arch.layers} layers")
        self._check_experts()
        self._check_format()
        off = self.pims.multiply and off_device(self.scenario, self.index, arch, layout) is not None
        self.pims.check(layout.devices, options.role == "both", bool(layout.ffn), off)
        if options.sub_batch_interleaving and not self.pims.attend:
            raise self._refuse("sub_batch_interleaving", True, "goes with decode_attention pim")
        if options.sub_batch_interleaving and layout.dp > 1 and layout.expert_parallel:
            raise self._refuse("sub_batch_interleaving", True, "goes with engines that step alone")
        if options.role == "prefill" and layout.dp > 1 and layout.expert_parallel and self._by_layer:
            raise self._refuse(
                "data_parallel_size", layout.dp, "kv_transfer.granularity layer needs engines that step alone"
            )
        for group in [layout.all_ranks(stage) for stage in range(layout.pp)] + ([layout.ffn] if layout.ffn else []):
            kinds = {self.nodes[node].accelerators.type for node, _ in group}
            if len(kinds) > 1:
                self._refuse_ranks(f"not {sorted(kinds)}")
        unlike = difference(self.scenario, layout, self.pims.attend or self.pims.multiply)
        if unlike is not None:
            self._refuse_ranks(unlike)

    def _refuse_ranks(self, why: str) -> NoReturn:
        raise self._refuse("accelerators", self.options.accelerators, f"ranks that work in step are of one kind, {why}")

    def _check_format(self) -> None:
        """Whether the engine serves such a checkpoint on such devices."""
        options, device = self.options, self._device
        capability, platform = (device.compute_capability, device.platform) if device else (None, "")
        refused = None
        if options.engine.version.startswith("vllm"):
            asked = Asked(options.quantization, options.engine.kv_cache_dtype, self.layout.tp, capability, platform)
            refused = unserved(self.arch, asked)
        elif options.engine.version.startswith("sglang"):
            refused = unserved_by_sglang(self.arch, platform)
        if refused is not None:
            raise self._refuse(*refused)

    @property
    def _block_step(self) -> int:
        device = self._device
        return block_step(self.arch, device.platform if device else "")

    def _check_slices(self) -> None:
        """Each rank's part of the model is whole heads, columns, and blocks of quantised weights."""
        tp, experts = self.layout.tp, self.layout.expert_ranks == 1
        refused = uncut(self.arch, tp, experts, self.scenario.workload.has_images)
        if refused is not None:
            raise self._refuse("tensor_parallel_size", tp, refused)

    def _check_experts(self) -> None:
        """Where they are, and who has them."""
        arch, layout = self.arch, self.layout
        if not arch.experts:
            for field, given in (("enable_expert_parallel", layout.expert_parallel), ("ffn", bool(layout.ffn))):
                if given:
                    raise self._refuse(field, given, f"{arch.name} has no experts")
        if arch.experts % layout.expert_ranks:
            raise self._refuse(
                "enable_expert_parallel",
                layout.expert_ranks,
                f"that many ranks must divide the experts ({arch.experts})",
            )
        if arch.experts and layout.dp > 1 and not layout.expert_parallel:
            raise self._refuse(
                "data_parallel_size", layout.dp, "a model with experts then needs enable_expert_parallel"
            )
        if layout.ffn and (layout.pp > 1 or layout.dp > 1 or layout.expert_parallel):
            raise self._refuse(
                "ffn", None, "goes with tensor parallelism only: the experts are spread over its devices"
            )

    @property
    def _by_layer(self) -> bool:
        return self.scenario.kv_transfer.granularity == "layer"

    def units(self, templates: Templates) -> list[UnitPlan]:
        """One unit, or one a data-parallel rank if these never meet (models without experts)."""
        layout, name = self.layout, self.options.name
        names = [name] if layout.dp == 1 else [f"{name}-dp{i}" for i in range(layout.dp)]
        if layout.dp == 1 or layout.expert_parallel:
            return [self._unit(tuple(names), layout, templates)]
        size = layout.pp * layout.tp
        return [
            self._unit((names[i],), replace(layout, devices=layout.devices[i * size : (i + 1) * size], dp=1), templates)
            for i in range(layout.dp)
        ]

    def _unit(self, names: tuple[str, ...], layout: Layout, templates: Templates) -> UnitPlan:
        engine, options = self.options.engine, self.options
        memories = [node.name for node in self.scenario.cluster.nodes if node.memory.dram is not None]
        owner = names[0] if layout.dp == 1 else options.name
        plan = lower(
            owner,
            self.arch,
            layout,
            self.kv_dtype,
            templates,
            Hardware(self._network, memories, self.pims.attend, options.sub_batch_interleaving, self.pims.multiply),
            engine.all2all_backend != "allgather_reducescatter",
            options.ffn.micro_batches if options.ffn else 1,
            self._routing(),
            self.scenario.workload.has_images,
            costs_of(engine.version, cold=False).chooses(engine.sampled()),
        )
        fit = self._blocks(layout, plan)  # also where it is overridden: the weights have to fit
        length = self._length
        batched = engine.max_num_batched_tokens or length
        if engine.max_model_len == "auto":
            length = self.kv.fitting(length, batched, engine.block_size, fit)
        most = self.kv.longest(length, batched, engine.block_size)
        start = Start(length, self.arch.max_positions, fit, most, options.role, self._block_step)
        refused = kind_of(engine.version).refuse_start(engine, start)
        if refused is not None:
            raise self._refuse(f"engine.{refused[0]}", *refused[1:])
        return UnitPlan(
            options,
            self.index,
            names,
            self.arch,
            layout,
            plan,
            engine.num_gpu_blocks_override or fit,
            length,
            self.kv_dtype,
            self.scenario.instances[self.index].engine,
            tuple(group for group, _ in self.kv.groups),
            self._encoder_tokens(),
            self._routing(),
            self._device.name if self._device and self._device.platform == "tpu" else "",
        )

    def _encoder_tokens(self) -> int:
        """Tokens of images that are encoded in a step at most, as many as are kept: vLLM's compute_mm_encoder_budget
        (`v1/core/encoder_cache_manager.py`, 0.19). 0 where none can be."""
        tower = self.arch.tower
        if tower is None or not kind_of(self.options.engine.version).encodes_images:
            return 0
        return max(self.options.engine.max_num_batched_tokens or 0, tower.most_tokens)

    def _routing(self) -> Routing | None:
        chosen, arch = self.options.expert_routing, self.arch
        if chosen is None:
            return routing("uniform", arch.experts, arch.top_k) if arch.experts else None
        if not arch.experts:
            raise self._refuse("expert_routing", chosen.model, f"{arch.name} has no experts")
        if chosen.model == "histogram" and len([count for count in chosen.histogram if count]) < arch.top_k:
            allowed = f"needs counts of at least the {arch.top_k} experts a token picks"
            raise self._refuse("expert_routing.histogram", chosen.histogram, allowed)
        if chosen.model == "histogram" and len(chosen.histogram) != arch.experts:
            allowed = f"needs one count for each of {arch.experts} experts, it has {len(chosen.histogram)}"
            raise self._refuse("expert_routing.histogram", None, allowed)
        return routing(chosen.model, arch.experts, arch.top_k, chosen.exponent, chosen.histogram)

    def _blocks(self, layout: Layout, plan: Plan) -> int:
        """KV blocks of one engine: those of its tightest stage."""
        arch, options, engine = self.arch, self.options, self.options.engine
        found = []
        for stage, layers in enumerate(layout.layers(arch.layers)):
            weights = stage_weights(arch, layout, stage)
            off = off_device(self.scenario, self.index, arch, layout)
            if off is not None:
                weights += off.buffers - off.size
            kept = self.kv.kept(layers, self._length, options.role == "both")
            working = self._working(layout, stage == 0, stage == layout.pp - 1)
            memory, share = self._memory(layout.ranks(0, stage)), engine.gpu_memory_utilization
            if self.pims.attend or self.pims.multiply:
                copied, least = plan.copied_bytes(f"stage{stage}"), kept.token * engine.block_size
                least += kept.sequence(engine.block_size)[0]
                room = self.pims.room(layout.ranks(0, stage), copied, least)
            if self.pims.attend:
                num_blocks(self.where, arch.name, memory, share, weights, working, Kept(1), 1)  # weights have to fit
                memory, share, weights, working = room, 1.0, 0, 0
            block, most = engine.block_size, engine.max_num_seqs or 1
            try:
                blocks = num_blocks(self.where, arch.name, memory, share, weights, working, kept, block, most)
            except InputError as error:
                given, left = options.weight_offloading, int(memory * share) - weights - working
                if off is None or given is None or not left < kept.token * block <= left + off.buffers:
                    raise
                told = (
                    f"{error.allowed}; {off.buffers / GIB:.2f} GiB of the weights are buffers for layers fetched ahead"
                )
                raise self._refuse("weight_offloading.prefetch_step", given.layers_ahead, told) from None
            found.append(blocks)
        if layout.ffn:  # their devices hold no K and V, but the experts have to fit
            weights = arch.weight_bytes(1, layout.expert_ranks, ends=0, dense=False)
            num_blocks(
                f"{self.where}.ffn",
                arch.name,
                self._memory(layout.ffn),
                engine.gpu_memory_utilization,
                weights,
                0,
                Kept(1),
                1,
            )
        return min(found)

    def _working(self, layout: Layout, first: bool, last: bool) -> int:
        """Bytes a device works in beside weights and KV; the first stage has images, the last samples."""
        arch, engine = self.arch, self.options.engine
        tokens, sequences = engine.max_num_batched_tokens, engine.max_num_seqs
        if not engine.reserve_working_memory or tokens is None or sequences is None:
            return 0
        profile_run = costs_of(engine.version, cold=False).profile_run
        return profile_run.working_bytes(demand(arch, layout, tokens, sequences, last, first), layout.tp)

    def _memory(self, devices: Sequence[Device]) -> int:
        return min(
            device_memory(self.scenario, f"cluster.nodes.{node}.accelerators", self.nodes[node]) for node, _ in devices
        )

    def _network(self, devices: Sequence[Device]) -> str:
        return find_network(self.scenario, f"{self.where}.tensor_parallel_size", len(devices), devices)


def find_network(scenario: Scenario, where: str, value: object, devices: Sequence[Device]) -> str:
    """The name of the network that connects these devices: the smallest of those that do."""
    groups = {f"{node}.accelerators" for node, _ in devices}
    found = scenario.cluster.network_between(groups)
    if found is None:
        ends = sorted(groups)
        how = f"cluster.networks: [{{name: net, connects: [{', '.join(ends)}]}}]"
        raise InputError("scenario", where, value, f"needs a network that connects {' and '.join(ends)}: {how}")
    return found


def device_memory(scenario: Scenario, where: str, node: Node) -> int:
    """Bytes of one accelerator of a node; InputError if neither scenario nor catalog knows."""
    group = node.accelerators
    if group.memory_gib is not None:
        return int(group.memory_gib * 2**30)
    try:
        return scenario.device(group.type).memory_bytes
    except KeyError as error:
        raise InputError("scenario", f"{where}.type", group.type, f"give memory_gib, or {error.args[0]}") from None
