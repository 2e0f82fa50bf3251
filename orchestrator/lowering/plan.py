"""From a model and its parallel plan to the operations of one engine step.

A step is prologue, the same transformer block ``layers`` times, epilogue. Tensor parallelism cuts
every matrix over ``tp`` ranks that do the same work at the same time, so one rank's operations stand
for all; two all-reduces a block put the partial sums together (Shoeybi et al., "Megatron-LM", 2019).
Which numbers an operation carries in a given step is named by its :class:`Size`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from hwmodels.interface import DTYPE_BYTES, Attribute, Template

from ..serving.batch import Batch
from .architecture import Architecture

TOKEN_ID_BYTES = 4  # vLLM keeps input and sampled token ids as int32


class Role(StrEnum):
    """Which of an instance's components does an operation."""

    ACCELERATOR = "accelerator"
    NETWORK = "network"
    MEMORY = "memory"


class Size:
    """Which numbers of a batch an operation takes; equal sizes have equal names."""

    def __init__(self, name: str, of: Callable[[Batch], tuple[int, ...]]) -> None:
        self.name, self.of = name, of


TOKENS = Size("tokens", lambda batch: (batch.tokens,))
SEQUENCES = Size("sequences", lambda batch: (batch.sequences,))
ATTENTION = Size(
    "attention",
    lambda batch: (
        batch.decodes, batch.context_sum, batch.context_max, batch.context_min, *batch.prompts,
    ),
)  # fmt: skip


def bytes_per_token(size: int) -> Size:
    return Size(f"tokens*{size}", lambda batch: (batch.tokens * size,))


def bytes_per_sequence(size: int) -> Size:
    return Size(f"sequences*{size}", lambda batch: (batch.sequences * size,))


def expert_tokens(experts: int, top_k: int) -> Size:
    """(tokens, experts hit): each token picks ``top_k`` experts, uniformly and independently.

    An expert is missed by all tokens with probability (1 - k/E)^T, so E (1 - (1 - k/E)^T) are
    expected to be hit; rounded, and never fewer than one token's.
    """

    def of(batch: Batch) -> tuple[int, ...]:
        tokens = batch.tokens
        hit = experts * (1 - (1 - top_k / experts) ** tokens)
        return tokens, max(min(top_k, experts), round(hit))

    return Size(f"moe {experts}/{top_k}", of)


@dataclass(frozen=True, slots=True)
class Work:
    """One operation of a step: who does it, what it is, which numbers it takes.

    ``copies`` devices do it at the same time; only energy counts them.
    """

    role: Role
    template: Template
    size: Size
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The operations of one step of one instance, in order; the block repeats ``layers`` times."""

    prologue: tuple[Work, ...]
    block: tuple[Work, ...]
    layers: int
    epilogue: tuple[Work, ...]

    @property
    def works(self) -> tuple[Work, ...]:
        return self.prologue + self.block + self.epilogue


class Templates:
    """Every template of a run, once: instances of one model share theirs, and so their answers."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Template] = {}

    def declare(self, kind: str, layer: str, attributes: Mapping[str, Attribute]) -> Template:
        key = (kind, layer, tuple(sorted(attributes.items())))
        if key not in self._known:
            self._known[key] = Template(len(self._known), kind, layer, dict(attributes))
        return self._known[key]


class _Builder:
    """Declares templates and fills in what those of an accelerator share."""

    def __init__(self, templates: Templates, tp: int, common: Mapping[str, Attribute]) -> None:
        self.templates, self.tp, self.common = templates, tp, common

    def work(self, role: Role, kind: str, layer: str, size: Size, **attributes: Attribute) -> Work:
        if role is Role.ACCELERATOR:
            attributes = {**self.common, **attributes}
        template = self.templates.declare(kind, layer, attributes)
        return Work(role, template, size, self.tp if role is not Role.MEMORY else 1)

    def gemm(self, layer: str, n: int, k: int, size: Size = TOKENS) -> Work:
        return self.work(Role.ACCELERATOR, "gemm", layer, size, n=n, k=k)

    def light(self, kind: str, layer: str, width: int, size: Size = TOKENS) -> Work:
        return self.work(Role.ACCELERATOR, kind, layer, size, width=width)

    def all_reduce(self, layer: str, size: Size) -> tuple[Work, ...]:
        if self.tp == 1:
            return ()
        return (self.work(Role.NETWORK, "all_reduce", layer, size, participants=self.tp),)


def lower(arch: Architecture, tp: int, kv_dtype: str, templates: Templates, host_memory: bool = False) -> Plan:
    """The plan of an instance.

    ``host_memory`` adds the token ids a step reads from host memory and the sampled ones it writes.
    """
    common: dict[str, Attribute] = {"model": arch.name, "tp": tp, "dtype": arch.dtype}
    if kv_dtype != arch.dtype:
        common["kv_cache"] = kv_dtype
    build = _Builder(templates, tp, common)
    hidden = arch.hidden
    exchange = bytes_per_token(int(hidden * DTYPE_BYTES[arch.dtype]))

    prologue = [build.light("embedding", "embedding", hidden)]
    if host_memory:
        prologue.insert(0, build.work(Role.MEMORY, "read", "input_ids", bytes_per_token(TOKEN_ID_BYTES)))
    query, key_value = arch.heads * arch.head_size // tp, max(arch.kv_heads // tp, 1) * arch.head_size
    block = [
        build.light("norm", "layernorm", 2 * hidden),
        build.gemm("qkv_proj", query + 2 * key_value, hidden),
        *([build.light("norm", "qk_norm", 2 * (query + key_value))] if arch.qk_norm else []),
        build.light("elementwise", "rotary_emb", 2 * (query + key_value)),
        build.work(
            Role.ACCELERATOR, "attention", "attention", ATTENTION,
            heads=arch.heads // tp, kv_heads=max(arch.kv_heads // tp, 1), head_size=arch.head_size,
            kv_dtype=kv_dtype,
        ),
        build.gemm("o_proj", hidden, query),
        *build.all_reduce("o_proj", exchange),
        build.light("norm", "layernorm", 2 * hidden),
        *_mlp(build, arch, exchange),
    ]  # fmt: skip
    vocab = arch.vocab // tp
    epilogue = [
        build.light("norm", "final_layernorm", 2 * hidden),
        build.gemm("lm_head", vocab, hidden, SEQUENCES),
        build.light("sampler", "sampler", vocab, SEQUENCES),
    ]
    if host_memory:
        write = bytes_per_sequence(TOKEN_ID_BYTES)
        epilogue.append(build.work(Role.MEMORY, "write", "sampled_ids", write))
    return Plan(tuple(prologue), tuple(block), arch.layers, tuple(epilogue))


def _mlp(build: _Builder, arch: Architecture, exchange: Size) -> list[Work]:
    width = arch.intermediate // build.tp
    if arch.experts:
        moe = build.work(
            Role.ACCELERATOR, "moe", "moe", expert_tokens(arch.experts, arch.top_k),
            hidden=arch.hidden, intermediate=width, experts=arch.experts, top_k=arch.top_k,
        )  # fmt: skip
        return [moe, *build.all_reduce("moe", exchange)]
    return [
        build.gemm("gate_up_proj", 2 * width, arch.hidden),
        build.light("elementwise", "act_fn", 3 * width),
        build.gemm("down_proj", arch.hidden, width),
        *build.all_reduce("down_proj", exchange),
    ]
