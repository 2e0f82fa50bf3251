"""Parameters of a kernel family from measurements of kernels: least mean absolute error in the logarithm.

A search along each parameter in turn with shrinking steps, from a fixed start: no random numbers, the same figures
every time. Each device counts the same, whatever its number of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metronome.hwmodels.accelerator.kernels.processor import Processor

from .kernel_tables import Measured, seconds

#: An error beyond this factor counts as this: rows that went wrong are not to steer.
MOST = math.log(2)
STEPS = (0.3, 0.15, 0.07, 0.03)
#: family -> parameter -> (least, most) it may be; those not named are facts about the kernels, not searched
BOUNDS: dict[str, dict[str, tuple[float, float]]] = {
    "gemm": {
        "efficiency": (0.6, 1),
        "memory_efficiency": (0.6, 1),
        "operand_flops": (20, 120),
        "cache_flops": (30, 250),
        "start_cycles": (2500, 7000),
        "tile_cycles": (500, 6000),
        "split_cycles": (1000, 10000),
        "sharpness": (2, 10),
        "in_cache": (0.1, 1),
    },
    "prefill_attention": {
        "efficiency": (0.6, 1),
        "memory_efficiency": (0.3, 1),
        "softmax_cycles": (0.02, 0.4),
        "tail": (0.05, 1),
        "cache_bytes": (1, 60),
        "start_ns": (2000, 15000),
        "block_cycles": (1000, 30000),
    },
    "decode_attention": {
        "memory_efficiency": (0.6, 1),
        "softmax_cycles": (0.05, 0.6),
        "cache_bytes": (4, 60),
        "start_ns": (2000, 15000),
        "block_cycles": (1000, 30000),
        "extra_cycles": (0, 12000),
        "part_cycles": (50, 2000),
        "sequence_cycles": (1, 100),
        "sharpness": (1.2, 10),
    },
    "experts": {
        "efficiency": (0.3, 1),
        "memory_efficiency": (0.6, 1),
        "operand_flops": (20, 150),
        "cache_flops": (30, 300),
        "start_ns": (10000, 60000),
        "tile_cycles": (0, 8000),
        "sharpness": (1.2, 10),
    },
}


def derive(
    family: str, start: Mapping[str, Any], on: Mapping[str, Processor], rows: Mapping[str, list[Measured]]
) -> Any:
    """What is searched of a family, best for the devices of ``rows`` at once: name -> figure.

    ``start``: device -> parameters to start from, with the facts of its own kernels.
    """
    first = next(iter(start.values()))
    best = {name: float(getattr(first, name)) for name in BOUNDS[family]}
    least = _loss(family, best, start, on, rows)
    for step in STEPS:
        better = True
        while better:
            better = False
            for name, (low, high) in BOUNDS[family].items():
                for way in (1 + step, 1 / (1 + step)):
                    tried = {**best, name: min(high, max(low, best[name] * way))}
                    found = _loss(family, tried, start, on, rows)
                    if found < least - 2e-5:
                        best, least, better = tried, found, True
                        break
    return best


def _loss(
    family: str,
    figures: Mapping[str, float],
    start: Mapping[str, Any],
    on: Mapping[str, Processor],
    rows: Mapping[str, list[Measured]],
) -> float:
    total = 0.0
    for device, found in rows.items():
        by = start[device].model_copy(update=figures)
        errors = (abs(math.log(seconds(on[device], by, family, row) / row.seconds)) for row in found)
        total += sum(min(MOST, error) for error in errors) / len(found)
    return total / len(rows)
