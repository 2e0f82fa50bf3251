"""The instances of a run and what each is doing: serving, starting, leaving, failed, or not there at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Protocol

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


class WeightLoading(Protocol):
    """Brings an instance that starts its weights."""

    def has_peer(self, source: str, target: str) -> bool:
        """Whether one instance can get its weights from the other."""
        ...

    def load(self, source: str | None, target: str, goes_on: Callable[[], bool], done: Callable[[], None]) -> None:
        """From an instance, or from where they are kept; ``done`` when they are there, or soon after they are not
        wanted any more (``goes_on``)."""
        ...


class Member:
    """An instance: its replicas go up and down together.

    Attributes:
        name: in the scenario.
        start_ps: how long it takes to start; where its weights are loaded, until that begins.
        devices: (node, number) of its accelerators.
        state: what it is doing.
        broken: parts it needs that have failed and are not repaired.
        peer: the instance that its weights come from, while they do.
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
        self.peer: Member | None = None

    @property
    def empty(self) -> bool:
        """Whether it has no requests."""
        return not any(replica.requests() for replica in self.replicas)

    def starting(self, life: int) -> bool:
        """Whether that start of it is still going on."""
        return self.life == life and self.state is State.STARTING


class Fleet:
    """All instances, in the scenario's order; changes are told of by the hook ``instance_changed``.

    ``weights`` is None where loading them is part of the time a start takes.
    """

    def __init__(
        self,
        kernel: Kernel,
        members: Sequence[Member],
        dispatcher: Dispatcher,
        hooks: ServingHooks,
        weights: WeightLoading | None = None,
    ) -> None:
        self.members, self.weights = members, weights
        self._kernel, self._dispatcher, self._hooks = kernel, dispatcher, hooks
        dispatcher.all_serve = False

    def fail(self, member: Member) -> None:
        """It is gone, with all K and V; what it had is sent again, or fails."""
        member.broken += 1
        if member.state in (State.FAILED, State.OFF):
            return
        self._take_down(member, State.FAILED)

    def _take_down(self, member: Member, state: State) -> None:
        """No step begins, what it had is somebody else's business, its engines are empty."""
        self._set(member, state)
        member.peer = None
        for loop in member.loops:
            loop.stop()
        self._dispatcher.lose(member.replicas)
        for replica in member.replicas:
            replica.engine.stop()
            self._hooks.engine_idle(replica, self._kernel.now_ps)

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
        if self.weights is None:
            self._expect("up", member, member.start_ps, self._up)
        else:
            self._expect("loading", member, member.start_ps, self._load)

    def _expect(self, kind: str, member: Member, after_ps: int, act: Callable[[Member, int], None]) -> None:
        due, number = self._kernel.now_ps + after_ps, member.replicas[0].number
        self._kernel.in_background(due, Priority.ARRIVAL, 0, kind, number, partial(act, member, member.life))

    def _load(self, member: Member, life: int) -> None:
        """From the first instance that serves and has the same weights, else from where they are kept."""
        if not member.starting(life) or self.weights is None:
            return
        knows = self.weights.has_peer
        givers = (one for one in self.members if one.state in GIVES and knows(one.name, member.name))
        peer = member.peer = next(givers, None)
        goes_on = partial(_loads, member, life, peer, peer.life if peer else 0)
        loaded = partial(self._loaded, member, life, goes_on)
        self.weights.load(peer.name if peer else None, member.name, goes_on, loaded)

    def _loaded(self, member: Member, life: int, whole: Callable[[], bool]) -> None:
        """Nothing more comes from there; what a peer sent that was lost meanwhile is not whole."""
        if not member.starting(life):
            return
        if not whole():
            self._load(member, life)
            return
        member.peer = None
        self._expect("up", member, 0, self._up)

    def _up(self, member: Member, life: int) -> None:
        if not member.starting(life):
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


def _loads(member: Member, life: int, peer: Member | None, its_life: int) -> bool:
    """Whether that start of an instance still gets its weights from that life of a peer."""
    return member.starting(life) and (peer is None or (peer.life == its_life and peer.state in GIVES))


#: Who has its weights on its devices.
GIVES = (State.SERVING, State.DRAINING)
#: Where prompts are computed elsewhere, a request waits for a decode instance that soon serves if none does.
STANDING = {
    State.SERVING: Standing.SERVES,
    State.STARTING: Standing.WILL_SERVE,
    State.FAILED: Standing.WILL_SERVE,
    State.DRAINING: Standing.LEAVES,
    State.OFF: Standing.LEAVES,
}
