"""One row a finished request, and these rows on disk while a run is under way."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..instruments.ended import EndedRequest, EndedRequests
from ..rows import Rows
from ..serving.request_state import RequestState
from ..units import PS_PER_NS
from .result import Cell

COLUMNS = (
    "id",
    "instance",
    "input",
    "output",
    "arrival",
    "queued",
    "scheduled",
    "first_token",
    "end",
    "ttft",
    "tpot",
    "e2el",
    "preemptions",
    "prefix_hit",
)


def row(ended: EndedRequest, names: Sequence[str]) -> tuple[Cell, ...]:
    """Of a request that has ended; times in ns, rounded down. ``names`` of the replicas, by number."""
    times = (ended.arrival_ps, ended.queued_ps, ended.scheduled_ps, ended.first_token_ps, ended.end_ps)
    more = ended.output_tokens - 1
    tpot = (ended.end_ps - ended.first_token_ps) // more // PS_PER_NS if more > 0 else None
    ttft = (ended.first_token_ps - ended.arrival_ps) // PS_PER_NS
    e2el = (ended.end_ps - ended.arrival_ps) // PS_PER_NS
    places = [ended.place] if ended.prompt_place < 0 else [ended.prompt_place, ended.place]
    where = ">".join(names[place] for place in places)
    sizes = (ended.id, where, ended.input_tokens, ended.output_tokens)
    return (*sizes, *(time // PS_PER_NS for time in times), ttft, tpot, e2el, ended.preemptions, ended.cached_tokens)


class RequestRows(Rows[tuple[Cell, ...]]):
    """A row of each, by id."""

    def __init__(self, ended: EndedRequests, names: Sequence[str]) -> None:
        self._ended, self._names = ended, names
        self._order = np.argsort(ended.column("id"), kind="stable")

    def __len__(self) -> int:
        return len(self._order)

    def row(self, place: int) -> tuple[Cell, ...]:
        return row(self._ended[int(self._order[place])], self._names)


class Spool:
    """Instrument: a file of finished requests, as they finish. Should the run be killed, they are there."""

    NAME = "requests.part.csv"

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._path, self._names = folder / self.NAME, names
        self._file = self._path.open("w", newline="", buffering=1)  # a line at a time
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def request_ended(self, state: RequestState) -> None:
        self._writer.writerow("" if cell is None else cell for cell in row(EndedRequest.of(state), self._names))

    def remove(self) -> None:
        """The run's own files hold it all."""
        self._file.close()
        self._path.unlink(missing_ok=True)
