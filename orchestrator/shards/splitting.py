"""Which runs can be split: those in which nobody has to know what goes on at another instance.

Every worker sees every request come and asks the router, so that all routers are in the same state; what goes to an
instance of another worker is let go. That needs routers that look at no replica, or at what was reported last
(`exchange`), and hardware that is only asked.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from ..scenario.schema import Scenario
from ..simulation import Simulation

BLIND = ("round-robin", "random")  # policies that look at no replica
BY_REPORT = (*BLIND, "least-loaded", "session")  # and those that look at what replicas report alone


def why_not(simulation: Simulation) -> str:
    """Why a run cannot be split; empty if it can. Sessions are only seen when they come (`work.compute`)."""
    scenario = simulation.scenario
    return _of_requests(scenario) or _of_parts(simulation)


def _of_requests(scenario: Scenario) -> str:
    router = scenario.router
    if len(scenario.instances) < 2:
        return "it has one instance, whose ranks step together"
    if router.report_period_s is None and router.policy not in BLIND:
        others, then = " and ".join(BLIND), " and ".join(BY_REPORT[len(BLIND) :])
        what = f"router.policy {router.policy} looks at all instances as each request comes"
        return f"{what}; {others} do not, and with router.report_period_s {then} do not"
    if router.policy not in BY_REPORT:
        return f"router.policy {router.policy} looks at more than is reported; {', '.join(BY_REPORT)} do not"
    if router.max_waiting is not None:
        return "router.max_waiting looks at all instances as each request comes"
    if scenario.failures or scenario.autoscaling:
        return "instances fail or are scaled, and others take what they had"
    return ""


def _of_parts(simulation: Simulation) -> str:
    outside = any(isinstance(replica.engine, AbstractContextManager) for replica in simulation.replicas)
    for what, there in (
        ("its clients send when an answer is there, whoever gives it", simulation.dispatcher.clients is not None),
        ("prefill and decode are apart", simulation.connector is not None),
        ("K and V are kept in tiers", bool(simulation.pools)),
        ("weights come from off the devices", bool(simulation.streamed)),
        ("an engine has a process of its own", outside),
    ):
        if there:
            return what
    for spec in simulation.specs:
        if "stepped" in simulation.ports.modes(spec.name):
            return f"{spec.name} shares the clock with several users"
        if spec.options.run != "inprocess" or spec.options.surrogate is not None:
            return f"{spec.name} has one process, or one memory of answers, for all"
    return ""


def replicas(simulation: Simulation, of: int) -> list[list[int]]:
    """Of each part its replicas, by number: units take turns."""
    part_of = {name: unit.rank % of for unit in simulation.units for name in unit.names}
    found: list[list[int]] = [[] for _ in range(of)]
    for replica in simulation.replicas:
        found[part_of[replica.name]].append(replica.number)
    return found
