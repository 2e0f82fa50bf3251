"""Two workers halve the time of a sweep, as far as this can be seen on a machine that is busy with other things: by
what is in work at any moment, and by CPU seconds."""

from __future__ import annotations

import resource
import time

from metronome.orchestrator.sweep.places import for_points
from metronome.orchestrator.sweep.schema import Sweep
from metronome.orchestrator.sweep.study import Study

POINTS, FEW, REQUESTS = 10, 2, 300
ASKED, OF_POINTS = 1.8, 200  # what two workers are to gain on a sweep of so many points


def sweep(points=POINTS):
    axes = {"seed": {"low": 1, "high": points, "count": points, "whole": True}}
    return Sweep.model_validate({"scenario": "quickstart", "axes": axes, "set": {"workload.num_requests": REQUESTS}})


def cpu_s(workers, folder, points=POINTS):
    """CPU seconds of this thread, which hands points out, and of its workers, in a sweep of so many points."""

    def now():
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.thread_time(), ended.ru_utime + ended.ru_stime

    before = now()
    out = folder / f"{points} by {workers}"
    assert len(Study(sweep(points), folder, out, workers).run().rows) == points
    return [after - start for start, after in zip(before, now(), strict=True)]


def test_no_worker_waits_while_there_are_points():
    """Whoever has ended a point is given the next before anything else is waited for."""
    taken, most, ended = [], [], []

    def tasks():
        for number in range(8):
            taken.append(number)
            yield number, ("quickstart", {"workload.num_requests": 3, "seed": number})

    def done(number, row):
        assert row["status"] == "complete"
        most.append(len(taken) - len(ended))
        ended.append(number)

    with for_points(2) as pool:
        pool.map(tasks(), done)
    assert sorted(ended) == list(range(8)) and set(most[:-1]) <= {1, 2} and most[:6].count(2) >= 3


def test_two_workers_gain_what_is_asked(tmp_path):
    """From CPU seconds: a worker costs its start, this process its own, and a point what it costs and a little here."""
    (own_few, few), (own, one) = cpu_s(1, tmp_path, FEW), cpu_s(1, tmp_path)
    point, beside = (one - few) / (POINTS - FEW), max(own - own_few, 0) / (POINTS - FEW)
    start = max(few - FEW * point, 0) + max(own_few - FEW * beside, 0)
    alone = start + OF_POINTS * (point + beside)
    together = start + OF_POINTS * (point / 2 + beside)
    assert alone / together >= ASKED, (own_few, few, own, one)
