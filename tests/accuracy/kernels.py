"""Kernels of catalog devices by their roofline against measured ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import Template

from .rows import Row

PS_PER_MS = 10**9
TABLES = {
    "A100 bf16 GEMM": ("a100_sxm/gemm_bf16_vllm_0.14.0.csv", "a100-80g-sxm"),
    "H100 bf16 GEMM": ("h100_sxm/gemm_bf16_vllm_0.24.0.csv", "h100-sxm"),
    "RTX PRO 6000 bf16 GEMM": ("rtx_pro_6000_server/gemm_bf16_vllm_0.24.0.csv", "rtx-pro-6000"),
}


def rows(data: Path) -> list[Row]:
    found = []
    for name, (path, device) in TABLES.items():
        model = Roofline({"device": device})
        errors = []
        with (data / "aiconfigurator" / path).open() as file:
            for row in csv.DictReader(file):
                template = Template(0, "gemm", "gemm", {"n": int(row["n"]), "k": int(row["k"]), "dtype": "bf16"})
                ms = model.estimate(template, (int(row["m"]),)).duration_ps / PS_PER_MS
                errors.append(abs(ms / float(row["latency"]) - 1))
        found.append(Row(name, f"mean of {len(errors)}", None, None, float(np.mean(errors)), None))
        found.append(Row(name, f"P90 of {len(errors)}", None, None, float(np.percentile(errors, 90)), None))
    return found
