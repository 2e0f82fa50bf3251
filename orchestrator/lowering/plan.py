"""From a model and its parallel plan to the operations of one engine step.

A step is prologue, the model's layers, epilogue. Layers that repeat, alone or in a pattern, are one section.
Tensor parallelism cuts every matrix over ``tp`` ranks that do the same work at the same time, so one rank's
operations stand for all; two all-reduces a layer put the partial sums together (Shoeybi et al.,
"Megatron-LM", 2019). Pipeline stages hand hidden states on. Experts spread over all ranks of a data-parallel
group get the whole group's tokens by all-gather and give them back by reduce-scatter, vLLM's default, or by
two all-to-alls. With the experts on devices of their own (attention/FFN disaggregation) every layer sends its
tokens there and back; layers without experts and shared experts stay with the attention.
"""

from __future__ import annotations

from collections.abc import Mapping

from metronome.hwmodels.interface import Attribute

from . import image_encoder
from .architecture import Architecture
from .builder import Builder, Hardware
from .feed_forward import beside_summed, feed_forward, narrowed, routed
from .layout import Layout
from .mixers import mixer
from .models.parts import Layer
from .patterns import patterns
from .quantity import SEQUENCES, one
from .routing import Routing
from .work import Plan, PlannedOperation, Section, Templates, Work

TOKEN_ID_BYTES = 4  # vLLM keeps input and sampled token ids as int32


def lower(
    owner: str,
    arch: Architecture,
    layout: Layout,
    kv_dtype: str,
    templates: Templates,
    hardware: Hardware,
    all_to_all: bool = False,
    micro_batches: int = 1,
    experts: Routing | None = None,
    images: bool = False,
    chooses: Mapping[str, Attribute] | None = None,
) -> Plan:
    """The plan of an instance named ``owner``.

    ``all_to_all`` moves tokens to experts by all-to-all instead of all-gather and reduce-scatter;
    ``experts`` says how tokens pick theirs (default: uniformly); ``images`` may be in prompts: they are encoded first;
    a sampler that ``chooses`` by top-p has these attributes.
    """
    build = Builder(owner, arch, layout, kv_dtype, templates, hardware)
    build.routing, build.chooses = experts or build.routing, chooses or {}
    if layout.ffn:
        sections = _apart(build, micro_batches)
        return Plan((*_encoder(build, "attention", images), *sections), layout.dp, micro_batches)
    sections = []
    for stage, layers in enumerate(layout.layers(arch.layers)):
        build.stage = stage
        where = f"stage{stage}"
        if stage == 0:
            sections.append(Section("prologue", tuple(_prologue(build)), where))
        for pattern, repeat in patterns([arch.blocks[i] for i in layers]):
            rows = tuple(row for block in pattern for row in _layer(build, block, all_to_all))
            name = "block with experts" if any(block.experts for block in pattern) else "block"
            interleaved = hardware.interleaved and any(row.beside for row in rows)
            sections.append(Section(name, rows, where, repeat, len(pattern), build.chain(rows), interleaved))
        if stage == layout.pp - 1:
            sections.append(Section("epilogue", tuple(_epilogue(build)), where))
        else:
            sections.append(Section("to the next stage", (_hand_on(build),), None))
    return Plan((*_encoder(build, "stage0", images), *sections), layout.dp, layout.pp)


def _encoder(build: Builder, stage: str, images: bool) -> list[Section]:
    """The encoder of images, on the first stage; its templates are declared last."""
    build.stage = 0
    return image_encoder.sections(build, build.arch.tower, stage) if images and build.arch.tower else []


def _layer(build: Builder, block: Layer, all_to_all: bool) -> list[PlannedOperation]:
    rows = [*mixer(build, block), *feed_forward(build, block, all_to_all), *_extra(build, block)]
    return [build.or_in_memory(row) for row in rows] if build.hardware.gemv else rows


def _extra(build: Builder, block: Layer) -> list[PlannedOperation]:
    return [build.gemm(linear.path, linear.out, [linear]) for linear in block.extra]


def _prologue(build: Builder) -> list[PlannedOperation]:
    return [
        *build.host("read", "input_ids", one("tokens", TOKEN_ID_BYTES)),
        build.light("embedding", "embedding", build.arch.hidden),
    ]


def _epilogue(build: Builder) -> list[PlannedOperation]:
    arch = build.arch
    vocab = arch.vocab // build.layout.tp
    if build.chooses:  # every tensor-parallel rank gathers all logits, and chooses for itself
        sampler = build.compute("sampler", "sampler", SEQUENCES, width=arch.vocab, **build.chooses)
    else:
        sampler = build.light("sampler", "sampler", vocab, SEQUENCES)
    return [
        build.light("norm", "final_layernorm", 2 * arch.hidden),
        build.gemm("lm_head", vocab, [arch.head], SEQUENCES),
        sampler,
        *build.host("write", "sampled_ids", one("sequences", TOKEN_ID_BYTES)),
    ]


def _hand_on(build: Builder) -> PlannedOperation:
    """Hidden states and residual to the next stage, each tensor-parallel rank its part to its like."""
    layout, stage = build.layout, build.stage
    operands = one("tokens", 2 * build.arch.hidden * build.width / layout.tp)
    works = []
    for member in range(layout.dp):
        pairs = zip(layout.ranks(member, stage), layout.ranks(member, stage + 1), strict=True)
        devices = [device for pair in pairs for device in pair]
        works.append(
            build.move("send", "hand_on", operands, devices, f"{build.owner}/s{stage}>{stage + 1}/dp{member}*")
        )
    return PlannedOperation(tuple(works))


def _apart(build: Builder, micro_batches: int) -> list[Section]:
    """Attention on the instance's own devices, experts on others; a layer's tokens go there and back."""
    arch = build.arch
    sections = [Section("prologue", tuple(_prologue(build)), "attention")]
    for pattern, repeat in patterns(arch.blocks):
        if any(block.experts for block in pattern):
            turns = [_there_and_back(build, block, micro_batches) for block in pattern]
            sections += [section for turn in turns for section in turn] * repeat
            continue
        rows = tuple(row for block in pattern for row in _layer(build, block, all_to_all=False))
        sections.append(Section("block", rows, "attention", repeat, len(pattern)))
    return [*sections, Section("epilogue", tuple(_epilogue(build)), "attention")]


def _there_and_back(build: Builder, block: Layer, micro_batches: int) -> list[Section]:
    """One layer of which the experts, if it has any, are elsewhere."""
    layout, of = build.layout, block.experts
    if of is None:
        return [Section("block", tuple(_layer(build, block, all_to_all=False)), "attention", 1, 1)]
    ranks, own = len(layout.ffn), layout.ranks(0, 0)
    pairs = [(a, f) for a in own for f in layout.ffn]
    # Each attention rank holds all tokens; it sends its part of them, each to the ranks of its experts.
    operands = one("tokens", min(of.top_k, ranks) * of.into * build.width / len(pairs))
    wire = "*" if micro_batches > 1 else ""

    def send(layer: str, there: bool) -> Section:
        devices = [device for a, f in pairs for device in ((a, f) if there else (f, a))]
        user = f"{build.owner}/s0/{layer}{wire}" if wire else build.user(None)
        moved = build.move("send", layer, operands, devices, user)
        return Section(layer.replace("_", " "), (PlannedOperation((moved,)),), None)

    first = routed(build, of, ranks).works[0]
    user = f"{build.owner}/ffn" if wire else build.user(None)
    moe = Work(f"{layout.ffn[0][0]}.accelerators", first.template, first.operands, ranks, user)
    norm = build.light("norm", "layernorm", 2 * build.arch.hidden)
    before, after = narrowed(build, of, []), []
    if before:
        before, after = before[:1], before[1:]
    attention = (*mixer(build, block), norm, *beside_summed(build, block), *before)
    return [
        Section("attention", attention, "attention"),
        send("to_experts", True),
        Section("experts", (PlannedOperation((moe,)),), "ffn"),
        send("from_experts", False),
        Section("after the experts", tuple(after), "attention" if after else None, layers=1),
    ]
