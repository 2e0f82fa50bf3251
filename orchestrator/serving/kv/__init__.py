"""The paged KV cache: blocks, their hashes, the prefix index."""
