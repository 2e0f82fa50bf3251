"""What a run costs in its several ways: in process and apart, recorded and replayed, a message, a collective."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import docker
import requests
import yaml
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.hwmodels.network.fabric import Fabric
from metronome.orchestrator.coupling.components import specify
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.record.recording import JOURNAL, Recording
from metronome.orchestrator.scenario.components import ComponentOptions, ContainerOptions
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.source import LiveSource

from ..conftest import ROOT, SHARED, import_line
from ..containers.image import build
from .measure import Arguments, alternating, loop_of, measure, metronome, table

PEER_S = 156.0  # the published peer's wall time for this run, on its authors' machine


def ways(rounds: int, folder: Path) -> Iterator[str]:
    """The peer's run where its data is at hand, else the quick start; prefill and decode apart."""
    scenario, peer = make_scenario(folder)
    remote = in_processes(scenario, folder / "remote.yaml")
    runs: dict[str, Arguments] = {"in process": (scenario,), "each component in its process": (remote,)}
    found = alternating(runs, rounds, folder)
    yield from _ways(scenario.stem, runs, found)
    if peer:
        times = PEER_S / found["in process"].command_s
        yield ""
        yield f"The peer reports {PEER_S:.0f} s for the first: {times:.0f} times as long as the whole command."
    for name in ("prefill-decode", "prefill-decode-layerwise"):
        apart: Arguments = (name, "--set", "components.nvlink.run=process")
        runs = {"in process": (name,), "the network in its process": apart}
        yield ""
        yield from _ways(name, runs, alternating(runs, max(1, rounds // 2), folder))


def _ways(title: str, runs: dict[str, Arguments], found: dict) -> Iterator[str]:
    base = next(iter(found.values())).loop_s
    yield from table(
        (title, "command, s", "loop, s", "µs a step", "ratio"),
        [
            (name, f"{run.command_s:.2f}", f"{run.loop_s:.3f}", f"{run.step_us:.0f}", f"{run.loop_s / base:.2f}")
            for name, run in found.items()
        ],
    )


def recordings(rounds: int, folder: Path) -> Iterator[str]:
    """What recording adds to the loop, what replay takes, and how long going to any event of the run is."""
    scenario, _ = make_scenario(folder)
    loops: dict[str, list[float]] = {"run": [], "recorded": [], "replayed": []}
    kept = folder / "kept"
    for _ in range(rounds):
        loops["run"].append(measure((scenario,), folder).loop_s)
        metronome("run", scenario, "-o", kept, "--quiet", "--record")
        loops["recorded"].append(loop_of(kept))
        metronome("replay", kept, "-o", folder / "out", "--quiet")
        loops["replayed"].append(loop_of(folder / "out"))
    medians = {name: statistics.median(seconds) for name, seconds in loops.items()}
    rows = [(name, f"{took:.3f}", f"{took / medians['run']:.2f}") for name, took in medians.items()]
    yield from table((scenario.stem, "loop, s", "ratio"), rows)
    found = Recording(kept)
    size = (found.folder / JOURNAL).stat().st_size / found.journal.events
    rng, taken = random.Random(1), []
    with DebugSession.recorded(found) as session:
        session.run()
        for _ in range(200):
            start = time.perf_counter()
            session.seek(rng.randint(1, session.frontier))
            taken.append((time.perf_counter() - start) * 1000)
        events = session.frontier
    yield ""
    yield f"A recording takes {size:.0f} bytes an event. In the debugger, going to any of {events:,} events takes"
    yield f"{statistics.median(taken):.0f} ms (median of 200; the slowest {max(taken):.0f} ms)."


def round_trips(folder: Path) -> Iterator[str]:
    """One small message to a component in a process and in a container, both over a Unix socket."""
    try:
        docker.from_env(timeout=10).ping()
    except (docker.errors.DockerException, requests.RequestException):
        yield "Not measured: no container engine answers."
        return
    build("metronome-adapter:bench")
    scenario, base = load("quickstart")
    name = "nvlink0"
    taken: dict[str, list[float]] = {"process": [], "container": []}
    options = {
        run: ComponentOptions(run=run, container=ContainerOptions(image="metronome-adapter:bench")) for run in taken
    }
    with ExitStack() as stack:
        links = {}
        for run in taken:
            specs = [spec for spec in specify(scenario, base) if spec.name == name]
            specs = [replace(spec, options=options[run]) for spec in specs]
            links[run] = stack.enter_context(LiveSource(folder / run).open(specs))[name]
            links[run].declare([Template(0, "send", "x", {"participants": 2, "ranks": "n0.0,n0.1"})])
        for _ in range(3000):
            for run, link in links.items():
                start = time.perf_counter()
                link.send(MAX_PS, [Operation(0, (1,))], False)
                link.receive()
                taken[run].append(time.perf_counter() - start)
    p50 = {run: statistics.median(seconds) * 1e6 for run, seconds in taken.items()}
    ratio = p50["container"] / p50["process"]
    yield f"{p50['process']:.0f} µs to a process, {p50['container']:.0f} µs to a container (medians of 3,000), ratio {ratio:.2f}."


def collective(rounds: int) -> Iterator[str]:
    """All to all of 512 devices over a fat tree, link by link."""
    yield f"{statistics.median(_all_to_all() for _ in range(rounds)):.2f} s."


def _all_to_all() -> float:
    """Seconds to build the network, route and simulate it."""
    start = time.perf_counter()
    groups = [{"name": f"n{i}", "count": 8} for i in range(64)]
    out = {"type": "infiniband-ndr", "topology": "fat-tree"}
    fabric = Fabric({"groups": groups, "type": "nvlink4", "scale_out": out})
    ranks = ",".join(f"n{i // 8}.{i % 8}" for i in range(512))
    fabric.declare([Template(0, "all_to_all", "a2a", {"participants": 512, "ranks": ranks})])
    fabric.advance(MAX_PS, [Operation(0, (512 * 2**20,), 0)])
    return time.perf_counter() - start


def make_scenario(folder: Path) -> tuple[Path, bool]:
    """The peer's run where its data is at hand, else the quick start."""
    path = folder / "llama-3.1-8b.yaml"
    if not SHARED.is_dir():
        path.write_text((ROOT / "scenarios/quickstart.yaml").read_text())
        return path, False
    bench = SHARED / "llmss_main/bench/RTXPRO6000/Llama-3.1-8B"
    metronome(*import_line(bench, "sharegpt-llama-3.1-8b-300-sps10.jsonl", path))
    return path, True


def in_processes(scenario: Path, path: Path) -> Path:
    """The same with every component in a process of its own."""
    data = yaml.safe_load(scenario.read_text())
    names = [f"{node['name']}.accelerators" for node in data["cluster"]["nodes"]]
    names += [f"{node['name']}.dram" for node in data["cluster"]["nodes"] if node.get("memory", {}).get("dram")]
    names += [network["name"] for network in data["cluster"]["networks"]]
    components = data.setdefault("components", {})
    for name in names:
        components.setdefault(name, {})["run"] = "process"
    path.write_text(yaml.safe_dump(data))
    return path
