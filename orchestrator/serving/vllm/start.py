"""What vLLM 0.19 refuses to start with, and why."""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from ...workload.request import Request
from ..spec import Start


def refuse_start(options: Any, start: Start) -> tuple[str, object, str] | None:
    """(flag, its value, what is allowed) of the first rule that is broken; None if it starts.

    Sources: `vllm/config/model.py` (get_and_verify_max_len), `config/scheduler.py` (verify_max_model_len),
    `v1/core/kv_cache_utils.py` (check_enough_kv_cache_memory, which looks at the memory and not at
    num_gpu_blocks_override), `v1/attention/backends/flash_attn.py` (kernel block sizes).
    """
    length, budget, block = start.max_model_len, options.max_num_batched_tokens, options.block_size
    if length > start.max_positions:
        return "max_model_len", length, f"at most the model's own {start.max_positions}"
    if not options.enable_chunked_prefill and budget < length:
        allowed = f"at least max_model_len ({length}) without chunked prefill: longer prompts could never run"
        return "max_num_batched_tokens", budget, allowed
    if budget < options.max_num_seqs:
        return "max_num_batched_tokens", budget, f"at least max_num_seqs ({options.max_num_seqs})"
    if block % 16:
        return "block_size", block, "a multiple of 16: attention kernels have no other"
    if start.blocks * block < length:
        room = start.blocks * block
        allowed = f"the KV cache has room for {room} tokens, less than one sequence: give max_model_len of at most that"
        return "max_model_len", length, allowed
    return None


def refuse_request(
    request: Request, outputs: int, name: str, max_model_len: int, num_blocks: int, block_size: int, along: int = 0
) -> None:
    """Raises InputError for a request of so many output tokens that the engine of that name can never serve; beside its
    prompt ``along`` tokens have blocks from the start."""
    tokens = request.input_tokens + outputs
    held = max(tokens - 1, request.input_tokens + along)  # the last token's K and V are never computed
    need, where = -(-held // block_size), f"request {request.id}"
    if tokens > max_model_len:
        limit = f"instance {name} takes at most {max_model_len} (max_model_len)"
        raise InputError(where, "input + output tokens", tokens, limit)
    if need > num_blocks:
        limit = f"instance {name} has {num_blocks} blocks of {block_size} tokens"
        raise InputError(where, "KV blocks", need, limit)
