"""Measured kernels (aiconfigurator's tables), each with the circumstances it was measured in.

Its collector captures a CUDA graph and replays it. GEMMs take turns with six weights, so that a small one is read from
the L2 cache; attention and experts repeat one call, so that K, V and weights are, where they fit. An engine's kernels
find neither there: other layers come between. Where tokens go in measurements of experts: `kernel_routing`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metronome.hwmodels import catalog
from metronome.hwmodels.accelerator.counting import pairs_seen
from metronome.hwmodels.accelerator.kernels import attention, experts, gemm
from metronome.hwmodels.accelerator.kernels.processor import Processor

from .kernel_routing import spread

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
#: the collector up to vLLM 0.16 or so: its routing is another (`kernel_routing`), and every model has three matrices
OLD_COLLECTOR = "vllm_fused_moe"
#: hidden and intermediate size of models without a gate (Nemotron's squared ReLU)
UNGATED = {(2688, 1856), (2048, 5120)}
#: shares of the L2 cache up to which K and V that are read again and again come from it, and from which none do: where
#: the rate at which the table's own rows read them falls. Of A100 and H100 either half of the cache serves its own
#: multiprocessors.
STAYS = {"a100-80g-sxm": (0.4, 0.8), "h100-sxm": (0.65, 1.2), "rtx-pro-6000": (0.95, 1.25)}


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
            for arguments in read(device, on, row)
        ]


def seconds(on: Processor, by: Any, family: str, row: Measured) -> float:
    return float(FUNCTIONS[family](on, by, *row.arguments))


def _decoded(on: Processor, by: Any, shape: attention.Shape, *rest: Any) -> float:
    return attention.Decodes(on, by, shape).seconds(*rest)


FUNCTIONS: dict[str, Any] = {
    "gemm": gemm.seconds,
    "prefill_attention": attention.prefill,
    "decode_attention": _decoded,
    "experts": experts.seconds,
}


def _gemm(device: str, on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    m, n, k = (int(row[name]) for name in "mnk")
    yield m, n, k, "bf16", (2, 2, 2), COPIES * n * k * 2 <= RESIDENT * on.cache_bytes


def _shape(row: dict[str, str]) -> attention.Shape:
    size = int(row["head_dim"])
    return attention.Shape(int(row["num_heads"]), int(row["num_key_value_heads"]), size, size)


def _prefill(device: str, on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    shape, batch, new = _shape(row), int(row["batch_size"]), int(row["isl"])
    if new == 1:
        return  # a decode
    token = 2.0 * shape.size
    moved, written = 2 * batch * new * (shape.heads + shape.kv_heads) * token, 4 * batch * new * shape.kv_heads * token
    prompts = [(new, pairs_seen(new, 0), new)] * batch
    yield shape, prompts, 0.0 if moved <= on.cache_bytes else moved, written


def _decode(device: str, on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    shape, batch, context = _shape(row), int(row["batch_size"]), int(row["step"]) + 1
    kept = 4.0 * batch * context * shape.kv_heads * shape.size
    moved = kept + 4.0 * batch * shape.heads * shape.size
    full, none = STAYS[device]
    share = kept / on.cache_bytes
    yield shape, batch, context, moved, min(1.0, max(0.0, (none - share) / (none - full)))


def _experts(device: str, on: Processor, row: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    tokens, hidden, top_k, total, ranks = (
        int(row[name]) for name in ("num_tokens", "hidden_size", "topk", "num_experts", "moe_ep_size")
    )
    inter, old = int(row["inter_size"]) // int(row["moe_tp_size"]), row["kernel_source"] == OLD_COLLECTOR
    matrices = 2 if not old and (hidden, int(row["inter_size"])) in UNGATED else 3
    law = row["distribution"].removeprefix("power_law_")
    routed, active = spread(tokens, top_k, total, ranks, None if law == "balanced" else float(law), old)
    to = experts.Routed(routed, active, total // ranks, tokens, tokens * top_k)
    expert = experts.Expert(hidden, inter, matrices)
    yield to, expert, active * expert.weights <= RESIDENT * on.cache_bytes


READERS: dict[str, Any] = {
    "gemm": _gemm,
    "prefill_attention": _prefill,
    "decode_attention": _decode,
    "experts": _experts,
}
