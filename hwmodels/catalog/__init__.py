"""Devices and models as data: datasheet figures and architecture facts, each with its source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator by its datasheet.

    Attributes:
        flops: peak dense FLOP/s by dtype.
        memory_bandwidth: bytes/s. memory_bytes: device memory in bytes.
        compute_efficiency, memory_efficiency: share of the peaks large kernels reach.
        launch_overhead_ns: the shortest a kernel takes.
        idle_w, active_w: watts of one device.
        sources: where each figure comes from.
    """

    name: str
    flops: dict[str, float]
    memory_bandwidth: float
    memory_bytes: int
    compute_efficiency: float
    memory_efficiency: float
    launch_overhead_ns: float
    idle_w: float
    active_w: float
    sources: dict[str, str]


def device_names() -> list[str]:
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).joinpath("devices").iterdir()
                  if f.name.endswith(".yaml"))  # fmt: skip


@cache
def device(name: str) -> Device:
    """The device of that name; KeyError if the catalog has none."""
    path = files(__name__).joinpath("devices", f"{name}.yaml")
    if name not in device_names():
        raise KeyError(name)
    facts: dict[str, Any] = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return Device(
        name=name,
        flops={dtype: tera * 1e12 for dtype, tera in facts["tflops"].items()},
        memory_bandwidth=facts["memory_bandwidth_gb_s"] * 1e9,
        memory_bytes=int(facts["memory_gib"] * 2**30),
        compute_efficiency=facts["compute_efficiency"],
        memory_efficiency=facts["memory_efficiency"],
        launch_overhead_ns=facts["launch_overhead_ns"],
        idle_w=facts["idle_w"],
        active_w=facts["active_w"],
        sources=facts["sources"],
    )


def model_names() -> list[str]:
    """Bundled models by their Hugging Face names (``org/name``)."""
    root = files(__name__).joinpath("models")
    return sorted(
        f"{org.name}/{f.name.removesuffix('.json')}"
        for org in root.iterdir() if org.is_dir()
        for f in org.iterdir() if f.name.endswith(".json")
    )  # fmt: skip


def model_config(name: str) -> dict[str, Any]:
    """The config.json facts of a bundled model; KeyError if there is none."""
    if name not in model_names():
        raise KeyError(name)
    config: dict[str, Any] = json.loads(files(__name__).joinpath("models", f"{name}.json").read_text())
    return config
