"""Reading an older LLMServingSim profile: ``tp<N>/layers.csv`` and ``tp<N>/attention.csv`` a model.

Layers were measured one by one at every token count; attention apart for one prompt and for n equal
decodes. So a mixed batch is the sum of both, and experts one after another. What was measured in
parts that an engine runs as one kernel (q, k and v; an element-wise layer) is put together by what
the same profile says of such kernels. The sampler was not measured: it counts nothing and its
provenance says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from ...interface import PS_PER_NS, Attribute, ConfigError, Provenance, Template, worse
from . import files
from .experts import slices_of_experts
from .tables import Curve, Surface
from .v0_attention import OldAttention, SummedDecodes

PS_PER_MS = 10**9
#: our layer -> what it is made of there, and by how much each counts
PARTS: dict[str, tuple[tuple[str, float], ...]] = {
    "embedding": (("embedding", 1),),
    "layernorm": (("input_layernorm", 0.5), ("post_layernorm", 0.5)),
    "qkv_proj": (("q_proj", 1), ("k_proj", 1), ("v_proj", 1)),
    "rotary_emb": (("rope", 1),),
    "o_proj": (("o_proj", 1),),
    "gate_up_proj": (("gate_proj", 1), ("up_proj", 1)),
    "act_fn": (("act_fn", 1),),
    "down_proj": (("down_proj", 1),),
    "final_layernorm": (("final_layernorm", 1),),
    "lm_head": (("lm_head", 1),),
}
#: left out by some profilers because the compiler fuses them into a neighbour
FUSED = {"k_proj", "v_proj", "rope", "act_fn", "up_proj"}
EXPERT = ("expert.w1", "expert.w3", "act_fn", "expert.w2")
#: Kernels that sort the (token, expert) pairs by expert before vLLM's fused kernel (`moe_align_block_size`)
SORT_KERNELS = 2


class OldExperts:
    """time(active experts, tokens): the gate, then each active expert with its share of the pairs, and
    what is ``around`` them (tokens).

    The rows are of whole experts whatever ``tp<N>`` they are in; each device of a tensor-parallel group of ``tp``
    computes a slice of each.
    """

    def __init__(
        self,
        gate: Curve,
        parts: list[Curve],
        top_k: int,
        around: Callable[[float], tuple[float, Provenance]],
        tp: int = 1,
    ) -> None:
        self._gate, self._parts, self._top_k, self._around, self._tp = gate, parts, top_k, around, tp

    def __call__(self, active: float, tokens: float) -> tuple[float, Provenance]:
        (gate, how), (around, how_around) = self._gate(tokens), self._around(tokens)
        how, experts = worse(how, how_around), []
        for part in self._parts:
            one, how_one = part(max(1.0, tokens * self._top_k / active))
            experts.append(active * one)
            how = worse(how, how_one)
        if self._tp == 1:
            return sum(experts, around + gate), how
        return around + gate + slices_of_experts(sum(experts), self._tp), worse(how, Provenance.MODELLED)

    def left_out(self) -> list[float]:
        return [error for part in self._parts for error in part.left_out()]


class OldBundle:
    """As `Bundle`, from the older files."""

    experts_in = "rows of experts in layers.csv"

    def __init__(self, folder: Path, tp: int, flash_attention: int = 2) -> None:
        self.folder, self.tp, self._flash_attention = folder / f"tp{tp}", tp, flash_attention
        self._activation_width = 0  # elements a token that act_fn reads and writes; 0 = not known
        self._heads_per_kv, self._sliding_window = 1, False
        self._moe: Mapping[str, Attribute] = {}
        if not self.folder.is_dir():
            have = sorted(int(path.name[2:]) for path in folder.glob("tp[0-9]*"))
            raise ConfigError("bundle", str(folder), f"has no tensor-parallel degree {tp}; it has {have}")
        self._curves = self._layers()
        self.dense = {layer: self._sum(layer, parts) for layer, parts in PARTS.items() if self._has(parts)}
        self.per_sequence = {"lm_head": self.dense.pop("lm_head"), "sampler": Unmeasured()}

    @classmethod
    def find(cls, root: Path, model: str, tp: int, flash_attention: int = 2) -> OldBundle:
        if not (root / model).is_dir():
            have = sorted(str(path.parent.relative_to(root)) for path in root.glob("*/*/tp[0-9]*"))
            raise ConfigError("bundle", str(root), f"has no profile of {model}; it has {sorted(set(have))}")
        return cls(root / model, tp, flash_attention)

    def learn(self, template: Template) -> None:
        """Take from a model's templates what the files do not say of it."""
        at = template.attributes
        if template.kind == "attention":
            self._heads_per_kv = int(at["heads"]) // int(at["kv_heads"])
            self._sliding_window = "sliding_window" in at
        elif template.kind == "moe":
            self._activation_width, self._moe = 3 * int(at["intermediate"]), at
        elif template.layer == "act_fn":
            self._activation_width = int(at["width"])

    def attention(self) -> OldAttention:
        path = self.folder / "attention.csv"
        prompts: dict[tuple[int, int], float] = {}
        decodes: dict[tuple[int, int], float] = {}
        each = False
        for line, row in files.rows(path, ("prefill_chunk_size", "kv_cache_size", "batch_size", "is_prefill")):
            if row["is_prefill"] not in ("True", "False"):
                raise ConfigError(f"{path}:{line}: is_prefill", row["is_prefill"], "True or False")
            prompt = row["is_prefill"] == "True"
            chunk, size, batch = (
                files.count(path, line, row, name) for name in ("prefill_chunk_size", "kv_cache_size", "batch_size")
            )
            if "mean_ns" in row:  # the TPU's file: nanoseconds, cached tokens before the chunk or of each decode
                time, before, each = files.duration(path, line, row, "mean_ns", 1e-9) * PS_PER_NS, chunk, True
            else:  # the GPUs': milliseconds, tokens with the chunk or of all decodes together
                name = "time_stats.attn_prefill.mean" if prompt else "time_stats.attn_decode.mean"
                time, before = files.duration(path, line, row, name, 1e-3) * PS_PER_MS, 0
            if prompt:
                prompts[chunk, size + before] = time
            else:
                decodes[batch, size] = time
        if not prompts or not decodes:
            raise ConfigError("bundle", str(path), "needs rows of prompts and of decodes")
        longest = max(chunk for chunk, _ in prompts)
        if each:
            return OldAttention(Surface(prompts), Surface(decodes), longest)
        together = 1 if self._sliding_window else self._heads_per_kv
        beside = together if self._flash_attention == 3 else 1
        return OldAttention(Surface(prompts), SummedDecodes(decodes), longest, together, beside)

    def moe(self) -> OldExperts | None:
        """Of the ``moe`` template it has learnt; None if not measured."""
        if not all(name in self._curves for name in ("gate", *EXPERT)):
            return None
        parts = [self._curves[name] for name in EXPERT]
        tp = int(self._moe.get("tp", 1)) if int(self._moe.get("expert_ranks", 1)) == 1 else 1
        return OldExperts(self._curves["gate"], parts, int(self._moe["top_k"]), self._around_experts, tp)

    def _around_experts(self, tokens: float) -> tuple[float, Provenance]:
        """Choosing the experts, sorting the pairs, summing what the experts gave, which were not measured.

        Each is a kernel; those on a few numbers a token take what the activation of one token takes.
        """
        small, how = self._one_kernel(1)
        results = tokens * (int(self._moe["top_k"]) + 1) * int(self._moe["hidden"])
        sums, how_sums = self._one_kernel(results)
        kernels = int(self._moe.get("routing_kernels", 1)) + SORT_KERNELS
        return kernels * small + sums, worse(worse(how, how_sums), Provenance.MODELLED)

    def skew(self) -> None:
        """None: of the decodes of a row only the sum of their contexts counts."""

    def as_run(self, template: Template, tokens: int, time: float, how: Provenance) -> tuple[float, Provenance]:
        """What was measured in parts, as the one kernel that an engine runs, if that is quicker."""
        if template.kind == "moe":
            return time, how
        if template.kind in ("norm", "elementwise"):
            one, read = self._one_kernel(tokens * int(template.attributes["width"]))
        else:
            extra = sum(name in self._curves for name, _ in PARTS.get(template.layer, ())) - 1
            start, read = self._start(tokens) if extra > 0 else (0.0, how)
            one = time - extra * start
        return (one, worse(read, Provenance.MODELLED)) if 0 < one < time else (time, how)

    def _one_kernel(self, elements: float) -> tuple[float, Provenance]:
        """Time of an element-wise kernel that reads and writes as much, by the activation's, which is one.

        Some of these layers were measured as the framework runs them, one kernel an arithmetic operation:
        a rotary embedding of 64 tokens takes 41 us on an A6000, at 32 GB/s.
        """
        if "act_fn" not in self._curves or not self._activation_width:
            return 0.0, Provenance.MODELLED
        return self._curves["act_fn"](elements / self._activation_width)

    def _start(self, tokens: int) -> tuple[float, Provenance]:
        """What a matrix product takes whatever its width: the line through the widths of q and of k, at none.

        q, k and v are one product in an engine, gate and up another; the sum of their times has it more than once.
        """
        if "k_proj" not in self._curves or self._heads_per_kv < 2:
            return 0.0, Provenance.MODELLED
        (q, how), (k, how_k) = self._curves["q_proj"](tokens), self._curves["k_proj"](tokens)
        start = (self._heads_per_kv * k - q) / (self._heads_per_kv - 1)
        return min(max(start, 0.0), k), worse(how, how_k)

    def _layers(self) -> dict[str, Curve]:
        points: dict[str, dict[int, float]] = {}
        path = self.folder / "layers.csv"
        for line, row in files.rows(path, ("layer_name", "input", "latency(ns)")):
            time = files.duration(path, line, row, "latency(ns)", 1e-9) * PS_PER_NS
            points.setdefault(row["layer_name"], {})[files.count(path, line, row, "input")] = time
        return {layer: Curve(curve) for layer, curve in points.items()}

    def _has(self, parts: tuple[tuple[str, float], ...]) -> bool:
        return any(name in self._curves for name, _ in parts) or all(name in FUSED for name, _ in parts)

    def _sum(self, layer: str, parts: tuple[tuple[str, float], ...]) -> Curve:
        """The sum at every point the first part has; what the compiler fused away counts nothing."""
        curves = [(self._curves[name], share) for name, share in parts if name in self._curves]
        if not curves:
            return Unmeasured()
        missing = [name for name, _ in parts if name not in self._curves and name not in FUSED]
        if missing:
            raise ConfigError("bundle", str(self.folder), f"has no rows of {', '.join(missing)}, which {layer} needs")
        return Curve({x: math.fsum(curve(x)[0] * share for curve, share in curves) for x in curves[0][0].xs})


class Unmeasured(Curve):
    """Counts nothing, and says that this was not measured."""

    def __init__(self) -> None:
        super().__init__({1: 0.0})

    def __call__(self, x: float) -> tuple[float, Provenance]:
        return 0.0, Provenance.MODELLED
