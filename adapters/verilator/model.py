"""``verilator``: RTL in the loop. The cycles of a tile are those of `tile.sv` under Verilator.

The tile computes real products, which are checked; its cycles depend on their length alone, so each length
is simulated once. The tiles of a larger GEMM follow one another without overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from metronome.hwmodels.accelerator.systolic import Array, Gemm, Systolic, SystolicConfig
from metronome.hwmodels.interface import Feature, Use
from pydantic import Field

from ..tools.environment import program
from ..tools.lines import shared
from ..tools.progress import SaysProgress

SIZE = 8  # rows and columns of the array that `metronome tools install verilator` builds


class RtlArrayConfig(SystolicConfig):
    """The array that was built, and its clock."""

    server_side: ClassVar[frozenset[str]] = frozenset({"program"})
    rows: int = Field(default=SIZE, ge=SIZE, le=SIZE)
    columns: int = Field(default=SIZE, ge=SIZE, le=SIZE)
    dataflow: Literal["os"] = "os"
    program: str | None = Field(
        default=None,
        description="the built array; default: of `metronome tools install verilator`",
        json_schema_extra={"format": "program"},
    )
    timeout_s: float = Field(default=60, gt=0, description="for one tile")


class RtlArray(SaysProgress, Array[RtlArrayConfig]):
    """An 8 x 8 output-stationary array for int8; other types take as long. The vector unit is `systolic`'s formula."""

    tools: ClassVar[frozenset[str]] = frozenset({"verilator"})

    description = replace(
        Systolic.description,
        name="verilator",
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=5000,
        summary="an 8 x 8 array in SystemVerilog under Verilator (metronome tools install verilator)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._tool = shared((program("verilator", self.config.program),), self.config.timeout_s)
        self._known: dict[int, int] = {}

    def cycles(self, gemm: Gemm) -> int:
        tile, folds = self.tile(gemm)
        return folds * self.tile_cycles(tile)

    def tile_cycles(self, tile: Gemm) -> int:
        if tile.k not in self._known:
            self._known[tile.k] = self._tool.number(str(tile.k), f"verilator, a tile of length {tile.k}")
        return self._known[tile.k]

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"tiles_simulated": len(self._known)}
