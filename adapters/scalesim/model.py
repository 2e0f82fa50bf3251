"""``scalesim``: the array of ``systolic``, with every tile's cycles asked of SCALE-Sim 3.

A whole GEMM of a language model is beyond the tool (16 x 4096 x 4096 takes it over a minute and 3 GB).
So it is cut along the folds of the array, one tile is asked for, and the folds are added up, each
beginning in the last cycle of the one before, as the tool itself does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from metronome.hwmodels.accelerator.systolic import Array, Gemm, Systolic, SystolicConfig
from metronome.hwmodels.interface import Feature, Use
from pydantic import Field

from ..tools.environment import python
from ..tools.lines import shared
from ..tools.progress import SaysProgress


class ScaleSimConfig(SystolicConfig):
    """The array, and the tool."""

    server_side: ClassVar[frozenset[str]] = frozenset({"python", "memory_gib"})
    python: str | None = Field(
        default=None,
        description="interpreter that has scalesim; default: that of `metronome tools install scalesim`",
        json_schema_extra={"format": "program"},
    )
    timeout_s: float = Field(default=300, gt=0, description="for one tile")
    memory_gib: float = Field(default=8, gt=0, description="beyond it the tool fails")


class ScaleSim(SaysProgress, Array[ScaleSimConfig]):
    """SCALE-Sim 3.0.0 in its stall-free mode; the vector unit is `systolic`'s formula."""

    tools: ClassVar[frozenset[str]] = frozenset({"scalesim"})

    description = replace(
        Systolic.description,
        name="scalesim",
        version="1+scalesim-3.0.0",
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=512,
        summary="SCALE-Sim 3.0.0, cycle by cycle, for each tile of an array (metronome tools install scalesim)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        interpreter = python("scalesim", own.python)
        self._tool = shared((interpreter, str(Path(__file__).with_name("worker.py"))), own.timeout_s, own.memory_gib)
        self._known: dict[Gemm, int] = {}

    def tile_cycles(self, tile: Gemm) -> int:
        if tile not in self._known:
            own = self.config
            question = f"{own.rows} {own.columns} {own.dataflow} {tile.m} {tile.n} {tile.k}"
            asked = f"a tile of {tile.m} x {tile.n} x {tile.k} on {own.rows} x {own.columns} ({own.dataflow})"
            self._known[tile] = self._tool.number(question, f"scalesim, {asked}")
        return self._known[tile]

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"tiles_asked": len(self._known)}
