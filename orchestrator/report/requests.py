"""One row a finished request, and these rows on disk while a run is under way."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

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


def row(state: RequestState, names: Sequence[str]) -> tuple[Cell, ...]:
    """Of a request that has ended; times in ns, rounded down. ``names`` of the replicas, by number."""
    request, s = state.request, state
    times = (request.arrival_ps, s.queued_ps, s.scheduled_ps, s.first_token_ps, s.end_ps)
    more = request.output_tokens - 1
    tpot = (s.end_ps - s.first_token_ps) // more // PS_PER_NS if more > 0 else None
    ttft, e2el = (s.first_token_ps - request.arrival_ps) // PS_PER_NS, (s.end_ps - request.arrival_ps) // PS_PER_NS
    places = [s.place] if s.origin is None else [s.origin.place, s.place]
    sizes = (request.id, ">".join(names[place] for place in places), request.input_tokens, request.output_tokens)
    latencies = (ttft, tpot, e2el, s.num_preemptions, s.num_cached_tokens)
    return (*sizes, *(time // PS_PER_NS for time in times), *latencies)


class Spool:
    """Instrument: a file of finished requests, as they finish. Should the run be killed, they are there."""

    NAME = "requests.part.csv"

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._path, self._names = folder / self.NAME, names
        self._file = self._path.open("w", newline="", buffering=1)  # a line at a time
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def request_ended(self, state: RequestState) -> None:
        self._writer.writerow("" if cell is None else cell for cell in row(state, self._names))

    def remove(self) -> None:
        """The run's own files hold it all."""
        self._file.close()
        self._path.unlink(missing_ok=True)
