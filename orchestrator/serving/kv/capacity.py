"""How many KV blocks fit beside the weights."""

from __future__ import annotations

from ...errors import InputError


def num_blocks(
    where: str, model: str, memory_bytes: int, utilization: float, weights: int, token_bytes: int, block_size: int
) -> int:
    """Blocks of ``block_size`` tokens in what the weights leave of one device's share of memory.

    ``weights`` and ``token_bytes`` (K and V of a token) are those of one device. Raises InputError with
    the sums if the model does not fit.
    """
    budget = int(memory_bytes * utilization)
    block = token_bytes * block_size
    blocks = (budget - weights) // block
    if blocks < 1:
        gib = 2**30
        raise InputError(
            where,
            "model",
            model,
            f"does not fit: each device needs {weights / gib:.2f} GiB for weights and {block / gib:.4f} GiB for a KV "
            f"block, but has {memory_bytes / gib:.2f} GiB x gpu_memory_utilization {utilization} = "
            f"{budget / gib:.2f} GiB",
        )
    return blocks
