"""The whole run as far as it is known, as slices in rows: what a picture of it is drawn from.

An instrument of a session. It writes down what happens once, when it happens first: going back and forward again tells
it nothing new. A slice is a step of an instance, a chain of operations of a component, or a phase of a request.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..coupling.port import layers
from ..lowering.work import Work
from ..serving.interface import Step
from ..serving.replica import Replica
from ..serving.request_state import RequestState
from ..units import MAX_PS

MOVING = "K and V move"
OPEN = -1  # the end of a slice that has not ended
MOST = 30_000  # slices in an answer
Ints = NDArray[np.int64]


@dataclass(slots=True)
class Slices:
    """Slices one after another. ``begun`` and ``ended``: the events that began and ended each; ``about``: a step or a
    request by number; ``label``: a number of `Timeline.labels`."""

    start: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))
    begun: array[int] = field(default_factory=lambda: array("q"))
    ended: array[int] = field(default_factory=lambda: array("q"))
    label: array[int] = field(default_factory=lambda: array("q"))
    about: array[int] = field(default_factory=lambda: array("q"))

    def free_at(self, time_ps: int) -> bool:
        return not self.end or OPEN != self.end[-1] <= time_ps

    def add(self, start: int, end: int, begun: int, label: int, about: int) -> int:
        self.start.append(start)
        self.end.append(end)
        self.begun.append(begun)
        self.ended.append(OPEN if end == OPEN else begun)
        self.label.append(label)
        self.about.append(about)
        return len(self.start) - 1

    def close(self, index: int, end: int, ended: int) -> None:
        self.end[index], self.ended[index] = end, ended


class Track:
    """A component, an instance, or all requests: as many rows as things happen at once."""

    def __init__(self) -> None:
        self.rows: list[Slices] = []

    def row(self, start_ps: int) -> Slices:
        """The first row where nothing is from that time on."""
        for row in self.rows:
            if row.free_at(start_ps):
                return row
        self.rows.append(Slices())
        return self.rows[-1]


class Timeline:
    """``tracks`` by (group, name); groups are ``instance``, ``component`` and ``requests``."""

    rewinds = True  # every copy of the run tells the same timeline

    def __init__(self) -> None:
        self.tracks: dict[tuple[str, str], Track] = {}
        self.labels: list[str] = []
        self._numbers: dict[str, int] = {}
        self._event, self._known, self._news = 0, 0, True
        self._steps: dict[tuple[str, int], tuple[Slices, int]] = {}
        self._phases: dict[int, tuple[Slices, int]] = {}  # of requests under way the open one
        self._idle: set[int] = set()  # of these, who is not computed
        self._first: set[int] = set()  # and who has had a first token
        self._folded_ps: dict[tuple[str, int], int] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Timeline:
        return self

    def acts(self, event: int) -> None:
        """That event is about to act."""
        self._news = event > self._known
        self._event, self._known = event, max(event, self._known)

    # Told -------------------------------------------------------------------------------------------

    def request_arrived(self, state: RequestState, now_ps: int) -> None:
        self._phase(state.request.id, "arriving", now_ps)

    def request_received(self, state: RequestState, now_ps: int) -> None:
        self._phase(state.request.id, "waiting", now_ps)

    def prompt_computed(self, state: RequestState, now_ps: int) -> None:
        self._first.add(state.request.id)
        self._phase(state.request.id, "handed over", now_ps)

    def transfer_began(self, request: int, source: str, target: str, now_ps: int) -> None:
        if request in self._idle:  # not while it is computed: layers may move meanwhile
            self._phase(request, MOVING, now_ps)

    def transfer_ended(self, request: int, now_ps: int) -> None:
        row, index = self._phases.get(request, (None, 0))
        if row is not None and self._news and self.labels[row.label[index]] == MOVING:
            self._phase(request, "waiting", now_ps)

    def request_ended(self, state: RequestState) -> None:
        self._phase(state.request.id, "", state.end_ps)

    def request_failed(self, state: RequestState, why: str, text: str, now_ps: int) -> None:
        self._phase(state.request.id, "", now_ps)

    def step_launched(self, instance: str, number: int, now_ps: int, starts_ps: int, requests: Sequence[int]) -> None:
        if not self._news:
            return
        row = self._track("instance", instance).row(now_ps)
        many = "1 request" if len(requests) == 1 else f"{len(requests)} requests"
        self._steps[instance, number] = row, row.add(now_ps, OPEN, self._event, self._label(many), number)
        for request in self._idle.intersection(requests):
            self._phase(request, "decode" if request in self._first else "prefill", now_ps)

    def step_landed(self, instance: str, number: int, now_ps: int, energy_pj: int) -> None:
        if self._news:
            row, index = self._steps.pop((instance, number))
            row.close(index, now_ps, self._event)
            self._folded_ps.pop((instance, number), None)

    def engine_stepped(self, replica: Replica, step: Step, energy_pj: int, now_ps: int, delivered_ps: int) -> None:
        for state in step.first if self._news else ():
            request = state.request.id
            if request in self._phases and request not in self._first:
                self._first.add(request)
                self._phase(request, "decode", now_ps)

    def operations(
        self,
        instance: str,
        step: int,
        member: int,
        component: str,
        items: Sequence[Work],
        start_ps: int,
        took_ps: int,
    ) -> None:
        if self._news:
            self._did(component, instance, layers(items), step, start_ps, took_ps)

    def operations_folded(
        self, instance: str, step: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        """Its repetitions as one slice, from the first's start."""
        if self._news:
            start_ps += self._folded_ps.get((instance, step), 0)
            self._folded_ps[instance, step] = self._folded_ps.get((instance, step), 0) + took_ps
            self._did(component, instance, layers(items) + " (folded)", step, start_ps, took_ps)

    def sent(self, work: Work, start_ps: int, took_ps: int) -> None:
        self._did(work.component, "transfers", work.template.layer, OPEN, start_ps, took_ps)

    # Written down -----------------------------------------------------------------------------------

    def _track(self, group: str, name: str) -> Track:
        return self.tracks.setdefault((group, name), Track())

    def _label(self, text: str) -> int:
        number = self._numbers.setdefault(text, len(self.labels))
        if number == len(self.labels):
            self.labels.append(text)
        return number

    def _did(self, component: str, user: str, what: str, step: int, start_ps: int, took_ps: int) -> None:
        if self._news:
            row = self._track("component", component).row(start_ps)
            row.add(start_ps, start_ps + took_ps, self._event, self._label(f"{what}, {user}"), step)

    def _phase(self, request: int, name: str, now_ps: int) -> None:
        """A request's phase ends, and another begins; none where there is no name."""
        if not self._news:
            return
        row, index = self._phases.pop(request, (None, 0))
        if row is not None:
            row.close(index, max(now_ps, row.start[index]), self._event)
        (self._idle.discard if name in ("prefill", "decode", "") else self._idle.add)(request)
        if not name:
            self._first.discard(request)
            return
        if row is None:
            row = self._track("requests", "").row(now_ps)
        self._phases[request] = row, row.add(now_ps, OPEN, self._event, self._label(name), request)

    # Asked ------------------------------------------------------------------------------------------

    def window(self, group: str, name: str, from_ps: int, span_ps: int, width: int) -> list[dict[str, list[int]]]:
        """Of each row of a track what lies in a window of time, in at most ``width`` pieces a row.

        ``x`` and ``end`` are ps from ``from_ps`` (an open end is where the window ends), ``many`` how many slices a
        piece holds, ``busy`` the ps they take, ``label``, ``about``, ``begun`` and ``ended`` those of its first.
        """
        track = self.tracks.get((group, name))
        rows = track.rows if track else []
        width = max(1, min(width, MOST // max(1, len(rows))))
        return [_pieces(row, from_ps, span_ps, width) for row in rows]

    def at(self, group: str, name: str, position: int, now_ps: int) -> list[tuple[str, int, int, int]]:
        """What is going on in a track as a session rests before event ``position``: (label, about, start, end)."""
        track, found = self.tracks.get((group, name)), []
        for row in track.rows if track else ():
            last = int(np.searchsorted(np.array(row.start, dtype=np.int64), now_ps, side="right")) - 1
            for index in range(max(0, last - 1), last + 1):
                known, until = row.begun[index] < position, row.ended[index]
                if group == "component":  # told of when it is known, which may be before or after it happens
                    on = row.end[index] >= now_ps and (known or row.start[index] < now_ps)
                else:
                    on = known and (until == OPEN or until >= position)
                if on:
                    found.append((self.labels[row.label[index]], row.about[index], row.start[index], row.end[index]))
        return found


def _pieces(row: Slices, from_ps: int, span_ps: int, width: int) -> dict[str, list[int]]:
    starts, ends = np.array(row.start, dtype=np.int64), np.array(row.end, dtype=np.int64)
    ends[ends == OPEN] = MAX_PS
    until = min(from_ps + span_ps, MAX_PS)
    first = int(np.searchsorted(ends, from_ps, side="left"))
    last = int(np.searchsorted(starts, until, side="right"))
    if last <= first:
        return {name: [] for name in ("x", "end", "many", "busy", "label", "about", "begun", "ended")}
    inside, outside = starts[first:last], np.minimum(ends[first:last], until)
    keep: Ints = np.arange(last - first)
    if len(keep) > width:
        pixel = ((inside - from_ps).astype(np.float64) * (width / max(1, span_ps))).astype(np.int64)
        keep = np.flatnonzero(np.diff(pixel, prepend=np.int64(pixel[0] - 1)))
    took = outside - np.maximum(inside, from_ps)
    columns = {
        "x": inside[keep] - from_ps,
        "end": np.maximum.reduceat(outside, keep) - from_ps,
        "many": np.diff(keep, append=last - first),
        "busy": np.add.reduceat(took, keep),
    }
    for name in ("label", "about", "begun", "ended"):
        columns[name] = np.array(getattr(row, name)[first:last], dtype=np.int64)[keep]
    return {name: column.tolist() for name, column in columns.items()}
