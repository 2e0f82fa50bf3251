"""The runs of docs/adapters.md and docs/memory.md, and their pictures: ``python -m tests.study.pictures [NAME ...]`` (extra ``study``).

Each study prints its table and writes docs/pictures/NAME.svg. `shared-uplink` takes minutes (a run in ns-3).
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "metronome"  # the same picture, the same bytes
import matplotlib.pyplot as plt  # noqa: E402
from metronome.adapters.verilator import RtlArray  # noqa: E402
from metronome.hwmodels.accelerator.systolic import Gemm, Systolic  # noqa: E402

from ..accuracy.serving import command  # noqa: E402
from ..conftest import ROOT  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"


def run(folder: Path, scenario: str, *overrides: str) -> dict:
    """result.json of a run."""
    settings = [word for override in overrides for word in ("--set", override)]
    command("run", scenario, "--quiet", "-o", folder, *settings)
    return json.loads((folder / "result.json").read_text())


def save(figure, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})


def systolic_array(folder: Path) -> None:
    """What the size of the array and what stays in its cells mean for a token."""
    figure, axis = plt.subplots(figsize=(6, 3))
    sizes = (64, 128, 256)
    for number, dataflow in enumerate(("ws", "os", "is")):
        found = []
        for size in sizes:
            own = f"{{model: systolic, rows: {size}, columns: {size}, dataflow: {dataflow}}}"
            result = run(folder / f"{dataflow}{size}", "systolic-array", f"components.n0.accelerators={own}")
            found.append(result["mean_tpot_ms"])
            print(f"{size} x {size} {dataflow}: TTFT {result['mean_ttft_ms']:.0f} ms, TPOT {found[-1]:.1f} ms")
        axis.bar([i + 0.25 * number for i in range(3)], found, 0.25, label=dataflow)
    axis.set_xticks([i + 0.25 for i in range(3)], [f"{size} x {size}" for size in sizes])
    axis.set(ylabel="mean TPOT (ms)", yscale="log", title="Llama-3.1-8B on one systolic array, 1 GHz")
    axis.legend(title="stays in the cells")
    save(figure, "systolic-array")


def shared_uplink(folder: Path) -> None:
    """Latencies of the requests of two tenants, by flows and by packets."""
    figure, axis = plt.subplots(figsize=(6, 3))
    for model in ("fabric", "ns3"):
        result = run(
            folder / model, "shared-uplink", f"components.ethernet.model={model}", "components.ethernet.run=process"
        )
        own = result["metronome"]["components"]["ethernet"]
        print(
            f"{model}: TTFT {result['mean_ttft_ms']:.2f} ms, TPOT {result['mean_tpot_ms']:.3f} ms; "
            f"{own['calls']} operations, {own['wall_s']:.0f} s, {own.get('statistics', {}).get('events', 0)} events"
        )
        rows = csv.DictReader((folder / model / "requests.csv").open())
        times = sorted(float(row["tpot"]) / 1e6 for row in rows if row["tpot"])
        axis.step(times, [(i + 1) / len(times) for i in range(len(times))], label=model)
    axis.set(xlabel="TPOT (ms)", ylabel="share of requests", title="Two tenants behind one adapter a node")
    axis.legend()
    save(figure, "shared-uplink")


def aiconfigurator(folder: Path) -> None:
    """The tensor-parallel scenario on measured kernels of several devices."""
    devices = ("a100-80g-sxm", "h100-sxm", "h200", "b200")
    found = []
    for device in devices:
        result = run(
            folder / device,
            "tensor-parallel",
            f"cluster.nodes.0.accelerators.type={device}",
            "components.n0.accelerators={model: aiconfigurator}",
            f"components.nvlink={{model: aiconfigurator-network, device: {device}}}",
        )
        own = result["metronome"]["components"]["n0.accelerators"]
        found.append((result["mean_ttft_ms"], result["mean_tpot_ms"]))
        print(
            f"{device}: TTFT {found[-1][0]:.0f} ms, TPOT {found[-1][1]:.1f} ms; {own['statistics']['engine']}; "
            f"{own['provenance']}"
        )
    figure, axis = plt.subplots(figsize=(6, 3))
    axis.bar(range(len(devices)), [tpot for _, tpot in found])
    axis.set_xticks(range(len(devices)), devices)
    axis.set(ylabel="mean TPOT (ms)", title="Llama-3.1-70B on four devices, NVIDIA's measured kernels")
    save(figure, "aiconfigurator")


def kv_pools(folder: Path) -> None:
    """What requests find of their prompts, and when their first token comes, by where the pools are."""
    pools = {
        "none": "kv_offloading.tiers.0.size_gib=0",
        "private, DRAM": "kv_offloading.tiers.0={name: pool, memory: dram, size_gib: 32}",
        "shared, cxl2-x8": "name=kv-pools",
        "shared, cxl3-pool": "cluster.memories.0.type=cxl3-pool",
    }
    figure, (shares, times) = plt.subplots(1, 2, figsize=(8, 3), width_ratios=(2, 3))
    for number, (name, override) in enumerate(pools.items()):
        result = run(folder / str(number), "kv-pools", override)
        own, prompts = result["metronome"], result["total_input_tokens"]
        tier = own.get("kv_tiers", {}).get("pool", {})
        device, recalled = (100 * n / prompts for n in (own["prefix_hit_tokens"], 16 * tier.get("hit_chunks", 0)))
        print(
            f"{name}: found {device + recalled:.1f} %, TTFT {result['mean_ttft_ms']:.0f} ms, "
            f"P99 {result['p99_ttft_ms']:.0f} ms, waited for recalls {tier.get('stall_ms', 0) / 1e3:.1f} s"
        )
        shares.barh(number, device, color="0.6")
        shares.barh(number, recalled, left=device, color=f"C{number}")
        rows = csv.DictReader((folder / str(number) / "requests.csv").open())
        ttfts = sorted(float(row["ttft"]) / 1e6 for row in rows if row["ttft"])
        times.step(ttfts, [(i + 1) / len(ttfts) for i in range(len(ttfts))], color=f"C{number}", label=name)
    shares.set_yticks(range(len(pools)), list(pools))
    shares.invert_yaxis()
    shares.set(xlabel="prompt tokens found (%): grey on the device")
    times.set(xlabel="TTFT (ms)", ylabel="share of requests")
    times.legend(frameon=False)
    save(figure, "kv-pools")


def verilator(folder: Path) -> None:
    """Cycles of a GEMM in RTL and by the closed form."""
    rtl, closed = RtlArray(), Systolic({"rows": 8, "columns": 8, "dataflow": "os"})
    lengths = [2**i for i in range(3, 13)]
    figure, axis = plt.subplots(figsize=(6, 3))
    for name, model in (("RTL, tiles one after another", rtl), ("closed form, folds overlap", closed)):
        cycles = [model.cycles(Gemm(64, 64, k)) for k in lengths]
        print(name, dict(zip(lengths, cycles, strict=True)))
        axis.plot(lengths, cycles, marker="o", label=name)
    axis.set(xscale="log", yscale="log", xlabel="k of a 64 x 64 x k product", ylabel="cycles", title="8 x 8 array")
    axis.legend()
    save(figure, "verilator")


STUDIES = {
    "systolic-array": systolic_array,
    "kv-pools": kv_pools,
    "aiconfigurator": aiconfigurator,
    "verilator": verilator,
    "shared-uplink": shared_uplink,
}


def main(names: list[str]) -> None:
    for name in names or STUDIES:
        print(f"# {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            STUDIES[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
