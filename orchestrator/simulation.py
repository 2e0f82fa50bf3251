"""A run: everything a scenario names, put together, started, and taken apart again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Protocol

from .coupling.components import ComponentSpec, open_local, specify
from .coupling.executor import Executor
from .coupling.link import Link
from .coupling.mover import KvMover, KvRoute
from .coupling.ports import Ports
from .errors import MetronomeError
from .kernel.loop import Kernel
from .kernel.queue import Event
from .kv_routes import kv_routes
from .lowering.work import Templates
from .placement import UnitPlan, place
from .report.recorder import Progress, Recorder
from .scenario.inputs import Inputs
from .scenario.schema import Scenario
from .serving.api_server import ApiServers
from .serving.dispatcher import Dispatcher
from .serving.engine import Engine, Role
from .serving.host_costs import host_costs
from .serving.kv.transfer import Handoff
from .serving.loop import StepLoop
from .serving.router import make_router
from .serving.vllm.scheduler import Scheduler
from .workload import llmservingsim, synthetic
from .workload.request import Request
from .workload.rewindable import Rewindable


class Source(Protocol):
    """Where the components of a run come from."""

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        """Every component of the scenario, in order; raises InputError."""
        ...

    def open(self, specs: Sequence[ComponentSpec]) -> AbstractContextManager[dict[str, Link]]:
        """A link to each, by name, until the context is left; raises InputError, ComponentFailure."""
        ...


class LiveSource:
    """Components that are started for the run. What processes print goes to ``logs``."""

    def __init__(self, logs: Path | None = None) -> None:
        self._logs = logs

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return specify(scenario, folder)

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        with ExitStack() as stack:
            links: dict[str, Link] = {}
            by_run: dict[str, list[ComponentSpec]] = {}
            for spec in specs:
                by_run.setdefault(spec.options.run, []).append(spec)
            # gRPC and docker are loaded only where they are needed.
            if "address" in by_run:
                from .coupling.launch.address import open_addresses

                links |= stack.enter_context(open_addresses(by_run["address"]))
            if "container" in by_run:
                from .coupling.launch.container import open_containers

                links |= stack.enter_context(open_containers(by_run["container"], self._logs))
            if "process" in by_run:
                from .coupling.launch.process import open_processes

                links |= stack.enter_context(open_processes(by_run["process"], self._logs))
            links |= {spec.name: open_local(spec) for spec in specs if spec.name not in links}
            for spec in specs:
                if spec.options.surrogate:
                    from .coupling.surrogate import open_surrogate

                    links[spec.name] = stack.enter_context(closing(open_surrogate(spec, links[spec.name])))
            yield links


class Simulation:
    """One run of one scenario. Use as a context manager: leaving it ends what it started.

    Making it checks everything that can be checked before time 0; raises InputError. With ``rewindable``
    deep copies of it can be run on their own (the debugger's checkpoints).
    """

    def __init__(
        self,
        scenario: Scenario,
        inputs: Inputs | Path,
        source: Source | None = None,
        progress: Progress | None = None,
        fold: bool = True,
        rewindable: bool = False,
    ) -> None:
        self.scenario = scenario
        self.inputs = inputs if isinstance(inputs, Inputs) else Inputs(inputs)
        source = source or LiveSource()
        self._stack = ExitStack()
        self.specs = source.specify(scenario, self.inputs.folder)
        templates = Templates()
        self.units = place(scenario, self.inputs, templates)
        routes = self._routes(templates)
        router = make_router(scenario.router.policy, synthetic.stream(scenario.seed, "router"))
        self.workload = read_workload(scenario, self.inputs)
        if rewindable:
            self.workload = Rewindable(self.workload)
        self.kernel = Kernel()
        self.wall_s = 0.0
        try:
            works = [work for unit in self.units for work in [*unit.plan.works, *unit.plan.chains]]
            works += [route.work for sends in routes.values() for route in sends]
            self.ports = Ports(self.kernel, self.specs, self._stack.enter_context(source.open(self.specs)), works)
            self._build_engines(progress, fold)
            self.frontend = Dispatcher(self.kernel, self.workload, router, self.engines)
            self._build_handoff(routes)
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
        return list(dict.fromkeys(text for unit in self.units for text in unit.arch.warnings))

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
        ]

    def run(self, seen: Callable[[Event], None] | None = None) -> None:
        """To the end of the workload. What was recorded stays usable if this raises.

        ``seen`` is told of every event before it acts.

        Raises ComponentFailure, StalledError, InputError (a request or workload line that cannot be),
        KeyboardInterrupt.
        """
        start = time.perf_counter()
        try:
            self.frontend.start()
            self.kernel.run(seen)
            self.frontend.check_done()
        finally:
            self.wall_s = time.perf_counter() - start

    def _build_engines(self, progress: Progress | None, fold: bool) -> None:
        self.engines: list[Engine] = []
        self.loops: list[StepLoop] = []  # one an instance, and
        self.executors: list[Executor] = []  # what executes its steps
        self.recorder = Recorder(progress)
        for unit in self.units:
            options, role = unit.options.engine, Role(unit.options.role)
            model = host_costs(options.version, options.cold_start)
            servers = ApiServers(model.server, options.api_server_count)
            members: list[Engine] = []
            for name in unit.names:
                number = len(self.engines) + len(members)
                scheduler = Scheduler(
                    unit.scheduler,
                    unit.blocks,
                    unit.plan.lanes,
                    self.recorder.add_engine(unit.plan.lanes),
                    hand_over=role is Role.PREFILL,
                )
                members.append(Engine(name, number, scheduler, unit.max_model_len, role, servers))
            self.engines += members
            # Instances rank after components: at one instant hardware comes first.
            loop = StepLoop(self.kernel, unit.rank, members, unit.plan.lanes, self.recorder, model)
            self.loops.append(loop)
            loop.runner = executor = Executor(
                self.kernel, len(self.specs) + unit.rank, unit.plan, self.ports, members[0].scheduler.steady, fold
            )
            self.executors.append(executor)

    def _routes(self, templates: Templates) -> dict[tuple[int, int], list[KvRoute]]:
        """Between every prefill and every decode engine, by their numbers."""
        places = [(unit, member) for unit in self.units for member in range(len(unit.names))]

        def of(role: str) -> list[tuple[int, UnitPlan, int]]:
            return [(n, unit, member) for n, (unit, member) in enumerate(places) if unit.options.role == role]

        return {
            (n, m): kv_routes(self.scenario, unit, other, member, fellow, templates)
            for n, unit, member in of("prefill")
            for m, other, fellow in of("decode")
        }

    def _build_handoff(self, routes: dict[tuple[int, int], list[KvRoute]]) -> None:
        self.mover = KvMover(self.ports, routes)
        self.handoff: Handoff | None = None
        if routes:
            options = self.scenario.kv_transfer
            self.handoff = self.frontend.handoff = Handoff(
                self.engines,
                self.mover,
                self.frontend.decode_engine,
                options.mode == "push",
                options.granularity == "layer",
            )
        self.recorder.attach(self.frontend, self.handoff)


def read_workload(scenario: Scenario, inputs: Inputs) -> Iterator[Request]:
    """The scenario's requests, not yet read beyond the first: a missing or empty file is found now."""
    spec = scenario.workload
    if isinstance(spec, synthetic.Synthetic):
        return synthetic.generate(spec, scenario.seed)
    requests = llmservingsim.read(inputs.path(spec.path), spec.limit)
    return chain([next(requests)], requests)


__all__ = ["MetronomeError", "Simulation"]
