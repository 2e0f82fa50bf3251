"""Looks at a pool of replicas now and then, and starts or drains some."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import BadAnswer
from ...kernel.loop import Kernel
from ...kernel.queue import Priority
from ...units import PS_PER_MS, PS_PER_S
from ..request_state import RequestState
from .fleet import Fleet, Member, State
from .scaling import PoolView, ScalingPolicy

if TYPE_CHECKING:
    from .options import Autoscaling


class Autoscaler:
    """Of the replicas of one instance, ``members``; ``number`` is its place in the scenario's list."""

    def __init__(
        self,
        kernel: Kernel,
        fleet: Fleet,
        number: int,
        members: Sequence[Member],
        options: Autoscaling,
        policy: ScalingPolicy,
        ttft_limit_ms: float | None,
    ) -> None:
        self._kernel, self._fleet, self._number = kernel, fleet, number
        self._members, self._options, self._policy = members, options, policy
        self._limit = ttft_limit_ms
        self._period = round(options.period_s * PS_PER_S)
        self._places = {replica.number for member in members for replica in member.replicas}
        self._ttft_ms: list[float] = []  # of requests that ended since the last look
        self._wished: deque[tuple[int, int]] = deque()  # (when, how many) within the patience

    def start(self) -> None:
        """Those beyond the least are not there at time 0."""
        for member in self._members[self._options.min_replicas :]:
            self._fleet.switch_off(member)
        self._expect()

    def request_ended(self, state: RequestState) -> None:
        if state.place in self._places:
            self._ttft_ms.append((state.first_token_ps - state.request.arrival_ps) / PS_PER_MS)

    def _expect(self) -> None:
        due = self._kernel.now_ps + self._period
        self._kernel.in_background(due, Priority.ARRIVAL, 0, "scale", self._number, self._look)

    def _in(self, *states: State) -> list[Member]:
        return [member for member in self._members if member.state in states]

    def view(self) -> PoolView:
        """What the policy sees now."""
        serving = [replica for member in self._in(State.SERVING) for replica in member.replicas]
        loads = [replica.load for replica in serving]
        return PoolView(
            self._kernel.now_ps,
            len(self._in(State.SERVING)),
            len(self._in(State.STARTING)),
            sum(waiting for waiting, _ in loads),
            sum(running for _, running in loads),
            sum(replica.kv_use for replica in serving) / len(serving) if serving else 0.0,
            tuple(self._ttft_ms),
            self._limit,
        )

    def _look(self) -> None:
        for member in self._in(State.DRAINING):
            self._fleet.drained(member)
        wish = self._policy.desired(self.view())
        if type(wish) is not int:
            raise BadAnswer(self._policy, "desired", wish, "a whole number of replicas")
        self._ttft_ms.clear()
        now = self._kernel.now_ps
        self._wished.append((now, max(self._options.min_replicas, min(wish, len(self._members)))))
        while self._wished[0][0] < now - round(self._options.scale_down_after_s * PS_PER_S):
            self._wished.popleft()
        self._go_to(self._wished[-1][1], max(count for _, count in self._wished))
        self._expect()

    def _go_to(self, least: int, most: int) -> None:
        """More at once; fewer only down to what was wished for lately."""
        there = self._in(State.SERVING, State.STARTING)
        for member in (*self._in(State.DRAINING), *self._in(State.OFF))[: max(0, least - len(there))]:
            if member.state is State.DRAINING:
                self._fleet.keep(member)
            else:
                self._fleet.start(member)
        for member in there[::-1][: max(0, len(there) - most)]:
            if member.state is State.STARTING and member.empty:
                self._fleet.switch_off(member)
            elif member.state is State.SERVING:
                self._fleet.drain(member)
