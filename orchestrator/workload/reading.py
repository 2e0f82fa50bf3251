"""From a scenario's workload to requests in order of arrival: read, cut, re-timed, shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

from ..errors import InputError
from ..units import PS_PER_S
from .arrivals import Arrivals
from .options import TraceOptions, WorkloadOptions
from .randomness import Lengths
from .registry import Reading, find
from .request import Request


def read(options: WorkloadOptions, reading: Reading) -> Iterator[Request]:
    """The workload's requests in order of arrival; those of a file that is sorted are not kept.

    A file is gone through twice: first to see that it can be read, whether it is sorted and how long it lasts.
    Raises InputError, with the line.
    """
    one = find(options.format)
    for text in _without_effect(options):
        reading.note(f"without effect: {text}")
    if options.guessed and isinstance(options, TraceOptions):
        reading.note(f"{options.path} is read as format {options.format}, by its looks")
    if isinstance(options, TraceOptions):
        if options.seed is not None:
            reading.seed = options.seed
        requests = _trace(options, reading, lambda: one.read(options, reading))
        unused = set() if _draws_gaps(options) else {"gaps"}
        if options.seed is not None and not reading.streams - unused:
            reading.note("without effect: seed, since nothing of the workload is drawn or shuffled")
    else:
        requests = islice(one.read(options, reading), options.limit)
    if options.abort_after_s is not None:
        requests = _impatient(requests, round(options.abort_after_s * PS_PER_S))
    return requests


def _draws_gaps(options: WorkloadOptions) -> bool:
    return options.request_rate not in (None, "inf") or options.ramp_up_strategy is not None or bool(options.rates)


def _without_effect(options: WorkloadOptions) -> Iterator[str]:
    """What is given and changes nothing, since something else is not."""
    if options.burstiness != 1 and not _draws_gaps(options):
        yield "burstiness, since no gaps are drawn (request_rate is inf, or times are recorded)"
    if options.max_concurrency is None and options.client != type(options.client)():
        yield "client, which only a closed loop has (max_concurrency)"
    for field in type(options).model_fields:
        if isinstance(lengths := getattr(options, field), Lengths):
            for name in lengths.unused:
                yield f"{field}.{name}, since the distribution is {lengths.distribution}"


def _impatient(requests: Iterator[Request], after_ps: int) -> Iterator[Request]:
    return (r if r.abort_after_ps is not None else replace(r, abort_after_ps=after_ps) for r in requests)


def _trace(options: TraceOptions, reading: Reading, again: Callable[[], Iterator[Request]]) -> Iterator[Request]:
    """One pass to see, another to give."""
    seen = _Seen()
    for request in _cut(options, again()):
        seen.add(request)
    reading.prioritised |= seen.prioritised
    if not seen.count:
        raise InputError(str(reading.path(options.path)), "workload", None, "has no request in that window")
    if seen.unsorted and reading.strict:
        request = seen.unsorted
        raise InputError(
            str(reading.path(options.path)),
            f"arrival of request {request.id}",
            request.arrival_ps / PS_PER_S,
            "requests must be sorted by arrival; the one before arrives later",
        )
    requests = _cut(options, again())
    if seen.unsorted:
        reading.note(f"{options.path}: arrivals are not in order (request {seen.unsorted.id}); it is sorted")
        requests = iter(sorted(requests, key=lambda request: request.arrival_ps))
    if options.shuffle:
        requests = _shuffled(list(requests), reading)
    return _timed(options, reading, requests, seen)


class _Seen:
    """What one pass over a file shows."""

    def __init__(self) -> None:
        self.count, self.first_ps, self.last_ps = 0, 0, 0
        self.unsorted: Request | None = None  # the first that comes before its predecessor
        self.prioritised = False

    def add(self, request: Request) -> None:
        arrival = request.arrival_ps
        if not self.count:
            self.first_ps = self.last_ps = arrival
        elif arrival < self.last_ps and self.unsorted is None:
            self.unsorted = request
        self.first_ps, self.last_ps = min(self.first_ps, arrival), max(self.last_ps, arrival)
        self.count += 1
        turn: Request | None = request
        while turn is not None and not self.prioritised:
            self.prioritised, turn = turn.priority != 0, turn.next_turn


def _cut(options: TraceOptions, requests: Iterator[Request]) -> Iterator[Request]:
    if options.window:
        start, end = (round(second * PS_PER_S) for second in options.window)
        requests = (
            replace(request, arrival_ps=request.arrival_ps - start)
            for request in requests
            if start <= request.arrival_ps < end
        )
    return islice(requests, options.limit)


def _shuffled(requests: list[Request], reading: Reading) -> Iterator[Request]:
    """Who asks what is dealt out anew; when somebody asks stays."""
    order = reading.stream("shuffle").permutation(len(requests)).tolist()
    return (replace(requests[i], arrival_ps=place.arrival_ps) for i, place in zip(order, requests, strict=True))


def _timed(options: TraceOptions, reading: Reading, requests: Iterator[Request], seen: _Seen) -> Iterator[Request]:
    if options.given:
        arrivals = Arrivals(options, reading.stream("gaps"), seen.count, exact=True)
        return (replace(request, arrival_ps=arrivals.next_ps()) for request in requests)
    if not options.has_arrivals and options.max_concurrency is None and seen.count > 1:
        reading.note(f"{options.path} has no times of arrival: all are sent at once; request_rate says otherwise")
    scale = options.scale
    if options.rate is not None:
        span = (seen.last_ps - seen.first_ps) / PS_PER_S
        scale = (seen.count - 1) / (options.rate * span) if span else 1.0
    base = min(0, seen.first_ps)  # times before the first line of an unsorted file
    if scale is None and not base:
        return requests
    factor = scale or 1.0
    first = seen.first_ps if scale else base
    return (
        replace(request, arrival_ps=(first - base) + round((request.arrival_ps - first) * factor))
        for request in requests
    )
