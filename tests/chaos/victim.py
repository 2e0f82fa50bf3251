"""`metronome ARGUMENTS` that sends itself a signal: ``python -m tests.chaos.victim EVENT AFTER_S SIGNAL BLOCK ARGUMENTS``.

``AFTER_S`` after its recording has seen EVENT events (0: in that event). ``BLOCK``: events in a block of the recording.
"""

from __future__ import annotations

import os
import sys
import threading

from metronome.orchestrator.cli.main import main
from metronome.orchestrator.kernel.queue import Event
from metronome.orchestrator.record import journal


def arm(event: int, after_s: float, number: int) -> None:
    see, seen = journal.JournalWriter.see, 0

    def seeing(self: journal.JournalWriter, what: Event) -> None:
        nonlocal seen
        see(self, what)
        seen += 1
        if seen == event:
            if after_s:
                threading.Timer(after_s, os.kill, (os.getpid(), number)).start()
            else:
                os.kill(os.getpid(), number)

    journal.JournalWriter.see = seeing  # type: ignore[method-assign]


if __name__ == "__main__":
    at, after, signal_number, block = sys.argv[1:5]
    journal.BLOCK_EVENTS = int(block)
    arm(int(at), float(after), int(signal_number))
    sys.argv = ["metronome", *sys.argv[5:]]
    main()
