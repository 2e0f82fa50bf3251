"""``systolic-mem``: the array of `systolic` with a memory: tiles are loaded and stored at its port ``mem``.

While a tile is computed the next ones are loaded, four or as many as there are buffers for; what is complete is stored
while others are computed, two stores at a time. An operation is done when all it stored is. Where the memory keeps up,
that is the time of the first loads, the cycles of `systolic`, the time of the last store, and a picosecond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from math import ceil
from typing import Any

from pydantic import Field

from ..interface import (
    DTYPE_BYTES,
    PS_PER_NS,
    Completion,
    Description,
    Feature,
    Operation,
    Template,
    TimePolicy,
    UnsupportedOperation,
)
from ..ports import MOST_CREDITS, Port
from ..reactive import ReactiveModel
from .systolic import PS_PER_CYCLE_AT_1_MHZ, Systolic, SystolicConfig
from .tile_play import NOTHING, Play, Segment, tiles
from .tiles import OPERANDS_APART, OUTPUT, Bytes, Cut, Fold, Piece, folds

LOAD, STORE = Template(0, "load", "tile"), Template(1, "store", "tile")
STORES = 2  # of tiles, at a time
VECTOR_TILE = 1 << 15  # elements of a norm or activation that are a tile
GEMMS = ("gemm", "attention", "moe")


class SystolicMemConfig(SystolicConfig):
    """An array, a vector unit, a buffer, a port."""

    buffer_kib: float = Field(
        default=24 * 1024, ge=0, description="keeps what streams, if it fits; 24 MiB as in Jouppi et al., ISCA 2017"
    )
    port_latency_ns: float = Field(
        default=20, ge=0.001, description="from the array to the memory's controller; a guess"
    )
    tiles_ahead: int = Field(
        default=4,
        gt=0,
        description="tiles loaded before their turn; 1: double-buffered; 4 as in Jouppi et al., ISCA 2017",
    )
    request_bytes: int = Field(default=4096, gt=0, description="of a tile are asked for at once, at most")
    outstanding: int = Field(default=256, gt=0, le=MOST_CREDITS, description="requests on their way, at most")
    most_tiles: int | None = Field(
        default=None,
        ge=4,
        description="tiles of an operation that are played one by one; the others go at the pace of the last half of "
        "these. Default: all are played",
    )


class SystolicMem(ReactiveModel[SystolicMemConfig]):
    """One operation after another, tile after tile."""

    description = Description(
        name="systolic-mem",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=Systolic.description.op_kinds,
        features=frozenset({Feature.PORTS}),
        summary="a systolic array that loads and stores its tiles at a port, ahead of their turn",
        ports=(Port("mem", "memory", (LOAD, STORE), 20 * PS_PER_NS, 256),),
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        given = self.config
        latency = round(given.port_latency_ns * PS_PER_NS)
        ports = (Port("mem", "memory", (LOAD, STORE), latency, given.outstanding),)
        self.description = replace(type(self).description, ports=ports)  # type: ignore[misc]
        self._array = Systolic({name: getattr(given, name) for name in SystolicConfig.model_fields})
        self._cut = Cut(given.dataflow, given.rows, given.columns, given.buffer_kib * 1024)
        self._cycle_ps = PS_PER_CYCLE_AT_1_MHZ / given.clock_mhz
        self._queue: deque[Operation] = deque()
        self._play = Play(iter(()), 0, self._cycle_ps)
        self._stalled_ps = self._loaded = self._stored = 0

    def check_template(self, template: Template) -> None:
        for name in ("dtype", "kv_dtype"):
            if name in template.attributes and template.attributes[name] not in DTYPE_BYTES:
                raise UnsupportedOperation(self.description.name, template, f"{name} {template.attributes[name]!r}")

    def started(self, operation: Operation) -> None:
        self._queue.append(operation)
        if len(self._queue) == 1:
            self._begin()

    def _begin(self) -> None:
        operation = self._queue[0]
        segments = self._segments(self.templates[operation.template], operation.values)
        self._play = Play(tiles(segments, self.config.most_tiles), self.now_ps, self._cycle_ps)
        self._load()

    def _segments(self, template: Template, values: tuple[int, ...]) -> Iterator[Segment]:
        if template.kind not in GEMMS:
            count = -(-values[0] * int(template.attributes["width"]) // VECTOR_TILE)
            yield Segment(self._vector(template, values[0]), count, count + 1)
            return
        sizes = self._bytes(template)
        for times, gemm in self._array.gemms(template, values):
            tile, each = self._array.tile(gemm)
            cycles, often = self._array.tile_cycles(tile) + 1, max(1, round(times))
            one = [folds(gemm, self._cut, cycles, sizes) for _ in range(often)]
            yield Segment(chain.from_iterable(one), each * often, each)

    @staticmethod
    def _bytes(template: Template) -> Bytes:
        """Weights are the second operand of a GEMM, K and V that of attention."""
        own = DTYPE_BYTES[str(template.attributes["dtype"])]
        return Bytes(own, DTYPE_BYTES[str(template.attributes.get("kv_dtype", template.attributes["dtype"]))], own)

    def _vector(self, template: Template, rows: int) -> Iterator[Fold]:
        size, left = DTYPE_BYTES[str(template.attributes["dtype"])], rows * int(template.attributes["width"])
        for start in range(0, left, VECTOR_TILE):
            count = min(VECTOR_TILE, left - start)
            piece = Piece(int(start * size), ceil(count * size))
            out = Piece(OUTPUT * OPERANDS_APART + piece.address, piece.size)
            yield Fold((piece,), ceil(count / self.config.vector_lanes), out)

    # A tile ---------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Ask for what the next tiles need, as many of them as may wait."""
        play = self._play
        while not play.over and len(play.loading) < self.config.tiles_ahead and (tile := play.next()) is not None:
            left = [0]
            play.loading.append((tile, left))
            left[0] = sum(self._ask(LOAD, piece, left) for piece in tile.fold.loads)
            self._loaded += sum(piece.size for piece in tile.fold.loads)
        self._compute()

    def _ask(self, template: Template, piece: Piece, what: list[int]) -> int:
        """In pieces of what may be asked for at once; how many."""
        step = self.config.request_bytes
        for at in range(0, piece.size, step):
            self.ask("mem", template.id, (min(step, piece.size - at), piece.address + at), what)
        return -(-piece.size // step)

    def _compute(self) -> None:
        """The tile that is loaded, if the array and a place for what it stores are free."""
        play = self._play
        tile = play.ready
        if tile is None or (tile.fold.store.size and len(play.stores) >= STORES):
            return
        play.begin()
        self._stalled_ps += play.waited_ps(self.now_ps)
        self.later(play.end_ps(tile, self.now_ps), "computed")
        self._load()

    def fired(self, what: Any) -> None:
        if what == "next":
            self._queue.popleft()
            if self._queue:
                self._begin()
            return
        play = self._play
        store = play.computing.fold.store if play.computing else NOTHING
        play.computing = None
        if store.size:
            left = [0]
            play.stores.append(left)
            left[0] = self._ask(STORE, store, left)
            self._stored += store.size
        self._go_on()

    def returned(self, what: Any, answer: Completion) -> None:
        play = self._play
        what[0] -= 1
        while play.stores and not play.stores[0][0]:
            play.stores.popleft()
        self._go_on()

    def _go_on(self) -> None:
        self._compute()
        if self._play.done and self._queue:
            self._play.over = False  # said once
            self.complete(self._queue[0].op_id, self._play.since_ps, self.now_ps + 1)
            self.later(self.now_ps + 1, "next")

    def statistics(self, uses: Any = ()) -> dict[str, Any]:
        """Of the tiles that were played."""
        return {"stalled_s": self._stalled_ps / 1e12, "loaded_bytes": self._loaded, "stored_bytes": self._stored}
