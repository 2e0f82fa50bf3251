"""In which order requests that wait are admitted, and who is preempted; the user's own as ``module:Class``."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from ..units import PS_PER_MS
from .interface import AdmissionPolicy, VictimPolicy
from .own import make_own
from .request_state import RequestState


class Priority:
    """vLLM's ``--scheduling-policy priority``: the smallest number first, then who came first. Who is preempted is
    the last of that order among the running (`vllm/v1/core/sched/scheduler.py`)."""

    def key(self, state: RequestState) -> tuple[int, int]:
        return state.request.priority, state.request.arrival_ps

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        return max(running, key=lambda state: (*self.key(state), state.request.id))


class ShortestJobFirst:
    """The request with fewest tokens first, prompt and output together: what an oracle of lengths could do."""

    def key(self, state: RequestState) -> int:
        return state.request.input_tokens + state.request.output_tokens


class Deadline:
    """Earliest deadline first: a request's is its arrival plus the TTFT that is promised."""

    def __init__(self, ttft_ms: float) -> None:
        self._ttft_ps = round(ttft_ms * PS_PER_MS)

    def key(self, state: RequestState) -> int:
        return state.request.arrival_ps + self._ttft_ps


POLICIES = ("fcfs", "priority", "shortest-job-first", "deadline")


def make_policies(where: str, name: str, ttft_ms: float | None) -> tuple[AdmissionPolicy | None, VictimPolicy | None]:
    """How to admit and whom to preempt under that name; None leaves it to the engine (first come first served, the
    last admitted).

    ``ttft_ms`` is the scenario's promise. A class of the user's has ``key(state)``, and ``victim(running)`` if it
    also chooses whom to preempt. Raises InputError.
    """
    if name == "fcfs":
        return None, None
    if name == "priority":
        return Priority(), Priority()
    if name == "shortest-job-first":
        return ShortestJobFirst(), None
    if name == "deadline":
        if ttft_ms is None:
            raise InputError("scenario", f"{where}.scheduling_policy", name, "needs slo.ttft_ms to make deadlines of")
        return Deadline(ttft_ms), None
    made = make_own(f"{where}.scheduling_policy", name, POLICIES, "key(state)")
    return made, made if callable(getattr(made, "victim", None)) else None
