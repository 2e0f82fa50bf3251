"""What is wrong with a tool: it is not there, or it did not give an answer that can be trusted."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from metronome.hwmodels.interface import ComponentError, ConfigError

LAST_LINES = 15


def there(field: str, program: str) -> str:
    """The program a configuration names, a path or a name on the PATH. Raises ConfigError if it cannot be started."""
    if shutil.which(program) is None:
        near = "is there, but may not be executed" if Path(program).exists() else "no such program"
        raise ConfigError(field, program, f"{near}; a path from the scenario's folder, or a name on the PATH")
    return program


def ended(code: int) -> str:
    """How a process ended, by its return code."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"


class ToolFailure(ComponentError):
    """The tool did not give an answer that can be trusted; says what it was asked and its last lines."""

    def __init__(self, asked: str, why: str, output: str = "") -> None:
        words = "\n".join("    " + line for line in output.splitlines()[-LAST_LINES:])
        super().__init__(f"{asked}: {why}" + (f"\n  its last lines:\n{words}" if words else ""))
