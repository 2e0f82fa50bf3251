"""Who is preempted when KV blocks run out."""

from __future__ import annotations

from itertools import islice

from ...errors import InputError
from ..interface import VictimPolicy
from .request_state import VllmRequestState


def victim(running: dict[int, VllmRequestState], leaving: set[int], policy: VictimPolicy | None) -> VllmRequestState:
    """The tail of the running, whatever it waits for, or whom the policy names; never one (``leaving``, by order) whose
    K and V another engine is about to fetch. Raises InputError if the policy names none of the running."""
    staying = (running[order] for order in reversed(running) if order not in leaving)
    if policy is None:
        return next(staying)
    chosen = policy.victim(list(staying)[::-1])
    if not isinstance(chosen, VllmRequestState) or chosen.order not in running:
        raise InputError("engine.scheduling_policy", "victim", chosen, "must be one of the running requests")
    return chosen


def come_last(some: dict[int, VllmRequestState], running: dict[int, VllmRequestState]) -> bool:
    """Whether these are the last of the running, both by order."""
    return all(order in some for order in islice(reversed(running), len(some)))
