"""``profiled``: an accelerator whose layer times were measured with vLLM, one profile bundle a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ...base import Config, Estimate, OracleModel
from ...interface import (
    PS_PER_S,
    ConfigError,
    Description,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
    Use,
)
from ..choosing import choosing_bytes
from .bundle import Bundle
from .mixed import Prompts, attention_time
from .tables import AttentionTable, SkewTable, Surface
from .v0 import OldBundle, OldExperts
from .v0_attention import OldAttention


class ProfiledConfig(Config):
    """Where the measurements are, and, if known, the watts of one device."""

    bundle: Path = Field(description="a bundle (holds meta.yaml), or the folder of a device's bundles")
    format: Literal["current", "v0"] = Field(default="current", description="v0: layers.csv and attention.csv")
    flash_attention: Literal[2, 3] = Field(
        default=2,
        description="v0: FlashAttention of the engine (3 on Hopper); it decides what decodes beside prompts take",
    )
    idle_w: float | None = Field(default=None, ge=0)
    standby_w: float | None = Field(default=None, ge=0, description="awake with nothing to do; default: idle_w")
    active_w: float | None = Field(default=None, ge=0)
    reached_gb_s: float | None = Field(
        default=None, gt=0, description="bandwidth that large kernels reach: choosing by top-p is in no profile"
    )


@dataclass
class _Layers:
    """One model's tables at one TP degree; attention, MoE and skew are read when first needed."""

    bundle: Bundle | OldBundle

    @cached_property
    def attention(self) -> AttentionTable | OldAttention:
        return self.bundle.attention()

    @cached_property
    def moe(self) -> Surface | OldExperts | None:
        return self.bundle.moe()

    @cached_property
    def skew(self) -> SkewTable | None:
        return self.bundle.skew()


class Profiled(OracleModel[ProfiledConfig]):
    """Interpolates an LLMServingSim profile bundle; says of every answer how it was come by."""

    description = Description(
        name="profiled",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"gemm", "attention", "moe", "norm", "elementwise", "embedding", "sampler"}),
        summary="measured layer times from an LLMServingSim profile bundle",
    )

    #: A profile is of one model, measured with that model's own attention, its window included.
    heeds = frozenset({"sees", "sorts", "seeks_from"})

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._bundles: dict[tuple[str, str, int], _Layers] = {}
        self._by_template: dict[int, _Layers] = {}
        self._reached = (self.config.reached_gb_s or 0.0) * 1e9
        awake, active = self.config.standby_w, self.config.active_w
        awake = self.config.idle_w if awake is None else awake
        self._dynamic_w = None if awake is None or active is None else active - awake
        if self._dynamic_w is not None and self._dynamic_w < 0:
            raise ConfigError("active_w", active, f"is below what it draws with nothing to do, {awake:g}")

    def check_template(self, template: Template) -> None:
        layers = self._layers(template)
        self._by_template[template.id] = layers
        self.check_sampling(template)
        layers.bundle.learn(template)
        if template.kind == "attention":
            layers.attention  # noqa: B018  read now: a missing file is found before time 0
            layers.skew  # noqa: B018
        elif template.kind == "moe":
            if layers.moe is None:
                raise UnsupportedOperation(
                    "profiled", template, f"{layers.bundle.folder} has no {layers.bundle.experts_in}"
                )
        elif template.layer not in layers.bundle.dense and template.layer not in layers.bundle.per_sequence:
            raise UnsupportedOperation(
                "profiled", template, f"{layers.bundle.folder} has no rows for layer '{template.layer}'"
            )

    def check_sampling(self, template: Template) -> None:
        if "sorts" in template.attributes and self.config.reached_gb_s is None:
            what = (
                "choosing by top-p is in no profile: needs reached_gb_s (a catalog device has it), or greedy sampling"
            )
            raise UnsupportedOperation("profiled", template, what)

    def _layers(self, template: Template) -> _Layers:
        at = template.attributes
        model, tp = str(at["model"]), int(at.get("tp", 1))
        variant = str(at["dtype"]) + (f"-kv{at['kv_cache']}" if at.get("kv_cache", at["dtype"]) != at["dtype"] else "")
        key = (model, variant, tp)
        if key not in self._bundles:
            root = self.config.bundle
            old = self.config.format == "v0"
            self._bundles[key] = _Layers(
                OldBundle.find(root, model, tp, self.config.flash_attention)
                if old
                else Bundle.find(root, model, variant, tp)
            )
        return self._bundles[key]

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """How far off interpolated figures are: the mean error of reading each measured point off its
        neighbours, which are twice as far apart as points that are interpolated between, so rather too much."""
        errors: list[float] = []
        for layers in self._by_template.values():
            bundle = layers.bundle
            errors += layers.attention.left_out()
            errors += [
                error for curve in (*bundle.dense.values(), *bundle.per_sequence.values()) for error in curve.left_out()
            ]
            break  # templates of one model share their tables
        return {"relative_error": {"interpolated": math.fsum(errors) / len(errors)}} if errors else {}

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        layers = self._by_template[template.id]
        if template.kind == "attention":
            time, how = attention_time(layers.attention, layers.skew, Prompts.of(values[4:]), *values[:4])
        elif template.kind == "moe":
            if layers.moe is None:
                raise TypeError("check_template lets no moe through without a table")
            time, how = layers.moe(max(values[1], 1), max(values[0], 1))
            time, how = layers.bundle.as_run(template, values[0], time, how)
        else:
            bundle = layers.bundle
            curve = bundle.per_sequence.get(template.layer) or bundle.dense[template.layer]
            time, how = bundle.as_run(template, values[0], *curve(values[0]))
            if moved := choosing_bytes(template, values):
                time, how = time + moved / self._reached * PS_PER_S, Provenance.MODELLED
        duration = int(time) if how is Provenance.MODELLED else max(1, int(time))
        return Estimate(duration, how, None if self._dynamic_w is None else round(duration * self._dynamic_w))
