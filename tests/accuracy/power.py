"""Watts and joules of real machines against simulations: a server with one A6000, and H100s at many batch sizes.

The A6000's idle, standby and active power are medians of its own log: before anything ran; from five seconds after work
ended until it fell by half; while at least 90 % busy. The rest of the server is LLMServingSim's power section.
"""

from __future__ import annotations

import csv
import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from .rows import Row, mean_rows
from .serving import command, old_import
from .steps import simulated_run, steady

#: (model of the leaderboard, bundled model, tensor-parallel size)
H100 = (
    ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B", 1),
    ("meta-llama/Llama-3.1-70B-Instruct", "meta-llama/Llama-3.1-70B", 4),
)
PULSES = "A6000 Llama-3.1-8B, three pulses"


def pulse_rows(data: Path, folder: Path) -> list[Row]:
    """Three pulses of ten requests a minute apart (figure 6 of LLMServingSim 2.0)."""
    scenario = old_import(
        data,
        "figure_6/power",
        "sharegpt_pulse_req10_n3_delay60",
        folder / "pulses.yaml",
        "--max-num-seqs",
        1024,
        "--no-enable-prefix-caching",
    )
    command("run", scenario, "-o", folder / "pulses", "--quiet")
    figure = data / "llmss_ispass26/refs/figure_6"
    lines = (figure / "server_power_tp1.tsv").read_text().splitlines()[1:]
    real = [float(line.split("\t")[1]) for line in lines]
    with (folder / "pulses/timeseries.csv").open() as file:
        simulated = [float(row["power_w"]) for row in csv.DictReader(file)]
    both = list(zip(real, simulated, strict=False))
    wape = sum(abs(a - b) for a, b in both) / sum(a for a, _ in both)
    own = json.loads((folder / "pulses/result.json").read_text())["metronome"]
    parts = own["energy_by_part_j"]["n0"]
    gpu = sum(joules for part, joules in parts.items() if part.startswith("accelerators"))
    logged = log_joules(figure / "gpu_power_log_tp1.txt", own["simulated_s"])
    return [
        Row(PULSES, "GPU energy (J)", logged, gpu, gpu / logged - 1, None),
        Row(PULSES, "mean server power (W)", *_means(both), None),
        Row(PULSES, "WAPE of server power", None, None, wape, None),
    ]


def _means(both: list[tuple[float, float]]) -> tuple[float, float, float]:
    real, simulated = (sum(column) / len(both) for column in zip(*both, strict=True))
    return real, simulated, simulated / real - 1


def log_joules(path: Path, seconds: float) -> float:
    """Of a GPU's log, from a second before its first work: the workload begins one second after the run does."""
    samples = []
    for line in path.read_text().splitlines():
        when, busy, _, watts = (part.strip() for part in line.split(","))
        samples.append((datetime.strptime(when, "%Y/%m/%d %H:%M:%S.%f").timestamp(), float(busy), float(watts)))
    idle = median(watts for _, _, watts in samples[:20])
    begin = next(time for time, _, watts in samples if watts > 1.05 * idle) - 1
    total = 0.0
    for (since, _, watts), (until, _, _) in pairwise(samples):
        total += watts * max(0.0, min(until, begin + seconds) - max(since, begin))
    return total


def batch_rows(data: Path, folder: Path) -> list[Row]:
    """W of one GPU and J of a token at every batch size that the ML.ENERGY leaderboard published for a model."""
    measured = json.loads((data / "mlenergy/lm-arena-chat_H100.json").read_text())
    rows = []
    for name, model, tp in H100:
        watts, joules, sizes = [], [], []
        for run in measured:
            if run["model_id"] == name and run["num_gpus"] == run["tensor_parallel"] == tp:
                out = simulated_run(model, run, folder)
                since, until = steady(out, run)
                if until <= since:  # half of all requests run at once: the harness has no time to measure in
                    continue
                power, token = drawn(out, since, until)
                watts.append(power / run["avg_power_watts"] - 1)
                joules.append(token / run["energy_per_token_joules"] - 1)
                sizes.append(run["max_num_seqs"])
        label, which = f"H100 {model}, TP {tp}", f"{len(sizes)} batch sizes, {min(sizes)} to {max(sizes)}"
        rows += mean_rows(label, which, watts, "GPU watts, ")
        rows += mean_rows(label, which, joules, "J a token, ")
    return rows


def drawn(out: Path, since: float, until: float) -> tuple[float, float]:
    """W of the accelerators of a run of one node between two seconds, and J of an output token."""
    with (out / "timeseries.csv").open() as file:
        rows = [
            (float(row["power_w"]), float(row["generation_throughput"]))
            for row in csv.DictReader(file)
            if since <= float(row["t"]) < until
        ]
    watts, tokens = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return watts, watts / tokens
