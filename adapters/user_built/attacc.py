"""``attacc``: decode attention in HBM banks by AttAcc's Ramulator 2 (Park et al., ASPLOS 2024).

Two programs: AttAcc's trace generator, then its Ramulator on the trace. AttAcc's own wrapper takes a
missing binary for 0 cycles and keeps that in its cache; neither is used here. Every decode of a batch is
taken at the batch's mean context, its heads spread over the devices. The generator knows heads with K and V of their
own; of grouped queries it is given the KV heads, whose K and V are read once (`grouped_queries`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import (
    DTYPE_BYTES,
    ConfigError,
    Description,
    Feature,
    Provenance,
    Template,
    TimePolicy,
)
from pydantic import Field

from ..tools.failure import ToolFailure, there
from .base import Tool, ToolConfig, only_number, read

TRACE = "attacc.trace"
PROMPT_PS = 1  # prompts are the accelerator's: only their K and V come here, which the tool does not model


class AttAccConfig(ToolConfig):
    """`program` is AttAcc's ramulator2."""

    server_side: ClassVar[frozenset[str]] = frozenset({"generator"})
    generator: list[str] = Field(
        min_length=1,
        description="command of its trace generator, e.g. [python3, /path/of/gen_trace_attacc_bank.py]",
        json_schema_extra={"format": "command"},
    )
    config: Path = Field(description="AttAcc's YAML of the memory; its trace's path is replaced")
    tck_ps: int = Field(default=769, gt=0, description="1.3 GHz, HBM3 at 5.2 Gb/s")
    devices: int = Field(ge=1)
    grouped_queries: Literal["together", "apart"] = Field(
        default="together",
        description="query heads that share K and V: one reading for all of a group (units as wide as a group), or one "
        "for each (AttAcc's own units)",
    )


class AttAcc(Tool[AttAccConfig]):
    """The HBM-PIM devices of one accelerator."""

    description = Description(
        name="attacc",
        kind="pim",
        version="2",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"attention"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="AttAcc's Ramulator 2: decode attention in HBM banks (paths of generator and program)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        there("generator", self.config.generator[0])
        lines = read(self.config.config).splitlines()
        # Both the frontend and the recorder name the trace.
        self._yaml = "\n".join(
            f"{line[: line.index('path:')]}path: ./{TRACE}" if line.strip().startswith("path:") else line
            for line in lines
        )
        if f"./{TRACE}" not in self._yaml:
            raise ConfigError("config", str(self.config.config), "names no trace (path:)")

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        at, decodes = template.attributes, values[0]
        if not decodes:
            return Estimate(PROMPT_PS, Provenance.MODELLED)
        readers = "kv_heads" if self.config.grouped_queries == "together" else "heads"
        heads = max(1, round(decodes * int(at[readers]) / self.config.devices))
        length = max(1, round(values[1] / decodes) + 1)
        key = (heads, length, int(at["head_size"]), int(DTYPE_BYTES[str(at["kv_dtype"])]))
        if key not in self._known:
            self._known[key] = self._cycles(*key)
        return Estimate(max(1, round(self._known[key] * self.config.tck_ps)), Provenance.MODELLED)

    def _cycles(self, heads: int, length: int, size: int, width: int) -> int:
        asked = f"attacc, {heads} heads of {size} over {length} tokens"
        generator, *arguments = self.config.generator
        shape = ["--dhead", size, "--nhead", heads, "--seqlen", length, "--dbyte", width, "--output", TRACE]
        made = self._run(asked, [*arguments, *map(str, shape)], {}, [TRACE], program=generator)
        trace = made.files.get(TRACE, "")
        if not trace.strip():
            raise ToolFailure(asked, f"{generator} wrote no trace", made.printed)
        printed = self._run(asked, ["-f", "memory.yaml"], {"memory.yaml": self._yaml, TRACE: trace}).printed
        loaded, lines = only_number(printed, r"Loaded (\d+) lines", asked), len(trace.splitlines())
        if loaded != lines:
            raise ToolFailure(asked, f"it loaded {loaded} of {lines} lines of the trace", printed)
        return only_number(printed, r"memory_system_cycles: (\d+)", asked)
