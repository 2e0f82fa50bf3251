"""SGLang's KV memory: a pool of pages, of which the radix tree holds some and requests the others."""

from __future__ import annotations

from .radix_cache import RadixCache
from .request_state import SglangRequestState
from .token_ids import Ids


class Memory:
    """``size`` pages of ``page_size`` tokens; ``caching`` is off under `--disable-radix-cache`."""

    def __init__(self, size: int, page_size: int, caching: bool) -> None:
        self.size, self.page_size, self.caching = size, page_size, caching
        self.tree = RadixCache(page_size)
        self.own = 0  # pages that requests hold beside the tree

    @property
    def free_pages(self) -> int:
        """Pages nobody holds, and that hold nothing."""
        return self.size - self.own - self.tree.size // self.page_size

    @property
    def free_tokens(self) -> int:
        """Tokens for which there is room, or will be when cached ones are evicted."""
        return self.free_pages * self.page_size + self.tree.evictable

    def paged(self, tokens: int) -> int:
        """That many tokens, rounded up to whole pages."""
        return -(-tokens // self.page_size) * self.page_size

    def aligned(self, tokens: int) -> int:
        return self.tree.aligned(tokens)

    def lookup(self, state: SglangRequestState) -> None:
        """Find the cached beginning of a request that is not computed: at least one token is left to compute."""
        state.prefix_len, state.node = 0, self.tree.root
        if self.caching:
            state.prefix_len, state.node = self.tree.match(state.token_ids, state.num_tokens - 1)
        state.protected = state.kv_len = state.prefix_len
        state.extend_len = state.num_tokens - state.prefix_len

    def forget(self, state: SglangRequestState) -> None:
        """Undo `lookup`: it goes on waiting, and what it has hit may be evicted meanwhile."""
        state.node = None
        state.prefix_len = state.protected = state.kv_len = state.extend_len = 0

    def lock(self, state: SglangRequestState) -> None:
        if state.node is not None:
            self.tree.lock(state.node)

    def unlock(self, state: SglangRequestState) -> None:
        if state.node is not None:
            self.tree.unlock(state.node)

    def make_room(self, tokens: int) -> bool:
        """Evict if not so many tokens are free; whether they are then (`evict_from_tree_cache`)."""
        if self.free_pages * self.page_size < tokens:
            self.tree.evict(tokens)  # all of them anew, and whole leaves
        return self.free_pages * self.page_size >= tokens

    def extend(self, state: SglangRequestState, tokens: int) -> None:
        """Memory for that many more tokens of a request; room for them has been made."""
        before = state.own_pages(self.page_size)
        state.kv_len += tokens
        self.own += state.own_pages(self.page_size) - before

    def keep(self, state: SglangRequestState, tokens: int) -> None:
        """The first ``tokens`` of a request that goes on are computed: others may hit them (`cache_unfinished_req`)."""
        if not self.caching or state.node is None:
            return
        before = state.own_pages(self.page_size)
        self.tree.insert(state.token_ids, tokens)
        matched, node = self.tree.match(state.token_ids, tokens)
        self.tree.unlock(state.node)
        self.tree.lock(node)
        state.node, state.protected = node, matched
        self.own += state.own_pages(self.page_size) - before

    def release(self, state: SglangRequestState, tokens: int, keep: bool) -> None:
        """It gives back what it holds; if ``keep``, its first ``tokens`` stay findable (`cache_finished_req`).

        A token beyond them is being computed by a step in flight; a page it has to itself goes with `release_late`.
        """
        pages = self.paged(state.kv_len) - self.paged(min(tokens, state.kv_len))
        state.late_pages = pages // self.page_size
        self.own -= state.own_pages(self.page_size) - state.late_pages
        if keep and self.caching:
            self.tree.insert(state.token_ids, tokens)
        self.unlock(state)
        state.node, state.protected, state.kv_len = None, 0, 0

    def release_late(self, state: SglangRequestState) -> None:
        """The step in flight when it was released has ended."""
        self.own -= state.late_pages
        state.late_pages = 0

    def beginning_of(self, ids: Ids, tokens: int) -> int:
        """Tokens of a prompt that are cached now; looking counts as no use."""
        node, matched, end = self.tree.root, 0, self.aligned(tokens)
        while matched < end:
            child = node.children.get(tuple(ids[matched : matched + self.page_size]))
            if child is None:
                break
            most = min(len(child.key), end - matched)
            while most and child.key[:most] != ids[matched : matched + most]:
                most -= self.page_size
            matched += most
            if most < len(child.key):
                break
            node = child
        return matched
