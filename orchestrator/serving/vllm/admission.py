"""What of a waiting request is computed in the step being put together (`v1/core/sched/scheduler.py`, 0.19)."""

from __future__ import annotations

from ..kv.cache import Hit, KvCache
from .config import SchedulerConfig
from .encoder_cache import EncoderCache
from .request_state import VllmRequestState


def fitting(
    config: SchedulerConfig, cache: KvCache, encoder: EncoderCache, sequence: VllmRequestState, budget: int, hit: Hit
) -> int | None:
    """Tokens after those computed: 0 if an image comes next that does not fit, None if its blocks or an unbroken
    prompt do not.

    ``hit``: blocks it has already. Images are then chosen to be encoded with the step.
    """
    wanted = config.wanted(sequence)
    if not config.enable_chunked_prefill and wanted > budget:
        return None
    if not (tokens := encoder.reach(sequence, min(wanted, budget))):
        return 0
    reserves = config.scheduler_reserve_full_isl
    if cache.fits(sequence.num_tokens if reserves else sequence.num_computed_tokens + tokens, hit):
        return tokens
    encoder.release(sequence)
    return None
