"""Events carry what they are about."""

from __future__ import annotations

import metronome
from metronome.orchestrator.coupling.executor import InFlight
from metronome.orchestrator.workload.request import Request


class Subjects:
    def __init__(self):
        self.found = []

    def event(self, event):
        self.found.append((event.kind, event.about, event.subject))


def test_events_of_requests_and_steps_carry_them():
    seen = Subjects()
    metronome.run("shared-uplink", overrides={"workload.num_requests": 10}, instruments=[seen])
    by_kind = {}
    for kind, about, subject in seen.found:
        by_kind.setdefault(kind, []).append((about, subject))
    assert all(isinstance(request, Request) and request.id == about for about, request in by_kind["arrival"])
    assert all(isinstance(step, InFlight) and step.number == about for about, step in by_kind["compute"])
    assert all(isinstance(step, InFlight) for _, step in by_kind["train"])  # operations on a shared network
