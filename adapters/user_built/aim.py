"""``aim``: decode attention as matrix-vector products in GDDR6-AiM by the simulator of CENT (Gu et al., ASPLOS 2025).

Its input is a trace of AiM's instructions for 32 channels of 16 banks, 16 elements an access, 1,024 a row.
Each KV head's queries read its K, then its V: two products a query head; every decode of a batch at
the batch's mean context.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import Description, Feature, Provenance, Template, TimePolicy
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig, only_number, read

CHANNELS, BANKS, ACCESS, ROW = 32, 16, 16, 1024
ALL = (1 << CHANNELS) - 1
PROMPT_PS = 1  # prompts are the accelerator's


class AimConfig(ToolConfig):
    """`program` is the AiM simulator's ramulator2."""

    config: Path = Field(description="its YAML, e.g. test/example.yaml")
    tck_ps: int = Field(default=500, gt=0)
    devices: int = Field(ge=1)


class Aim(Tool[AimConfig]):
    """The AiM devices of one accelerator."""

    description = Description(
        name="aim",
        kind="pim",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"attention"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="the AiM simulator of CENT: attention as products in GDDR6 banks (path of its ramulator2)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._yaml = read(self.config.config)

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        at, decodes = template.attributes, values[0]
        if not decodes:
            return Estimate(PROMPT_PS, Provenance.MODELLED)
        size, context = int(at["head_size"]), max(1, round(values[1] / decodes) + 1)
        products = decodes * int(at["heads"]) / self.config.devices
        cycles = products * (self._product(context, size) + self._product(size, context))
        return Estimate(max(1, round(cycles * self.config.tck_ps)), Provenance.MODELLED)

    def _product(self, rows: int, columns: int) -> float:
        """Cycles of one matrix-vector product."""
        if (rows, columns) not in self._known:
            asked = f"aim, a product of {rows} x {columns}"
            trace = instructions(rows, columns)
            printed = self._run(
                asked, ["-f", "memory.yaml", "-t", "trace.txt"], {"memory.yaml": self._yaml, "trace.txt": trace}
            ).printed
            sent = trace.count("MAC_ABK")
            done = only_number(printed, r"total_num_AiM_ISR_MAC_ABK_requests: (\d+)", asked)
            if done != sent:
                raise ToolFailure(asked, f"it did {done} of {sent} multiply instructions", printed)
            self._known[rows, columns] = only_number(printed, r"^\s*memory_system_cycles: (\d+)", asked)
        return self._known[rows, columns]


def instructions(rows: int, columns: int) -> str:
    """The trace of one product: outputs in groups of one a bank, inputs a DRAM row at a time."""
    lines, dram_row = [], 0
    for _ in range(-(-rows // (CHANNELS * BANKS))):
        lines.append(f"AiM WR_BIAS 0 {ALL}")
        for start in range(0, columns, ROW):
            accesses = -(-min(ROW, columns - start) // ACCESS)
            lines += [f"AiM WR_GB {accesses} 0 {ALL}", f"AiM MAC_ABK {accesses} {ALL} {dram_row}"]
            dram_row += 1
        lines.append(f"AiM RD_MAC 0 {ALL}")
    return "\n".join([*lines, "AiM EOC"]) + "\n"
