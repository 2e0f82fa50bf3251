"""What a router sees that is told of loads now and then only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from ...kernel.loop import Kernel
from ...kernel.queue import Priority
from ...workload.request import Request
from ..replica import Replica
from ..router import Router, choose


class Report(NamedTuple):
    """What a replica tells: its requests, waiting and running, prompt tokens that wait, and its share of KV blocks."""

    waiting: int
    running: int
    queued_tokens: int
    kv_use: float

    @classmethod
    def of(cls, replica: Replica) -> Report:
        return cls(*replica.load, replica.queued_tokens, replica.kv_use)


#: From own reports at a time (ps) to those of all, by replica.
Exchange = Callable[[int, Mapping[int, Report]], Mapping[int, Report]]


class Reported(Replica):
    """A replica as it was when it reported last; what is in its prefix cache is seen as it is."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica.name, replica.number, replica.engine, replica.servers, replica.model)
        self.replica = replica
        self.last = Report.of(replica)

    @property
    def load(self) -> tuple[int, int]:
        return self.last.waiting, self.last.running

    @property
    def queued_tokens(self) -> int:
        return self.last.queued_tokens

    @property
    def kv_use(self) -> float:
        return self.last.kv_use


class ReportingRouter:
    """``router`` chooses by reports that come every ``period_ps``, from time 0 on.

    Where other parts of the run have the replicas ``elsewhere``, ``exchange`` gives their reports for ours. ``count``:
    how often there were reports.
    """

    def __init__(self, kernel: Kernel, router: Router, replicas: Sequence[Replica], period_ps: int) -> None:
        self._kernel, self.router, self._period = kernel, router, period_ps
        self._seen = {replica.number: Reported(replica) for replica in replicas}
        self.elsewhere: Collection[int] = ()
        self.exchange: Exchange = lambda now_ps, reports: reports
        self.count = 0

    def start(self) -> None:
        due = self._kernel.now_ps + self._period
        self._kernel.in_background(due, Priority.ARRIVAL, 0, "report", 0, self._report)

    def _report(self) -> None:
        mine = {number: Report.of(one.replica) for number, one in self._seen.items() if number not in self.elsewhere}
        for number, report in self.exchange(self._kernel.now_ps, mine).items():
            self._seen[number].last = report
        self.count += 1
        self.start()

    def seen(self) -> dict[str, dict[str, object]]:
        """What the router sees now, by replica."""
        return {
            replica.name: {"load": list(replica.load), "queued_tokens": replica.queued_tokens, "kv_use": replica.kv_use}
            for replica in self._seen.values()
        }

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        chosen = choose(self.router, request, [self._seen[replica.number] for replica in replicas])
        return next(replica for replica in replicas if replica.number == chosen.number)
