"""Those who look on: `Instrument` says what they can be told of; recorder, trace and progress are of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..kernel.queue import Event
    from ..lowering.work import Work
    from ..serving.hooks import LeaptSteps
    from ..serving.interface import Step
    from ..serving.offloading import TierCopy
    from ..serving.replica import Replica
    from ..serving.request_state import RequestState


class Instrument:
    """Everything there is to be told of. Any object with some of these methods is an instrument; it need not derive
    from this class, and is called for those it has only. Times are picoseconds, energies picojoules.

    An instrument looks and changes nothing. One that raises is dropped with a message, and the run goes on.
    With ``rewinds = True`` it is copied with the run when a debugger goes back in time.
    """

    rewinds = False

    def event(self, event: Event) -> None:
        """An event is about to act: its time, kind, what it is about and which event caused it."""

    def request_arrived(self, state: RequestState, now_ps: int) -> None:
        """A request has been sent to the replica that its ``place`` names."""

    def request_received(self, state: RequestState, now_ps: int) -> None:
        """It is in the engine's queue."""

    def prompt_computed(self, state: RequestState, now_ps: int) -> None:
        """Its first token is out, and another replica is to decode it."""

    def request_ended(self, state: RequestState) -> None:
        """Its last token is, or will be at its ``end_ps``, with the client."""

    def request_failed(self, state: RequestState, why: str, text: str, now_ps: int) -> None:
        """It was refused, or its client gave it up; ``why`` in a word, ``text`` in full."""

    def request_lost(self, state: RequestState, now_ps: int) -> None:
        """The replica that had it has failed; it is sent again, or fails."""

    def instance_changed(self, instance: str, state: str, now_ps: int) -> None:
        """One that does not always serve does that from now on: serving, draining, starting, failed or off."""

    def scheduled(
        self, instance: str, number: int, replicas: Sequence[Replica], steps: Sequence[Step | None], now_ps: int
    ) -> None:
        """Engines have decided who is in step ``number`` (None: nobody of that replica), and stand as they decided."""

    def step_launched(self, instance: str, number: int, now_ps: int, starts_ps: int, requests: Sequence[int]) -> None:
        """A step of an instance begins; its operations start at ``starts_ps``, when its inputs are there."""

    def step_landed(self, instance: str, number: int, now_ps: int, energy_pj: int) -> None:
        """It is done, with all its members."""

    def engine_stepped(self, replica: Replica, step: Step, energy_pj: int, now_ps: int, delivered_ps: int) -> None:
        """One engine's part of a step is done; its tokens are with their clients at ``delivered_ps``."""

    def engine_leapt(self, replica: Replica, steps: LeaptSteps) -> None:
        """The same of consecutive steps at once, in which nobody came or went. Only where all who are told of
        `engine_stepped` have this too, and nobody is told of events, schedules, steps or operations one by one."""

    def engine_idle(self, replica: Replica, now_ps: int) -> None:
        """An engine finds nothing to compute, and holds what it holds until it is told something; or it has failed."""

    def transfer_began(self, request: int, source: str, target: str, now_ps: int) -> None:
        """K and V of a request begin to move between two replicas."""

    def transfer_ended(self, request: int, now_ps: int) -> None:
        """Nothing of it moves any more."""

    def tier_hit(self, tier: str, chunks: int, now_ps: int) -> None:
        """So many chunks of a tier, by name, have been found and are to be recalled."""

    def tier_waited(self, tier: str, took_ps: int, now_ps: int) -> None:
        """A request, or a step, has waited so long for copies from a tier or to it, and goes on now."""

    def tier_copy_began(self, copy: TierCopy) -> None:
        """K and V begin to move between an engine's devices and a pool off them."""

    def tier_copy_ended(self, copy: TierCopy) -> None:
        """They are there."""

    def operation_began(self, component: str, now_ps: int) -> None:
        """An operation has been handed to a component that shares the clock."""

    def operation_ended(self, component: str, now_ps: int) -> None:
        """Such an operation is done."""

    def operation_numbers(self, items: Sequence[Work], values: Sequence[int], times: Sequence[float]) -> None:
        """The numbers that all the operations take that `operations` or `operations_folded` tells of next, and how many
        times as long as one alone each of them lasts."""

    def operation_parts(self, items: Sequence[Work], took_ps: Sequence[int]) -> None:
        """What each of the operations takes that `operations` or `operations_folded` tells of next, by an oracle."""

    def operations(
        self,
        instance: str,
        step: int,
        member: int,
        component: str,
        items: Sequence[Work],
        start_ps: int,
        took_ps: int,
    ) -> None:
        """What a component does for a member of a step, one operation after another, then what is done beside them;
        told as soon as it is known, which may be before it has happened."""

    def operations_folded(
        self, instance: str, step: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        """All repetitions of operations that alternate with chained collectives: their sum, from the first's start."""

    def energy_spent(self, instance: str, step: int, component: str, energy_pj: int) -> None:
        """What a component has spent on a step; told when that is done."""

    def sent(self, work: Work, start_ps: int, took_ps: int) -> None:
        """K and V, or weights of an instance that starts, have gone one way."""

    def weights_began(self, instance: str, work: Work, size: int, now_ps: int) -> None:
        """``size`` bytes of weights begin to come to each of its devices from off them, for a step."""

    def weights_ended(self, instance: str, work: Work, size: int, start_ps: int, now_ps: int) -> None:
        """They are there."""
