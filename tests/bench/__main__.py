"""`make bench`: what a run costs, as medians and ratios. A benchmark, not a test.

    python -m tests.bench [--rounds N]

With ../shared/data present it measures the published peer's run of Llama-3.1-8B, else the quick
start. Machines are shared and noisy: compare ratios and medians of one table, never two tables.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
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
from metronome.orchestrator.simulation import LiveSource

from ..conftest import ROOT, SHARED, import_line
from ..containers.image import build

PEER_S = 156.0  # the published peer's wall time for this run, on its authors' machine


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        scenario, peer = make_scenario(Path(folder))
        remote = in_processes(scenario, Path(folder) / "remote.yaml")
        command = table(scenario.name, {"in process": (scenario,), "in processes": (remote,)}, rounds, Path(folder))
        if peer:
            print(f"published peer: {PEER_S:.0f} s; the whole command is {PEER_S / command:.0f} times faster")
        recordings(scenario, rounds, Path(folder))
        for name in ("prefill-decode", "prefill-decode-layerwise"):
            apart = (name, "--set", "components.nvlink.run=process")
            table(name, {"in process": (name,), "network apart": apart}, max(1, rounds // 2), Path(folder))
        round_trips(Path(folder))
    print(f"all-to-all of 512 devices over a fat tree: {statistics.median(all_to_all() for _ in range(rounds)):.2f} s")


def table(title: str, runs: dict[str, tuple[object, ...]], rounds: int, folder: Path) -> float:
    """Prints medians and ratios of several ways to run; returns the first's command time."""
    rows: dict[str, list[tuple[float, float, int]]] = {name: [] for name in runs}
    for _ in range(rounds):  # interleaved, so that all meet the same noise
        for name, arguments in runs.items():
            rows[name].append(measure(arguments, folder))
    print(f"{title}, medians of {rounds} rounds")
    print(f"{'':<14}{'command s':>11}{'loop s':>9}{'us/step':>9}{'ratio':>8}")
    first = next(iter(rows.values()))
    base = statistics.median(loop for _, loop, _ in first)
    for name, measured in rows.items():
        command, loop, steps = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{name:<14}{command:>11.2f}{loop:>9.3f}{loop / steps * 1e6:>9.0f}{loop / base:>8.2f}")
    return statistics.median(command for command, _, _ in first)


def recordings(scenario: Path, rounds: int, folder: Path) -> None:
    """What recording adds to the loop, what replay takes, and how long going to any event of the run is."""
    loops: dict[str, list[float]] = {"run": [], "recorded": [], "replayed": []}
    kept = folder / "kept"
    for _ in range(rounds):
        loops["run"].append(measure((scenario,), folder)[1])
        metronome("run", scenario, "-o", kept, "--quiet", "--record")
        loops["recorded"].append(loop_of(kept))
        metronome("replay", kept, "-o", folder / "out", "--quiet")
        loops["replayed"].append(loop_of(folder / "out"))
    base = statistics.median(loops["run"])
    for name, seconds in loops.items():
        print(f"{name:<14}{'':>11}{statistics.median(seconds):>9.3f}{'':>9}{statistics.median(seconds) / base:>8.2f}")
    found = Recording(kept)
    size = (found.folder / JOURNAL).stat().st_size
    print(f"recording: {size / found.journal.events:.0f} bytes an event")
    rng, taken = random.Random(1), []
    with DebugSession.recorded(found) as session:
        session.run()
        for _ in range(200):
            start = time.perf_counter()
            session.seek(rng.randint(1, session.frontier))
            taken.append(time.perf_counter() - start)
    print(
        f"seek to any of {session.frontier} events: median {statistics.median(taken) * 1000:.0f} ms, worst {max(taken) * 1000:.0f} ms"
    )


def round_trips(folder: Path) -> None:
    """One small message to a component in a process and in a container, both over a Unix socket."""
    try:
        docker.from_env(timeout=10).ping()
    except (docker.errors.DockerException, requests.RequestException):
        print("round trip in a container: not measured, no container engine answers")
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
    print(f"round trip: process {p50['process']:.0f} us, container {p50['container']:.0f} us (p50), ratio {ratio:.2f}")


def loop_of(folder: Path) -> float:
    return float(json.loads((folder / "result.json").read_text())["metronome"]["wall_s"])


def all_to_all() -> float:
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


def measure(scenario: tuple[object, ...], folder: Path) -> tuple[float, float, int]:
    """(seconds of the whole command, seconds of its loop, steps)."""
    start = time.perf_counter()
    metronome("run", *scenario, "-o", folder / "out", "--quiet")
    command = time.perf_counter() - start
    own = json.loads((folder / "out/result.json").read_text())["metronome"]
    return command, own["wall_s"], own["steps"]


def metronome(*arguments: object) -> None:
    command = [sys.executable, "-m", "metronome", *map(str, arguments)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


main()
