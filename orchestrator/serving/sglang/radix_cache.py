"""SGLang's prefix cache: a radix tree over token ids (`mem_cache/radix_cache.py`, 0.5.5).

A node holds the tokens on the edge to it, a whole number of pages. Nodes that requests use are locked, they and all
above them; a leaf that is not locked can be evicted, the one used longest ago first. What is counted here are tokens;
which memory they are in makes no difference to anything.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from copy import copy, deepcopy
from heapq import heapify, heappop, heappush
from typing import Any, TypeAlias

from .token_ids import Ids

Tokens: TypeAlias = "array[int]"


class Node:
    """A node: the tokens on the edge from its parent, and how many requests use it."""

    __slots__ = ("children", "key", "locks", "number", "parent", "tree", "used")

    def __init__(self, number: int, key: Tokens, parent: Node | None, used: int) -> None:
        self.number, self.key, self.parent, self.used = number, key, parent, used
        self.children: dict[tuple[int, ...], Node] = {}
        self.locks = 0
        self.tree: RadixCache | None = None  # of the root

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        """Copied with its whole tree, however deep that is."""
        root = self
        while root.parent is not None:
            root = root.parent
        deepcopy(root.tree, memo)
        copied: Node = memo[id(self)]
        return copied


class RadixCache:
    """``evictable`` tokens are in nodes that nobody uses, ``protected`` ones in nodes somebody does."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.root = Node(0, array("q"), None, 0)
        self.root.locks, self.root.tree = 1, self
        self.evictable = self.protected = 0
        self._clock = self._made = 0  # a count of uses stands for the time of a use

    def __deepcopy__(self, memo: dict[int, Any]) -> RadixCache:
        copied = memo[id(self)] = copy(self)
        for node in [self.root, *self.nodes()]:
            parent = None if node.parent is None else memo[id(node.parent)]
            twin = memo[id(node)] = Node(node.number, node.key, parent, node.used)
            twin.locks = node.locks
            if parent is not None:
                parent.children[self._first(node.key, 0)] = twin
        copied.root = memo[id(self.root)]
        copied.root.tree = copied
        return copied

    @property
    def size(self) -> int:
        """Tokens in the tree."""
        return self.evictable + self.protected

    def aligned(self, tokens: int) -> int:
        """Of that many tokens, those in whole pages."""
        return tokens // self.page_size * self.page_size

    def match(self, ids: Ids, limit: int) -> tuple[int, Node]:
        """Tokens of the longest cached beginning of the first ``limit``, in whole pages, and the node it ends in.

        Counts as a use. A node in which it ends in the middle is split.
        """
        end, node, matched = self.aligned(limit), self.root, 0
        self._clock += 1
        while matched < end:
            child = node.children.get(self._first(ids, matched))
            if child is None:
                break
            child.used = self._clock
            common = self._common(child.key, ids, matched, end)
            if common < len(child.key):
                if common:
                    node = self._split(child, common)
                    matched += common
                break
            node, matched = child, matched + common
        return matched, node

    def insert(self, ids: Ids, tokens: int) -> int:
        """Make the first ``tokens`` of ``ids`` findable, in whole pages; returns how many were there already."""
        end = self.aligned(tokens)
        matched, node = self.match(ids, end)
        if matched < end:
            self._made += 1
            child = Node(self._made, ids[matched:end], node, self._clock)
            node.children[self._first(ids, matched)] = child
            self.evictable += end - matched
        return matched

    def lock(self, node: Node) -> None:
        """One more request uses this node and all above it."""
        while node.parent is not None:
            if not node.locks:
                self.evictable -= len(node.key)
                self.protected += len(node.key)
            node.locks += 1
            node = node.parent

    def unlock(self, node: Node) -> None:
        """One request less."""
        while node.parent is not None:
            node.locks -= 1
            if not node.locks:
                self.evictable += len(node.key)
                self.protected -= len(node.key)
            node = node.parent

    def evict(self, tokens: int) -> int:
        """Forget unused leaves, the least recently used first, until as many tokens are free; returns how many are."""
        leaves = [(node.used, node.number, node) for node in self.nodes() if not node.children and not node.locks]
        heapify(leaves)
        freed = 0
        while freed < tokens and leaves:
            _, _, leaf = heappop(leaves)
            parent = leaf.parent
            if parent is None:
                break
            freed += len(leaf.key)
            del parent.children[self._first(leaf.key, 0)]
            if not parent.children and not parent.locks:
                heappush(leaves, (parent.used, parent.number, parent))
        self.evictable -= freed
        return freed

    def nodes(self) -> Iterator[Node]:
        """All but the root, parents first."""
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def _first(self, ids: Ids, start: int) -> tuple[int, ...]:
        return tuple(ids[start : start + self.page_size])

    def _common(self, key: Tokens, ids: Ids, start: int, end: int) -> int:
        """How many tokens of ``key`` are those of ``ids`` from ``start``, in whole pages."""
        most = min(len(key), end - start)
        if key[:most] == ids[start : start + most]:
            return most
        low, high = 0, most  # the first `low` are equal, the first `high` are not
        while high - low > 1:
            middle = (low + high) // 2
            if key[:middle] == ids[start : start + middle]:
                low = middle
            else:
                high = middle
        return self.aligned(low)

    def _split(self, child: Node, at: int) -> Node:
        """Put a node between a child and its parent that has the child's first ``at`` tokens."""
        parent = child.parent
        if parent is None:
            raise ValueError("the root has no tokens to split")
        self._made += 1
        upper = Node(self._made, child.key[:at], parent, child.used)
        upper.locks = child.locks
        parent.children[self._first(child.key, 0)] = upper
        upper.children[self._first(child.key, at)] = child
        child.key, child.parent = child.key[at:], upper
        return upper
