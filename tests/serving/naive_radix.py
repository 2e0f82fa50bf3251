"""SGLang's radix tree, and the order that it gives those who wait, written as plainly as possible.

After `mem_cache/radix_cache.py` and `SchedulePolicy` in `managers/schedule_policy.py` of version 0.5.5. Part of
`naive_sglang`: nothing is counted up, every node is looked at.
"""

from __future__ import annotations

import heapq
from itertools import count

IN_BATCH_CHECK = IN_BATCH_DEPRIORITIZE = 32
LPM_QUEUE_LIMIT = 128


class Node:
    def __init__(self, parent, key, value, lock_ref, now):
        self.children = {}
        self.parent, self.key, self.value, self.lock_ref, self.last_access = parent, key, value, lock_ref, now


class Tree:
    """`RadixCache`: keys of tokens in whole pages, values are their slots."""

    def __init__(self, page_size, ticks):
        self.page, self.ticks = page_size, ticks
        self.root = Node(None, [], [], 1, next(ticks))

    def nodes(self):
        found, stack = [], list(self.root.children.values())
        while stack:
            node = stack.pop()
            found.append(node)
            stack += node.children.values()
        return found

    def evictable(self):
        return sum(len(node.key) for node in self.nodes() if not node.lock_ref)

    def same(self, a, b):
        length = 0
        while length < min(len(a), len(b)) and a[length : length + self.page] == b[length : length + self.page]:
            length += self.page
        return length

    def split(self, child, length):
        upper = Node(child.parent, child.key[:length], child.value[:length], child.lock_ref, next(self.ticks))
        upper.parent.children[tuple(child.key[: self.page])] = upper
        child.parent, child.key, child.value = upper, child.key[length:], child.value[length:]
        upper.children[tuple(child.key[: self.page])] = child
        return upper

    def walk(self, key):
        """As far as the key is there; (slots found, last node, rest of the key)."""
        node, value = self.root, []
        node.last_access = next(self.ticks)
        while key and tuple(key[: self.page]) in node.children:
            node = node.children[tuple(key[: self.page])]
            node.last_access = next(self.ticks)
            length = self.same(node.key, key)
            key = key[length:]
            if length < len(node.key):
                node = self.split(node, length)
                value += node.value
                break
            value += node.value
        return value, node, key

    def match(self, key):
        key = key[: len(key) // self.page * self.page]
        return self.walk(key)[:2] if key else ([], self.root)

    def insert(self, key, value):
        found, node, rest = self.walk(key)
        if rest:
            node.children[tuple(rest[: self.page])] = Node(node, rest, value[len(found) :], 0, next(self.ticks))
        return len(found)

    def lock(self, node, by):
        while node is not self.root:
            node.lock_ref += by
            node = node.parent

    def evict(self, tokens, free):
        leaves = [(node.last_access, node) for node in self.nodes() if not node.children]
        heapq.heapify(leaves)  # no two times are equal
        evicted = 0
        while evicted < tokens and leaves:
            _, node = heapq.heappop(leaves)
            if node.lock_ref:
                continue
            free(node.value)
            evicted += len(node.value)
            parent = node.parent
            del parent.children[tuple(node.key[: self.page])]
            if not parent.children and parent is not self.root:
                heapq.heappush(leaves, (parent.last_access, parent))


def order(waiting, policy, tree):
    """Sort those who wait, in place."""
    if policy == "lof":
        waiting.sort(key=lambda req: -req.max_new)
    if policy != "lpm" or len(waiting) > LPM_QUEUE_LIMIT:
        return
    seen, later, matched = Tree(1, count()), set(), {}
    for req in waiting:
        tokens = req.tokens[: req.seqlen]
        matched[req.id] = len(tree.match(tokens)[0])
        if matched[req.id] <= IN_BATCH_CHECK:
            if len(seen.match(tokens)[0]) >= IN_BATCH_DEPRIORITIZE:
                later.add(req.id)
            else:
                seen.insert(tokens, tokens)
    waiting.sort(key=lambda req: float("inf") if req.id in later else -matched[req.id])
