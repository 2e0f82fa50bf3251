"""From a run to its result (docs/results.md).

Everything but ``startup_s`` and the ``wall_s`` figures is a function of scenario and seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from metronome.hwmodels.interface import PROVENANCE_ORDER
from numpy.typing import NDArray

from ..coupling.components import ComponentSpec
from ..errors import ComponentFailure, RecordingEndsError
from ..instruments.recorder import Kept
from ..instruments.seconds import SUMS
from ..power import devices
from ..power.electricity import bill
from ..power.ledger import Ledger
from ..scenario.loading import digest
from ..scenario.schema import Scenario
from ..simulation import Simulation
from ..units import PS_PER_MS, PS_PER_NS, PS_PER_S, bin_ps
from . import html, requests
from .availability import availability, serving
from .metrics import Latencies, latencies, summary
from .result import Cell, Ending, Result, Table
from .tiers import series as tier_series
from .tiers import tiers
from .uncertainty import MEANS, Parts, error_bars, relative_error

Classes = NDArray[np.object_]  # of each request the name of its class of traffic


def collect(simulation: Simulation, startup_s: float, ending: Ending) -> Result:
    """The result of a run as far as it has come."""
    ledger, kept = ledger_of(simulation), simulation.recorder.so_far()
    metrics = _metrics(simulation, kept, startup_s, ending, ledger)
    names = [replica.name for replica in simulation.replicas]
    rows = Table(requests.COLUMNS, requests.RequestRows(kept.requests, names))
    return Result(metrics, rows, _series(simulation, kept, ledger), _failures(simulation))


def write(simulation: Simulation, folder: Path, startup_s: float, ending: Ending) -> dict[str, Any]:
    """Collect it and write its files into ``folder``; returns the content of result.json."""
    result = collect(simulation, startup_s, ending)
    result.write(folder)
    html.write(result, simulation.scenario, folder)
    return result.metrics


def _metrics(
    simulation: Simulation, kept: Kept, startup_s: float, ending: Ending, ledger: Ledger | None
) -> dict[str, Any]:
    """The content of result.json: the keys of `vllm bench serve --save-result`, and ours."""
    scenario, recorder = simulation.scenario, simulation.recorder
    done = kept.requests
    times, classes = latencies(kept), done.slo_classes
    good = _good(simulation, classes, times) if _has_slo(simulation) else None
    duration = int(done.column("end_ps").max(initial=0)) / PS_PER_S
    inputs, outputs = (int(done.column(name).sum()) for name in ("input_tokens", "output_tokens"))

    def rate(amount: float) -> float | None:
        return amount / duration if duration else None

    data: dict[str, Any] = {
        "backend": "metronome",
        "model_id": scenario.instances[0].model,
        "num_prompts": simulation.dispatcher.arrived,
        "duration": duration,
        "completed": len(done),
        "failed": simulation.dispatcher.outstanding + len(recorder.failed),
        "total_input_tokens": inputs,
        "total_output_tokens": outputs,
        "request_throughput": rate(len(done)),
        "request_goodput": None if good is None else rate(int(good.sum())),
        "output_throughput": rate(outputs),
        "total_token_throughput": rate(inputs + outputs),
    }
    data |= summary("ttft_ms", times.ttft) | summary("tpot_ms", times.tpot)
    data |= summary("itl_ms", times.itl, times.itl_weights) | summary("e2el_ms", times.e2el)
    by_class = _classes(simulation, classes, times, good)
    data["metronome"] = _own(simulation, kept, startup_s, ending, data, by_class, ledger)
    return data


def _own(
    simulation: Simulation,
    kept: Kept,
    startup_s: float,
    ending: Ending,
    data: dict[str, Any],
    classes: dict[str, Any],
    ledger: Ledger | None,
) -> dict[str, Any]:
    """What a real server would not say: how the run went, its hardware, how far off the figures in ``data`` may be."""
    scenario, recorder = simulation.scenario, simulation.recorder
    energy, outputs = ledger.total_j if ledger else None, data["total_output_tokens"]
    counts = [replica.engine.counts for replica in simulation.replicas]
    complete = ending.status == "complete"
    components = {}
    for spec in simulation.specs:
        # One behind a transport that was interrupted in the middle of an answer cannot be asked any more.
        able = complete or not simulation.ports.root(spec.name).remote
        components[spec.name] = _component(simulation, spec, able)
    return {
        "version": version("metronome-cosim"),
        "status": ending.status,
        "error": ending.error,
        **_noted(simulation),
        "seed": scenario.seed,
        "scenario": scenario.name,
        "scenario_digest": digest(scenario),
        "simulated_s": simulation.kernel.now_ps / PS_PER_S,
        "startup_s": startup_s,
        "wall_s": simulation.wall_s,
        "steps": kept.steps,
        "events": simulation.kernel.events,
        "failed": dict(sorted(Counter(failure.reason for failure in recorder.failed).items())),
        "workload": simulation.reading.notes,
        **({"classes": classes} if classes else {}),
        "preemptions": sum(c.preemptions for c in counts),
        "recomputed_tokens": sum(c.recomputed_tokens for c in counts),
        "prefix_hit_tokens": sum(c.prefix_hit_tokens for c in counts),
        "accelerators": sorted({node.accelerators.type for node in scenario.cluster.nodes}),
        "kv_blocks": {name: unit.blocks for unit in simulation.units for name in unit.names},
        "energy_j": energy,
        **({"energy_by_part_j": ledger.by_part()} if ledger else {}),
        **_electricity(scenario, ledger),
        "joules_per_output_token": energy / outputs if energy is not None and outputs else None,
        "energy_excludes": without_energy(simulation),
        "kv_transfers": _transfers(simulation, kept),
        **tiers(simulation),
        **_streamed(simulation),
        **_availability(simulation),
        "components": components,
        "error_bars": error_bars(
            relative_error(time_spent(simulation, components)),
            {name: data[name] for name in MEANS},
        ),
    }


def time_spent(simulation: Simulation, components: Mapping[str, Mapping[str, Any]]) -> Parts:
    """What error bars are made of; ``components`` as in `result.json`."""
    return {
        name: (simulation.ports.usage(name).spent_ps, component.get("statistics", {}))
        for name, component in components.items()
    }


def _noted(simulation: Simulation) -> dict[str, Any]:
    """What else a reader should know of how it was simulated: what is not modelled, what times were multiplied by."""
    warnings, calibration = simulation.warnings, simulation.scenario.calibration
    found: dict[str, Any] = {"warnings": warnings} if warnings else {}
    return found | ({"calibration": calibration.model_dump(mode="json")} if calibration else {})


def _streamed(simulation: Simulation) -> dict[str, Any]:
    found = {name: runner.figures() for name, runner in simulation.streamed.items()}
    return {"weight_offloading": found} if found else {}


def _availability(simulation: Simulation) -> dict[str, Any]:
    if simulation.availability.fleet is None and simulation.scenario.router.max_waiting is None:
        return {}
    names, dispatcher = [one.name for one in simulation.scenario.instances], simulation.dispatcher
    found = availability(names, simulation.recorder.changes, simulation.kernel.now_ps)
    counts = {"lost": dispatcher.lost, "retried": dispatcher.retried, "shed": dispatcher.shed}
    loader = simulation.loader
    loads = (
        {}
        if loader is None
        else {name: {"loads": loader.loads[name], "bytes": size} for name, size in loader.loaded.items()}
    )
    return {"availability": found | counts | ({} if loader is None else {"weights": loads})}


def _component(simulation: Simulation, spec: ComponentSpec, able: bool) -> dict[str, Any]:
    name, link = spec.name, simulation.ports.root(spec.name)
    usage = simulation.ports.usage(name)
    try:
        statistics = simulation.ports.statistics(name) if able else {}
    except RecordingEndsError:  # a replay of a run that was interrupted
        statistics = {}
    except ComponentFailure as failure:  # it has answered everything: the run is whole, only its own figures are lost
        statistics = {"error": str(failure)}
    return {
        "model": spec.model if spec.facts is None else link.description.name,
        **({"image": link.image} if link.image else {}),
        "calls": usage.calls,
        "cached": usage.cached,
        **link.incidents,
        "wall_s": simulation.ports.wall_s(name),
        "provenance": {str(p): usage.provenance[p] for p in reversed(PROVENANCE_ORDER) if usage.provenance[p]},
        **({"statistics": _by_key(statistics)} if statistics else {}),
    }


def _by_key(told: Any) -> Any:
    """What a component tells, in an order that no wire changes: a message's keys come in any."""
    if isinstance(told, Mapping):
        return {key: _by_key(told[key]) for key in sorted(told)}
    return [_by_key(one) for one in told] if isinstance(told, list | tuple) else told


def _transfers(simulation: Simulation, kept: Kept) -> dict[str, int] | None:
    """K and V moved from prefill to decode engines; None where no instance is split."""
    connector = simulation.connector
    if connector is None:
        return None
    found: dict[str, Any] = {
        "requests": connector.transfers,
        "tokens": connector.tokens,
        "bytes": simulation.mover.bytes,
    }
    if connector.decode_gives_first_token:
        apart = kept.requests.column("prompt_place") >= 0
        found |= summary("prefill_ttft_ms", kept.requests.column("prompt_token_ps")[apart] / PS_PER_MS)
    return found


def without_energy(simulation: Simulation) -> list[str]:
    """Components and memories that know no energies; they are left out of the sum, and it says so."""
    ports = simulation.ports
    found = [spec.name for spec in simulation.specs if not ports.usage(spec.name).energy_known]
    return list(dict.fromkeys([*found, *ports.memories.unknown]))


def power_known(simulation: Simulation) -> bool:
    """Whether every accelerator's watts are known: without them a sum would mislead."""
    without = without_energy(simulation)
    accelerators = [spec.name for spec in simulation.specs if spec.kind == "accelerator"]
    return devices.known(simulation.scenario) and not set(without) & set(accelerators)


def ledger_of(simulation: Simulation) -> Ledger | None:
    """Where the energy of the run so far went; None where an accelerator's figures are unknown."""
    return booked(simulation) if power_known(simulation) else None


def booked(simulation: Simulation) -> Ledger:
    """What components said of the run so far, and what is drawn besides."""
    books, changes, now_ps = simulation.books, simulation.recorder.changes, simulation.kernel.now_ps
    past = books.settled(now_ps, simulation.loops, simulation.executors)
    return Ledger(simulation.scenario, books.groups, simulation.ports.spent, changes, now_ps, past)


def _electricity(scenario: Scenario, ledger: Ledger | None) -> dict[str, Any]:
    """What the energy costs and emits, where it is known and a rate is given."""
    rates = scenario.cluster.electricity
    return {"electricity": bill(rates, ledger.joules(), ledger.width_ps / PS_PER_S)} if rates and ledger else {}


def _has_slo(simulation: Simulation) -> bool:
    return any(limit is not None for slo in simulation.slos.values() for limit in slo.model_dump().values())


def _good(simulation: Simulation, classes: Classes, times: Latencies) -> NDArray[np.bool_]:
    """Of each request whether it meets every limit given to its class; a one-token request has no TPOT to miss."""
    slos = simulation.slos
    good = np.ones(len(classes), dtype=bool)
    for one in set(classes):
        mine, slo = classes == one, slos.get(one, slos[""])
        for name, values in (("ttft_ms", times.ttft), ("tpot_ms", times.tpot), ("e2el_ms", times.e2el)):
            good &= ~(mine & (values > (getattr(slo, name) or np.inf)))
    return good


def _classes(
    simulation: Simulation, classes: Classes, times: Latencies, good: NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Figures of each class of traffic, where there are any: requests, those within their SLO, mean latencies."""
    recorder = simulation.recorder
    found: dict[str, Any] = {}
    for name in sorted({*classes, *(failure.slo_class for failure in recorder.failed)} - {""}):
        mine = classes == name
        found[name] = {
            "completed": int(mine.sum()),
            "failed": sum(failure.slo_class == name for failure in recorder.failed),
            "good": None if good is None else int(good[mine].sum()),
            **summary("ttft_ms", times.ttft[mine]),
            **summary("tpot_ms", times.tpot[mine]),
            **summary("e2el_ms", times.e2el[mine]),
        }
    return found


FAILURE_COLUMNS = ("id", "instance", "input", "output", "arrival", "time", "reason", "error")


def _failures(simulation: Simulation) -> Table:
    """One row a request that was refused or given up, by id; times in ns, rounded down."""
    rows: list[tuple[Cell, ...]] = []
    for failure in sorted(simulation.recorder.failed, key=lambda failure: failure.id):
        name = simulation.replicas[failure.place].name
        times = (failure.arrival_ps // PS_PER_NS, failure.time_ps // PS_PER_NS)
        sizes = (failure.id, name, failure.input_tokens, failure.output_tokens)
        rows.append((*sizes, *times, failure.reason, failure.error))
    return Table(FAILURE_COLUMNS, rows)


SERIES_COLUMNS = ("t", "prompt_throughput", "generation_throughput", "running", "waiting", "kv_used", "power_w")


def _series(simulation: Simulation, kept: Kept, ledger: Ledger | None) -> Table:
    """Bins of 1 s (of very long runs wider ones: `units.bin_ps`), all instances together: tokens a second of the steps
    that ended in a bin, states at its end.

    ``kv_used`` is the share of all KV blocks, ``kv_cached`` that of free ones that can be found (None where an engine
    does not say); power the mean of the bin, which ends with the run if that ends in it.
    """
    width_ps = bin_ps(simulation.kernel.now_ps)
    bins, width_s = -(-simulation.kernel.now_ps // width_ps), width_ps // PS_PER_S
    edges = np.arange(1, bins + 1, dtype=np.int64) * width_ps
    columns = kept.seconds.binned(width_s, bins)
    blocks = sum(replica.engine.num_blocks for replica in simulation.replicas)
    columns["kv_used"] /= blocks
    known = all(replica.cached_blocks is not None for replica in simulation.replicas)
    cached = (columns["kv_cached"] / blocks).tolist() if known else [None] * bins
    for name in SUMS if width_s > 1 else ():
        columns[name] /= width_s
    counts = [columns[name].astype(np.int64).tolist() for name in (*SUMS, "running", "waiting")]
    power = ledger.watts().tolist() if ledger else [None] * bins
    more: list[Sequence[Cell]] = []
    if simulation.availability.fleet is not None:
        names = [one.name for one in simulation.scenario.instances]
        more = [serving(names, simulation.recorder.changes, edges)]
    titles = (*SERIES_COLUMNS, "kv_cached", *("instances",)[: len(more)])
    off = tier_series(simulation, edges)
    t = range(width_s, (bins + 1) * width_s, width_s)
    rows = list(zip(t, *counts, columns["kv_used"].tolist(), power, cached, *more, *off.values(), strict=True))
    return Table(
        (*titles, *off),
        rows,
        {
            "kv_used": ".6f",
            "kv_cached": ".6f",
            "power_w": ".3f",
            **{name: "d" if name.endswith("_hits") else ".6f" for name in off},
        },
    )
