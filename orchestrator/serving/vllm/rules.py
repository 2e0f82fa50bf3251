"""In what releases of vLLM schedule differently, as data. What is not here all of them do alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Those of 0.19 by default. Sources are of 0.33 (`v1/core/sched/scheduler.py`, schedule, where no other is named).

    Attributes:
        lone_prompts_whole: a request that is alone is not held to ``long_prefill_token_threshold``.
        carries_on: with priorities the running behind one that preempted itself are still looked at, and nobody is
            passed over for the place of another that was preempted (``victim_index``).
        nameless_first: free blocks that cannot be found by a hash are the next to be taken, the last given back first
            (`v1/core/block_pool.py`, free_blocks).
        passes_by: whoever waits and cannot start for now (its images have no room, a token of it is on its way) does
            not hold up those behind it (``skip_request``).
        holders_first: whose K and V come from elsewhere, and has blocks for them, is looked at before all others, also
            with priorities (``kv_holding_waiting``).
        reserves: K and V come from elsewhere only if blocks remain for the rest of all prompts that have begun
            (``_inflight_prefill_reserved_blocks``).
        keeps_images: an image is let go when a step has ended, not when one is put together (`KeptImages`).
        staggers: with asynchronous scheduling and pipeline stages a request is in every so many-th step alone, and one
            more step is in flight than there are stages (`v1/core/sched/async_scheduler.py`, _update_after_schedule;
            `config/vllm.py`, max_concurrent_batches).
        fences: where K and V come from elsewhere, blocks are free when no step in flight writes them (`Fences`).
    """

    lone_prompts_whole: bool = False
    carries_on: bool = False
    nameless_first: bool = False
    passes_by: bool = False
    holders_first: bool = False
    reserves: bool = False
    fences: bool = False
    keeps_images: bool = False
    staggers: bool = False


def rules_of(version: str) -> Rules:
    """Of an engine's version, ``vllm-0.33``, or a release, ``vllm@0.33.0``."""
    _, major, minor, *_ = [*version.replace("@", "-").replace("-", ".").split("."), "", ""]
    return V33 if (major, minor) == ("0", "33") else V19


V19 = Rules()
V33 = Rules(
    lone_prompts_whole=True,
    carries_on=True,
    nameless_first=True,
    passes_by=True,
    holders_first=True,
    reserves=True,
    fences=True,
    keeps_images=True,
    staggers=True,
)
