"""Collectives of the catalog's interconnects against measurements: NCCL tables and vidur's A100 profile."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from metronome.hwmodels.catalog import interconnect
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.hwmodels.network.fabric import Fabric

from .ici import V7, v7_cases

PS_PER_US = 10**6
KINDS = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
}
NODE = [{"name": "n0", "count": 8}]
#: (name, table under the data folder, fabric configuration)
NCCL = (
    ("A100 NVLink 3, NCCL 2.27.3", "a100_sxm/nccl_2.27.3.csv", {"groups": NODE, "type": "nvlink3"}),
    ("H100 NVLink 4, NCCL 2.27.3", "h100_sxm/nccl_2.27.3.csv", {"groups": NODE, "type": "nvlink4"}),
    ("H100 NVLink 4, NCCL 2.29.2", "h100_sxm/nccl_2.29.2.csv", {"groups": NODE, "type": "nvlink4"}),
    (
        "RTX PRO 6000 PCIe 5, NCCL 2.29.2",
        "rtx_pro_6000_server/nccl_2.29.2.csv",
        {"groups": NODE, "type": "pcie5-x16", "topology": "pcie"},
    ),
)
CUSTOM = (
    ("A100 NVLink 3, vLLM's all-reduce", "a100_sxm/vllm_custom_allreduce_0.14.0.csv", NCCL[0][2]),
    ("H100 NVLink 4, vLLM's all-reduce", "h100_sxm/vllm_custom_allreduce_0.24.0.csv", NCCL[1][2]),
    ("RTX PRO 6000 PCIe 5, vLLM's all-reduce", "rtx_pro_6000_server/vllm_custom_allreduce_0.24.0.csv", NCCL[3][2]),
)
#: All-reduce among eight MI300X in graphs, RCCL 2.22.3 (bytes, us), printed in "Understanding RCCL Bandwidth and xGMI
#: Performance on AMD Instinct MI300X" (rocm.blogs.amd.com, 2025).
RCCL = (
    (1 << 10, 7.47),
    (1 << 11, 7.46),
    (1 << 12, 7.61),
    (1 << 13, 7.64),
    (1 << 14, 8.71),
    (1 << 15, 9.05),
    (1 << 16, 9.14),
    (1 << 17, 9.51),
    (1 << 18, 10.26),
    (1 << 19, 14.26),
    (1 << 20, 19.40),
    (1 << 21, 35.03),
    (1 << 22, 51.83),
    (1 << 23, 83.74),
    (1 << 24, 149.1),
    (1 << 25, 243.4),
    (1 << 26, 427.9),
    (1 << 27, 795.3),
    (1 << 28, 1534.4),
    (1 << 29, 3024.0),
    (1 << 30, 5961.9),
    (1 << 31, 11880.0),
    (1 << 32, 23658.0),
)
XGMI = {"groups": NODE, "type": "xgmi3", "topology": "fully-connected"}
VIDUR = {
    "groups": [*NODE, {"name": "n1", "count": 8}],
    "type": "nvlink3",
    "scale_out": {"type": "ethernet-100g", "nics_per_node": 1},
    "custom_all_reduce": False,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: bytes as the operation carries them, microseconds."""

    kind: str
    ranks: str
    size: int
    measured_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """Errors of one table: median and 90th percentile of their absolute values."""

    name: str
    points: int
    median: float
    p90: float


def errors(config: dict, cases: list[Case]) -> tuple[np.ndarray, float]:
    """Relative error of each case, every one alone on an idle network; and the one that the network says of itself."""
    fabric, templates, now = Fabric(config), {}, 0
    for case in cases:
        key = (case.kind, case.ranks)
        if key not in templates:
            attributes = {"participants": case.ranks.count(",") + 1, "ranks": case.ranks}
            templates[key] = Template(len(templates), case.kind, case.kind, attributes)
    fabric.declare(list(templates.values()))
    found = []
    for i, case in enumerate(cases):
        answer = fabric.advance(MAX_PS, [Operation(templates[case.kind, case.ranks].id, (case.size,), i, now)], True)
        now = answer.reached_ps
        done = answer.completions[0]
        found.append((done.finish_ps - done.start_ps) / PS_PER_US / case.measured_us - 1)
    return np.array(found), float(fabric.statistics()["relative_error"]["modelled"])


def nccl_cases(path: Path) -> list[Case]:
    """``message_size`` is in elements of the whole vector; of an all-gather that is every rank's share together."""
    cases = []
    with path.open() as file:
        for row in csv.DictReader(file):
            ranks, size = int(row["num_gpus"]), int(row["message_size"]) * (2 if row["nccl_dtype"] == "half" else 1)
            kind = KINDS[row["op_name"]]
            everyone = ",".join(f"n0.{i}" for i in range(ranks))
            cases.append(
                Case(kind, everyone, size // ranks if kind == "all_gather" else size, float(row["latency"]) * 1e3)
            )
    return cases


def custom_cases(path: Path, most_ranks: int) -> list[Case]:
    """In CUDA graphs, up to the 8 MiB beyond which vLLM leaves it to NCCL; ``message_size`` is in elements."""
    cases = []
    with path.open() as file:
        for row in csv.DictReader(file):
            ranks, size = int(row["num_gpus"]), int(row["message_size"]) * 2
            if row["kernel_source"] == "vLLM_custom_graph" and size <= 8 * 2**20 and ranks <= most_ranks:
                everyone = ",".join(f"n0.{i}" for i in range(ranks))
                cases.append(Case("all_reduce", everyone, size, float(row["latency"]) * 1e3))
    return cases


def rccl_cases() -> list[Case]:
    everyone = ",".join(f"n0.{i}" for i in range(8))
    return [Case("all_reduce", everyone, size, us) for size, us in RCCL]


def vidur_cases(folder: Path) -> list[Case]:
    cases = []
    for name, kind in (("all_reduce", "all_reduce"), ("send_recv", "send")):
        with (folder / f"{name}.csv").open() as file:
            for row in csv.DictReader(file):
                ranks, local = int(row["num_workers"]), int(row["devices_per_node"])
                everyone = ",".join(f"n{i // local}.{i % local}" for i in range(ranks))
                cases.append(Case(kind, everyone, int(row["size"]), float(row[f"time_stats.{name}.median"]) * 1e3))
    return cases


@cache
def compared(data: Path) -> list[tuple[str, np.ndarray, float]]:
    """Name, errors and own error bar of each table."""
    measured = data / "aiconfigurator"
    tables = [
        (name, {**config, "custom_all_reduce": False}, nccl_cases(measured / path)) for name, path, config in NCCL
    ]
    for name, path, config in CUSTOM:
        most = interconnect(config["type"]).peer_access.most_ranks
        tables.append((name, config, custom_cases(measured / path, most)))
    tables.append(("MI300X xGMI 3, RCCL 2.22.3", XGMI, rccl_cases()))
    tables.append(("TPU7x ICI, XLA's all-gathers", V7, [Case(*row) for row in v7_cases()]))
    tables.append(("A100 DGX, one and two nodes (vidur)", VIDUR, vidur_cases(data / "vidur_network/a100_dgx")))
    return [(name, *errors(config, cases)) for name, config, cases in tables]


def rows(data: Path) -> list[Row]:
    """One row a table."""
    found = []
    for name, off, _ in compared(data):
        sizes = np.abs(off)
        found.append(Row(name, len(sizes), float(np.median(sizes)), float(np.percentile(sizes, 90))))
    return found
