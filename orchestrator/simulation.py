"""A run: everything a scenario names, put together, started, and taken apart again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path

from . import availability
from .books import Books
from .cold_start import weight_routes
from .coupling.calibrated import check_calibration
from .coupling.components import asked_by_one
from .coupling.executor import Executor
from .coupling.hooks import CouplingHooks
from .coupling.loading import WeightLoader, WeightRoutes
from .coupling.memory_energy import per_bit
from .coupling.mover import KvMover, KvRoute
from .coupling.ports import Ports
from .coupling.streamed import StreamedRunner
from .errors import ExtensionFailure, MetronomeError, let_interrupts_through
from .instruments.recorder import Recorder
from .kernel.instrument import Instruments
from .kernel.loop import Kernel
from .kernel.queue import Event
from .kv_routes import routes_between
from .kv_tiers.connect import connect
from .kv_tiers.effects import without_effect
from .kv_tiers.plan import plan_tiers
from .lowering.work import Templates
from .off_device import Room, weight_streams
from .paces import paces
from .placement import UnitPlan, place
from .scenario.inputs import Inputs
from .scenario.joined import borrowed
from .scenario.schema import Scenario
from .serving.api_server import ApiServers
from .serving.clients import Clients
from .serving.dispatcher import Dispatcher
from .serving.engines import costs_of, kind_of
from .serving.hooks import ServingHooks
from .serving.host_costs import HostCosts
from .serving.host_costs.tpu import on_tpus, said
from .serving.interface import Engine, Role
from .serving.kv.connector import PrefillDecodeConnector
from .serving.kv.connectors import RULES
from .serving.looking_ahead import LOOKING_AHEAD, looking_ahead
from .serving.loop import StepLoop
from .serving.policies import make_policies
from .serving.replica import Replica
from .serving.router import make_router
from .serving.spec import EngineSpec
from .serving.tiers.sessions import Sessions
from .source import LiveSource, Source
from .workload import reading
from .workload.leaving_out import leaving_out
from .workload.randomness import stream
from .workload.registry import Reading
from .workload.request import Request
from .workload.rewindable import Rewindable
from .workload.slo import Slo


class Simulation:
    """One run of one scenario. Use as a context manager: leaving it ends what it started.

    Making it checks everything that can be checked before time 0; raises InputError. With ``rewindable``
    deep copies of it can be run on their own (the debugger's checkpoints). ``instruments`` look on. Requests of
    ``without`` are left out of the workload. ``whole``: requests and steps that are over are kept as they were, for
    whoever looks at them then; else the numbers of the report alone, in a fraction of the memory.
    """

    def __init__(
        self,
        scenario: Scenario,
        inputs: Inputs | Path,
        source: Source | None = None,
        instruments: Sequence[object] = (),
        fold: bool = True,
        rewindable: bool = False,
        strict: bool = False,
        without: Collection[int] = (),
        whole: bool = True,
    ) -> None:
        self.scenario = scenario
        self.inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
        source = source or LiveSource()
        self._stack = ExitStack()
        self.specs = source.specify(scenario, self.inputs.folder)
        templates = Templates()
        self.units = place(scenario, self.inputs, templates)
        self.tiers = plan_tiers(scenario, self.units, templates)
        room = Room(scenario, self.tiers.held)
        self._streams = weight_streams(scenario, self.units, room, templates)
        loads = weight_routes(scenario, self.units, room, templates)
        routes = routes_between(scenario, self.units, templates)
        policy, random = scenario.router.policy, stream(scenario.seed, "router")
        router = None if policy in LOOKING_AHEAD else make_router(policy, random)
        self.reading = Reading(self.inputs.path, scenario.seed, strict)
        self.workload = read_workload(scenario, self.reading)
        if without:
            self.workload = leaving_out(self.workload, without)
        if rewindable:
            self.workload = Rewindable(self.workload)
        self.instruments = Instruments(lambda message: print(f"metronome: {message}", file=sys.stderr))
        self.kernel = Kernel(self.instruments)
        self._serving_hooks = ServingHooks(self.instruments)
        self._coupling_hooks = CouplingHooks(self.instruments)
        self.wall_s = 0.0
        try:
            works = [work for unit in self.units for work in [*unit.plan.works, *unit.plan.chains]]
            works += [route.work for sends in (routes | self.tiers.routes).values() for route in sends]
            works += [stream.work for stream in self._streams.values()]
            works += loads.works if loads else []
            slow = availability.slowdowns(scenario, templates)
            links = self._stack.enter_context(source.open(self.specs))
            self.ports = Ports(self.kernel, self.specs, links, works, slow, per_bit(scenario.cluster))
            availability.check_slowdowns(scenario, self.ports.slows_links, asked_by_one(self.specs))
            check_calibration(self.specs, self.ports.modes)
            self.recorder = Recorder(whole, self._close_books)
            self.books = Books(scenario, self.units, self.ports.spent)
            for instrument in (self.recorder, *instruments):
                self.instruments.add(instrument)
            self._build_replicas()
            router = router or looking_ahead(policy, paces(self.units, self.ports), self.slos)
            self.dispatcher = Dispatcher(
                self.kernel, self.workload, router, self.replicas, self._serving_hooks, clients(scenario), strict
            )
            self._build_connector(routes)
            self._build_loops(fold)
            self._build_availability(loads)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def warnings(self) -> list[str]:
        """What the user should know although nothing is wrong, each once, in the scenario's order."""
        found = dict.fromkeys(text for unit in self.units for text in unit.arch.warnings)
        found |= dict.fromkeys(filter(None, (_costs(unit).unmeasured for unit in self.units)))
        for name, known in self.scenario.replaced_devices().items():
            found[f"devices.{name} stands for the catalog's {known}"] = None
        found |= dict.fromkeys(borrowed(self.scenario))
        for unit in (unit for unit in self.units if unit.tpu):
            engine = unit.options.engine
            found |= dict.fromkeys(said(unit.options.name, engine.version, unit.tpu, unit.given.model_fields_set))
        served = dict.fromkeys(instance.model for instance in self.scenario.instances)
        if len(served) > 1 and "" in self.scenario.workload.models:
            found[f"instances serve {', '.join(served)}, and requests that name no model go to any of them"] = None
        if self.scenario.start_up and not (self.scenario.failures or self.scenario.autoscaling):
            found["start_up has no effect: no instance fails or is scaled"] = None
        if self.scenario.workload.has_images:
            found["images: the server's CPU fetches, decodes and scales them first, which is not modelled"] = None
        if self.reading.prioritised and not looks_at_priority(self.scenario):
            found["priority of requests has no effect: no scheduling_policy or eviction looks at it"] = None
        found |= dict.fromkeys(without_effect(self.scenario, self.tiers, self.pools, self.recorder.so_far().requests))
        name = self.scenario.kv_transfer.connector
        if self.connector is not None and RULES[name].within_step:
            why = "steps of the decode engine wait for K and V, which is not modelled"
            found[f"kv_transfer.connector {name}: {why}"] = None
        return list(found)

    @property
    def slos(self) -> dict[str, Slo]:
        """What each class of traffic is promised, by name; "" is the scenario's."""
        return {"": self.scenario.slo, **self.scenario.workload.class_slos}

    @property
    def constant(self) -> list[object]:
        """Parts of it that never change while it runs, or belong to nobody alone."""
        return [
            self._stack,
            self.scenario,
            self.inputs,
            self.specs,
            *self.specs,
            *self.units,
            *(unit.plan for unit in self.units),
            self.tiers,
        ]

    def start(self) -> None:
        """What happens first is in the queue."""
        self.availability.start()
        self.dispatcher.start()

    def run(self, check: Callable[[Event], None] | None = None) -> None:
        """To the end of the workload. What was recorded stays usable if this raises.

        ``check`` may refuse an event before it acts, by raising. Without it steps in which nothing can change are done
        at once, if no instrument wants to be told of each: the results are the same.

        Raises ComponentFailure, ExtensionFailure, StalledError, InputError (a request or workload line that cannot be),
        KeyboardInterrupt.
        """
        start = time.perf_counter()
        for loop in self.loops:
            loop.leaps = check is None
        try:
            self.start()
            self.kernel.run(check)
            self.dispatcher.check_done()
        except MetronomeError:
            raise
        except BaseException as error:  # of a router, policy, engine or workload of the user's
            let_interrupts_through(error)
            raise ExtensionFailure(error) from error
        finally:
            for loop in self.loops:
                loop.catch_up()
            self.wall_s = time.perf_counter() - start

    def _close_books(self) -> None:
        self.books.close(self.kernel.now_ps, self.loops, self.executors)

    def _build_replicas(self) -> None:
        self.replicas: list[Replica] = []
        self._members: list[list[Replica]] = []  # by unit
        for unit in self.units:
            options, role = unit.options.engine, Role(unit.options.role)
            costs = self._host_costs(unit)
            servers = ApiServers(costs.server, options.api_server_count)
            where, slots = f"instances.{unit.rank}.engine", _slots(unit)
            members: list[Replica] = []
            for name in unit.names:
                spec = EngineSpec(
                    name,
                    options,
                    unit.blocks - costs.reserved_blocks,
                    unit.max_model_len,
                    slots,
                    self.recorder.add_engine(slots),
                    role,
                    *make_policies(where, options.scheduling_policy, self.scenario.slo.ttft_ms),
                    self.scenario.seed,
                    async_scheduling=slots == 1 and _asynchronous(unit),
                    kv_groups=unit.kv_groups,
                    encoder_tokens=unit.encoder_tokens,
                )
                number = len(self.replicas) + len(members)
                members.append(Replica(name, number, self._engine(options.version, spec), servers, unit.options.model))
            self.replicas += members
            self._members.append(members)

    def _host_costs(self, unit: UnitPlan) -> HostCosts:
        """Of the engine's version, calibrated."""
        options, calibration = unit.options.engine, self.scenario.calibration
        costs = costs_of(options.version, options.cold_start).sampling(options.sampled())
        if unit.compiles:
            costs = on_tpus(costs, options.max_num_batched_tokens or 0, options.max_num_seqs or 0)
        factors = {} if calibration is None else calibration.factors
        return costs.times(factors.get("host", 1), factors.get("api_server", 1))

    def _engine(self, version: str, spec: EngineSpec) -> Engine:
        """One that has something outside (a process) is a context manager, left when the run is over."""
        engine = kind_of(version).make(spec)
        if isinstance(engine, AbstractContextManager):
            self._stack.enter_context(engine)
        return engine

    def _build_loops(self, fold: bool) -> None:
        self.loops: list[StepLoop] = []  # one an instance, and
        self.executors: list[Executor] = []  # what executes its steps
        self.streamed: dict[str, StreamedRunner] = {}  # by unit, where weights come from off the devices
        for unit, members in zip(self.units, self._members, strict=True):
            options = unit.options.engine
            costs = self._host_costs(unit)
            sizes = costs.graph_sizes if costs.sequence_sizes else options.graph_sizes(costs.graph_sizes)
            costs = replace(costs, asynchronous=_asynchronous(unit), graph_sizes=sizes)
            # Instances rank after components: at one instant hardware comes first.
            loop = StepLoop(
                self.kernel, unit.rank, unit.name, members, _slots(unit), self.dispatcher, costs, self._serving_hooks
            )
            self.loops.append(loop)
            loop.runner = executor = Executor(
                self.kernel,
                len(self.specs) + unit.rank,
                unit.name,
                unit.plan,
                self.ports,
                members[0].engine.steady,
                self._coupling_hooks,
                fold,
            )
            self.executors.append(executor)
            if stream := self._streams.get(unit.name):
                loop.runner = self.streamed[unit.name] = StreamedRunner(
                    executor, stream, self.ports, self.kernel, self._coupling_hooks, unit.name
                )

    def _build_availability(self, loads: WeightRoutes | None) -> None:
        self.loader = None if loads is None else WeightLoader(self.ports, loads, self._coupling_hooks)
        self.availability = availability.make(
            self.scenario,
            self.units,
            self._members,
            self.loops,
            self.kernel,
            self.dispatcher,
            self._slow,
            self._serving_hooks,
            self.loader,
        )

    def _slow(self, slowdown: int, times: float) -> None:
        """As `Ports.slow`; nothing that is known of steps to come holds any more."""
        for loop in self.loops:
            loop.cut()
        self.ports.slow(slowdown, times)

    def _build_connector(self, routes: dict[tuple[str, str], list[KvRoute]]) -> None:
        self.mover = KvMover(self.ports, routes | self.tiers.routes, self._coupling_hooks)
        self.sessions = Sessions()
        self.pools = connect(
            self.tiers, self.replicas, self.mover, self.kernel, len(self.specs), self._serving_hooks, self.sessions
        )
        self.connector: PrefillDecodeConnector | None = None
        if routes:
            options = self.scenario.kv_transfer
            self.connector = self.dispatcher.connector = PrefillDecodeConnector(
                self.replicas,
                self.mover,
                self.dispatcher.decode_replica,
                options.mode == "push",
                options.granularity == "layer",
                RULES[options.connector],
                self._serving_hooks,
                self.kernel,
            )


def clients(scenario: Scenario) -> Clients | None:
    """Who sends, where it is a closed loop."""
    options = scenario.workload
    if options.max_concurrency is None:
        return None
    return Clients(options.max_concurrency, options.client, stream(scenario.seed, "workload.client"))


def looks_at_priority(scenario: Scenario) -> bool:
    """Whether somebody may: what is named so, and what is the user's own."""
    names = [instance.engine.scheduling_policy for instance in scenario.instances] + [scenario.router.policy]
    names += [tier.eviction for tier in scenario.kv_offloading.tiers] if scenario.kv_offloading else []
    return any(name == "priority" or ":" in name for name in names)


def read_workload(scenario: Scenario, reader: Reading) -> Iterator[Request]:
    """The scenario's requests, not yet read beyond the first: a missing or empty file is found now."""
    requests = reading.read(scenario.workload, reader)
    return chain([next(requests)], requests)


def _asynchronous(unit: UnitPlan) -> bool:
    """Whether its engine schedules a step while one is in flight: as the scenario says, else as the version does."""
    chosen = unit.options.engine.async_scheduling
    return _costs(unit).asynchronous if chosen is None else chosen


def _costs(unit: UnitPlan) -> HostCosts:
    """Of the engine's version, warm."""
    return costs_of(unit.options.engine.version, False)


def _slots(unit: UnitPlan) -> int:
    """Steps an instance may have in flight. With asynchronous scheduling every running request is in every batch, so
    the first pipeline stage of a step waits for the tokens that the last gives in the step before: one after another
    (`vllm/v1/worker/gpu_model_runner.py`, _pp_receive_prev_sampled_token_ids_to_input_batch, 0.19)."""
    follow = _asynchronous(unit) and not _costs(unit).stages_overlap
    return 1 if unit.options.pipeline_parallel_size > 1 and follow else unit.plan.lanes
