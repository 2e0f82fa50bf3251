"""Collectives between the devices of this machine: a process each, over NCCL (RCCL on ROCm), or Gloo on CPUs.

They meet through a file; what Gloo and NCCL listen on is the loopback interface. From the times two figures of a link
are fitted, of the ring costs that `alpha-beta` has.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from metronome.hwmodels.interface import ConfigError
from metronome.hwmodels.network.alpha_beta import ring

from .kernels import load_torch

NAME = "collectives.csv"
HEADER = ("kind", "ranks", "bytes", "time_us")
SIZES = tuple(1 << power for power in range(10, 27, 2))  # 1 KiB to 64 MiB
ON_CPU = ("all_reduce", "all_gather", "broadcast")  # what Gloo does for one tensor
RUNS = 10
LONGEST_S = 300
Row = tuple[str, int, int, float]


def measure(folder: Path, wanted: Sequence[tuple[str, int]], device: str) -> list[Row]:
    """(kind, ranks) at every size, those that the folder's file lacks. Raises ConfigError."""
    torch = load_torch()
    path = folder / NAME
    rows = read(path)
    for kind, ranks in wanted:
        if device == "cpu" and kind not in ON_CPU:
            continue
        if device == "cuda" and torch.cuda.device_count() < ranks:
            there = torch.cuda.device_count()
            raise ConfigError("profile", f"{kind} of {ranks}", f"needs as many devices on this machine; it has {there}")
        if any((row[0], row[1]) == (kind, ranks) for row in rows):
            continue
        rows += _together(kind, ranks, device)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([HEADER, *rows])
    return rows


def read(path: Path) -> list[Row]:
    """What a folder's file has. Raises ConfigError."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [(r["kind"], int(r["ranks"]), int(r["bytes"]), float(r["time_us"])) for r in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(str(path), str(error), f"needs the columns {', '.join(HEADER)}") from None


def link(rows: Sequence[Row]) -> tuple[float, float] | None:
    """(GB/s, latency in ns) with which ring costs are nearest to the times, relatively; None of too few."""
    terms = [ring(kind, ranks, size) for kind, ranks, size, _ in rows]
    times = np.array([row[3] for row in rows])
    if len(rows) < 2:
        return None
    costs = np.array([(hops * 1e-3, hops * part * 1e-3) for hops, part in terms]) / times[:, None]  # us a ns, a ns/byte
    latency, per_byte = np.linalg.lstsq(costs, np.ones(len(rows)), rcond=None)[0]
    return (1 / per_byte, max(0.0, latency)) if per_byte > 0 else None


def _together(kind: str, ranks: int, device: str) -> list[Row]:
    with TemporaryDirectory() as scratch:
        context = multiprocessing.get_context("spawn")
        members = [context.Process(target=member, args=(kind, n, ranks, device, scratch)) for n in range(ranks)]
        for process in members:
            process.start()
        for process in members:
            process.join(LONGEST_S)
        failed = [process for process in members if process.exitcode != 0]
        for process in members:
            if process.is_alive():
                process.terminate()
        if failed:
            raise ConfigError("profile", f"{kind} of {ranks}", "a process of it failed, see above, or took too long")
        lines = (Path(scratch) / "times").read_text().split()
    return [(kind, ranks, size, float(time)) for size, time in zip(SIZES, lines, strict=True)]


def member(kind: str, rank: int, ranks: int, device: str, scratch: str) -> None:
    """One process of a collective; the first writes the times, us, a line a size."""
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    torch = load_torch()
    backend, place = ("nccl", f"cuda:{rank}") if device == "cuda" else ("gloo", "cpu")
    torch.set_num_threads(1)
    torch.distributed.init_process_group(backend, init_method=f"file://{scratch}/meet", rank=rank, world_size=ranks)
    found = [_median_us(torch, kind, ranks, size, place) for size in SIZES]
    torch.distributed.destroy_process_group()
    if rank == 0:
        (Path(scratch) / "times").write_text("\n".join(format(time, ".6g") for time in found))


def _median_us(torch: Any, kind: str, ranks: int, size: int, place: str) -> float:
    """``size`` in bytes as the wire contract has it: of the full vector, or of one rank's part of an all_gather."""
    import time
    from statistics import median

    count = size // 2  # of bf16
    one = torch.ones(count, dtype=torch.bfloat16, device=place)
    many = torch.empty(count * ranks, dtype=torch.bfloat16, device=place)
    part = torch.empty(max(1, count // ranks), dtype=torch.bfloat16, device=place)
    whole = one[: part.numel() * ranks]
    distributed = torch.distributed
    run: Callable[[], object] = {
        "all_reduce": lambda: distributed.all_reduce(one),
        "all_gather": lambda: distributed.all_gather_into_tensor(many, one),
        "broadcast": lambda: distributed.broadcast(one, 0),
        "reduce_scatter": lambda: distributed.reduce_scatter_tensor(part, whole),
        "all_to_all": lambda: distributed.all_to_all_single(torch.empty_like(whole), whole),
    }[kind]
    found = []
    for _ in range(RUNS + 2):
        distributed.barrier()
        start = time.perf_counter_ns()
        run()
        if place != "cpu":
            torch.cuda.synchronize()
        found.append((time.perf_counter_ns() - start) / 1e3)
    return float(median(found[2:]))
