"""Real serving runs against simulations of them, imported as a user would."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from click.testing import CliRunner
from metronome.adapters.tools import environment
from metronome.orchestrator.cli.main import cli

from .rows import Row

RUNS = {
    "Llama-3.1-8B": "sharegpt-llama-3.1-8b-300-sps10",
    "Qwen3-32B": "sharegpt-qwen3-32b-300-sps10",
}
#: metric of `compare` -> (name in the table, row and column of llmss_summary.txt if it is there)
METRICS = {
    f"{statistic}_{metric}": (
        f"{statistic} {name}",
        peer,
        {"mean": "Mean", "median": "Median", "p99": "P99"}[statistic],
    )
    for metric, name, peer in (
        ("ttft_ms", "TTFT (ms)", "TTFT"),
        ("tpot_ms", "TPOT (ms)", "TPOT"),
        ("e2el_ms", "latency (ms)", "Latency"),
    )
    for statistic in ("mean", "median", "p99")
}
OLD = {
    "A6000 Llama-3.1-8B x 2": ("figure_5_A6000/MD", "sharegpt_req300_rate10_llama"),
    "A6000 Phi-mini-MoE": ("figure_5_A6000/SM", "sharegpt_req300_rate10_phi"),
}
SD = ("figure_8/SD", "sharegpt_req300_rate10_llama")
#: the machine's links as measured: the file's link_bw is what NVLink 4's two directions add up to
NVLINK = "cluster.networks.0={name: link0, connects: [n0.accelerators], type: nvlink4}"


def command(*arguments: object) -> str:
    """Output of a command that must succeed."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def vllm_rows(data: Path, folder: Path) -> list[Row]:
    """The two vLLM 0.19 runs of 300 ShareGPT requests on RTX PRO 6000, times from arrival."""
    rows = []
    for name, workload in RUNS.items():
        main, scenario, out = data / "llmss_main", folder / f"{name}.yaml", folder / name
        bench = main / "bench/RTXPRO6000" / name
        command(
            "import",
            "llmservingsim",
            bench / "config.json",
            "--profiles",
            main / "profiler/perf",
            "--models",
            main / "configs/model",
            "--workload",
            main / f"workloads/{workload}.jsonl",
            "--max-num-seqs",
            128,
            "-o",
            scenario,
        )
        command("run", scenario, "-o", out, "--quiet", "--intervals")
        compared = json.loads(command("compare", out, bench / "vllm/requests.jsonl", "--json"))
        found = {row["metric"]: row for row in compared["rows"]}
        peer = peer_errors(bench / "llmss_summary.txt")
        for metric, (label, theirs, statistic) in METRICS.items():
            row = found[metric]
            rows.append(Row(name, label, row["reference"], row["run"], row["error"], peer[theirs, statistic]))
        row = found["makespan_s"]
        rows.append(Row(name, "makespan (s)", row["reference"], row["run"], row["error"], None))
        rows.append(Row(name, "per-request MAPE of latency", None, None, compared["mape_e2el_ms"], None))
    return rows


def peer_errors(path: Path) -> dict[tuple[str, str], float]:
    errors = {}
    for line in path.read_text().splitlines()[2:]:
        if line.strip():
            metric, statistic, real, simulated, _ = line.split()
            errors[metric, statistic] = float(simulated) / float(real) - 1
    return errors


def old_rows(data: Path, folder: Path) -> list[Row]:
    """Series of generated tokens a second, and a latency row, from the older profiles."""
    rows = []
    for name, (figure, workload) in OLD.items():
        out = old_run(data, folder, figure, workload)
        lines = (data / f"llmss_ispass26/refs/{figure}_throughput.tsv").read_text().splitlines()[2:]
        real = [float(line.split("\t")[1]) for line in lines]
        with (out / "timeseries.csv").open() as file:
            simulated = [float(row["generation_throughput"]) for row in csv.DictReader(file)]
        size = max(len(real), len(simulated))
        real, simulated = (series + [0.0] * (size - len(series)) for series in (real, simulated))
        wape = sum(abs(a - b) for a, b in zip(real, simulated, strict=True)) / sum(real)
        rows.append(Row(name, "WAPE of generated tokens/s", None, None, wape, None))
        ends = [max(i for i, value in enumerate(series) if value) + 1 for series in (real, simulated)]
        rows.append(Row(name, "end (s)", ends[0], ends[1], ends[1] / ends[0] - 1, None))
    rows += cache_rows(data, folder)
    out = old_run(data, folder, *SD, "--set", NVLINK)
    table = (data / f"llmss_ispass26/refs/{SD[0]}_latency.tsv").read_text().splitlines()
    real = dict(
        zip(
            table[0].split("\t")[1:],
            map(float, next(x for x in table if x.startswith("vLLM")).split("\t")[1:]),
            strict=True,
        )
    )
    rows += sd_rows("H100 x 4 Llama-3.1-70B", real, out)
    if not environment.installed("aiconfigurator") and os.environ.get("METRONOME_REQUIRE_TOOLS") != "1":
        print("left out, aiconfigurator is not installed: H100 x 4 by aiconfigurator")
        return rows
    measured = folder / "figure_8-aiconfigurator"
    command(
        "run",
        out.with_suffix(".yaml"),
        "-o",
        measured,
        "--quiet",
        "--set",
        "components.n0.accelerators={model: aiconfigurator}",
        "--set",
        "components.link0={model: aiconfigurator-network, device: h100-sxm}",
    )
    return [*rows, *sd_rows("the same by aiconfigurator", real, measured)]


def cache_rows(data: Path, folder: Path) -> list[Row]:
    """Blocks and prefix hits of the run with prefix caching, by the device's own memory and vLLM's defaults."""
    name, out = "A6000 Llama-3.1-8B, prefix caching", folder / "figure_7"
    scenario = old_import(data, "figure_7/SD+PC", "sharegpt_pulse_req50_n6_delay15_pc", out.with_suffix(".yaml"))
    command(
        "run",
        scenario,
        "-o",
        out,
        "--quiet",
        "--set",
        "cluster.nodes.0.accelerators={type: rtx-a6000, count: 1}",
        "--set",
        "instances.0.engine={version: vllm-0.11, max_num_batched_tokens: 2048}",
    )
    with (data / "llmss_ispass26/refs/figure_7/kv_metrics_sd.csv").open() as file:
        samples = list(csv.DictReader(file))
    usage = [float(row["vllm:kv_cache_usage_perc"]) for row in samples]
    blocks = min(range(1000, 100_000), key=lambda n: max(abs(use * n - round(use * n)) for use in usage) + n * 1e-9) + 1
    own = json.loads((out / "result.json").read_text())["metronome"]
    rows = []
    for label, real, simulated in (
        ("num_gpu_blocks", blocks, own["kv_blocks"]["i0"]),
        ("prefix hit tokens", float(samples[-1]["vllm:prefix_cache_hits_total"]), own["prefix_hit_tokens"]),
    ):
        rows.append(Row(name, label, real, simulated, simulated / real - 1, None))
    return rows


def sd_rows(name: str, real: dict[str, float], out: Path) -> list[Row]:
    rows, result = [], json.loads((out / "result.json").read_text())
    for column, key, label in (
        ("throughput_tok_s", "output_throughput", "output tokens/s"),
        ("mean_ttft_ms", "mean_ttft_ms", "mean TTFT (ms)"),
        ("mean_tpot_ms", "mean_tpot_ms", "mean TPOT (ms)"),
    ):
        rows.append(Row(name, label, real[column], result[key], result[key] / real[column] - 1, None))
    return rows


def old_run(data: Path, folder: Path, figure: str, workload: str, *changes: str) -> Path:
    out = folder / figure.replace("/", "-")
    flags = ("--max-num-seqs", 1024, "--no-enable-prefix-caching")
    scenario = old_import(data, figure, workload, out.with_suffix(".yaml"), *flags)
    command("run", scenario, "-o", out, "--quiet", "--intervals", *changes)
    return out


def old_import(data: Path, figure: str, workload: str, scenario: Path, *flags: object) -> Path:
    old = data / "llmss_ispass26"
    command(
        "import",
        "llmservingsim",
        next((old / "refs").glob(f"{figure}*config*.json")),
        "--profile-format",
        "v0",
        "--profiles",
        old / "perf_models",
        "--models",
        data / "llmss_main/configs/model",
        "--workload",
        old / f"dataset/{workload}.jsonl",
        "--dtype",
        "float16",
        *flags,
        "-o",
        scenario,
    )
    return scenario
