"""How many KV blocks fit beside the weights and what a step works in."""

from __future__ import annotations

from ...errors import InputError

#: bytes of CUDA context, communication buffers and captured graphs: guessed to one digit
CONTEXT_BYTES = 2**29


def working_bytes(tokens: int, sequences: int, hidden: int, width: int, vocab: int, dtype_bytes: float) -> int:
    """What vLLM's profile run finds in use beside the weights: a full batch's activations, the logits of
    as many sequences as may run, and the context.

    Live at the widest moment of a block are gate and up projection, their product, and six vectors of the
    hidden size; of the logits one copy in the model's dtype and three words (fp32 logits, sorted, indices).
    For an 8B model with 2048 tokens this gives the 1.2 GB seen on a 24 GB card.
    """
    activations = tokens * (3 * width + 6 * hidden) * dtype_bytes
    logits = sequences * vocab * (dtype_bytes + 12)
    return int(activations + logits) + CONTEXT_BYTES


def num_blocks(
    where: str,
    model: str,
    memory_bytes: int,
    utilization: float,
    weights: int,
    working: int,
    token_bytes: int,
    block_size: int,
) -> int:
    """Blocks of ``block_size`` tokens in what weights and working memory leave of one device's share of memory.

    ``weights``, ``working`` and ``token_bytes`` (K and V of a token) are those of one device. Raises
    InputError with the sums if the model does not fit.
    """
    budget = int(memory_bytes * utilization)
    block = token_bytes * block_size
    blocks = (budget - weights - working) // block
    if blocks < 1:
        gib = 2**30
        raise InputError(
            where,
            "model",
            model,
            f"does not fit: each device needs {weights / gib:.2f} GiB for weights, {working / gib:.2f} GiB to work in "
            f"and {block / gib:.4f} GiB for a KV block, but has {memory_bytes / gib:.2f} GiB x "
            f"gpu_memory_utilization {utilization} = {budget / gib:.2f} GiB",
        )
    return blocks
