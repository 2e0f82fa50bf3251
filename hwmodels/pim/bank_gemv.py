"""``bank-gemv``: attention of decodes in memory, where K and V are: every bank multiplies what it holds.

The devices of one accelerator share its K and V evenly. An operation takes a command latency, the time its
vectors (queries, new K and V, results, and the K and V of prompts) need over the devices' pins, and the
longer of reading all K and V at the banks' own bandwidth and of the multiplications. Softmax between the two
products and uneven loads are not modelled.

The defaults are one GDDR6-AiM chip: 1 TFLOPS of bf16 multiply-accumulate, 8 Gbit, 32 pins of 16 Gbit/s (Lee
et al., "A 1ynm 1.25V 8Gb, 16Gb/s/pin GDDR6-based Accelerator-in-Memory", ISSCC 2022). The banks' bandwidth
follows: a multiply-accumulate is two FLOPs on a weight of two bytes, so 1 TFLOPS reads 1 TB/s. The latency
of 1 us is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ..base import Config, Estimate, OracleModel
from ..interface import DTYPE_BYTES, PS_PER_NS, PS_PER_S, Description, Provenance, Template, TimePolicy, Use


class BankGemvConfig(Config):
    """Figures of one device; ``devices`` work for one accelerator."""

    devices: int = Field(ge=1)
    bandwidth_gb_s: float = Field(default=1000, gt=0, description="of all banks of a device together, decimal")
    tflops: float = Field(default=1, gt=0)
    link_gb_s: float = Field(default=64, gt=0, description="over a device's pins, decimal")
    latency_ns: float = Field(default=1000, ge=0, description="of one operation, beside its data")


#: A guess: nothing of it has been compared with a device.
RELATIVE_ERROR = 0.3


class BankGemv(OracleModel[BankGemvConfig]):
    """The PIM devices of one accelerator."""

    description = Description(
        name="bank-gemv",
        kind="pim",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"attention"}),
        summary="decode attention at the banks' bandwidth, vectors over the pins",
    )

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"relative_error": {"modelled": RELATIVE_ERROR}}

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        config, at = self.config, template.attributes
        heads, kv_heads, size = int(at["heads"]), int(at["kv_heads"]), int(at["head_size"])
        width, kv_width = DTYPE_BYTES[str(at["dtype"])], DTYPE_BYTES[str(at["kv_dtype"])]
        decodes, context_sum = values[0], values[1]
        context = context_sum + decodes  # each new token also attends to itself
        token_kv = 2 * kv_heads * size * kv_width
        over_pins = decodes * 2 * heads * size * width + (decodes + sum(values[4::2])) * token_kv
        moving = over_pins / (config.link_gb_s * 1e9 * config.devices)
        reading = context * token_kv / (config.bandwidth_gb_s * 1e9 * config.devices) if decodes else 0.0
        computing = 4.0 * context * heads * size / (config.tflops * 1e12 * config.devices) if decodes else 0.0
        busy_s = moving + max(reading, computing)
        return Estimate(max(1, round(busy_s * PS_PER_S + config.latency_ns * PS_PER_NS)), Provenance.MODELLED)


__all__: Sequence[str] = ("BankGemv", "BankGemvConfig")
