"""An accelerator whose memory is a component of its own: what an operation moves is done there, and put together here.

The coarse way of coupling the two: the model declares an operation's traffic and its own part of the time (feature
``traffic``), the memory (`n0.hbm`) is asked how long that takes alone. A model whose work and memory go together as no
rule says is told the memory's times, and answers. Each device has its own memory and does one operation at a time, so
all of it is a function of the operation, and remembered by who asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from metronome.hwmodels.interface import (
    MAX_PS,
    Advanced,
    BesideMemory,
    Completion,
    ComponentError,
    DeclaresTraffic,
    Feature,
    Moved,
    Operation,
    Overlap,
    Pattern,
    Template,
    Use,
)

from ..errors import ComponentFailure, InputError
from .link import Link, LocalLink, raised
from .oracle import answered, oracle
from .wrapped import WrappedLink

KINDS = ("move", "read", "write")
P = ParamSpec("P")
T = TypeVar("T")


class TrafficLink(WrappedLink):
    """The accelerator's link, in front of its own and its memory's. Raises InputError where they do not go together."""

    def __init__(self, link: Link, memory: Link) -> None:
        super().__init__(link)
        self._memory = memory
        if Feature.TRAFFIC not in link.description.features:
            why = "declares no traffic, whatever models it may be made of do: nobody would ask this memory"
            raise self._refused(f"{link.description.name}, which answers for {link.name}, {why}")
        if not isinstance(link, LocalLink) or not isinstance(link.component, DeclaresTraffic):
            raise self._refused(f"{link.name} is asked for its traffic in this process (run: inprocess)")
        if not memory.description.memoryless:
            why = f"{memory.description.name} remembers: it cannot be asked for an operation alone"
            raise self._refused(why)
        self._model: DeclaresTraffic = link.component
        self._asked = memory.again()
        self._oracle = oracle(self._asked)
        self._ids: dict[tuple[str, Pattern], int] = {}
        self._known: dict[tuple[int, int, Pattern], int] = {}  # ps

    def _refused(self, why: str) -> InputError:
        return InputError("scenario", f"components.{self._memory.name}", None, why)

    @property
    def wall_s(self) -> float:
        return self._link.wall_s + self._asked.wall_s

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        resources = self._link.declare(templates)
        can = self._asked.description.op_kinds
        kinds = ("move",) if "move" in can else ("read", "write")
        pairs = [(kind, pattern) for kind in kinds for pattern in Pattern]
        self._ids = {pair: number for number, pair in enumerate(pairs)}
        self._asked.declare([Template(self._ids[kind, p], kind, self.name, {"pattern": str(p)}) for kind, p in pairs])
        return resources

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        return Advanced(grant_ps, tuple(map(self._completion, operations)))

    def _completion(self, asked: Operation) -> Completion:
        declared = self._told(self._model.traffic, asked)
        memory_ps = list(map(self._memory_ps, declared.parts))
        if isinstance(self._model, BesideMemory):
            duration, provenance, energy = self._told(self._model.beside, asked, declared, memory_ps)
        else:
            provenance, power = declared.provenance, declared.power_w
            duration = max(1, round(declared.fixed_ps + math.fsum(map(put_together, declared.parts, memory_ps))))
            energy = None if power is None else round(duration * power)  # W x ps = pJ
        return Completion(asked.op_id, asked.at_ps, asked.at_ps + duration, provenance, energy)

    def _told(self, question: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """The model's answer. Raises ComponentFailure."""
        try:
            return question(*given, **named)
        except ComponentError as error:
            raise ComponentFailure(self.name, str(error), "declaring its traffic") from error
        except BaseException as error:
            raise raised(self.name, error, "declaring its traffic") from error

    def _memory_ps(self, part: Moved) -> int:
        key = (part.read_bytes, part.write_bytes, part.pattern)
        if key not in self._known:
            if not part.read_bytes + part.write_bytes:
                return 0
            if ("move", part.pattern) in self._ids:
                wanted = [Operation(self._ids["move", part.pattern], key[:2], 0)]
            else:
                sizes = (("read", part.read_bytes), ("write", part.write_bytes))
                each = [(self._ids[kind, part.pattern], size) for kind, size in sizes if size]
                wanted = [Operation(template, (size,), number) for number, (template, size) in enumerate(each)]
            done = answered(self._asked, wanted, self._oracle.advance(MAX_PS, wanted, False))
            self._known[key] = sum(completion.finish_ps - completion.start_ps for completion in done)
        return self._known[key]

    def again(self) -> Link:
        return TrafficLink(self._link.again(), self._memory)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        memory = {"component": self._memory.name, "model": self._asked.description.name, "asked": len(self._known)}
        return {**self._link.statistics(uses), "memory": memory}

    def close(self) -> None:
        """Both links belong to who opened them; the session with the memory ends with that one's."""


def put_together(part: Moved, memory_ps: int) -> float:
    """Time of a part: the model's own work and its memory's, by how they overlap."""
    longer, shorter = max(part.busy_ps, memory_ps), min(part.busy_ps, memory_ps)
    if part.overlap is Overlap.NONE:
        return longer + shorter
    return longer + (shorter / part.tiles if part.overlap is Overlap.TILES else 0)
