"""The cheapest cluster that holds a load under an SLO: of each kind of replica its capacity, then how many it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..scenario.schema import Scenario
from .capacity import Capacity, knob, search
from .costs import HOUR_S
from .runs import Runs
from .slo import Promise

MORE = 3  # replicas beyond capacity's quotient that are tried when a router's imbalance breaks the promise
#: the fabric inside a node of such accelerators, where it is not PCIe (hwmodels/catalog/interconnects)
FABRICS = {
    "a100-80g-sxm": "nvlink3",
    "h100-sxm": "nvlink4",
    "h200": "nvlink4",
    "h20": "nvlink4",
    "b200": "nvlink5",
    "b300": "nvlink5",
    "gb200": "nvlink5",
    "gb300": "nvlink5",
}
PCIE = {
    "l40s": "pcie4-x16",
    "rtx-a6000": "pcie4-x16",
    "a40": "pcie4-x16",
    "a10g": "pcie4-x16",
    "l4": "pcie4-x16",
    "rtx-4090": "pcie4-x16",
    "h100-pcie": "pcie5-x16",
    "rtx-5090": "pcie5-x16",
    "rtx-pro-6000": "pcie5-x16",
}


@dataclass(slots=True)
class Option:
    """One kind of replica, and what a cluster of them would be.

    Attributes:
        device, tensor_parallel_size: of a replica.
        capacity: of one replica.
        replicas: how many hold the load, found by running them all; 0 if none of those tried do.
        usd_per_hour: of all of them; None without a price.
        figures: of the run of all of them.
        why: why there is no cluster of these.
    """

    device: str
    tensor_parallel_size: int
    capacity: Capacity | None = None
    replicas: int = 0
    usd_per_hour: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def accelerators(self) -> int:
        return self.replicas * self.tensor_parallel_size

    def usd_per_million_tokens(self, rate: float, outputs: float) -> float | None:
        """At a load of ``rate`` requests a second with so many output tokens each: idle time is paid for, too."""
        if self.usd_per_hour is None or not outputs:
            return None
        return self.usd_per_hour / HOUR_S / (rate * outputs) * 1e6


def cluster(scenario: Scenario, device: str, tp: int, replicas: int) -> dict[str, Any]:
    """Overrides that make a cluster of such replicas of a scenario's first instance, a node each.

    Raises InputError where the fabric between the accelerators is not known.
    """
    first = scenario.instances[0]
    fabric = FABRICS.get(device) or PCIE.get(device)
    if tp > 1 and fabric is None:
        raise InputError(
            "plan", "device", device, f"no fabric is known between them; known: {', '.join(FABRICS | PCIE)}"
        )
    topology = "pcie" if device in PCIE else "switch"
    nodes = [{"name": f"n{i}", "accelerators": {"type": device, "count": tp}} for i in range(replicas)]
    networks = [
        {"name": f"net{i}", "type": fabric, "topology": topology, "connects": [f"n{i}.accelerators"]}
        for i in range(replicas if tp > 1 else 0)
    ]
    instance = first.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    instance |= {"tensor_parallel_size": tp, "replicas": 1}
    instances = [{**instance, "name": f"r{i}", "accelerators": f"n{i}[0:{tp}]"} for i in range(replicas)]
    return {"cluster": {"nodes": nodes, "networks": networks}, "instances": instances, "components": {}}


def plan(
    scenario: Scenario,
    overrides: Mapping[str, Any],
    rate: float,
    promise: Promise,
    kinds: Sequence[tuple[str, int]],
    runs: Runs,
    prices: Mapping[str, float],
    tell: Callable[[Option], None] = lambda option: None,
) -> list[Option]:
    """An option a kind (device, tensor parallel size): those that hold ``rate`` requests a second first, by cost.

    Raises InputError for a scenario whose load is no request rate, or that has instances of several kinds.
    """
    path, start, _ = knob(scenario)
    if path != "workload.request_rate":
        raise InputError("plan", "workload", scenario.workload.format, "needs a request_rate, a number")
    if {instance.role for instance in scenario.instances} != {"both"} or scenario.instances[0].ffn:
        raise InputError(
            "plan", "instances", None, "must be whole engines: splitting prefill from decode is not planned"
        )
    options = []
    for device, tp in kinds:
        option = Option(device, tp)
        try:
            _work_out(option, scenario, overrides, path, start, rate, promise, runs)
        except InputError as error:
            option.why = str(error)
        if option.replicas and device in prices:
            option.usd_per_hour = option.accelerators * prices[device]
        options.append(option)
        tell(option)
    worst = math.inf
    return sorted(
        options,
        key=lambda o: (
            not o.replicas,
            worst if o.usd_per_hour is None else o.usd_per_hour,
            o.accelerators,
            o.device,
            o.tensor_parallel_size,
        ),
    )


def _work_out(
    option: Option,
    scenario: Scenario,
    overrides: Mapping[str, Any],
    path: str,
    start: float,
    rate: float,
    promise: Promise,
    runs: Runs,
) -> None:
    """Its capacity, and the least number of replicas of which a whole run keeps the promise."""

    def evaluate(loads: Sequence[float], replicas: int = 1) -> list[dict[str, Any]]:
        shape = cluster(scenario, option.device, option.tensor_parallel_size, replicas)
        rows = runs.rows([{**overrides, **shape, path: load} for load in loads])
        refused = [row["error"] for row in rows if row["status"] == "refused"]
        if refused:
            raise InputError("plan", f"{option.device} x {option.tensor_parallel_size}", None, refused[0])
        return rows

    option.capacity = found = search(path, start, False, promise, evaluate)
    if not found.kept:
        option.why = f"one replica keeps the promise at no load tried, down to {found.broken or 0:g}"
        return
    least = math.ceil(rate / found.kept)
    for replicas in range(least, least + MORE + 1):
        (row,) = evaluate([rate], replicas)
        if promise.kept(row):
            option.replicas, option.figures = replicas, row["figures"]
            return
    option.why = (
        f"{least} to {least + MORE} replicas break the promise at {rate:g} together, though one keeps {found.kept:g}"
    )
