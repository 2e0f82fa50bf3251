"""Points over worker processes, results in the order of the points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any

from .worker import evaluate, start

ATTEMPTS = 3  # of a point whose worker was killed

Row = dict[str, Any]
Task = tuple[str, dict[str, Any], dict[str, float]]  # what `evaluate` takes


class Pool:
    """``workers`` processes; one: this process. Leaving the context ends them, without waiting for what they do."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._executor is None:
            return
        for process in list((self._executor._processes or {}).values()):
            process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = None

    def map(self, tasks: Sequence[Task], done: Callable[[int, Row], None]) -> None:
        """``done`` is told of each task's row as soon as it is there, by its place. A worker that is killed is
        replaced, and what it did is done again; a point that kills its worker thrice is a failed row."""
        if self._workers == 1:
            for place, task in enumerate(tasks):
                done(place, evaluate(*task))
            return
        left, attempts = dict(enumerate(tasks)), [0] * len(tasks)
        while left:
            self._round(left, attempts, done)
            for place in [place for place in left if attempts[place] >= ATTEMPTS]:
                del left[place]
                error = f"its worker was killed {ATTEMPTS} times: out of memory?"
                done(place, {"status": "failed", "error": error, "figures": {}})

    def _round(self, left: dict[int, Task], attempts: list[int], done: Callable[[int, Row], None]) -> None:
        """Until all are done, or a worker dies: then those that were being done have one attempt less."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(self._workers, get_context("spawn"), start)
        flying: dict[Future[Row], int] = {}
        waiting = list(left)
        try:
            while waiting or flying:
                while waiting and len(flying) < self._workers:  # no more: who dies takes few with it
                    place = waiting.pop(0)
                    flying[self._executor.submit(evaluate, *left[place])] = place
                ready, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in sorted(ready, key=lambda one: flying[one]):
                    done(flying[future], future.result())
                    del left[flying.pop(future)]
        except BrokenProcessPool:
            for place in flying.values():
                attempts[place] += 1
            self._end()
