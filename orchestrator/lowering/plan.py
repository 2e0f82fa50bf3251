"""From a model and its parallel plan to the operations of one engine step.

A step is prologue, the same transformer block once a layer, epilogue. Tensor parallelism cuts every
matrix over ``tp`` ranks that do the same work at the same time, so one rank's operations stand for
all; two all-reduces a block put the partial sums together (Shoeybi et al., "Megatron-LM", 2019).
Pipeline stages hand hidden states on. Experts spread over all ranks of a data-parallel group get the
whole group's tokens by all-gather and give them back by reduce-scatter, vLLM's default, or by two
all-to-alls. With the experts on devices of their own (attention/FFN disaggregation) every layer sends
its tokens there and back; leading dense layers and shared experts stay with the attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from metronome.hwmodels.interface import DTYPE_BYTES, Attribute

from .architecture import Architecture
from .layout import Device, Layout, address
from .quantity import ATTENTION, PROMPT_ATTENTION, SEQUENCES, TOKENS, Operands, expert_tokens, one
from .routing import Routing, routing
from .work import Plan, PlannedOperation, Section, Templates, Work

TOKEN_ID_BYTES = 4  # vLLM keeps input and sampled token ids as int32


class Hardware:
    """Which component answers for what; made by the placement of an instance.

    ``network(devices)`` names the network that connects them, ``memories`` the nodes with a host memory;
    with ``pim`` the PIM devices of the accelerators hold K and V, and do the decodes' attention.
    """

    def __init__(self, network: Callable[[Sequence[Device]], str], memories: Sequence[str], pim: bool = False) -> None:
        self.network, self.memories, self.pim = network, frozenset(memories), pim


class _Builder:
    """Makes the planned operations of one instance."""

    def __init__(
        self, owner: str, arch: Architecture, layout: Layout, kv_dtype: str, templates: Templates, hardware: Hardware
    ) -> None:
        self.owner, self.arch, self.layout, self.templates, self.hardware = owner, arch, layout, templates, hardware
        self.kv_dtype, self.width = kv_dtype, DTYPE_BYTES[arch.dtype]
        self.common: dict[str, Attribute] = {"model": arch.name, "tp": layout.tp, "dtype": arch.dtype}
        if kv_dtype != arch.dtype:
            self.common["kv_cache"] = kv_dtype
        self.stage = 0
        self.routing = routing("uniform", arch.experts, arch.top_k) if arch.experts else Routing("none", ())

    def user(self, member: int | None) -> str:
        """Stages and members work side by side; a stage's joint work and its members' exclude each other."""
        return f"{self.owner}/s{self.stage}" + ("" if member is None else f"/dp{member}")

    def compute(self, kind: str, layer: str, operands: Operands, **attributes: Attribute) -> PlannedOperation:
        """On the accelerators of every member."""
        return self.on("accelerators", kind, layer, operands, attributes)

    def on(
        self, device: str, kind: str, layer: str, operands: Operands, attributes: Mapping[str, Attribute]
    ) -> PlannedOperation:
        """On that kind of device of every member's nodes, one beside each rank."""
        template = self.templates.declare(kind, layer, {**self.common, **attributes})
        return PlannedOperation(
            tuple(
                Work(
                    f"{self.layout.ranks(m, self.stage)[0][0]}.{device}",
                    template,
                    operands,
                    self.layout.tp,
                    self.user(m),
                )
                for m in range(self.layout.dp)
            )
        )

    def gemm(self, layer: str, n: int, k: int, operands: Operands = TOKENS) -> PlannedOperation:
        return self.compute("gemm", layer, operands, n=n, k=k)

    def light(self, kind: str, layer: str, width: int, operands: Operands = TOKENS) -> PlannedOperation:
        return self.compute(kind, layer, operands, width=width)

    def host(self, kind: str, layer: str, operands: Operands) -> list[PlannedOperation]:
        """On the host memory of every member's node, if there is one."""
        nodes = [self.layout.ranks(m, self.stage)[0][0] for m in range(self.layout.dp)]
        if not self.hardware.memories.issuperset(nodes):
            return []
        template = self.templates.declare(kind, layer, {})
        return [
            PlannedOperation(tuple(Work(f"{n}.dram", template, operands, 1, self.user(m)) for m, n in enumerate(nodes)))
        ]

    def collective(self, kind: str, layer: str, operands: Operands) -> list[PlannedOperation]:
        """Among the tensor-parallel ranks of every member."""
        if self.layout.tp == 1:
            return []
        groups = [self.layout.ranks(m, self.stage) for m in range(self.layout.dp)]
        return [
            PlannedOperation(
                tuple(self.move(kind, layer, operands, group, self.user(m)) for m, group in enumerate(groups))
            )
        ]

    def joint(self, kind: str, layer: str, operands: Operands) -> PlannedOperation:
        """Among all ranks of the stage."""
        return PlannedOperation(
            (self.move(kind, layer, operands, self.layout.all_ranks(self.stage), self.user(None)),), joint=True
        )

    def move(self, kind: str, layer: str, operands: Operands, devices: Sequence[Device], user: str) -> Work:
        ranks = ",".join(map(address, devices))
        attributes: dict[str, Attribute] = {"participants": len(devices), "ranks": ranks, "owner": self.owner}
        template = self.templates.declare(kind, layer, attributes)
        return Work(self.hardware.network(devices), template, operands, len(devices), user)

    def chain(self, operations: Sequence[PlannedOperation]) -> Work | None:
        """All network operations of a block, if one engine does them on one network."""
        works = [operation.works[0] for operation in operations if "ranks" in operation.works[0].template.attributes]
        if not works or self.layout.dp > 1 or len({work.component for work in works}) > 1:
            return None
        of = ",".join(str(work.template.id) for work in works)
        layer = "+".join(work.template.layer for work in works)
        template = self.templates.declare("train", layer, {"of": of, "owner": self.owner})
        return Work(works[0].component, template, TOKENS, works[0].copies, works[0].user)


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
) -> Plan:
    """The plan of an instance named ``owner``.

    ``all_to_all`` moves tokens to experts by all-to-all instead of all-gather and reduce-scatter;
    ``experts`` says how tokens pick theirs (default: uniformly).
    """
    build = _Builder(owner, arch, layout, kv_dtype, templates, hardware)
    build.routing = experts or build.routing
    if layout.ffn:
        sections = _apart(build, micro_batches)
        return Plan(tuple(sections), layout.dp, micro_batches)
    sections = []
    for stage, layers in enumerate(layout.layers(arch.layers)):
        build.stage = stage
        where = f"stage{stage}"
        if stage == 0:
            sections.append(Section("prologue", tuple(_prologue(build)), where))
        dense = arch.without_experts(layers)
        for name, mlp, repeat in (
            ("block", _mlp, dense),
            ("block with experts", partial(_experts, all_to_all=all_to_all), len(layers) - dense),
        ):
            if repeat:
                block = (*_attention(build), *mlp(build))
                sections.append(Section(name, block, where, repeat, 1, build.chain(block)))
        if stage == layout.pp - 1:
            sections.append(Section("epilogue", tuple(_epilogue(build)), where))
        else:
            sections.append(Section("to the next stage", (_hand_on(build),), None))
    return Plan(tuple(sections), layout.dp, layout.pp)


def _prologue(build: _Builder) -> list[PlannedOperation]:
    return [
        *build.host("read", "input_ids", one("tokens", TOKEN_ID_BYTES)),
        build.light("embedding", "embedding", build.arch.hidden),
    ]


def _epilogue(build: _Builder) -> list[PlannedOperation]:
    arch = build.arch
    vocab = arch.vocab // build.layout.tp
    return [
        build.light("norm", "final_layernorm", 2 * arch.hidden),
        build.gemm("lm_head", vocab, arch.hidden, SEQUENCES),
        build.light("sampler", "sampler", vocab, SEQUENCES),
        *build.host("write", "sampled_ids", one("sequences", TOKEN_ID_BYTES)),
    ]


def _attention(build: _Builder) -> list[PlannedOperation]:
    arch, tp = build.arch, build.layout.tp
    query, key_value = arch.heads * arch.head_size // tp, max(arch.kv_heads // tp, 1) * arch.head_size
    shape: dict[str, Attribute] = {
        "heads": arch.heads // tp,
        "kv_heads": max(arch.kv_heads // tp, 1),
        "head_size": arch.head_size,
        "kv_dtype": build.kv_dtype,
        **({"sliding_window": arch.sliding_window} if arch.sliding_window else {}),
    }
    attention = [build.on("accelerators", "attention", "attention", ATTENTION, shape)]
    if build.hardware.pim:  # which also takes the prompts' K and V
        attention = [
            build.on("pim", "attention", "attention", ATTENTION, shape),
            build.on("accelerators", "attention", "attention", PROMPT_ATTENTION, shape),
        ]
    return [
        build.light("norm", "layernorm", 2 * arch.hidden),
        build.gemm("qkv_proj", query + 2 * key_value, arch.hidden),
        *([build.light("norm", "qk_norm", 2 * (query + key_value))] if arch.qk_norm else []),
        build.light("elementwise", "rotary_emb", 2 * (query + key_value)),
        *attention,
        build.gemm("o_proj", arch.hidden, query),
        *build.collective("all_reduce", "o_proj", one("tokens", arch.hidden * build.width)),
        build.light("norm", "layernorm", 2 * arch.hidden),
    ]


def _experts(build: _Builder, all_to_all: bool) -> list[PlannedOperation]:
    arch, layout = build.arch, build.layout
    if layout.expert_parallel and layout.dp > 1:
        return [*_shared_experts_summed(build), *_spread_experts(build, all_to_all)]
    local = layout.expert_ranks
    width = arch.intermediate if local > 1 else arch.intermediate // layout.tp
    moe = build.compute(
        "moe", "moe", expert_tokens(build.routing, arch.top_k, local), **_expert_shape(arch, width, local)
    )  # the sums of both kinds of experts are reduced together
    return [*_shared_experts(build), moe, *build.collective("all_reduce", "moe", _hidden(build))]


def _hidden(build: _Builder) -> Operands:
    return one("tokens", build.arch.hidden * build.width)


def _mlp(build: _Builder) -> list[PlannedOperation]:
    width = build.arch.mlp_width // build.layout.tp
    return [*_gated(build, "", width), *build.collective("all_reduce", "down_proj", _hidden(build))]


def _shared_experts(build: _Builder) -> list[PlannedOperation]:
    """The experts that every token takes: an MLP as wide as all of them. One after the other with the rest."""
    width = build.arch.shared_intermediate // build.layout.tp
    return _gated(build, "shared_", width) if width else []


def _shared_experts_summed(build: _Builder) -> list[PlannedOperation]:
    """Where the other experts are on other ranks than a member's own, and their sums do not meet."""
    shared = _shared_experts(build)
    return [*shared, *build.collective("all_reduce", "shared_experts", _hidden(build))] if shared else []


def _gated(build: _Builder, which: str, width: int) -> list[PlannedOperation]:
    return [
        build.gemm(f"{which}gate_up_proj", 2 * width, build.arch.hidden),
        build.light("elementwise", f"{which}act_fn", 3 * width),
        build.gemm(f"{which}down_proj", build.arch.hidden, width),
    ]


def _expert_shape(arch: Architecture, width: int, ranks: int) -> Mapping[str, Attribute]:
    return {
        "hidden": arch.hidden,
        "intermediate": width,
        "experts": arch.experts // ranks,
        "top_k": arch.top_k,
        "expert_ranks": ranks,
        **({"routing_kernels": arch.routing_kernels} if arch.routing_kernels > 1 else {}),
    }


def _spread_experts(build: _Builder, all_to_all: bool) -> list[PlannedOperation]:
    """Experts over all ranks of all members. Each of a member's ``tp`` ranks brings its part of the tokens."""
    arch, layout = build.arch, build.layout
    ranks, token = layout.expert_ranks, arch.hidden * build.width
    experts = build.compute(
        "moe", "moe", expert_tokens(build.routing, arch.top_k, ranks), **_expert_shape(arch, arch.intermediate, ranks)
    )
    first = experts.works[0]
    moe = PlannedOperation(
        (Work(first.component, first.template, first.operands, ranks, build.user(None)),), joint=True
    )
    back = build.collective("all_gather", "moe_gather", one("tokens", token, layout.tp))
    if all_to_all:
        # Each rank sends every token of its part to the ranks of the experts it picked.
        copies = one("tokens", arch.top_k * token, ranks)
        return [build.joint("all_to_all", "dispatch", copies), moe, build.joint("all_to_all", "combine", copies), *back]
    gathered = one("tokens", token + arch.experts * build.width, ranks)  # hidden states and router logits
    return [
        build.joint("all_gather", "dispatch", gathered),
        moe,
        build.joint("reduce_scatter", "combine", one("tokens", token)),
        *back,
    ]


def _hand_on(build: _Builder) -> PlannedOperation:
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


def _apart(build: _Builder, micro_batches: int) -> list[Section]:
    """Attention on the instance's own devices, experts on others; a layer's tokens go there and back."""
    arch, layout = build.arch, build.layout
    ranks, own = len(layout.ffn), layout.ranks(0, 0)
    pairs = [(a, f) for a in own for f in layout.ffn]
    # Each attention rank holds all tokens; it sends its part of them, each to the ranks of its experts.
    token_bytes = min(arch.top_k, ranks) * arch.hidden * build.width / len(pairs)
    operands = one("tokens", token_bytes)
    wire = "*" if micro_batches > 1 else ""

    def send(layer: str, there: bool) -> Section:
        devices = [device for a, f in pairs for device in ((a, f) if there else (f, a))]
        user = f"{build.owner}/s0/{layer}{wire}" if wire else build.user(None)
        send = build.move("send", layer, operands, devices, user)
        return Section(layer.replace("_", " "), (PlannedOperation((send,)),), None)

    template = build.compute(
        "moe", "moe", expert_tokens(build.routing, arch.top_k, ranks), **_expert_shape(arch, arch.intermediate, ranks)
    ).works[0]
    user = f"{build.owner}/ffn" if wire else build.user(None)
    moe = Work(f"{layout.ffn[0][0]}.accelerators", template.template, template.operands, ranks, user)
    attention = tuple(_attention(build))
    sections = [Section("prologue", tuple(_prologue(build)), "attention")]
    if arch.dense_layers:
        sections.append(Section("block", (*attention, *_mlp(build)), "attention", arch.dense_layers, 1))
    attention += tuple(_shared_experts_summed(build))
    for _ in range(arch.layers - arch.dense_layers):
        sections += [
            Section("attention", attention, "attention"),
            send("to_experts", True),
            Section("experts", (PlannedOperation((moe,)),), "ffn"),
            send("from_experts", False),
            Section("", (), None, layers=1),
        ]
    return [*sections, Section("epilogue", tuple(_epilogue(build)), "attention")]
