"""A trace format of somebody else's: lines of `milliseconds prompt answer`."""

from typing import Literal

from metronome.orchestrator.workload.options import WorkloadOptions
from metronome.orchestrator.workload.registry import Format
from metronome.orchestrator.workload.request import Request


class Lines(WorkloadOptions):
    format: Literal["theirs-lines"] = "theirs-lines"
    path: str


def read(options, reading):
    for number, line in enumerate(reading.path(options.path).read_text().splitlines()):
        milliseconds, prompt, answer = map(int, line.split())
        yield Request(number, milliseconds * 10**9, prompt, answer)


FORMAT = Format(Lines, read)
