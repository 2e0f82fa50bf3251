"""In which order SGLang looks at waiting requests (`managers/schedule_policy.py`, 0.5.5)."""

from __future__ import annotations

import random

from ..interface import AdmissionPolicy
from .memory import Memory
from .radix_cache import RadixCache
from .request_state import SglangRequestState

#: a longer queue is taken first come first served: looking every request up costs too much
LONGEST_SORTED_QUEUE = 128
#: who has hit no more than that is looked up among the others that wait, too, ...
CHECK_THRESHOLD = 32
#: ... and put off if he shares as much with one of them, who is computed first so that the others can hit it
DEPRIORITIZE_THRESHOLD = 32

POLICIES = ("fcfs", "lpm", "lof", "random")


class SchedulePolicy:
    """Sorts the waiting queue in place before every prefill batch.

    ``lpm``: longest cached prefix first; ``lof``: longest output first; ``random``: seeded. Without a prefix cache
    ``lpm`` is ``fcfs``. ``admission`` is a policy of the scenario's, in place of all these.
    """

    def __init__(self, name: str, memory: Memory, seed: int, admission: AdmissionPolicy | None = None) -> None:
        self._name = "fcfs" if name == "lpm" and not memory.caching else name
        self._memory, self._admission = memory, admission
        self._random = random.Random(seed)

    def sort(self, waiting: list[SglangRequestState]) -> None:
        if self._admission is not None:
            waiting.sort(key=self._admission.key)
        elif self._name == "lof":
            waiting.sort(key=lambda state: -state.request.output_tokens)
        elif self._name == "random":
            self._random.shuffle(waiting)
        elif self._name == "lpm" and len(waiting) <= LONGEST_SORTED_QUEUE:
            self._longest_prefix_first(waiting)

    def _longest_prefix_first(self, waiting: list[SglangRequestState]) -> None:
        put_off: set[int] = set()
        among = RadixCache(1)
        hits: dict[int, int] = {}
        for state in waiting:
            ids, number = state.token_ids, state.request.id
            hits[number] = self._memory.tree.match(ids, state.num_tokens)[0]
            if hits[number] <= CHECK_THRESHOLD:
                shared, _ = among.match(ids, state.num_tokens)
                if shared >= DEPRIORITIZE_THRESHOLD:
                    put_off.add(number)
                else:
                    among.insert(ids, state.num_tokens)
        waiting.sort(key=lambda s: (s.request.id in put_off, -hits[s.request.id] if s.request.id not in put_off else 0))
