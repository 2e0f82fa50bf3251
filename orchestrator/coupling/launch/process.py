"""Components in child processes: started together, checked, and ended whatever happens.

A child is ours with a model, or any program that serves the contract (`run: command`). It listens on a Unix socket in a
private folder and says so in one line. It holds the read end of a pipe whose other end is ours: if the orchestrator
dies, even by SIGKILL, the pipe closes and the child ends itself. A keeper sees to it
where the child cannot (it is stopped, or hangs), and removes the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

from metronome.adapters.tools.keeper import keeper
from metronome.hwmodels.process import LIFE

from ...errors import ComponentFailure, InputError
from ..components import ComponentSpec
from ..link import Link
from ..recovery import connected
from .endpoint import Endpoint, handshake_address
from .owner import make_folder, sweep_folders

COOKIE = "METRONOME_COMPONENT_COOKIE"
LAST_LINES, LAST_BYTES = 20, 1 << 16
TERM_S = 5.0  # from SIGTERM to SIGKILL, of all together


class ComponentProcess:
    """One child process hosting one component."""

    def __init__(self, spec: ComponentSpec, folder: Path, log: Path, life: int) -> None:
        self.spec, self._log = spec, log
        self._started = time.monotonic()
        self._given_up = False
        socket = folder / f"{spec.rank}.{life}.sock"
        own = socket.with_suffix(".json")  # what it is told is its own: a client of its socket changes no program
        own.write_text(json.dumps(dict(spec.config), default=str))
        with log.open("ab" if life else "wb") as stderr:
            self._first_word = stderr.tell()
            try:
                self._process = subprocess.Popen(
                    _command(spec, socket, own),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env={**os.environ, COOKIE: "1", LIFE: str(life), "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,  # Ctrl-C is for the orchestrator, which then ends its children
                )
            except OSError as error:
                where = f"components.{spec.name}.command"
                raise InputError("scenario", where, spec.model, f"cannot be started: {error.strerror}") from None
        keeper().started(self._process.pid, str(folder))
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read_handshake, daemon=True).start()

    def _read_handshake(self) -> None:
        if self._process.stdout is not None:
            self._lines.put(self._process.stdout.readline().decode(errors="replace").strip())

    def endpoint(self) -> Endpoint:
        """Waits for the handshake and for the health service to say SERVING."""
        limit = self.spec.options.start_timeout_s
        left = max(0.1, self._started + limit - time.monotonic())
        try:
            line = self._lines.get(timeout=left)
        except Empty:
            what = f"did not start within {limit:g} s"
            raise ComponentFailure(self.spec.name, what, "starting", self.last_words(), "timeout") from None
        address = handshake_address(line)
        if address is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
            said = f"said {line!r} instead of the handshake line" if line else ""
            fate = self.fate()
            what = ", and ".join(filter(None, (fate, said))) or "closed its output without the handshake line"
            raise ComponentFailure(self.spec.name, what, "starting", self.last_words(), "dead" if fate else "fault")
        endpoint = Endpoint(address)
        endpoint.await_health(self.spec.name, left, lambda: (self.fate(), self.last_words()))
        return endpoint

    image = ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def fate(self) -> str:
        """What became of the process; empty while it runs."""
        code = self._process.poll()
        if code is None:
            return ""
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    def last_words(self) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(max(self._first_word, self._log.stat().st_size - LAST_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-LAST_LINES:])
        return ""

    def post_mortem(self) -> tuple[str, str]:
        """(fate, last words); gives a dying process a moment to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        return self.fate(), self.last_words()

    def give_up(self) -> None:
        self._given_up = True

    def terminate(self) -> None:
        """Ask it to end; :meth:`reap` makes sure. One that does not answer any more is not asked."""
        with contextlib.suppress(ProcessLookupError):
            if self._given_up or self._stopped():
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.terminate()

    def _stopped(self) -> bool:
        """Whether a signal has stopped it (field 3 of proc(5) stat)."""
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
        return False

    def kill(self) -> None:
        self.reap(time.monotonic())

    def reap(self, deadline: float) -> None:
        """Wait for its end; from the deadline on (monotonic clock) it is killed, with what it has started."""
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        keeper().ended(self._process.pid)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _command(spec: ComponentSpec, socket: Path, own: Path) -> list[str]:
    """What serves the component on that socket: the scenario's own program, or ours with its model."""
    listen = f"unix:{socket}"
    if spec.options.run == "command" and spec.options.command is not None:
        program, *arguments = spec.options.command
        named = str((spec.folder / program).resolve()) if "/" in program else program
        return [named, *(part.replace("{listen}", listen).replace("{config}", str(own)) for part in arguments)]
    serve = [sys.executable, "-m", "metronome", "serve-component", spec.model]
    return [*serve, "--listen", listen, "--config", str(own)]


@contextmanager
def open_processes(specs: Sequence[ComponentSpec], logs: Path | None) -> Iterator[dict[str, Link]]:
    """Start all components at once and connect to each; on leaving nothing of them is left.

    What they print goes to ``logs``/NAME.log. Raises ComponentFailure.
    """
    sweep_folders()
    folder = make_folder()
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    processes: list[ComponentProcess] = []

    def start(spec: ComponentSpec, life: int) -> ComponentProcess:
        processes.append(ComponentProcess(spec, folder, (logs or folder) / f"{spec.name}.log", life))
        return processes[-1]

    try:
        with connected(specs, start) as links:
            yield links
    finally:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + TERM_S
        for process in processes:
            process.reap(deadline)
        shutil.rmtree(folder, ignore_errors=True)
