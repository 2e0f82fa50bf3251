"""Names of full KV blocks: a block is the same only if everything before it is, too."""

from __future__ import annotations

from array import array
from hashlib import blake2b


def extend_chain(chain: list[bytes], token_ids: array[int], block_size: int, blocks: int) -> None:
    """Append hashes until ``chain`` names the first ``blocks`` full blocks of ``token_ids``.

    Each hash covers the block's tokens and the hash before it, as in vLLM. Does nothing for blocks
    whose tokens are not known.
    """
    blocks = min(blocks, len(token_ids) // block_size)
    parent = chain[-1] if chain else b""
    for block in range(len(chain), blocks):
        tokens = token_ids[block * block_size : (block + 1) * block_size]
        parent = blake2b(parent + tokens.tobytes(), digest_size=16).digest()
        chain.append(parent)
