"""What is left of a request that has ended: its numbers, in columns."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..rows import Rows
from ..serving.request_state import RequestState


class EndedRequest(NamedTuple):
    """A request that has ended; times in ps.

    ``place``: the replica that gave its last token, by number. ``prompt_place``: the one that computed its prompt, and
    ``prompt_token_ps``: how long after its arrival the first token was out there, with prefill and decode apart; else
    -1. ``slo_class``: the class of traffic it is of.
    """

    id: int
    place: int
    prompt_place: int
    input_tokens: int
    output_tokens: int
    arrival_ps: int
    queued_ps: int
    scheduled_ps: int
    first_token_ps: int
    end_ps: int
    prompt_token_ps: int
    preemptions: int
    cached_tokens: int
    slo_class: str

    @classmethod
    def of(cls, state: RequestState) -> EndedRequest:
        request, origin = state.request, state.origin
        return cls(
            request.id,
            state.place,
            -1 if origin is None else origin.place,
            request.input_tokens,
            request.output_tokens,
            request.arrival_ps,
            state.queued_ps,
            state.scheduled_ps,
            state.first_token_ps,
            state.end_ps,
            -1 if origin is None else origin.first_token_ps - origin.request.arrival_ps,
            state.num_preemptions,
            state.num_cached_tokens,
            request.slo_class,
        )


#: One type code a field: times and ids take 64 bits, the class is its place among the names of all.
CODES = "qiiiiqqqqqqiii"
_PLACE = {name: place for place, name in enumerate(EndedRequest._fields)}


class EndedRequests(Rows[EndedRequest]):
    """The first so many rows of columns that grow. The columns are shared with what this was extended from: rows
    beyond its own are not looked at, and a row that was cut short in the middle is none."""

    __slots__ = ("_classes", "_columns", "_count", "sessions", "turns")

    def __init__(self) -> None:
        self._columns = tuple(array(code) for code in CODES)
        self._count = 0
        self._classes: dict[str, int] = {}
        self.turns = self.sessions = False

    def extended(self, states: Iterable[RequestState]) -> EndedRequests:
        """These and more. ``turns``: a turn of the session follows one of them; ``sessions``: one is of a session."""
        found = EndedRequests()
        found._columns, found._classes = self._columns, self._classes
        found.turns, found.sessions = self.turns, self.sessions
        rows = []
        for state in states:
            *numbers, name = EndedRequest.of(state)
            rows.append((*numbers, self._classes.setdefault(name, len(self._classes))))
            found.turns |= state.request.next_turn is not None
            found.sessions |= state.request.session is not None
        for column in self._columns:
            del column[self._count :]
        for column, values in zip(self._columns, zip(*rows, strict=True), strict=bool(rows)):
            column.extend(values)
        found._count = self._count + len(rows)
        return found

    @classmethod
    def together(cls, parts: Iterable[EndedRequests]) -> EndedRequests:
        """Those of several runs, one after another."""
        found = cls()
        for part in parts:
            places = [found._classes.setdefault(name, len(found._classes)) for name in part._classes]
            for column, more in zip(found._columns[:-1], part._columns, strict=False):
                column.extend(more[: part._count])
            found._columns[-1].extend(places[place] for place in part._columns[-1][: part._count])
            found._count += part._count
            found.turns |= part.turns
            found.sessions |= part.sessions
        return found

    def column(self, name: str) -> NDArray[np.int64]:
        """Of one of the fields that are numbers."""
        return np.array(self._columns[_PLACE[name]][: self._count], dtype=np.int64)

    @property
    def _names(self) -> list[str]:
        return list(self._classes)

    @property
    def slo_classes(self) -> NDArray[np.object_]:
        """The name of each one's class of traffic."""
        names = np.array([*self._names, ""], dtype=object)
        return names[self.column("slo_class")]

    def __len__(self) -> int:
        return self._count

    def row(self, place: int) -> EndedRequest:
        *numbers, name = (column[place] for column in self._columns)
        return EndedRequest._make([*numbers, self._names[name]])
