"""The operations of an image encoder, before those of the decoder in the step that needs its outputs.

Every patch of an image attends to every other. That is stated as a prompt of p patches behind p / 2 cached ones, which
has as many pairs; where layers have windows, as chunks of two windows, of which a query sees half on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from metronome.hwmodels.interface import Attribute

from ..serving.batch import Batch
from .builder import Builder
from .models.vision import Tower
from .quantity import NONE, Operands, Quantity
from .work import PlannedOperation, Section


@dataclass(frozen=True, slots=True)
class EachImage(Operands):
    """Of attention among the patches of each image, ``patches`` of them a token."""

    patches: int = 1
    cached: bool = True  # as many pairs as without a causal mask; in chunks there are as many anyway

    def of(self, batch: Batch) -> tuple[int, ...]:
        found: list[int] = [0] * len(self.quantities)
        for tokens in batch.images:
            count = tokens * self.patches
            found += (count, count // 2 if self.cached else 0)
        return tuple(found)

    @property
    def pairs(self) -> str:
        cached = "half as many" if self.cached else "0"
        return f"({self.patches} x tokens, {cached}) of each image"


def sections(build: Builder, tower: Tower, stage: str) -> list[Section]:
    """Patches, layers and projector; each rank has a part of the matrices of layers and projector, and all patches."""
    patches = Operands((Quantity("image_tokens", per=tower.patches),))
    first = build.compute("gemm", "vit_patches", patches, n=tower.width, k=tower.patch_inputs)
    layers = [("image encoder", False, tower.depth - tower.windowed), ("image encoder, windows", True, tower.windowed)]
    return [
        Section("image patches", (first,), stage),
        *(
            Section(name, tuple(_layer(build, tower, patches, windowed)), stage, repeat)
            for name, windowed, repeat in layers
            if repeat
        ),
        Section("image projector", tuple(_projector(build, tower)), stage, tower.projectors),
    ]


def _layer(build: Builder, of: Tower, patches: Operands, windowed: bool) -> list[PlannedOperation]:
    tp, width = build.layout.tp, of.width
    shape: dict[str, Attribute] = {
        "heads": of.heads // tp,
        "kv_heads": of.heads // tp,
        "head_size": width // of.heads,
        "kv_dtype": build.arch.dtype,
        **({"sees": 2 * of.window, "chunk": True} if windowed else {}),
    }
    pairs = EachImage((NONE, NONE, NONE, NONE), patches=of.patches, cached=not windowed)
    summed = Operands((Quantity("image_tokens", per=of.patches * width * build.width),))
    return [
        build.light("norm", "vit_norm", 2 * width, patches),
        build.compute("gemm", "vit_qkv", patches, n=3 * width // tp, k=width),
        build.on("accelerators", "attention", "vit_attention", pairs, shape),
        build.compute("gemm", "vit_proj", patches, n=width, k=width // tp),
        *build.collective("all_reduce", "vit_proj", summed),
        build.light("norm", "vit_norm", 2 * width, patches),
        build.compute("gemm", "vit_up", patches, n=(2 if of.gated else 1) * of.inner // tp, k=width),
        build.light("elementwise", "vit_act", (3 if of.gated else 2) * of.inner // tp, patches),
        build.compute("gemm", "vit_down", patches, n=width, k=of.inner // tp),
        *build.collective("all_reduce", "vit_down", summed),
    ]


def _projector(build: Builder, of: Tower) -> list[PlannedOperation]:
    tp, tokens = build.layout.tp, Operands((Quantity("image_tokens"),))
    return [
        build.light("norm", "vit_norm", 2 * of.merged, tokens),
        build.compute("gemm", "vit_merge", tokens, n=of.merged // tp, k=of.merged),
        build.light("elementwise", "vit_act", 2 * of.merged // tp, tokens),
        build.compute("gemm", "vit_out", tokens, n=of.out, k=of.merged // tp),
        *build.collective("all_reduce", "vit_out", Operands((Quantity("image_tokens", per=of.out * build.width),))),
    ]
