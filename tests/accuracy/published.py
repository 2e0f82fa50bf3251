"""The published peer's batch latency, nanosecond by nanosecond, as component models.

Used only to check the scheduler: with these in place of our own models, a run must give the very
figures the peer published. Its lowering is not ours: several prompts count as one of the summed
length, and nothing is charged for the host.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

from metronome.hwmodels.accelerator.profiled.bundle import Bundle
from metronome.hwmodels.accelerator.profiled.tables import AttentionTable, Surface
from metronome.hwmodels.base import Config, Estimate, OracleModel
from metronome.hwmodels.interface import Description, Provenance, Template, TimePolicy

NS = 1000
HOST_BYTES_PER_NS = 256


class PublishedConfig(Config):
    bundle: Path


class Published(OracleModel[PublishedConfig]):
    description = Description(
        name="published",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"gemm", "attention", "norm", "elementwise", "embedding", "sampler"}),
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.loaded = False

    def check_template(self, template: Template) -> None:
        if self.loaded:
            return
        self.loaded, self.tp = True, int(template.attributes["tp"])
        bundle = Bundle.find(self.config.bundle, str(template.attributes["model"]), "bf16", self.tp)
        self.dense = {k: (c.xs, [whole(y) for y in c.ys]) for k, c in bundle.dense.items()}
        self.per_sequence = {k: (c.xs, [whole(y) for y in c.ys]) for k, c in bundle.per_sequence.items()}
        table = bundle.attention()
        self.attention = AttentionTable({corner: points_of(surface) for corner, surface in table.surfaces.items()})
        self.skew = bundle.skew()

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        if template.kind == "attention":
            ns = self.attention_ns(values)
        else:
            xs, ys = self.per_sequence.get(template.layer) or self.dense[template.layer]
            ns = line(xs, ys, max(values[0], 1))
            if template.kind == "embedding":  # tokens to the device and back, on every rank one after another
                ns += (2 if self.tp == 1 else 3) * (4 * values[0] // HOST_BYTES_PER_NS)
        return Estimate(ns * NS, Provenance.MEASURED)

    def attention_ns(self, values: tuple[int, ...]) -> int:
        decodes, total, high, low = values[:4]
        chunk, cached = sum(values[4::2]), sum(values[5::2])
        mean = total // decodes if decodes else 0
        at_mean = max(1, int(self.attention(chunk, cached, decodes, mean)[0]))
        if decodes <= 1 or high == mean:
            return at_mean
        alpha = self.skew.alpha(chunk, cached, decodes, total / decodes, low, high)
        at_max = max(1, int(self.attention(chunk, cached, decodes, high)[0]))
        if alpha == 0 or at_max <= at_mean:
            return at_mean
        return max(1, round(at_mean + alpha * (at_max - at_mean)))


class PublishedLink(OracleModel[Config]):
    """Their ring all-reduce of two ranks: 16 GiB/s, 20 us a hop, reductions at 1597 B/ns."""

    description = Description(
        name="published-link",
        kind="network",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"all_reduce"}),
    )

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        part = values[0] // 2
        hop = int(20000 + part / (16 * 2**30 / 1e9))
        return Estimate((30 + 2 * hop + 3 * (part // 1597)) * NS, Provenance.MODELLED)


def whole(ps: float) -> int:
    return max(1, round(ps / NS))


def points_of(surface: Surface) -> dict[tuple[int, int], float]:
    return {
        (row, x): whole(y)
        for row, curve in zip(surface.rows, surface.curves, strict=True)
        for x, y in zip(curve.xs, curve.ys, strict=True)
    }


def line(xs: list[int], ys: list[int], x: int) -> int:
    i = min(max(bisect_right(xs, x) - 1, 0), len(xs) - 2)
    if x <= xs[0]:
        return ys[0]
    return max(1, int(ys[i] + (x - xs[i]) / (xs[i + 1] - xs[i]) * (ys[i + 1] - ys[i])))
