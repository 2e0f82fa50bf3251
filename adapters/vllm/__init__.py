"""vLLM's own scheduler, in a process and a Python environment of its own (``metronome tools install vllm@VERSION``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..tools import environment
from ..tools.lines import LineTool

DRIVER = Path(__file__).with_name("driver.py")


class RealScheduler:
    """Asks the driver; verbs and answers are in ``driver.py``. Raises ConfigError if the version is not installed."""

    def __init__(self, version: str, timeout_s: float = 120) -> None:
        self.version = version
        self._tool = LineTool([environment.python(f"vllm@{version}", None), str(DRIVER)], timeout_s)

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Its answer; raises ToolFailure."""
        return json.loads(self._tool.ask(json.dumps([verb, *arguments]), f"vllm@{self.version} {verb}"))
