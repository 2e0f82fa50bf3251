"""A run: everything a scenario names, put together, started, and taken apart again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from hwmodels import catalog
from hwmodels.interface import Template, TimePolicy

from .coupling.components import ComponentSpec, open_local, specify
from .coupling.executor import Executor
from .coupling.link import Link
from .coupling.port import AskedPort, SteppedPort
from .errors import InputError, MetronomeError
from .kernel.loop import Kernel
from .lowering import architecture
from .lowering.architecture import DTYPES, Architecture
from .lowering.plan import Plan, Role, Templates, lower
from .report.recorder import Progress, Recorder
from .scenario.schema import Instance, Node, Scenario
from .serving.engine import Engine
from .serving.engines import engine_model
from .serving.frontend import Frontend
from .serving.kv.capacity import num_blocks
from .serving.router import make_router
from .serving.scheduler import Scheduler, SchedulerConfig
from .serving.sequence import Sequence
from .workload import llmservingsim, synthetic
from .workload.request import Request


@dataclass(frozen=True, slots=True)
class InstancePlan:
    """An instance worked out: its model, its operations, the components that do them, its KV blocks."""

    options: Instance
    arch: Architecture
    plan: Plan
    components: dict[Role, str]
    scheduler: SchedulerConfig
    blocks: int
    max_model_len: int


class Simulation:
    """One run of one scenario. Use as a context manager: leaving it ends what it started.

    Making it checks everything that can be checked before time 0; raises InputError.
    """

    def __init__(
        self, scenario: Scenario, folder: Path, logs: Path | None = None, progress: Progress | None = None,
        fold: bool = True,
    ) -> None:  # fmt: skip
        self.scenario, self.folder = scenario, folder
        self._stack = ExitStack()
        self.specs = specify(scenario, folder)
        templates = Templates()
        self.instances = [plan_instance(scenario, i, folder, templates) for i in range(len(scenario.instances))]
        self.workload = read_workload(scenario, folder)
        self.kernel = Kernel()
        self.recorder = Recorder(len(self.instances), progress)
        self.links: dict[str, Link] = {}
        self.ports: dict[str, AskedPort | SteppedPort] = {}
        self.wall_s = 0.0
        try:
            self._open_links(logs)
            self._open_ports()
            self._build_serving(fold)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def run(self) -> None:
        """To the end of the workload. What was recorded stays usable if this raises.

        Raises ComponentFailure, StalledError, InputError (a request or workload line that cannot be),
        KeyboardInterrupt.
        """
        start = time.perf_counter()
        try:
            self.frontend.start()
            self.kernel.run()
            self.frontend.check_done()
        finally:
            self.wall_s = time.perf_counter() - start

    def _open_links(self, logs: Path | None) -> None:
        remote = [spec for spec in self.specs if spec.options.run != "inprocess"]
        if remote:
            from .coupling.launch.process import open_processes  # gRPC is loaded only where it is needed

            self.links |= self._stack.enter_context(open_processes(remote, logs))
        for spec in self.specs:
            if spec.name not in self.links:
                self.links[spec.name] = open_local(spec)
        for spec in self.specs:
            self.links[spec.name].declare(self._templates_of(spec))

    def _templates_of(self, spec: ComponentSpec) -> list[Template]:
        found: dict[int, Template] = {}
        for instance in self.instances:
            for work in instance.plan.works:
                if instance.components[work.role] == spec.name:
                    found[work.template.id] = work.template
        return list(found.values())

    def _open_ports(self) -> None:
        for spec in self.specs:
            link = self.links[spec.name]
            users = sum(spec.name in instance.components.values() for instance in self.instances)
            if must_step(link, users):
                self.ports[spec.name] = SteppedPort(link, self.kernel, spec.rank)
            else:
                self.ports[spec.name] = AskedPort(link)

    def _build_serving(self, fold: bool) -> None:
        self.engines = []
        # Instances rank after components: at one instant hardware comes first.
        for rank, instance in enumerate(self.instances):
            scheduler = Scheduler(instance.scheduler, instance.blocks)
            engine = Engine(
                instance.options.name,
                rank,
                self.kernel,
                scheduler,
                self.recorder,
                instance.max_model_len,
                engine_model(instance.options.engine.version),
            )
            ports = {role: self.ports[name] for role, name in instance.components.items()}
            engine.runner = Executor(
                self.kernel, len(self.specs) + rank, instance.plan, ports, scheduler.decoders.steady, fold
            )
            self.engines.append(engine)
        router = make_router(self.scenario.router.policy, synthetic.stream(self.scenario.seed, "router"))
        self.frontend = Frontend(self.kernel, self.workload, router, self.engines)
        self.recorder.on_request_end = self._request_ended

    def _request_ended(self, sequence: Sequence) -> None:
        self.frontend.request_ended(sequence.request)


def must_step(link: Link, users: int) -> bool:
    """Whether a component has to share the clock: it has one, and either several users or a memory."""
    description = link.description
    if description.time_policy in (TimePolicy.ORACLE, TimePolicy.BATCH):
        return False
    return users > 1 or not description.memoryless


def read_workload(scenario: Scenario, folder: Path) -> Iterator[Request]:
    """The scenario's requests, not yet read beyond the first: a missing or empty file is found now."""
    spec = scenario.workload
    if isinstance(spec, synthetic.Synthetic):
        return synthetic.generate(spec, scenario.seed)
    requests = llmservingsim.read(folder / spec.path, spec.limit)
    first = next(requests)

    def rest() -> Iterator[Request]:
        yield first
        yield from requests

    return rest()


def plan_instance(scenario: Scenario, index: int, folder: Path, templates: Templates) -> InstancePlan:
    """Work out one instance; raises InputError for a model or a split that cannot be."""
    options = scenario.instances[index]
    where = f"instances.{index}"
    node_name, first, end = options.devices
    node = next(node for node in scenario.cluster.nodes if node.name == node_name)
    tp = end - first
    arch = architecture.load(options.model, folder)
    if options.dtype != "auto":
        arch = _with_dtype(arch, options.dtype)
    for what, size in (("attention heads", arch.heads), ("intermediate size", arch.intermediate)):
        if size % tp:
            raise InputError(
                "scenario", f"{where}.tensor_parallel_size", tp, f"must divide the model's {what} ({size})"
            )
    kv_dtype = arch.dtype if options.engine.kv_cache_dtype == "auto" else DTYPES[options.engine.kv_cache_dtype]
    roles = {Role.ACCELERATOR: f"{node_name}.accelerators"}
    if tp > 1:
        roles[Role.NETWORK] = _network(scenario, f"{where}.tensor_parallel_size", node_name, tp)
    if node.memory.dram:
        roles[Role.MEMORY] = f"{node_name}.dram"
    engine = options.engine
    memory = device_memory(f"cluster.nodes.{node_name}.accelerators", node)
    fit = num_blocks(where, arch, tp, memory, engine.gpu_memory_utilization, kv_dtype, engine.block_size)
    return InstancePlan(
        options,
        arch,
        lower(arch, tp, kv_dtype, templates, node.memory.dram is not None),
        roles,
        SchedulerConfig(
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
            long_prefill_token_threshold=engine.long_prefill_token_threshold,
            block_size=engine.block_size,
            enable_chunked_prefill=engine.enable_chunked_prefill,
            enable_prefix_caching=engine.enable_prefix_caching,
            scheduler_reserve_full_isl=engine.scheduler_reserve_full_isl,
        ),
        engine.num_gpu_blocks_override or fit,
        engine.max_model_len or arch.max_positions,
    )


def _with_dtype(arch: Architecture, dtype: str) -> Architecture:
    return replace(arch, dtype=DTYPES[dtype])


def _network(scenario: Scenario, where: str, node: str, tp: int) -> str:
    for network in scenario.cluster.networks:
        if f"{node}.accelerators" in network.connects:
            return network.name
    raise InputError("scenario", where, tp, f"needs a network that connects {node}.accelerators")


def device_memory(where: str, node: Node) -> int:
    """Bytes of one accelerator of a node; InputError if neither scenario nor catalog knows."""
    group = node.accelerators
    if group.memory_gib is not None:
        return int(group.memory_gib * 2**30)
    if group.type in catalog.device_names():
        return catalog.device(group.type).memory_bytes
    names = ", ".join(catalog.device_names())
    raise InputError("scenario", f"{where}.type", group.type, f"give memory_gib, or a catalog device: {names}")


__all__ = ["InstancePlan", "MetronomeError", "Simulation"]
