"""What `vllm serve` takes where it is not told, by device: ``EngineArgs.get_batch_defaults`` and
``_set_default_max_num_seqs_and_batched_tokens_args`` in `vllm/engine/arg_utils.py` (0.19.0; the same in 0.11).

Large budgets go to devices of 70 GiB and more but not to A100s, which lose throughput by them
(vllm-project/vllm pull request 17885). TPUs report no memory there and have budgets of their own.
"""

from __future__ import annotations

from typing import Any

from ..options import EngineOptions
from ..spec import DeviceFacts

LARGE_BYTES = 70 * 2**30
LARGE, SMALL = (8192, 1024), (2048, 256)  # max_num_batched_tokens, max_num_seqs
TPU_TOKENS = {"tpu-v6e": 1024, "tpu-v5e": 512, "tpu-v5p": 256}


def resolve(options: EngineOptions, device: DeviceFacts) -> EngineOptions:
    """The flags with nothing left open."""
    large = device.memory_bytes >= LARGE_BYTES and "a100" not in device.name and not device.name.startswith("tpu-")
    tokens, sequences = LARGE if large else SMALL
    tokens = TPU_TOKENS.get(device.name, tokens)
    change: dict[str, Any] = {}
    if options.max_num_seqs is not None:
        sequences = options.max_num_seqs
    if options.max_num_batched_tokens is not None:
        tokens = options.max_num_batched_tokens
    else:
        if not getattr(options, "enable_chunked_prefill", True):
            tokens = max(device.max_model_len, tokens)
        tokens = change["max_num_batched_tokens"] = min(sequences * device.max_model_len, tokens)
    if options.max_num_seqs is None:
        change["max_num_seqs"] = min(sequences, tokens)
    return options.model_copy(update=change)
