"""Tasks over the workers of a Dask cluster; the same surface as `Pool`."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Generic

from distributed import Client, Future, KilledWorker, Security

from ..errors import InputError
from . import elsewhere
from .places import CERTIFICATES, Cluster, ClusterFailure
from .pool import ATTEMPTS
from .worker import Answer, Task, Work

CONNECT_S = 10.0
LOOK_S = 0.5  # between two looks at who is there
NOBODY_S = 60.0  # without any worker
#: Silent meanwhile: what they say of a lost scheduler is said by us.
LOGS = [logging.getLogger(f"distributed.{name}") for name in ("client", "batched")]


def _silence(levels: Sequence[int]) -> None:
    for log, level in zip(LOGS, levels, strict=True):
        log.setLevel(level)


class DaskPool(Generic[Answer]):
    """One task at a time a worker process. Leaving the context leaves the cluster, which goes on without us.

    A task is given to a worker by name, so that what is lost with a worker is known: it is done again, and ``lost`` is
    its answer when that was so ATTEMPTS times. Workers that join later are given tasks, too.
    """

    def __init__(self, cluster: Cluster, over_tls: bool, work: Work[Answer], lost: Answer) -> None:
        """Raises InputError where nobody answers."""
        self._work, self._lost = work, lost
        self._address, self._log_levels = cluster.address, [log.level for log in LOGS]
        _silence([logging.CRITICAL] * len(LOGS))
        security = None
        if over_tls:
            authority, certificate, key = (str(cluster.certificates / name) for name in CERTIFICATES)
            security = Security(
                tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
            )
        try:
            self._client = Client(self._address, security=security, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            _silence(self._log_levels)
            what = f"no Dask scheduler answers: {error}"
            raise InputError("sweep", "--cluster", self._address, what) from None
        self._seen = ""

    def __enter__(self) -> DaskPool[Answer]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(Exception):
            self._client.close(timeout=CONNECT_S)
        _silence(self._log_levels)

    def map(self, tasks: Iterable[tuple[int, Task]], done: Callable[[int, Answer], None]) -> None:
        """``done`` is told of each task's answer as soon as it is there, by the task's number; tasks are taken when
        there is a worker for them, and one more.

        Raises InputError for a worker that has other code or files than we, ClusterFailure for a cluster that is gone.
        """
        work = InWork[Answer](tasks, self._lost)
        try:
            while work.more():
                for worker in work.free(self._workers()):
                    work.give(worker, self._submit)
                for number, answer in work.answers(self._answer):
                    done(number, answer)
                if not work.busy and time.monotonic() - work.heard_s > NOBODY_S:
                    raise ClusterFailure(f"the cluster at {self._address} has had no worker for {NOBODY_S:g} s")
        finally:
            work.cancel()

    def _workers(self) -> list[str]:
        """Their addresses. Raises ClusterFailure."""
        try:
            return sorted(self._client.scheduler_info()["workers"])
        except Exception as error:  # Dask's are of many kinds
            raise self._gone(error) from None

    def _gone(self, error: BaseException | str) -> ClusterFailure:
        return ClusterFailure(f"the scheduler at {self._address} is gone: {error or type(error).__name__}")

    def _submit(self, task: Task, worker: str) -> Future:
        source, *more = task
        sent = elsewhere.absolute(source), *more
        self._seen = self._seen or elsewhere.seen(sent)
        where: dict[str, Any] = {"workers": [worker], "allow_other_workers": False, "pure": False}
        try:
            return self._client.submit(elsewhere.compute, self._work, sent, self._seen, **where)
        except Exception as error:
            raise self._gone(error) from None

    def _answer(self, future: Future, worker: str) -> list[Answer]:
        """Nothing if its worker was lost. Raises InputError and ClusterFailure."""
        try:
            answer: Answer | str = future.result(timeout=CONNECT_S)
        except (KilledWorker, TimeoutError):
            return []
        except CancelledError as error:  # with its scheduler
            raise self._gone(error) from None
        except Exception as error:  # what a task raises is in its answer
            raise ClusterFailure(f"worker {worker} cannot compute: {type(error).__name__}: {error}") from None
        if isinstance(answer, str):
            raise InputError("sweep", "--cluster", self._address, f"worker {worker} {answer}")
        return [answer]


class InWork(Generic[Answer]):
    """Tasks on their way: who computes which, what is to be done again."""

    def __init__(self, tasks: Iterable[tuple[int, Task]], lost: Answer) -> None:
        self._answer_lost = lost
        self.busy: dict[str, tuple[Future, int, Task]] = {}
        self.heard_s = time.monotonic()  # of any worker
        self._coming, self._again = iter(tasks), deque[tuple[int, Task]]()
        self._lost, self._failed = Counter[int](), list[int]()
        self._ended = SimpleQueue[str]()

    def more(self) -> bool:
        """Whether anything is left to do or to wait for. Has the next task at hand."""
        if not self._again and (task := next(self._coming, None)):
            self._again.append(task)
        return bool(self._again or self.busy or self._failed)

    def free(self, workers: list[str]) -> list[str]:
        """Those with nothing to do. Tasks whose worker is no longer among them are done again."""
        for worker in [worker for worker in self.busy if worker not in workers]:
            self._lose(worker)
        if workers:
            self.heard_s = time.monotonic()
        return [worker for worker in workers if worker not in self.busy]

    def give(self, worker: str, submit: Callable[[Task, str], Future]) -> None:
        """The next task, if there is one."""
        if self.more() and self._again:
            number, task = self._again.popleft()
            future = submit(task, worker)
            self.busy[worker] = (future, number, task)
            future.add_done_callback(lambda future: self._ended.put(worker))

    def answers(self, answer_of: Callable[[Future, str], list[Answer]]) -> Iterator[tuple[int, Answer]]:
        """What has ended, at the latest after LOOK_S."""
        for worker in self._told():
            if worker not in self.busy or not self.busy[worker][0].done():
                continue  # it was lost, and told of as it was given up
            future, number, _ = self.busy[worker]
            found = answer_of(future, worker)
            if not found:
                self._lose(worker)
            else:
                del self.busy[worker]
                yield number, found[0]
        while self._failed:
            yield self._failed.pop(), self._answer_lost

    def _told(self) -> list[str]:
        """Workers that have ended something."""
        found: list[str] = []
        with suppress(Empty):
            found.append(self._ended.get(timeout=0 if self._failed else LOOK_S))
            while True:
                found.append(self._ended.get_nowait())
        return found

    def _lose(self, worker: str) -> None:
        future, number, task = self.busy.pop(worker)
        future.cancel()
        self._lost[number] += 1
        if self._lost[number] < ATTEMPTS:
            self._again.append((number, task))
        else:
            self._failed.append(number)

    def cancel(self) -> None:
        """What nobody waits for any more; a task in work is computed to its end, and forgotten."""
        for future, _, _ in self.busy.values():
            future.cancel()
