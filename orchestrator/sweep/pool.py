"""Tasks over worker processes; whichever ends first is told first."""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic

from .worker import Answer, Said, Task, Work, serve

ATTEMPTS = 3  # of a task whose worker is killed
LOST = f"the process that computed it was killed {ATTEMPTS} times; out of memory?"
PATIENCE_S = 10  # for a worker that was asked to end: it ends the components of its run
SPAWN = get_context("spawn")  # nothing is inherited: a task is done as in a program of its own


Told = Callable[[int, Any, Callable[[Any], None]], None]


class Worker:
    """A process that does one task at a time."""

    def __init__(self, work: Work[Answer]) -> None:
        self.answers, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=serve, args=(theirs, work))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    def give(self, task: Task) -> None:
        """Its answer comes through ``answers``; the end of the file says that it was killed."""
        with suppress(OSError):
            self.answers.send(task)

    def tell(self, text: Any) -> None:
        """The answer to what its task has asked."""
        with suppress(OSError):
            self.answers.send(text)

    def end(self) -> None:
        """Ask it to end what it does; a task may answer with what it has so far."""
        self._process.terminate()

    def stop(self) -> None:
        """Ask it to end; `gone` waits for that."""
        self.answers.close()
        self._process.terminate()

    def gone(self) -> None:
        """Wait for a while, then make it end."""
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Pool(Generic[Answer]):
    """At most ``most`` processes, started when there is ``work``, a function of a module. Leaving the context ends
    them, and what they do. ``lost`` is the answer to a task whose worker was killed ATTEMPTS times; ``told`` is called
    with a task's number, what it says while it is in work (`tell`, `ask`), and what answers it."""

    def __init__(
        self, most: int, work: Work[Answer], lost: Answer, told: Told = lambda number, text, answer: None
    ) -> None:
        self._most, self._work, self._lost, self._told = most, work, lost, told
        self._idle: list[Worker] = []

    def __enter__(self) -> Pool[Answer]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _end(self._idle)
        self._idle = []

    def map(self, tasks: Iterable[tuple[int, Task]], done: Callable[[int, Answer], None]) -> None:
        """``done`` is told of each task's answer as soon as it is there, by the task's number; tasks are taken when
        there is a process for them.

        A worker that is killed is replaced, and its task done again. Ctrl-C is raised when tasks in work have had a
        while to answer with what they have.
        """
        coming, again, killed = iter(tasks), deque[tuple[int, Task]](), Counter[int]()
        busy: dict[int, tuple[Worker, Task]] = {}
        try:
            while True:
                while len(busy) < self._most and (given := again.popleft() if again else next(coming, None)):
                    number, task = given
                    busy[number] = (self._worker(), task)
                    busy[number][0].give(task)
                if not busy:
                    return
                ready = wait([worker.answers for worker, _ in busy.values()])
                for number in sorted(number for number, (worker, _) in busy.items() if worker.answers in ready):
                    worker, task = busy[number]
                    found = self._answer(worker)
                    if isinstance(found, Said):
                        self._told(number, found.text, worker.tell)
                        continue
                    del busy[number]
                    if not found:
                        killed[number] += 1
                        if killed[number] < ATTEMPTS:
                            again.append((number, task))
                            continue
                    done(number, found[0] if found else self._lost)
        except KeyboardInterrupt:
            self._end_early(busy, done)
            raise
        finally:
            _end([worker for worker, _ in busy.values()])

    def _end_early(self, busy: dict[int, tuple[Worker, Task]], done: Callable[[int, Answer], None]) -> None:
        for worker, _ in busy.values():
            worker.end()
        until = time.monotonic() + PATIENCE_S
        for number, (worker, _) in sorted(busy.items()):
            with suppress(EOFError, OSError):
                while worker.answers.poll(max(0.0, until - time.monotonic())):
                    if not isinstance(found := worker.answers.recv(), Said):
                        done(number, found)
                        break

    def _worker(self) -> Worker:
        return self._idle.pop() if self._idle else Worker(self._work)

    def _answer(self, worker: Worker) -> list[Answer] | Said:
        """Or what it says meanwhile; nothing if it was killed."""
        try:
            answer: Answer | Said = worker.answers.recv()
        except (EOFError, OSError):
            _end([worker])
            return []
        if isinstance(answer, Said):
            return answer
        self._idle.append(worker)
        return [answer]


def _end(workers: Collection[Worker]) -> None:
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.gone()
