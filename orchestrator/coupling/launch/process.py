"""Components in child processes: started together, checked, and ended whatever happens.

A child is ours with a model, or any program that serves the contract (`run: command`). It listens on a Unix socket in a
private folder and says so in one line. It holds the read end of a pipe whose other end is ours: if the orchestrator
dies, even by SIGKILL, the pipe closes and the child ends itself.
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

from ...errors import ComponentFailure, InputError
from ..components import ComponentSpec
from ..link import Link
from ..remote import RemoteLink, Watchdog
from .endpoint import Endpoint, handshake_address
from .owner import make_folder, sweep_folders

COOKIE = "METRONOME_COMPONENT_COOKIE"
LAST_LINES, LAST_BYTES = 20, 1 << 16
TERM_S = 5.0  # from SIGTERM to SIGKILL


class ComponentProcess:
    """One child process hosting one component."""

    def __init__(self, spec: ComponentSpec, socket: Path, log: Path) -> None:
        self.spec, self._log = spec, log
        self._started = time.monotonic()
        own = socket.with_suffix(".json")  # what it is told is its own: a client of its socket changes no program
        own.write_text(json.dumps(dict(spec.config), default=str))
        with log.open("wb") as stderr:
            try:
                self._process = subprocess.Popen(
                    _command(spec, socket, own),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env={**os.environ, COOKIE: "1", "PYTHONUNBUFFERED": "1"},
                    start_new_session=True,  # Ctrl-C is for the orchestrator, which then ends its children
                )
            except OSError as error:
                where = f"components.{spec.name}.command"
                raise InputError("scenario", where, spec.model, f"cannot be started: {error.strerror}") from None
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
            raise ComponentFailure(
                self.spec.name, f"did not start within {limit:g} s", "starting", self.last_words()
            ) from None
        address = handshake_address(line)
        if address is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
            said = f"said {line!r} instead of the handshake line" if line else ""
            what = ", and ".join(filter(None, (self.fate(), said))) or "closed its output without the handshake line"
            raise ComponentFailure(self.spec.name, what, "starting", self.last_words())
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
            log.seek(max(0, self._log.stat().st_size - LAST_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-LAST_LINES:])
        return ""

    def post_mortem(self) -> tuple[str, str]:
        """(fate, last words); gives a dying process a moment to be gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        return self.fate(), self.last_words()

    def terminate(self) -> None:
        """Ask it to end; :meth:`reap` makes sure."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def reap(self) -> None:
        try:
            self._process.wait(TERM_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
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
    watchdog = Watchdog()
    processes: list[ComponentProcess] = []
    links: dict[str, Link] = {}
    try:
        for spec in specs:
            processes.append(
                ComponentProcess(spec, folder / f"{spec.rank}.sock", (logs or folder) / f"{spec.name}.log")
            )
        for spec, process in zip(specs, processes, strict=True):
            links[spec.name] = RemoteLink(spec, process.endpoint(), watchdog, process)
        yield links
    finally:
        watchdog.close()
        for link in links.values():
            link.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.reap()
        shutil.rmtree(folder, ignore_errors=True)
