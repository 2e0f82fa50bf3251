"""The instances of a run and what each is doing: serving, starting, leaving, failed, or not there at all."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import partial

from ...kernel.loop import Kernel
from ...kernel.queue import Priority
from ..dispatcher import Dispatcher
from ..hooks import ServingHooks
from ..loop import StepLoop
from ..replica import Replica, Standing


class State(StrEnum):
    """What an instance is doing."""

    SERVING = "serving"
    DRAINING = "draining"
    STARTING = "starting"
    FAILED = "failed"
    OFF = "off"


class Member:
    """An instance: its replicas go up and down together.

    Attributes:
        name: in the scenario.
        start_ps: how long it takes to start.
        devices: (node, number) of its accelerators.
        state: what it is doing.
        broken: parts it needs that have failed and are not repaired.
    """

    def __init__(
        self,
        name: str,
        replicas: Sequence[Replica],
        loops: Sequence[StepLoop],
        devices: Sequence[tuple[str, int]],
        start_ps: int,
    ) -> None:
        self.name, self.replicas, self.loops = name, replicas, loops
        self.devices, self.start_ps = devices, start_ps
        self.state = State.SERVING
        self.broken = 0
        self.life = 0  # starts so far: one that was cut short counts for nothing

    @property
    def empty(self) -> bool:
        """Whether it has no requests."""
        return not any(replica.requests() for replica in self.replicas)


class Fleet:
    """All instances, in the scenario's order; changes are told of by the hook ``instance_changed``."""

    def __init__(self, kernel: Kernel, members: Sequence[Member], dispatcher: Dispatcher, hooks: ServingHooks) -> None:
        self.members = members
        self._kernel, self._dispatcher, self._hooks = kernel, dispatcher, hooks

    def fail(self, member: Member) -> None:
        """It is gone, with all K and V; what it had is sent again, or fails."""
        member.broken += 1
        if member.state in (State.FAILED, State.OFF):
            return
        self._take_down(member, State.FAILED)

    def _take_down(self, member: Member, state: State) -> None:
        """No step begins, what it had is somebody else's business, its engines are empty."""
        self._set(member, state)
        for loop in member.loops:
            loop.stop()
        self._dispatcher.lose(member.replicas)
        for replica in member.replicas:
            replica.engine.stop()

    def repair(self, member: Member) -> None:
        """One of the parts it lacked is there again; if that was the last, it starts."""
        member.broken -= 1
        if not member.broken and member.state is State.FAILED:
            self.start(member)

    def start(self, member: Member) -> None:
        """Of one that is off or has failed, once nothing it needs is broken."""
        if member.broken:
            self._set(member, State.FAILED)  # it starts when it is repaired
            return
        member.life += 1
        self._set(member, State.STARTING)
        up = partial(self._up, member, member.life)
        due = self._kernel.now_ps + member.start_ps
        self._kernel.in_background(due, Priority.ARRIVAL, 0, "up", member.replicas[0].number, up)

    def _up(self, member: Member, life: int) -> None:
        if member.life != life or member.state is not State.STARTING:
            return
        self._set(member, State.SERVING)
        for replica in member.replicas:
            replica.engine.restart()
        for loop in member.loops:
            loop.start()
        self._dispatcher.resume()

    def drain(self, member: Member) -> None:
        """It takes no more requests, and is off when it has none."""
        self._set(member, State.DRAINING)
        self.drained(member)

    def drained(self, member: Member) -> None:
        """Switch one off that is draining and has nothing left to do."""
        if member.state is State.DRAINING and member.empty:
            self.switch_off(member)

    def keep(self, member: Member) -> None:
        """One that was draining serves on."""
        self._set(member, State.SERVING)
        self._dispatcher.resume()

    def switch_off(self, member: Member) -> None:
        """It is not there; of one without requests."""
        member.life += 1
        self._take_down(member, State.OFF)

    def _set(self, member: Member, state: State) -> None:
        member.state = state
        standing = STANDING[state]
        for replica in member.replicas:
            replica.standing = standing
        if self._hooks.instance_changed.listeners:
            self._hooks.instance_changed(member.name, state.value, self._kernel.now_ps)


#: Where prompts are computed elsewhere, a request waits for a decode instance that soon serves if none does.
STANDING = {
    State.SERVING: Standing.SERVES,
    State.STARTING: Standing.WILL_SERVE,
    State.FAILED: Standing.WILL_SERVE,
    State.DRAINING: Standing.LEAVES,
    State.OFF: Standing.LEAVES,
}
