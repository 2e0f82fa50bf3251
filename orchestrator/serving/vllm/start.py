"""What vLLM 0.19 refuses to start with, and why."""

from __future__ import annotations

from typing import Any

from ...errors import InputError
from ...workload.request import Request
from ..spec import EngineSpec, Start


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
    if block % start.block_step:
        return "block_size", block, f"a multiple of {start.block_step}: attention kernels have no other"
    if start.blocks < start.longest:
        room = start.blocks * length // start.longest // block * block
        allowed = f"the KV cache has room for {room} tokens, less than one sequence: give max_model_len of at most that"
        return "max_model_len", length, allowed
    return None


def refuse_request(request: Request, outputs: int, need: int, spec: EngineSpec) -> None:
    """Raises InputError for a request of so many output tokens and KV blocks that this engine can never serve."""
    if (most := max((image.tokens for image in request.images), default=0)) > spec.encoder_tokens:
        limit = f"instance {spec.name} takes images of at most {spec.encoder_tokens} tokens"
        none = f"instance {spec.name} has no encoder of images"
        raise InputError(f"request {request.id}", "image tokens", most, limit if spec.encoder_tokens else none)
    tokens, where = request.input_tokens + outputs, f"request {request.id}"
    if tokens > spec.max_model_len:
        limit = f"instance {spec.name} takes at most {spec.max_model_len} (max_model_len)"
        raise InputError(where, "input + output tokens", tokens, limit)
    if need > spec.num_blocks:
        limit = f"instance {spec.name} has {spec.num_blocks} blocks of {spec.options.block_size} tokens"
        raise InputError(where, "KV blocks", need, limit)
