"""``roofline``: the longer of arithmetic and memory traffic, plus a launch overhead.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 2009, with
each ceiling scaled by the share of it that large kernels reach (catalog, with its derivation).
FLOPs and bytes of each kind are counted in :func:`work`; an output is written once, each input read
once, and weights are read in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ..base import Config, Estimate, OracleModel
from ..catalog import device, device_names
from ..interface import (
    DTYPE_BYTES,
    PS_PER_NS,
    PS_PER_S,
    ConfigError,
    Description,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
    Use,
)

#: Mean absolute error over 80,717 bf16 GEMMs measured on A100, H100 and RTX PRO 6000 (aiconfigurator-core
#: 0.12.0, Apache-2.0): 16, 11 and 18 %; `make accuracy` prints them. Other kinds were not compared.
RELATIVE_ERROR = 0.15


class RooflineConfig(Config):
    """A catalog device, with any figure of it replaced."""

    device: str = Field(description="name in the device catalog, e.g. h100-sxm")
    compute_efficiency: float | None = Field(default=None, gt=0, le=1)
    memory_efficiency: float | None = Field(default=None, gt=0, le=1)
    launch_overhead_ns: float | None = Field(default=None, ge=0)


class Roofline(OracleModel[RooflineConfig]):
    """One device of the catalog, by its datasheet."""

    description = Description(
        name="roofline",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"gemm", "attention", "moe", "norm", "elementwise", "embedding", "sampler"}),
        summary="datasheet peaks, memory bandwidth and launch overhead of a catalog device",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        try:
            self._device = device(self.config.device)
        except KeyError:
            raise ConfigError("device", self.config.device, f"one of {', '.join(device_names())}") from None
        self._compute = self.config.compute_efficiency or self._device.compute_efficiency
        bandwidth = self._device.memory_bandwidth
        self._bytes_per_s = bandwidth * (self.config.memory_efficiency or self._device.memory_efficiency)
        overhead = self.config.launch_overhead_ns
        self._overhead_ps = (self._device.launch_overhead_ns if overhead is None else overhead) * PS_PER_NS
        self._dynamic_w = self._device.active_w - self._device.idle_w

    def check_template(self, template: Template) -> None:
        dtype = str(template.attributes["dtype"])
        if dtype not in self._device.flops:
            can = ", ".join(self._device.flops)
            raise UnsupportedOperation("roofline", template, f"{self.config.device} has no {dtype} rate ({can})")

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"relative_error": {"modelled": RELATIVE_ERROR}}

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        flops, size = work(template, values)
        peak = self._device.flops[str(template.attributes["dtype"])] * self._compute
        busy_ps = max(flops / peak, size / self._bytes_per_s) * PS_PER_S
        launches = int(template.attributes.get("routing_kernels", 1))  # the others take next to no time
        duration = max(1, round(busy_ps + launches * self._overhead_ps))
        # W x ps = pJ.
        return Estimate(duration, Provenance.MODELLED, round(duration * self._dynamic_w))


def work(template: Template, values: tuple[int, ...]) -> tuple[float, float]:
    """(FLOPs, bytes) of one operation, from its shapes alone."""
    at = template.attributes
    width = DTYPE_BYTES[str(at["dtype"])]
    if template.kind == "gemm":
        m, n, k = values[0], int(at["n"]), int(at["k"])
        return 2.0 * m * n * k, (m * k + k * n + m * n) * width
    if template.kind == "attention":
        return _attention_work(template, values)
    if template.kind == "moe":
        tokens, active = values
        hidden, inter, top_k = int(at["hidden"]), int(at["intermediate"]), int(at["top_k"])
        routed = tokens * top_k
        flops = 2.0 * routed * 3 * hidden * inter + 2.0 * tokens * hidden * int(at["experts"])
        weights = active * 3 * hidden * inter * width
        return flops, weights + (2 * routed * hidden + 4 * routed * inter) * width
    elements = values[0] * int(at["width"])
    return elements, elements * width


def _attention_work(template: Template, values: tuple[int, ...]) -> tuple[float, float]:
    """Scores and weighted sum over the causal context; K and V read once a sequence."""
    at = template.attributes
    heads, kv_heads, size = int(at["heads"]), int(at["kv_heads"]), int(at["head_size"])
    decodes, context_sum = values[0], values[1]
    pairs = float(context_sum + decodes)  # each new token also attends to itself
    queries, context = decodes, context_sum + decodes
    for new, cached in zip(values[4::2], values[5::2], strict=True):
        pairs += new * (cached + (new + 1) / 2)
        queries += new
        context += cached + new
    moved = 2 * queries * heads * size * DTYPE_BYTES[str(at["dtype"])]
    moved += 2 * context * kv_heads * size * DTYPE_BYTES[str(at["kv_dtype"])]
    return 4.0 * pairs * heads * size, moved
