"""What instruments are told of the serving side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..kernel.instrument import Hook, Hooks
from .interface import Step
from .offloading import TierCopy
from .replica import Replica
from .request_state import RequestState


class LeaptSteps(NamedTuple):
    """Consecutive steps of one engine, in which all requests it has there decode; columns have an entry a step.

    Attributes:
        slot: as of `Step`.
        tokens: output tokens of each step.
        ends_ps, delivered_ps: when each ended, and when its tokens were with their clients.
        used_blocks, cached_blocks: KV blocks held at its end, and free ones that can be found; () where not known.
        energies_pj: what each took.
    """

    slot: int
    tokens: int
    ends_ps: Sequence[int]
    delivered_ps: Sequence[int]
    used_blocks: Sequence[int]
    energies_pj: Sequence[int]
    cached_blocks: Sequence[int] = ()


class ServingHooks(Hooks):
    """Times are picoseconds.

    Attributes:
        request_arrived: (request, now): it has been sent to the replica that its ``place`` names.
        request_received: (request, now): it is in the engine's queue.
        prompt_computed: (request, now): its first token is out, and another replica is to decode it.
        request_failed: (request, reason in a word, in full, now): it was refused, or its client gave it up.
        request_ended: (request): its last token is, or will be at its ``end_ps``, with the client.
        scheduled: (instance, number of the step to come, its replicas, what each of them computes in it, now).
        step_launched: (instance, number of the step, now, when its operations start, requests computed in it).
        step_landed: (instance, number of the step, now, energy in pJ): all its members' parts of it are done.
        engine_stepped: (replica, step, energy in pJ, now, when its tokens are with their clients): of each member.
        engine_leapt: (replica, `LeaptSteps`): the same of several steps at once, in columns. Where somebody listens to
            steps and not to this, or to anything else of each step, every step is told of for itself.
        engine_idle: (replica, now): it finds nothing to compute, as it is now; or it has failed.
        request_lost: (request, now): the replica that had it has failed; it is sent again, or fails.
        instance_changed: (instance, what it does from now on, now): `fleet.State`, of one that does not always serve.
        transfer_began: (request, source, target, now): K and V of it begin to move between two replicas.
        transfer_ended: (request, now): nothing of it moves any more.
        tier_hit: (tier, chunks, now): so many chunks of its are to be recalled.
        tier_waited: (tier, how long, now): a request, or a step, has waited for copies from it or to it, up to now.
        tier_copy_began, tier_copy_ended: (the copy): K and V between devices and a pool off them.
    """

    request_arrived: Hook[[RequestState, int]]
    request_received: Hook[[RequestState, int]]
    prompt_computed: Hook[[RequestState, int]]
    request_failed: Hook[[RequestState, str, str, int]]
    request_ended: Hook[[RequestState]]
    scheduled: Hook[[str, int, Sequence[Replica], Sequence[Step | None], int]]
    step_launched: Hook[[str, int, int, int, Sequence[int]]]
    step_landed: Hook[[str, int, int, int]]
    engine_stepped: Hook[[Replica, Step, int, int, int]]
    engine_leapt: Hook[[Replica, LeaptSteps]]
    engine_idle: Hook[[Replica, int]]
    request_lost: Hook[[RequestState, int]]
    instance_changed: Hook[[str, str, int]]
    transfer_began: Hook[[int, str, str, int]]
    transfer_ended: Hook[[int, int]]
    tier_hit: Hook[[str, int, int]]
    tier_waited: Hook[[str, int, int]]
    tier_copy_began: Hook[[TierCopy]]
    tier_copy_ended: Hook[[TierCopy]]

    def in_columns(self) -> bool:
        """Whether nobody wants to be told of every step for itself."""
        return not (self.scheduled.listeners or self.step_launched.listeners or self.step_landed.listeners) and len(
            self.engine_leapt.listeners
        ) == len(self.engine_stepped.listeners)
