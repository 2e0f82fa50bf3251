"""What a scheduler is told."""

from __future__ import annotations

from dataclasses import dataclass

from ..request_state import RequestState


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """vLLM's scheduler flags, by their names there."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    long_prefill_token_threshold: int = 0  # 0 = no limit
    block_size: int = 16
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    scheduler_reserve_full_isl: bool = True
    async_scheduling: bool = False

    def wanted(self, sequence: RequestState) -> int:
        """Tokens of its prompt that it would compute in a step."""
        tokens = sequence.num_tokens - sequence.num_computed_tokens
        threshold = self.long_prefill_token_threshold
        return min(tokens, threshold) if threshold else tokens
