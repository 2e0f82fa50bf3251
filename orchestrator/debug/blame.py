"""Why a request is not in a step, and who is to blame: read off the engine at the moment it decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..serving.interface import EngineView, Step
from ..serving.replica import Replica
from ..serving.request_state import RequestState

BUDGET = "max_num_batched_tokens"
NEXT = "its next step"  # what engines say where nothing is in the way


class Reason(NamedTuple):
    """What a request waits for. ``holders``: (request, KV blocks, places or prompt tokens) of those who have it.

    ``lasts``: it is so until the next decision, whether the engine computes or not.
    """

    text: str
    holders: tuple[tuple[int, int], ...] = ()
    lasts: bool = False


UNSEEN = Reason("for a step decided before it came")
COMING = Reason("for a step decided before its K and V were here")
FLYING = Reason("for its previous step, which is in flight")
TURN = Reason("for the engine's next step")


@dataclass(slots=True)
class Decision:
    """What an instance decided at ``at_ps``: of everybody it left out the reason; prompt tokens by request.

    ``tokens``: all that the step computes, decodes too; 0 where there is none.
    """

    at_ps: int
    reasons: dict[int, Reason] = field(default_factory=dict)
    prompts: dict[int, int] = field(default_factory=dict)
    tokens: int = 0


def decision(replicas: Sequence[Replica], steps: Sequence[Step | None], now_ps: int, only: int | None) -> Decision:
    """Of all requests, or ``only`` of one."""
    found = Decision(now_ps)
    for replica, step in zip(replicas, steps, strict=True):
        if step is not None:
            found.tokens += step.batch.tokens
            for chunk in step.prompt_chunks():
                number = chunk.state.request.id
                found.prompts[number] = found.prompts.get(number, 0) + chunk.tokens
        wanted = [state for state in replica.engine.requests() if only is None or state.request.id == only]
        computed = {state.request.id for state in step.members()} if step is not None and wanted else set()
        left_out = [state for state in wanted if state.request.id not in computed]
        if left_out:
            found.reasons.update(_reasons(replica, step, left_out))
    return found


def _reasons(replica: Replica, step: Step | None, left_out: Sequence[RequestState]) -> dict[int, Reason]:
    engine = replica.engine
    view = engine.view()
    blocks = tuple((state.request.id, engine.look(state).blocks) for state in engine.requests())
    holders = {
        "KV": tuple((number, held) for number, held in blocks if held),
        "a place": tuple((number, 1) for number in view.running),
    }
    prompts = tuple((chunk.state.request.id, chunk.tokens) for chunk in step.prompt_chunks()) if step else ()
    found = {}
    for state in left_out:
        seen = engine.look(state)
        number = state.request.id
        if seen.state in ("moving", "handed"):
            found[number] = COMING
        elif seen.waits_for not in ("", NEXT):
            found[number] = _named(seen.waits_for, "", holders)
        elif seen.state == "waiting" and view.blocked not in ("", NEXT) and view.waiting[0] != number:
            found[number] = _named(view.blocked, f"behind request {view.waiting[0]}, which waits ", holders)
        else:
            found[number] = _beaten(step, view, prompts, seen.state == "waiting")
    return found


def _named(waits_for: str, before: str, holders: dict[str, tuple[tuple[int, int], ...]]) -> Reason:
    """In the engine's words up to its figures, which change from step to step."""
    what = waits_for.partition(":")[0]
    who = next((held for begin, held in holders.items() if what.startswith(begin)), ())
    return Reason(f"{before}for {what}", who, lasts=True)


def _beaten(step: Step | None, view: EngineView, prompts: tuple[tuple[int, int], ...], waiting: bool) -> Reason:
    """By those who are in the step."""
    if step is None:
        return TURN if waiting else FLYING
    budget = view.config.get(BUDGET)
    if isinstance(budget, int) and step.batch.tokens - step.batch.padding >= budget:
        return Reason(f"for budget: {BUDGET} are in the step", prompts)
    if prompts:
        return Reason("for a step of others' prompts", prompts)
    return TURN if waiting else FLYING
