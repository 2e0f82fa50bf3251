"""vLLM's own scheduler, in a process and a Python environment of its own (``metronome tools install vllm@VERSION``)."""

from __future__ import annotations

import json
import weakref
from copy import copy
from itertools import count
from pathlib import Path
from typing import Any

from ..tools import environment
from ..tools.lines import LineTool

DRIVER = Path(__file__).with_name("driver.py")
ASKS = ("hit", "blocks", "groups", "balance")  # change nothing


class _Process:
    """An interpreter that has one version of vLLM and any number of schedulers; it ends when nobody has it any more."""

    def __init__(self, version: str, timeout_s: float) -> None:
        self._version = version
        self._tool = LineTool([environment.python(f"vllm@{version}", None), str(DRIVER)], timeout_s)
        self.keys = count()
        self.gone: list[int] = []  # schedulers that nobody has any more

    def ask(self, key: int, verb: str, *arguments: Any) -> Any:
        while self.gone:
            self._ask(self.gone.pop(), "close")
        return self._ask(key, verb, *arguments)

    def _ask(self, key: int, verb: str, *arguments: Any) -> Any:
        return json.loads(self._tool.ask(json.dumps([key, verb, *arguments]), f"vllm@{self._version} {verb}"))


_processes: weakref.WeakValueDictionary[str, _Process] = weakref.WeakValueDictionary()


class RealScheduler:
    """A scheduler in the process of its version; verbs and answers are in ``driver.py``.

    A copy is played to where this one is when it is first asked. Raises ConfigError if the version is not installed.
    """

    def __init__(self, version: str, timeout_s: float = 120) -> None:
        self.version, self._timeout_s = version, timeout_s
        self._said: list[tuple[Any, ...]] = []  # since it was opened, what has changed it
        self._start()

    def _start(self) -> None:
        process = _processes.get(self.version)
        if process is None:
            process = _processes[self.version] = _Process(self.version, self._timeout_s)
        self._process, self._key, self._played = process, next(process.keys), not self._said
        weakref.finalize(self, process.gone.append, self._key)

    def __deepcopy__(self, memo: dict[int, Any]) -> RealScheduler:
        copied = memo[id(self)] = copy(self)
        copied._said = list(self._said)
        copied._start()
        return copied

    def ask(self, verb: str, *arguments: Any) -> Any:
        """Its answer; raises ToolFailure."""
        if verb == "open":
            self._said, self._played = [], True
        if not self._played:
            self._played = True
            for said in self._said:
                self._process.ask(self._key, *said)
        if verb not in ASKS:
            self._said.append((verb, *arguments))
        return self._process.ask(self._key, verb, *arguments)
