"""From what a scenario says of failures and scaling to those who see to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from .errors import InputError
from .in_step import PARTS, answers_for
from .kernel.loop import Kernel
from .lowering.quantity import Operands
from .lowering.work import Templates, Work
from .placement import UnitPlan
from .scenario.schema import SELECTION, Scenario
from .serving.dispatcher import Dispatcher
from .serving.fleet.autoscaler import Autoscaler
from .serving.fleet.failures import Failing, Failures
from .serving.fleet.fleet import Fleet, Member, WeightLoading
from .serving.fleet.options import Failure
from .serving.fleet.reports import ReportingRouter
from .serving.fleet.scaling import make_policy
from .serving.hooks import ServingHooks
from .serving.loop import StepLoop
from .serving.replica import Replica
from .strict import did_you_mean
from .units import PS_PER_S
from .workload.randomness import stream


class Starts(Protocol):
    """Somebody who has something to do at time 0."""

    def start(self) -> None: ...


class Availability:
    """``fleet`` is None where every instance always serves, ``reports`` where the router sees loads as they are."""

    def __init__(self, fleet: Fleet | None, reports: ReportingRouter | None, parts: Sequence[Starts]) -> None:
        self.fleet, self.reports, self._parts = fleet, reports, parts

    def start(self) -> None:
        """Before the first request."""
        for part in self._parts:
            part.start()


def slowdowns(scenario: Scenario, templates: Templates) -> dict[int, Work]:
    """What makes components slow, by the number of the failure."""
    found: dict[int, Work] = {}
    for number, failure in enumerate(scenario.failures):
        if failure.component is not None:
            layer = f"failures.{number}"  # a template of its own: each says for itself how slow its links are
            template = templates.declare("slowdown", layer, {"links": failure.links or "*"})
            found[number] = Work(failure.component, template, Operands(()), 1, layer)
    return found


def check_slowdowns(scenario: Scenario, slows_links: Callable[[int], bool], asked: Mapping[str, str]) -> None:
    """Raises InputError for links of a component that has none, or is not told of slowdowns (``slows_links``), and for
    one that another alone asks (``asked``): that other is who is slow."""
    for number, failure in enumerate(scenario.failures):
        if asker := asked.get(failure.component or ""):
            why = f"{asker} asks it alone, and waits for it: name that"
            raise InputError("scenario", f"failures.{number}.component", failure.component, why)
        if failure.component is not None and not slows_links(number):
            field = "links" if failure.links is not None else "down" if failure.down else ""
            if field:
                why = f"{failure.component} can only be slow as a whole (slowdown): its model tells no links apart"
                raise InputError("scenario", f"failures.{number}.{field}", getattr(failure, field), why)


def make(
    scenario: Scenario,
    units: Sequence[UnitPlan],
    replicas: Sequence[Sequence[Replica]],
    loops: Sequence[StepLoop],
    kernel: Kernel,
    dispatcher: Dispatcher,
    slow: Callable[[int, float], None],
    hooks: ServingHooks,
    weights: WeightLoading | None = None,
) -> Availability:
    """``replicas`` and ``loops`` by unit; ``slow`` makes the component of a failure take so many times as long;
    ``weights`` come to an instance that starts, or else it takes a given time.

    Raises InputError.
    """
    parts: list[Starts] = []
    dispatcher.max_waiting = scenario.router.max_waiting
    reports = None
    if scenario.router.report_period_s is not None:
        if scenario.router.policy == "internal-lb":
            raise InputError("scenario", "router.report_period_s", None, "internal-lb has a period of its own, 100 ms")
        period = round(scenario.router.report_period_s * PS_PER_S)
        reports = ReportingRouter(kernel, dispatcher.router, [one for some in replicas for one in some], period)
        dispatcher.router = reports
        parts.append(reports)
    if not scenario.failures and not scenario.autoscaling:
        return Availability(None, reports, parts)
    members = _members(scenario, units, replicas, loops)
    fleet = Fleet(kernel, members, dispatcher, hooks, weights)
    dispatcher.retry_ps = round(scenario.on_failure.retry_s * PS_PER_S)
    dispatcher.max_retries = scenario.on_failure.max_retries
    kernel.needed = lambda: dispatcher.outstanding > 0
    scalers = [
        Autoscaler(
            kernel,
            fleet,
            i,
            _pool(scenario, i, members),
            options,
            make_policy(f"autoscaling.{i}", options.policy, options.target, scenario.slo.ttft_ms),
            scenario.slo.ttft_ms,
        )
        for i, options in enumerate(scenario.autoscaling)
    ]
    dispatcher.watchers = scalers
    for number, failure in enumerate(scenario.failures):
        _check_in_step(number, failure, units)
    failing = [one for i in range(len(scenario.failures)) for one in _failing(scenario, i, members)]
    starts = scenario.autoscaling or any(failure.component is None for failure in scenario.failures)
    if starts and scenario.start_up is None:
        how = "is missing: how an instance starts (base_s, weights_gb_s or weights_from)"
        raise InputError("scenario", "start_up", None, how)
    return Availability(fleet, reports, [*parts, *scalers, Failures(kernel, fleet, failing, slow)])


def _check_in_step(number: int, failure: Failure, units: Sequence[UnitPlan]) -> None:
    """Raises InputError for a component that is not asked, since another one is for ranks in step with its own."""
    node, _, part = (failure.component or "").partition(".")
    for unit in units if part else ():
        first = answers_for(unit.layout.homes, node)
        if first is not None and part in PARTS:
            why = f"ranks of {unit.name} on {node} work in step with those of {first}: name {first}.{part}"
            raise InputError("scenario", f"failures.{number}.component", failure.component, why)


def _members(
    scenario: Scenario, units: Sequence[UnitPlan], replicas: Sequence[Sequence[Replica]], loops: Sequence[StepLoop]
) -> list[Member]:
    members = []
    for instance in scenario.instances:
        mine = [i for i, unit in enumerate(units) if unit.options.name == instance.name]
        unit, options = units[mine[0]], scenario.start_up
        start_s = 0.0
        if options is not None:
            read = 0.0 if options.weights_gb_s is None else unit.arch.weight_bytes(1) / (options.weights_gb_s * 1e9)
            start_s = options.base_s + read
        members.append(
            Member(
                instance.name,
                [replica for i in mine for replica in replicas[i]],
                [loops[i] for i in mine],
                instance.all_devices,
                round(start_s * PS_PER_S),
            )
        )
    return members


def _pool(scenario: Scenario, number: int, members: Sequence[Member]) -> list[Member]:
    """NAME-0, NAME-1, ... of an instance with replicas."""
    options = scenario.autoscaling[number]
    prefix, where = f"{options.instance}-", f"autoscaling.{number}"
    pool = [one for one in members if one.name.startswith(prefix) and one.name.removeprefix(prefix).isdecimal()]
    if len(pool) < 2:
        known = sorted({one.name.rpartition("-")[0] for one in members if one.name.rpartition("-")[2].isdecimal()})
        hint = did_you_mean(options.instance, known)
        raise InputError(
            "scenario", f"{where}.instance", options.instance, f"{hint}names no instance with replicas of 2 or more"
        )
    if options.min_replicas > len(pool):
        raise InputError("scenario", f"{where}.min_replicas", options.min_replicas, f"there are {len(pool)} replicas")
    return pool


def _failing(scenario: Scenario, number: int, members: Sequence[Member]) -> list[Failing]:
    """What a failure of the scenario names, each with random numbers of its own."""
    failure = scenario.failures[number]

    def one(name: str, hit: Sequence[Member]) -> Failing:
        return Failing(number, failure, hit, stream(scenario.seed, f"failures.{number}.{name}"))

    if failure.component is not None:
        return [one(failure.component, ())]
    if failure.instance is not None:
        named = _named(number, "instance", failure.instance, [member.name for member in members])
        return [one(name, [member for member in members if member.name == name]) for name in named]
    nodes = {node.name: node.accelerators.count for node in scenario.cluster.nodes}
    if failure.node is not None:
        named = _named(number, "node", failure.node, list(nodes))
        return [one(name, [m for m in members if any(node == name for node, _ in m.devices)]) for name in named]
    device = _device(number, failure, nodes)
    return [one(f"{device[0]}[{device[1]}]", [member for member in members if device in member.devices])]


def _device(number: int, failure: Failure, nodes: dict[str, int]) -> tuple[str, int]:
    text = failure.accelerator or ""
    match = SELECTION.match(text)
    if not match or match["end"] or match["node"] not in nodes or int(match["first"]) >= nodes[match["node"]]:
        there = ", ".join(f"{node}[0..{count - 1}]" for node, count in nodes.items())
        raise InputError("scenario", f"failures.{number}.accelerator", text, f"must be one of {there}")
    return match["node"], int(match["first"])


def _named(number: int, field: str, pattern: str, known: Sequence[str]) -> list[str]:
    found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        hint = did_you_mean(pattern, known)
        raise InputError("scenario", f"failures.{number}.{field}", pattern, f"{hint}there are {', '.join(known)}")
    return found
