"""The one error of driving a tool."""

from __future__ import annotations

import signal

from metronome.hwmodels.interface import ComponentError

LAST_LINES = 15


def ended(code: int) -> str:
    """How a process ended, by its return code."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


class ToolFailure(ComponentError):
    """The tool did not give an answer that can be trusted; says what it was asked and its last lines."""

    def __init__(self, asked: str, why: str, output: str = "") -> None:
        words = "\n".join("    " + line for line in output.splitlines()[-LAST_LINES:])
        super().__init__(f"{asked}: {why}" + (f"\n  its last lines:\n{words}" if words else ""))
