"""Measured kernels (aiconfigurator's tables), each with the circumstances it was measured in.

Its collector captures a CUDA graph and replays it. GEMMs take turns with six weights, so that a small one is read from
the L2 cache; attention and experts repeat one call, so that K, V and weights are, where they fit. An engine's kernels
find neither there: other layers come between. Tokens of `power_law` go to experts by the collector's sampling, of which
the expectation is drawn here (seeded); with expert parallelism the busiest rank is the one measured.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from metronome.hwmodels import catalog
from metronome.hwmodels.accelerator.counting import pairs_seen
from metronome.hwmodels.accelerator.kernels import attention, experts, gemm
from metronome.hwmodels.accelerator.kernels.processor import Processor

#: catalog device -> (folder, version of vLLM)
DEVICES = {
    "a100-80g-sxm": ("a100_sxm", "0.14.0"),
    "h100-sxm": ("h100_sxm", "0.24.0"),
    "rtx-pro-6000": ("rtx_pro_6000_server", "0.24.0"),
}
#: family -> table
FAMILIES = {
    "gemm": "gemm",
    "prefill_attention": "context_attention",
    "decode_attention": "generation_attention",
    "experts": "moe",
}
#: weights that a GEMM's measurement takes turns with; share of the L2 cache that they may fill and stay
COPIES, RESIDENT = 6, 0.83
DRAWS = 5
#: the collector before vLLM 0.16 or so draws tokens' experts in another way, and has three matrices for every model
OLD_COLLECTOR = "vllm_fused_moe"
#: hidden and intermediate size of models without a gate (Nemotron's squared ReLU)
UNGATED = {(2688, 1856), (2048, 5120)}
STAYS = {108: (0.4, 0.8), 132: (0.65, 1.2), 188: (0.95, 1.25)}


@dataclass(frozen=True, slots=True)
class Measured:
    """One row: arguments of its family's function beyond device and parameters, and seconds."""

    arguments: tuple[Any, ...]
    seconds: float


def processor(device: str) -> Processor:
    facts = catalog.device(device)
    assert facts.chip
    return Processor.of(facts.chip, facts.flops, facts.memory_bandwidth)


def rows(data: Path, device: str, family: str) -> list[Measured]:
    folder, version = DEVICES[device]
    path = data / "aiconfigurator" / folder / f"{FAMILIES[family]}_bf16_vllm_{version}.csv"
    on, read = processor(device), READERS[family]
    with path.open() as file:
        return [
            Measured(arguments, float(row["latency"]) / 1e3)
            for row in csv.DictReader(file)
            for arguments in read(on, row)
        ]


def seconds(on: Processor, by: Any, family: str, row: Measured) -> float:
    return float(FUNCTIONS[family](on, by, *row.arguments))


FUNCTIONS: dict[str, Any] = {
    "gemm": gemm.seconds,
    "prefill_attention": attention.prefill,
    "decode_attention": attention.decode,
    "experts": experts.seconds,
}


def _gemm(on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    m, n, k = (int(row[name]) for name in "mnk")
    yield m, n, k, "bf16", (2, 2, 2), COPIES * n * k * 2 <= RESIDENT * on.cache_bytes


def _shape(row: dict[str, str]) -> attention.Shape:
    size = int(row["head_dim"])
    return attention.Shape(int(row["num_heads"]), int(row["num_key_value_heads"]), size, size)


def _prefill(on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    shape, batch, new = _shape(row), int(row["batch_size"]), int(row["isl"])
    if new == 1:
        return  # a decode
    token = 2.0 * shape.size
    moved, written = 2 * batch * new * (shape.heads + shape.kv_heads) * token, 4 * batch * new * shape.kv_heads * token
    prompts = [(new, pairs_seen(new, 0), new)] * batch
    yield shape, prompts, 0.0 if moved <= on.cache_bytes else moved, written


def _decode(on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    shape, batch, context = _shape(row), int(row["batch_size"]), int(row["step"]) + 1
    kept = 4.0 * batch * context * shape.kv_heads * shape.size
    moved = kept + 4.0 * batch * shape.heads * shape.size
    full, none = STAYS[on.multiprocessors]
    share = kept / on.cache_bytes
    yield shape, batch, context, moved, min(1.0, max(0.0, (none - share) / (none - full)))


def _experts(on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    tokens, hidden, top_k, total, ranks = (
        int(row[name]) for name in ("num_tokens", "hidden_size", "topk", "num_experts", "moe_ep_size")
    )
    inter, old = int(row["inter_size"]) // int(row["moe_tp_size"]), row["kernel_source"] == OLD_COLLECTOR
    matrices = 2 if not old and (hidden, int(row["inter_size"])) in UNGATED else 3
    law = row["distribution"].removeprefix("power_law_")
    routed, active = spread(tokens, top_k, total, ranks, None if law == "balanced" else float(law), old)
    kept = active * matrices * hidden * inter * 2
    yield (
        *(routed, active, hidden, inter, matrices, "bf16", (2, 2, 2), kept <= RESIDENT * on.cache_bytes),
        *(tokens * top_k, tokens, total // ranks),
    )


READERS: dict[str, Any] = {
    "gemm": _gemm,
    "prefill_attention": _prefill,
    "decode_attention": _decode,
    "experts": _experts,
}


@cache
def spread(tokens: int, top_k: int, total: int, ranks: int, law: float | None, old: bool) -> tuple[float, float]:
    """(pairs, experts hit) of the measured rank."""
    pairs = tokens * top_k
    if law is None:
        return max(1.0, pairs / ranks), max(1.0, min(total, pairs) / ranks)
    random = np.random.default_rng(0)
    draws = [_draw(random, pairs, tokens, total, ranks, law, old) for _ in range(DRAWS)]
    return float(np.mean([counts.sum() for counts in draws])), float(np.mean([(counts > 0).sum() for counts in draws]))


def _draw(random: np.random.Generator, pairs: int, tokens: int, total: int, ranks: int, law: float, old: bool) -> Any:
    """Tokens of each expert of the busiest rank."""
    low, high = (1.0, tokens * 0.8) if pairs > total else (0.01, 2.0)
    power = 1 - law
    share = ((high**power - low**power) * random.random(total) + low**power) ** (1 / power)
    counts = np.round(share / share.sum() * pairs).astype(int)
    by_rank = (_settled_by_order if old else _settled_by_rank)(counts, pairs, tokens, ranks)
    return by_rank[by_rank.sum(axis=1).argmax()]


def _settled_by_order(counts: Any, pairs: int, tokens: int, ranks: int) -> Any:
    """What rounding left over goes to the largest, or where all are zero to the first ones; an expert that a token has
    twice is replaced by the first expert that it does not have, on the measured rank."""
    order, missing = np.argsort(-counts, kind="stable"), pairs - counts.sum()
    for step in range(abs(missing)):
        at = order[step % len(order)] if missing > 0 else order[-1 - step % len(order)]
        counts[at] = max(0, counts[at] + (1 if missing > 0 else -1))
    by_rank = counts.reshape(ranks, -1)
    measured = by_rank.sum(axis=1).argmax()
    twice = np.maximum(counts - tokens, 0).sum()
    by_rank = np.minimum(by_rank, tokens)
    for at in np.argsort(by_rank[measured], kind="stable")[: math.ceil(twice / tokens)]:
        more = min(twice, tokens - by_rank[measured, at])
        by_rank[measured, at] += more
        twice -= more
    return by_rank


def _settled_by_rank(counts: Any, pairs: int, tokens: int, ranks: int) -> Any:
    """No expert has a token twice; what is left over goes to the ranks in turn, to the least of each."""
    by_rank = np.minimum(counts, tokens).reshape(ranks, -1)
    missing = pairs - by_rank.sum()
    rank = 0
    while missing:
        some = by_rank[rank % ranks]
        step = max(1, abs(missing) // (ranks * len(some)))  # one at a time in the collector
        at, way = (some.argmin(), 1) if missing > 0 else (some.argmax(), -1)
        step = min(step, tokens - some[at] if way > 0 else some[at])
        some[at] += way * step
        missing -= way * step
        rank += 1
    return by_rank
