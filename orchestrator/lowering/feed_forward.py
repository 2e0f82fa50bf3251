"""The operations of a layer's MLP or experts."""

from __future__ import annotations

from collections.abc import Mapping

from metronome.hwmodels.interface import Attribute

from .builder import Builder
from .models.parts import Experts, Layer, Mlp
from .quantity import expert_tokens, one
from .work import PlannedOperation, Work


def feed_forward(build: Builder, block: Layer, all_to_all: bool) -> list[PlannedOperation]:
    """Norm, MLP or experts, and the sum over ranks; nothing where a layer has none."""
    if block.mlp is None:
        return []
    norm = build.light("norm", "layernorm", 2 * build.arch.hidden)
    if isinstance(block.mlp, Mlp):
        return [norm, *mlp(build, block.mlp), *build.summed("down_proj")]
    return [norm, *_experts(build, block, block.mlp, all_to_all)]


def mlp(build: Builder, of: Mlp, which: str = "") -> list[PlannedOperation]:
    """Gate and up projection in one, their product, and the projection down."""
    width = of.width // build.layout.tp
    up = "gate_up_proj" if of.gated else "up_proj"
    return [
        build.gemm(f"{which}{up}", (2 if of.gated else 1) * width, of.linears[:-1]),
        build.light("elementwise", f"{which}act_fn", (3 if of.gated else 2) * width),
        build.gemm(f"{which}down_proj", of.into, of.linears[-1:]),
    ]


def beside(build: Builder, block: Layer) -> list[PlannedOperation]:
    """What every token takes beside its experts: shared experts, as one MLP as wide as all of them, and a dense MLP."""
    shared = block.experts.shared if block.experts else None
    return [
        *(mlp(build, block.dense, "dense_") if block.dense else []),
        *(mlp(build, shared, "shared_") if shared else []),
    ]


def beside_summed(build: Builder, block: Layer) -> list[PlannedOperation]:
    """Where the other experts are on other ranks than a member's own, and their sums do not meet."""
    found = beside(build, block)
    return [*found, *build.summed("shared_experts")] if found else []


def _experts(build: Builder, block: Layer, of: Experts, all_to_all: bool) -> list[PlannedOperation]:
    layout = build.layout
    if layout.expert_parallel and layout.dp > 1:
        return [*beside_summed(build, block), *narrowed(build, of, _spread(build, of, all_to_all))]
    # The sums of both kinds of experts are reduced together.
    moe = routed(build, of, layout.expert_ranks)
    return [*beside(build, block), *narrowed(build, of, [moe]), *build.summed("moe")]


def narrowed(build: Builder, of: Experts, inside: list[PlannedOperation]) -> list[PlannedOperation]:
    """Between projections into a narrower space and back, where experts work in one."""
    if not of.around:
        return inside
    down, up = of.around
    return [build.gemm("latent_down_proj", down.out, [down]), *inside, build.gemm("latent_up_proj", up.out, [up])]


def routed(build: Builder, of: Experts, ranks: int) -> PlannedOperation:
    """The experts of one of ``ranks`` devices that have whole ones, or the slices of all of them."""
    cut = 1 if ranks > 1 else build.layout.tp
    shape: Mapping[str, Attribute] = {
        "hidden": of.into,
        "intermediate": of.width // cut,
        "experts": of.count // ranks,
        "top_k": of.top_k,
        "expert_ranks": ranks,
        **({"routing_kernels": of.kernels} if of.kernels > 1 else {}),
        **({} if of.gated else {"gated": False}),
        **build.stored(of.linears, cut),
    }
    return build.compute("moe", "moe", expert_tokens(build.routing, of.top_k, ranks), **shape)


def _spread(build: Builder, of: Experts, all_to_all: bool) -> list[PlannedOperation]:
    """Experts over all ranks of all members. Each of a member's ``tp`` ranks brings its part of the tokens."""
    layout = build.layout
    ranks, token = layout.expert_ranks, of.into * build.width
    first = routed(build, of, ranks).works[0]
    moe = PlannedOperation(
        (Work(first.component, first.template, first.operands, ranks, build.user(None)),), joint=True
    )
    back = build.collective("all_gather", "moe_gather", one("tokens", token, layout.tp))
    if all_to_all:
        # Each rank sends every token of its part to the ranks of the experts it picked.
        copies = one("tokens", of.top_k * token, ranks)
        return [build.joint("all_to_all", "dispatch", copies), moe, build.joint("all_to_all", "combine", copies), *back]
    gathered = one("tokens", token + of.count * build.width, ranks)  # hidden states and router logits
    return [
        build.joint("all_gather", "dispatch", gathered),
        moe,
        build.joint("reduce_scatter", "combine", one("tokens", token)),
        *back,
    ]
