"""Kernels of catalog devices by family against measured ones, alone and with the device left out.

    python -m tests.accuracy.kernels            the errors of docs/accuracy.md, and those of leaving a device out
    python -m tests.accuracy.kernels --derive   the figures of hwmodels/catalog/kernels, by generation

Leaving a device out: the figures are searched anew on the two others; of the device itself its datasheet is known, and
which kernels its generation has (FlashAttention 2 or 3, CUTLASS or Triton).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from metronome.hwmodels import catalog

from ..conftest import SHARED
from .kernel_fit import BOUNDS, derive
from .kernel_tables import DEVICES, FAMILIES, Measured, processor, seconds
from .kernel_tables import rows as measured
from .rows import Row

NAMES = {"a100-80g-sxm": "A100", "h100-sxm": "H100", "rtx-pro-6000": "RTX PRO 6000"}
#: rows of a device that a search looks at, evenly spread over its table
SEARCHED = 200
ON = {device: processor(device) for device in DEVICES}


def rows(data: Path) -> list[Row]:
    """Median and P90 of the absolute error of every family on every device, with the catalog's figures."""
    found = []
    for family in FAMILIES:
        for device in DEVICES:
            errors = np.abs(_errors(family, device, _known(device, family), measured(data, device, family)))
            name = f"{NAMES[device]}, {family.replace('_', ' ')}"
            for metric, value in (("median", np.median(errors)), ("P90", np.percentile(errors, 90))):
                found.append(Row(name, f"{metric} of {len(errors)}", None, None, float(value), None))
    return found


def left_out(data: Path) -> Iterator[tuple[str, str, dict[str, float], Any]]:
    """(family, device, figures of the two others, errors on it)."""
    for family in FAMILIES:
        table = {device: measured(data, device, family) for device in DEVICES}
        for device in DEVICES:
            figures = _search(family, {other: rows for other, rows in table.items() if other != device})
            yield family, device, figures, _errors(family, device, _with(device, family, figures), table[device])


def _search(family: str, table: Mapping[str, list[Measured]]) -> dict[str, float]:
    some = {device: rows[:: max(1, len(rows) // SEARCHED)] for device, rows in table.items()}
    start = {device: _with(device, family, START[family]) for device in some}
    figures: dict[str, float] = derive(family, start, ON, some)
    return figures


#: where every search starts: round figures between what the devices reach
START: dict[str, dict[str, float]] = {
    "gemm": {
        "efficiency": 0.9,
        "memory_efficiency": 0.88,
        "operand_flops": 55,
        "cache_flops": 85,
        "start_cycles": 4400,
        "tile_cycles": 1800,
        "split_cycles": 4500,
        "sharpness": 4.5,
        "in_cache": 0.4,
    },
    "prefill_attention": {
        "efficiency": 0.9,
        "memory_efficiency": 0.85,
        "softmax_cycles": 0.15,
        "tail": 0.5,
        "cache_bytes": 14,
        "start_ns": 6000,
        "block_cycles": 6000,
    },
    "decode_attention": {
        "efficiency": 1,
        "memory_efficiency": 0.85,
        "softmax_cycles": 0.22,
        "cache_bytes": 14,
        "start_ns": 4800,
        "block_cycles": 5000,
        "extra_cycles": 8000,
        "part_cycles": 300,
        "sequence_cycles": 1,
        "sharpness": 2,
    },
    "experts": {
        "efficiency": 0.75,
        "memory_efficiency": 0.85,
        "operand_flops": 55,
        "cache_flops": 85,
        "start_ns": 30000,
        "tile_cycles": 1800,
        "sharpness": 4,
    },
}


@cache
def _known(device: str, family: str) -> Any:
    chip = catalog.device(device).chip
    assert chip
    return getattr(catalog.kernels(chip.generation), family)


def _with(device: str, family: str, figures: Mapping[str, float]) -> Any:
    """The facts of the device's own kernels, with other figures."""
    return _known(device, family).model_copy(update=figures)


def _errors(family: str, device: str, by: Any, found: list[Measured]) -> Any:
    return np.array([seconds(ON[device], by, family, row) / row.seconds - 1 for row in found])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--derive", action="store_true", help="print the figures of the catalog instead")
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        print("no reference data: ../shared/data is absent")
        return
    if arguments.family:
        for family in set(FAMILIES) - {arguments.family}:
            del FAMILIES[family]
    if arguments.derive:
        for family in FAMILIES:
            for device in DEVICES:
                figures = _search(family, {device: measured(SHARED, device, family)})
                print(device, family, {name: float(f"{figures[name]:.3g}") for name in BOUNDS[family]}, flush=True)
        return
    for row in rows(SHARED):
        print(f"{row.reference:36} {row.metric:16} {row.error:6.1%}")
    print("\nleft out: median / P90 of the absolute error, median of the error")
    every: dict[str, list[Any]] = {}
    for family, device, _, errors in left_out(SHARED):
        print(f"{NAMES[device] + ', ' + family.replace('_', ' '):36} {_line(errors)}", flush=True)
        every.setdefault(family, []).append(errors)
    for family, found in every.items():
        print(f"{'all, ' + family.replace('_', ' '):36} {_line(np.concatenate(found))}")


def _line(errors: Any) -> str:
    sizes = np.abs(errors)
    return f"{np.median(sizes):6.1%} {np.percentile(sizes, 90):6.1%} {np.median(errors):+6.1%}"


if __name__ == "__main__":
    main()
