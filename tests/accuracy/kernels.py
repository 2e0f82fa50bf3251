"""Kernels of catalog devices by family against measured ones, alone and with the device left out.

    python -m tests.accuracy.kernels            the errors of docs/accuracy.md and of hwmodels/catalog/kernels
    python -m tests.accuracy.kernels --derive   the figures of hwmodels/catalog/kernels, by generation

Leaving a device out: the figures are searched anew on the two others; of the device itself its datasheet is known, and
which kernels its generation has (FlashAttention 2 or 3, CUTLASS or Triton, tuned tiles).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from metronome.hwmodels import catalog

from ..conftest import SHARED
from .kernel_fit import BOUNDS, derive
from .kernel_tables import DEVICES, FAMILIES, Measured, processor, seconds
from .kernel_tables import rows as measured
from .rows import Row

NAMES = {"a100-80g-sxm": "A100", "h100-sxm": "H100", "rtx-pro-6000": "RTX PRO 6000"}
#: rows of a device that a search looks at, evenly spread over its table: with a device left out, and for the catalog
SEARCHED, DERIVED = 200, 600
ON = {device: processor(device) for device in DEVICES}


@dataclass(frozen=True, slots=True)
class Scored:
    """Kernels of a family on a device: simulated over measured, less one; which of them are short (`catalog.families`).

    ``left_out``: by figures that the device had no part in.
    """

    family: str
    device: str
    left_out: bool
    errors: Any
    short: Any


@cache
def scored(data: Path) -> list[Scored]:
    """Every family on every device, by the catalog's figures and with the device left out."""
    found = []
    for family in FAMILIES:
        table = {device: measured(data, device, family) for device in DEVICES}
        for device in DEVICES:
            found.append(_score(family, device, False, _known(device, family), table[device]))
        for device in DEVICES:
            figures = _search(family, {other: rows for other, rows in table.items() if other != device})
            found.append(_score(family, device, True, _with(device, family, figures), table[device]))
    return found


def _score(family: str, device: str, left_out: bool, by: Any, table: list[Measured]) -> Scored:
    found = np.array([seconds(ON[device], by, family, row) for row in table])
    errors = found / np.array([row.seconds for row in table]) - 1
    return Scored(family, device, left_out, errors, 2 * by.start_s(ON[device].clock) >= found)


def rows(data: Path) -> list[Row]:
    """Median and P90 of the absolute error, by device and with it left out, and of all devices together."""
    found, every = [], {}
    for one in scored(data):
        name = one.family.replace("_", " ")
        every.setdefault((name, one.left_out), []).append(one.errors)
        found += _rows(f"{NAMES[one.device]}, {name}" + (", left out" if one.left_out else ""), one.errors)
    for (name, left_out), errors in every.items():
        if left_out:
            found += _rows(f"all three, {name}, each left out", np.concatenate(errors))
    return found


def _rows(name: str, errors: Any) -> list[Row]:
    sizes = np.abs(errors)
    return [
        Row(name, f"{metric} of {len(sizes)}", None, None, float(value), None)
        for metric, value in (("median", np.median(sizes)), ("P90", np.percentile(sizes, 90)))
    ]


def bars(data: Path) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """``errors`` of hwmodels/catalog/kernels: generation -> family -> short or long -> measured and guessed.

    P90 of how far the real value is from the simulated one, as a share of the latter: what an interval around it needs.
    """
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for one in scored(data):
        if one.left_out:
            continue
        family = found.setdefault(generation(one.device), {}).setdefault(one.family, {})
        others = [each for each in scored(data) if each.left_out and each.family == one.family]
        for name in ("short", "long"):
            guessed = np.concatenate([_which(each, name) for each in others])
            own = _needed(_which(one, name))
            family[name] = {"measured": own, "guessed": max(own, _needed(guessed))}
    return found


def _which(of: Scored, name: str) -> Any:
    """Errors of its short or its long kernels; of all where there are none."""
    which = of.short if name == "short" else ~of.short
    return of.errors[which] if which.any() else of.errors


def _needed(errors: Any) -> float:
    return round(float(np.percentile(np.abs(1 / (1 + errors) - 1), 90)), 2)


def _search(family: str, table: Mapping[str, list[Measured]], most: int = SEARCHED) -> dict[str, float]:
    some = {device: rows[:: max(1, len(rows) // most)] for device, rows in table.items()}
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


def generation(device: str) -> str:
    chip = catalog.device(device).chip
    assert chip
    return chip.generation


@cache
def _known(device: str, family: str) -> Any:
    return getattr(catalog.kernels(generation(device)), family)


def _with(device: str, family: str, figures: Mapping[str, float]) -> Any:
    """The facts of the device's own kernels, with other figures."""
    return _known(device, family).model_copy(update=figures)


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
                figures = _search(family, {device: measured(SHARED, device, family)}, DERIVED)
                print(device, family, {name: float(f"{figures[name]:.3g}") for name in BOUNDS[family]}, flush=True)
        return
    for row in rows(SHARED):
        print(f"{row.reference:48} {row.metric:16} {row.error:6.1%}")
    print(yaml.safe_dump(bars(SHARED), sort_keys=False, default_flow_style=None))


if __name__ == "__main__":
    main()
