"""``verilator-mem``: RTL in the loop that fetches what it multiplies at a port of its own.

The array of `fetcher.sv` reads lines of 64 bytes ahead of their turn, as many as it has slots for, and writes its
products. Each read and write is a request at the port ``mem``, made at the edge of its clock at which the bus takes
it; an answer is on the bus at the first edge after it. When a line comes is the memory's to say. Its bytes lie in the
adapter: they do not pass the port. The products that the array has written are compared with plain arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from metronome.hwmodels.accelerator.systolic import PS_PER_CYCLE_AT_1_MHZ, Gemm, Systolic, SystolicConfig
from metronome.hwmodels.base import Model
from metronome.hwmodels.interface import (
    PS_PER_NS,
    Advanced,
    Completion,
    Description,
    Feature,
    Operation,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
    Use,
    in_order,
)
from metronome.hwmodels.ports import Port, Request
from pydantic import Field

from ..tools.clock import Clock
from ..tools.environment import program
from ..tools.progress import SaysProgress
from .bus import LINE, SLOTS, WRITES, Bus
from .model import RtlArrayConfig
from .parts import parts
from .playing import Playing, Totals, Wanted

LOAD, STORE = Template(0, "load", "line"), Template(1, "store", "line")
GEMMS = ("gemm", "attention", "moe")


class RtlFetchingConfig(RtlArrayConfig):
    """The array that was built, its clock, its port."""

    port_latency_ns: float = Field(
        default=20, ge=0.001, description="from the array to the memory's controller; a guess"
    )
    outstanding: int = Field(default=SLOTS, ge=1, le=SLOTS, description="reads on their way, at most")
    most_tiles: int | None = Field(
        default=None,
        ge=4,
        description="tiles of a product that are done register by register; the others go at the pace of the last half "
        "of these, and ask for nothing. Default: all are done",
    )
    as_int8: bool = Field(
        default=False,
        description="products of other types are done as if they were int8: a byte an operand. Else they are refused",
    )


class RtlFetching(SaysProgress, Model[RtlFetchingConfig]):
    """One operation after another, each from reset. The vector unit is `systolic`'s formula, and asks for nothing."""

    tools: ClassVar[frozenset[str]] = frozenset({"verilator-mem"})

    description = Description(
        name="verilator-mem",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=Systolic.description.op_kinds,
        features=frozenset({Feature.PORTS, Feature.PROGRESS}),
        max_batch_ops=50,
        summary="an 8 x 8 array in SystemVerilog that fetches its operands (metronome tools install verilator-mem)",
        ports=(Port("mem", "memory", (LOAD, STORE), 20 * PS_PER_NS, SLOTS + WRITES),),
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        given = self.config
        self._latency_ps = round(given.port_latency_ns * PS_PER_NS)
        ports = (Port("mem", "memory", (LOAD, STORE), self._latency_ps, given.outstanding + WRITES),)
        self.description = replace(type(self).description, ports=ports)  # type: ignore[misc]
        self._array = Systolic({name: getattr(given, name) for name in SystolicConfig.model_fields})
        self._bus = Bus(program("verilator-mem", given.program), given.timeout_s, given.outstanding)
        self._now_ps = self._free_ps = 0
        self._queue: list[Operation] = []
        self._begun: tuple[Operation, int] | None = None  # and when
        self._playing: Playing | None = None
        self._ends_ps = 0  # of one that is not played
        self._back: list[Completion] = []
        self._asked: dict[int, int | None] = {}  # request -> slot, of a read
        self._next_request = self._loads = self._stores = 0
        self._totals = Totals()

    def declare(self, templates: Sequence[Template]) -> None:
        super().declare(templates)
        self._array.declare(templates)

    def check_template(self, template: Template) -> None:
        if template.kind not in GEMMS or self.config.as_int8:
            return
        for name in ("dtype", "kv_dtype"):
            dtype = str(template.attributes.get(name, "int8"))
            if dtype != "int8":
                why = f"the array multiplies int8, not {name} {dtype!r}; as_int8: true does it as if it were"
                raise UnsupportedOperation(self.description.name, template, why)

    def answered(self, completions: Sequence[Completion]) -> None:
        self._back.extend(completions)

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        self._queue = sorted([*self._queue, *self.in_turn(operations, self._now_ps)], key=in_order)
        reached, done = grant_ps, []
        requests: list[Request] = []
        while self._begin(grant_ps):
            if self._playing is not None:
                requests += self._wanted(self._playing.go(grant_ps, self._answers()))
            ended = self._ended_ps
            if ended is None or ended > grant_ps:
                break
            done.append(self._complete(ended))
            if stop_at_first_completion:
                reached = ended
                break
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), self._promise, tuple(requests))

    def _begin(self, grant_ps: int) -> bool:
        """Whether an operation is under way; the next one is, if it is due."""
        if self._begun is None and self._queue and max(self._queue[0].at_ps, self._free_ps) <= grant_ps:
            operation = self._queue.pop(0)
            begins = max(operation.at_ps, self._free_ps)
            self._begun = operation, begins
            template = self.templates[operation.template]
            if template.kind in GEMMS:
                clock = Clock(begins, PS_PER_CYCLE_AT_1_MHZ / self.config.clock_mhz)
                done = parts(self._products(template, operation.values), self.config.most_tiles)
                self._next_request = 0  # at rest it is as new
                self._playing = Playing(self._bus, clock, done, self.config.most_tiles, self._totals)
            else:
                self._ends_ps = begins + self._array.estimate(template, operation.values).duration_ps
        return self._begun is not None

    def _products(self, template: Template, values: tuple[int, ...]) -> Iterator[tuple[int, Gemm, int]]:
        for times, gemm in self._array.gemms(template, values):
            yield max(1, round(times)), gemm, self._array.tile(gemm).folds

    def _answers(self) -> list[tuple[Completion, int | None]]:
        """In the order in which they come."""
        self._back.sort(key=lambda one: (one.finish_ps, one.op_id))
        answers = [(one, self._asked.pop(one.op_id)) for one in self._back]
        self._back.clear()
        return answers

    def _wanted(self, wanted: Sequence[Wanted]) -> Iterator[Request]:
        for at_ps, asked in wanted:
            number, self._next_request = self._next_request, self._next_request + 1
            self._asked[number] = asked.slot
            write = asked.slot is None
            self._stores += write
            self._loads += not write
            template = STORE.id if write else LOAD.id
            yield Request("mem", template, (LINE, asked.address), number, at_ps + self._latency_ps)

    @property
    def _ended_ps(self) -> int | None:
        return self._ends_ps if self._playing is None else self._playing.ended_ps

    def _complete(self, ended_ps: int) -> Completion:
        if self._begun is None:
            raise AssertionError("what ends has begun")
        (operation, begins), self._begun, self._playing = self._begun, None, None
        self._free_ps = ended_ps
        return Completion(operation.op_id, begins, ended_ps, Provenance.MODELLED)

    @property
    def _promise(self) -> int | None:
        if self._begun is None:
            return max(self._queue[0].at_ps, self._free_ps) if self._queue else None
        return self._ends_ps if self._playing is None else self._playing.next_ps

    def image(self) -> list[bytes]:
        """What lies in memory after the latest product: both operands in panels, and products (`fetcher.sv`)."""
        return self._bus.image()

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """Of the tiles that were done register by register."""
        totals = self._totals
        return {
            "tiles_simulated": totals.tiles,
            "cycles": totals.cycles,
            "stalled_cycles": totals.hungry + totals.blocked,
            "stalled_for_operands": totals.hungry,
            "stalled_for_stores": totals.blocked,
            "loaded_bytes": self._loads * LINE,
            "stored_bytes": self._stores * LINE,
        }
