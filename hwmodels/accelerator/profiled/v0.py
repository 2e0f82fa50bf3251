"""Reading an older LLMServingSim profile: ``tp<N>/layers.csv`` and ``tp<N>/attention.csv`` a model.

Layers were measured one by one, unfused, at every token count; attention apart for one prompt and for
n equal decodes. So a mixed batch is the sum of both, q, k and v are three matrices, and experts one
after another. The sampler was not measured: it counts nothing and its provenance says so.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ...interface import PS_PER_NS, ConfigError, Provenance, worse
from .tables import Curve, Surface

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


class OldAttention:
    """time(prompt tokens, cached, decodes, context): one prompt's kernel, then the decodes'."""

    def __init__(self, prompts: Surface, decodes: Surface, longest: int) -> None:
        self._prompts, self._decodes, self._longest = prompts, decodes, longest

    def __call__(self, chunk: float, cached: float, decodes: int, context: float) -> tuple[float, Provenance]:
        time, how = 0.0, Provenance.MEASURED
        if chunk:
            time, how = self._prompt(chunk, cached)
        if decodes:
            more, how_more = self._decodes(decodes, context)
            time, how = time + more, worse(how, how_more)
        return time, how

    def left_out(self) -> list[float]:
        return self._prompts.left_out() + self._decodes.left_out()

    def _prompt(self, chunk: float, cached: float) -> tuple[float, Provenance]:
        """Beyond the longest chunk measured, by the number of (query, key) pairs, which is its work."""
        if chunk <= self._longest:
            return self._prompts(chunk, chunk + cached)
        time, how = self._prompts(self._longest, self._longest + cached)
        pairs = chunk * (cached + chunk / 2) / (self._longest * (cached + self._longest / 2))
        return time * pairs, worse(how, Provenance.EXTRAPOLATED)


class OldExperts:
    """time(active experts, tokens): the gate, then each active expert with its share of the pairs."""

    def __init__(self, gate: Curve, parts: list[Curve], top_k: int) -> None:
        self._gate, self._parts, self._top_k = gate, parts, top_k

    def __call__(self, active: float, tokens: float) -> tuple[float, Provenance]:
        time, how = self._gate(tokens)
        for part in self._parts:
            one, how_one = part(max(1.0, tokens * self._top_k / active))
            time, how = time + active * one, worse(how, how_one)
        return time, how

    def left_out(self) -> list[float]:
        return [error for part in self._parts for error in part.left_out()]


class OldBundle:
    """As `Bundle`, from the older files."""

    experts_in = "rows of experts in layers.csv"

    def __init__(self, folder: Path, tp: int) -> None:
        self.folder, self.tp = folder / f"tp{tp}", tp
        if not self.folder.is_dir():
            have = sorted(int(path.name[2:]) for path in folder.glob("tp[0-9]*"))
            raise ConfigError("bundle", str(folder), f"has no tensor-parallel degree {tp}; it has {have}")
        self._curves = self._layers()
        self.dense = {layer: self._sum(layer, parts) for layer, parts in PARTS.items() if self._has(parts)}
        self.per_sequence = {"lm_head": self.dense.pop("lm_head"), "sampler": Unmeasured()}

    @classmethod
    def find(cls, root: Path, model: str, tp: int) -> OldBundle:
        if not (root / model).is_dir():
            have = sorted(str(path.parent.relative_to(root)) for path in root.glob("*/*/tp[0-9]*"))
            raise ConfigError("bundle", str(root), f"has no profile of {model}; it has {sorted(set(have))}")
        return cls(root / model, tp)

    def attention(self) -> OldAttention:
        path = self.folder / "attention.csv"
        prompts: dict[tuple[int, int], float] = {}
        decodes: dict[tuple[int, int], float] = {}
        for row in _rows(path, ("prefill_chunk_size", "kv_cache_size", "batch_size", "is_prefill")):
            prompt = row["is_prefill"] == "True"
            if "mean_ns" in row:  # the TPU's file: cached tokens before the chunk, nanoseconds
                time, before = float(row["mean_ns"]) * PS_PER_NS, int(row["prefill_chunk_size"])
            else:  # the GPUs': tokens with the chunk, milliseconds
                name = "time_stats.attn_prefill.mean" if prompt else "time_stats.attn_decode.mean"
                time, before = float(row[name]) * PS_PER_MS, 0
            size = int(row["kv_cache_size"])
            if prompt:
                prompts[int(row["prefill_chunk_size"]), size + before] = time
            else:
                decodes[int(row["batch_size"]), size] = time
        if not prompts or not decodes:
            raise ConfigError("bundle", str(path), "needs rows of prompts and of decodes")
        return OldAttention(Surface(prompts), Surface(decodes), max(chunk for chunk, _ in prompts))

    def experts(self, top_k: int) -> OldExperts | None:
        if not all(name in self._curves for name in ("gate", *EXPERT)):
            return None
        return OldExperts(self._curves["gate"], [self._curves[name] for name in EXPERT], top_k)

    def _layers(self) -> dict[str, Curve]:
        points: dict[str, dict[int, float]] = {}
        for row in _rows(self.folder / "layers.csv", ("layer_name", "input", "latency(ns)")):
            points.setdefault(row["layer_name"], {})[int(row["input"])] = float(row["latency(ns)"]) * PS_PER_NS
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
        return Curve({x: sum(curve(x)[0] * share for curve, share in curves) for x in curves[0][0].xs})


class Unmeasured(Curve):
    """Counts nothing, and says that this was not measured."""

    def __init__(self) -> None:
        super().__init__({1: 0.0})

    def __call__(self, x: float) -> tuple[float, Provenance]:
        return 0.0, Provenance.MODELLED


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    if not path.is_file():
        raise ConfigError("bundle", str(path), "no such file")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if not set(needed) <= set(reader.fieldnames or ()):
            raise ConfigError(str(path), reader.fieldnames, f"needs the columns {', '.join(needed)}")
        return list(reader)
