"""Names of full KV blocks: a block is the same only if everything before it is, too."""

from __future__ import annotations

from hashlib import blake2b

from ...workload.tokens import TokenIds


def hash_blocks(token_ids: TokenIds, block_size: int) -> list[bytes]:
    """The names of all full blocks of ``token_ids``, in order.

    Each is a hash over the block's tokens and the name before it, as in vLLM.
    """
    tokens, width = token_ids.tobytes(), token_ids.itemsize * block_size
    names, parent = [], b""
    for start in range(0, len(tokens) - width + 1, width):
        parent = blake2b(parent + tokens[start : start + width], digest_size=16).digest()
        names.append(parent)
    return names
