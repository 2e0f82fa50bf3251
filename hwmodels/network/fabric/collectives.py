"""Collectives as bundles of flows, by algorithm.

Each function gives what an algorithm moves per byte of the operation: flows (source rank, target rank,
share of the bytes) that advance together, and how many dependent steps it takes. Bytes per rank and
steps are the textbook ones (Thakur, Rabenseifner, Gropp, "Optimization of Collective Communication
Operations in MPICH", 2005; for the trees NCCL's double binary tree; for the torus Jain and Sabharwal, "Optimal bucket
algorithms for large MPI collectives on torus interconnects", 2010). p ranks, m bytes:

=================  ================  ===============================================================
ring               all_reduce        2 (p-1) steps, 2 (p-1)/p m to the next rank
ring               all_gather        p-1 steps, (p-1) m to the next rank (m = one rank's share)
ring               reduce_scatter    p-1 steps, (p-1)/p m to the next rank
tree               all_reduce        2 log2 p steps, m/2 up and m/2 down on each edge of two trees
halving-doubling   all_reduce        2 log2 p steps, m/2^(k+1) both ways with the rank 2^k away, twice
hierarchical       all three         rings within each node, then between equal places of the nodes
torus              all three         rings along each axis, both ways; each part of the bytes begins with another
direct             all_to_all        m/p to everybody at once
direct             all_reduce        2 steps, m/p to everybody, twice; where every two ranks have a link
direct             all_gather        1 step, m to everybody
direct             reduce_scatter    1 step, m/p to everybody
pipeline           broadcast         m to the next rank
send               send              m from each source to its target
in-network         all_reduce        m up and m down (a switch adds)
one-shot           all_reduce        1 step, m from everybody
two-shot           all_reduce        2 steps, m/p to everybody, twice
=================  ================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flow = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class Pattern:
    """What an algorithm moves: per byte of the operation, between ranks.

    ``copied`` is the share of the bytes a rank copies within its own memory.
    """

    algorithm: str
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    share: NDArray[np.float64]
    steps: float
    copied: float = 0.0


def patterns(kind: str, ranks: int, nodes: Sequence[int]) -> list[Pattern]:
    """Every algorithm for a kind among ``ranks`` ranks; ``nodes[i]`` is the node of rank i."""
    spread = len(set(nodes)) > 1
    if kind == "send":  # ranks come in pairs: source, target
        return [pattern("send", [(i, i + 1, 1.0) for i in range(0, ranks, 2)], 1)]
    if kind == "all_to_all":
        return [_all_to_all(ranks)]
    if kind == "broadcast":
        return [pattern("pipeline", [(i, i + 1, 1.0) for i in range(ranks - 1)], ranks - 1)]
    found = [_ring(kind, ranks)]
    if spread:
        places = _places(nodes)
        if places:
            found.append(_hierarchical(kind, places))
        if kind == "all_reduce":
            found += _trees(ranks)
    return found


def by_name_only(kind: str, ranks: int, switches: Sequence[int]) -> list[Pattern]:
    """What collective libraries do not take within a node; ``switches[i]`` is what rank i shares with some others."""
    found = _trees(ranks) if kind == "all_reduce" else []
    if places := _places(switches) if kind in RINGS and len(set(switches)) > 1 else []:
        found.append(_hierarchical(kind, places))
    return found


def peer_reads(ranks: int) -> list[Pattern]:
    """All-reduce by reading the memory of all peers: whole vectors at once, or each its part and then the sums."""
    found = [pattern("one-shot", _everybody(ranks, 1.0), 1)]
    if ranks > 2:
        found.append(pattern("two-shot", _everybody(ranks, 2 / ranks), 2))
    return found


def _everybody(ranks: int, share: float) -> list[Flow]:
    """From each to each other."""
    return [(i, j, share) for i in range(ranks) for j in range(ranks) if i != j]


def pattern(algorithm: str, flows: Sequence[Flow], steps: float, copied: float = 0.0) -> Pattern:
    source, target, share = zip(*flows, strict=True)
    return Pattern(algorithm, np.array(source), np.array(target), np.array(share, dtype=float), steps, copied)


#: kind -> (bytes each rank passes on, steps, share copied) per byte, for p ranks in a ring.
RINGS: dict[str, Callable[[int], tuple[float, int, float]]] = {
    "all_reduce": lambda p: (2 * (p - 1) / p, 2 * (p - 1), 0.0),
    "all_gather": lambda p: (p - 1, p - 1, 1.0),
    "reduce_scatter": lambda p: ((p - 1) / p, p - 1, 1 / p),
}


def _ring(kind: str, ranks: int) -> Pattern:
    share, steps, copied = RINGS[kind](ranks)
    return pattern("ring", [(i, (i + 1) % ranks, share) for i in range(ranks)], steps, copied)


def direct(kind: str, ranks: int) -> Pattern | None:
    """Everybody with everybody; None of a kind without rings."""
    if kind not in RINGS:
        return None
    share, steps = {"all_reduce": (2 / ranks, 2), "all_gather": (1.0, 1), "reduce_scatter": (1 / ranks, 1)}[kind]
    return pattern("direct", _everybody(ranks, share), steps, RINGS[kind](ranks)[2])


def _trees(ranks: int) -> list[Pattern]:
    return [_tree(ranks), *([_halving_doubling(ranks)] if ranks & (ranks - 1) == 0 else [])]


def _tree(ranks: int) -> Pattern:
    """Two binary trees, the second numbered backwards so that one's leaves are the other's inner nodes."""
    flows: list[Flow] = []
    for number in (range(ranks), range(ranks - 1, -1, -1)):
        order = list(number)
        for i in range(1, ranks):
            parent = (i - 1) // 2
            flows += [(order[i], order[parent], 0.5), (order[parent], order[i], 0.5)]
    return pattern("tree", flows, 2 * (ranks - 1).bit_length())


def _halving_doubling(ranks: int) -> Pattern:
    flows: list[Flow] = []
    levels = (ranks - 1).bit_length()
    for k in range(levels):
        flows += [(i, i ^ (1 << k), 2 / 2 ** (k + 1)) for i in range(ranks)]
    return pattern("halving-doubling", flows, 2 * levels)


def _places(nodes: Sequence[int]) -> list[list[int]]:
    """Ranks by node, if every node has as many (and more than one); else nothing."""
    by_node: dict[int, list[int]] = {}
    for rank, node in enumerate(nodes):
        by_node.setdefault(node, []).append(rank)
    members = list(by_node.values())
    return members if len({len(ranks) for ranks in members}) == 1 and len(members[0]) > 1 else []


def _hierarchical(kind: str, nodes: list[list[int]]) -> Pattern:
    """Within nodes, between them (each place with its like), within nodes again; the parts overlap."""
    local, count = len(nodes[0]), len(nodes)
    if kind == "all_reduce":  # reduce_scatter within, all_reduce of 1/local between, all_gather within
        within, between = 2 * (local - 1) / local, 2 * (count - 1) / count / local
        steps = 2 * (local - 1) + 2 * (count - 1)
    elif kind == "all_gather":
        within, between, steps = (local - 1) * count, count - 1, local - 1 + count - 1
    else:
        within, between = (local - 1) / local, (count - 1) / count / local
        steps = local - 1 + count - 1
    flows: list[Flow] = []
    for members in nodes:
        flows += [(rank, members[(i + 1) % local], within) for i, rank in enumerate(members)]
    for place in range(local):
        flows += [(nodes[n][place], nodes[(n + 1) % count][place], between) for n in range(count)]
    return pattern("hierarchical", flows, steps, RINGS[kind](local * count)[2])


def _all_to_all(ranks: int) -> Pattern:
    """All at once; each further peer costs a quarter of a step to issue (fitted to NCCL's small sizes)."""
    source, target = np.divmod(np.arange(ranks * ranks), ranks)
    off = source != target
    share = np.full(int(off.sum()), 1 / ranks)
    return Pattern("direct", source[off], target[off], share, 1 + (min(ranks, 32) - 2) / 4, 1 / ranks)
