"""A tool that runs for the whole session and is asked line by line.

It reads questions from standard input, a line each, and answers with a line that begins with ``= ``
(or ``! `` and why it cannot). Whatever else it prints is kept as its last words. Standard input
closes when the adapter ends, however that ends.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from queue import Empty, SimpleQueue

from .failure import LAST_LINES, ToolFailure, ended
from .keeper import keeper
from .progress import CALLS

ANSWER, REFUSAL = "= ", "! "


class LineTool:
    """One running tool in a scratch folder of its own. Started when first asked."""

    def __init__(self, command: Sequence[str], timeout_s: float, memory_gib: float | None = None) -> None:
        self._command, self._timeout_s, self._memory_gib = list(command), timeout_s, memory_gib
        self._process: subprocess.Popen[str] | None = None
        self._answers: SimpleQueue[str | None] = SimpleQueue()
        self._words: deque[str] = deque(maxlen=LAST_LINES)
        self._lock = threading.Lock()

    def ask(self, question: str, asked: str) -> str:
        """Its answer to one line, without the mark. ``asked`` is what that means, for people. Raises ToolFailure."""
        with self._lock:
            return self._ask(question, asked)

    def _ask(self, question: str, asked: str) -> str:
        process = self._process or self._start(asked)
        if process.stdin is None:
            raise AssertionError("opened with a pipe")
        with suppress(OSError):  # it is dead; its answer says so
            process.stdin.write(question + "\n")
            process.stdin.flush()
        try:
            with CALLS.one():
                answer = self._answers.get(timeout=self._timeout_s)
        except Empty:
            self._end()
            how = f"an answer is a line that begins with {ANSWER!r}, a refusal one with {REFUSAL!r}"
            raise self._failure(asked, f"did not answer within {self._timeout_s:g} s: {how}") from None
        except BaseException:  # interrupted: its answer would be taken for that to the next question
            self._end()
            raise
        if answer is None:
            code = process.wait()
            self._end()
            raise self._failure(asked, ended(code))
        if answer.startswith(REFUSAL):
            raise ToolFailure(asked, f"{self._command[0]} says: {answer[len(REFUSAL) :]}")
        return answer[len(ANSWER) :]

    def number(self, question: str, asked: str) -> int:
        """Its answer as a positive whole number. Raises ToolFailure for anything else."""
        answer = self.ask(question, asked)
        if not answer.isascii() or not answer.isdigit() or int(answer) == 0:
            raise self._failure(asked, f"answered {answer[:80]!r}, which is no positive whole number")
        return int(answer)

    def _failure(self, asked: str, why: str) -> ToolFailure:
        return ToolFailure(asked, f"{self._command[0]} {why}", "\n".join(self._words))

    def _start(self, asked: str) -> subprocess.Popen[str]:
        kept_by = keeper()
        folder = tempfile.mkdtemp(prefix="metronome-tool-")
        try:
            process = subprocess.Popen(
                self._command,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise ToolFailure(asked, f"{self._command[0]} cannot be started: {error.strerror}") from None
        kept_by.started(process.pid, folder)
        if self._memory_gib is not None:
            limit = int(self._memory_gib * 2**30)
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
        self._process = process
        self._answers = SimpleQueue()
        self._words.clear()
        self._finalizer = weakref.finalize(self, _end, process, folder)
        threading.Thread(target=_read, args=(process, self._answers, self._words), daemon=True).start()
        return process

    def _end(self) -> None:
        self._process = None
        self._finalizer()


@cache
def shared(command: tuple[str, ...], timeout_s: float, memory_gib: float | None = None) -> LineTool:
    """One process for all sessions that ask the same, as long as ours lives: for a tool that takes long to start and
    whose answers depend on the question alone."""
    return LineTool(command, timeout_s, memory_gib)


def _read(process: subprocess.Popen[str], answers: SimpleQueue[str | None], words: deque[str]) -> None:
    if process.stdout is None:
        raise AssertionError("opened with a pipe")
    for line in process.stdout:
        line = line.rstrip("\n")
        if line.startswith((ANSWER, REFUSAL)):
            answers.put(line)
        else:
            words.append(line)
    answers.put(None)


def _end(process: subprocess.Popen[str], folder: str) -> None:
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
    keeper().ended(process.pid)
