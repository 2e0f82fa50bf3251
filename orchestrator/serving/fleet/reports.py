"""What a router sees that is told of loads now and then only."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernel.loop import Kernel
from ...kernel.queue import Priority
from ...workload.request import Request
from ..replica import Replica
from ..router import Router, choose


class Reported(Replica):
    """A replica as it was when it reported last; what is in its prefix cache is seen as it is."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica.name, replica.number, replica.engine, replica.servers, replica.model)
        self.replica = replica
        self.report()

    def report(self) -> None:
        """As it is now."""
        self._load, self._queued, self._kv = self.replica.load, self.replica.queued_tokens, self.replica.kv_use

    @property
    def load(self) -> tuple[int, int]:
        return self._load

    @property
    def queued_tokens(self) -> int:
        return self._queued

    @property
    def kv_use(self) -> float:
        return self._kv


class ReportingRouter:
    """``router`` chooses by reports that come every ``period_ps``, from time 0 on."""

    def __init__(self, kernel: Kernel, router: Router, replicas: Sequence[Replica], period_ps: int) -> None:
        self._kernel, self.router, self._period = kernel, router, period_ps
        self._seen = {replica.number: Reported(replica) for replica in replicas}

    def start(self) -> None:
        due = self._kernel.now_ps + self._period
        self._kernel.in_background(due, Priority.ARRIVAL, 0, "report", 0, self._report)

    def _report(self) -> None:
        for replica in self._seen.values():
            replica.report()
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
