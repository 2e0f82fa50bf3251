"""Making the planned operations of one instance: which devices do them, on which networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from metronome.hwmodels.interface import DTYPE_BYTES, Attribute

from .architecture import Architecture
from .layout import Device, Layout, address
from .models.parts import Linear
from .quantity import TOKENS, Operands, one
from .routing import Routing, routing
from .work import PlannedOperation, Templates, Work


class Hardware:
    """Which component answers for what; made by the placement of an instance.

    ``network(devices)`` names the network that connects them, ``memories`` the nodes with a host memory;
    with ``pim`` the PIM devices of the accelerators hold K and V, and do the decodes' attention, with ``interleaved``
    that of one half of a batch while the accelerators work on the other; with ``gemv`` they hold the layers' matrices,
    too, and may multiply them.
    """

    def __init__(
        self,
        network: Callable[[Sequence[Device]], str],
        memories: Sequence[str],
        pim: bool = False,
        interleaved: bool = False,
        gemv: bool = False,
    ) -> None:
        self.network, self.memories, self.pim, self.interleaved = network, frozenset(memories), pim, interleaved
        self.gemv = gemv


class Builder:
    """Makes the planned operations of one instance, those of one pipeline stage (``stage``) at a time."""

    def __init__(
        self, owner: str, arch: Architecture, layout: Layout, kv_dtype: str, templates: Templates, hardware: Hardware
    ) -> None:
        self.owner, self.arch, self.layout, self.templates, self.hardware = owner, arch, layout, templates, hardware
        self.kv_dtype, self.width = kv_dtype, DTYPE_BYTES[arch.dtype]
        self.common: dict[str, Attribute] = {"model": arch.name, "tp": layout.tp, "dtype": arch.dtype}
        if kv_dtype != arch.dtype:
            self.common["kv_cache"] = kv_dtype
        self.stage = 0
        self.chooses: Mapping[str, Attribute] = {}  # how a sampler chooses by top-p
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

    def gemm(self, layer: str, n: int, linears: Sequence[Linear], operands: Operands = TOKENS) -> PlannedOperation:
        """One product with these matrices side by side: ``n`` outputs on a rank, of their common inputs."""
        _, into = linears[0].shape(self.layout.tp)
        return self.compute("gemm", layer, operands, n=n, k=into, **self.stored(linears))

    def or_in_memory(self, operation: PlannedOperation) -> PlannedOperation:
        """The same, of which a matrix that all tokens are multiplied with may be the PIM devices' work instead."""
        first = operation.works[0]
        if first.template.kind != "gemm" or first.operands != TOKENS:
            return operation
        beside = [f"{work.component.rpartition('.')[0]}.pim" for work in operation.works]
        works = zip(operation.works, beside, strict=True)
        return replace(operation, instead=tuple(replace(work, component=pim) for work, pim in works))

    def stored(self, linears: Sequence[Linear], tp: int | None = None) -> dict[str, Attribute]:
        """How matrices are stored, where that is not the model's own type: an average where they differ."""
        formats = {linear.format for linear in linears}
        if not any(one.name for one in formats):
            return {}
        shapes = [(linear, *linear.shape(tp or self.layout.tp)) for linear in linears]
        size = sum(linear.format.size(out, into, self.arch.dtype) for linear, out, into in shapes)
        names, computes = {one.name or self.arch.dtype for one in formats}, {one.compute for one in formats}
        compute = computes.pop() if len(computes) == 1 else ""
        block = max(one.rows for one in formats)
        return {
            "weight_dtype": "+".join(sorted(names)),
            "weight_bits": round(8 * size / sum(out * into for _, out, into in shapes), 4),
            **({"compute": compute} if compute else {}),
            **({"weight_block": block} if block > 1 else {}),
        }

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

    def summed(self, layer: str) -> list[PlannedOperation]:
        """An all-reduce of every token's hidden vector."""
        return self.collective("all_reduce", layer, one("tokens", self.arch.hidden * self.width))

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
