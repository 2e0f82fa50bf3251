"""Reading an LLMServingSim profile bundle: ``meta.yaml`` and one folder of CSVs a TP degree.

Times in the files are microseconds; everything leaves here in picoseconds. A hardware folder holds
bundles at ``<org>/<model>/<variant>``; a bundle folder holds ``meta.yaml`` itself.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ...interface import PS_PER_US, ConfigError, Provenance, Template, worse
from . import files
from .experts import slices_of_experts
from .tables import AttentionTable, Curve, SkewTable, Surface

SKEW_AXES = ("n", "skew_rate", "kv_big", "kp")


class Bundle:
    """The measured tables of one model at one TP degree; every table is read when first asked for."""

    experts_in = "moe.csv"

    def __init__(self, folder: Path, tp: int) -> None:
        self.folder, self.tp = folder, tp
        self.meta = files.load_yaml(folder / "meta.yaml")
        if not self._tp_folder(tp).is_dir():
            have = sorted(int(p.name[2:]) for p in folder.glob("tp[0-9]*"))
            raise ConfigError("bundle", str(folder), f"has no tensor-parallel degree {tp}; it has {have}")
        self.dense = self._curves("dense.csv", "tokens")
        self.per_sequence = self._curves("per_sequence.csv", "sequences")

    @classmethod
    def find(cls, root: Path, model: str, variant: str, tp: int) -> Bundle:
        """The bundle for a model under ``root``; ConfigError says what there is instead."""
        if not root.is_dir():
            raise ConfigError("bundle", str(root), "no such folder")
        if (root / "meta.yaml").is_file():
            bundle = cls(root, tp)
            if bundle.meta.get("model", model) != model:
                raise ConfigError("bundle", str(root), f"was measured on {bundle.meta['model']}, not {model}")
            if bundle.meta.get("variant", variant) != variant:
                raise ConfigError("bundle", str(root), f"is variant {bundle.meta['variant']}, not {variant}")
            return bundle
        folder = root / model / variant
        if not (root / model).is_dir():
            have = sorted(str(p.parent.parent.relative_to(root)) for p in root.glob("*/*/*/meta.yaml"))
            raise ConfigError("bundle", str(root), f"has no profile of {model}; it has {sorted(set(have))}")
        if not (folder / "meta.yaml").is_file():
            have = sorted(p.parent.name for p in (root / model).glob("*/meta.yaml"))
            raise ConfigError("bundle", str(root / model), f"has no variant '{variant}'; it has {have}")
        return cls(folder, tp)

    def attention(self) -> AttentionTable:
        rows = files.matrix(
            self._tp_folder(self.tp) / "attention.csv",
            ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"),
        )
        points: dict[tuple[int, int], dict[tuple[int, int], float]] = {}
        for chunk, cached, decodes, context, us in rows:
            corner = points.setdefault((int(chunk), int(decodes)), {})
            corner[int(cached), int(context)] = us * PS_PER_US
        return AttentionTable(points)

    def moe(self) -> Surface | None:
        """time(active experts, tokens) of all experts on one device; None if not measured."""
        path = self._tp_folder(1) / "moe.csv"
        if not path.is_file():
            return None
        rows = files.matrix(path, ("tokens", "activated_experts", "time_us"))
        return Surface({(int(active), int(tokens)): us * PS_PER_US for tokens, active, us in rows})

    def learn(self, template: Template) -> None:
        """Nothing: the tables say all of a model that there is to know."""

    def as_run(self, template: Template, tokens: int, time: float, how: Provenance) -> tuple[float, Provenance]:
        """As an engine runs it. moe.csv holds whole experts; here are 1/tp of each on every one of ``tp`` devices."""
        at = template.attributes
        tp = int(at.get("tp", 1))
        if template.kind != "moe" or tp == 1 or at.get("expert_ranks", 1) != 1:
            return time, how
        return slices_of_experts(time, tp), worse(how, Provenance.MODELLED)

    def skew(self) -> SkewTable | None:
        """The skew table; None where the profile disables it. Raises ConfigError."""
        meta, fit = self.folder / "meta.yaml", self.meta.get("skew_fit") or {}
        if not isinstance(fit, dict):
            raise ConfigError(f"{meta}: skew_fit", fit, "must be a mapping")
        if not fit.get("enabled"):
            return None
        degrees = fit.get("per_tp") or {}
        per_tp = degrees.get(self.tp) if isinstance(degrees, dict) else degrees
        path = self._tp_folder(self.tp) / "skew_fit.csv"
        if per_tp is None or not path.is_file():
            return None
        if not isinstance(per_tp, dict):
            raise ConfigError(f"{meta}: skew_fit.per_tp", degrees, "must be a mapping by tensor-parallel degree")
        parts = [part.get("bucket_axes") or {} for part in (fit, per_tp)]
        if not all(isinstance(part, dict) for part in parts):
            raise ConfigError(f"{meta}: skew_fit.bucket_axes", parts, "must be a mapping")
        axes = {name: files.edges(meta, {**parts[0], **parts[1]}, name) for name in SKEW_AXES}
        default: Any = per_tp.get("alpha_default")
        if type(default) not in (int, float) or not math.isfinite(default):
            raise ConfigError(f"{meta}: skew_fit.per_tp.{self.tp}.alpha_default", default, "a finite number")
        needed = ("pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label", "alpha")
        buckets = {
            (
                files.count(path, line, row, "pc"),
                row["n_label"],
                row["skew_rate_label"],
                row["kv_big_label"],
                row["kp_label"],
            ): files.number(path, line, row, "alpha")
            for line, row in files.rows(path, needed)
        }
        return SkewTable(
            {name: bins for name, (bins, _) in axes.items()},
            {name: names for name, (_, names) in axes.items()},
            buckets,
            float(default),
        )

    def _tp_folder(self, tp: int) -> Path:
        return self.folder / f"tp{tp}"

    def _curves(self, name: str, axis: str) -> dict[str, Curve]:
        path = self._tp_folder(self.tp) / name
        points: dict[str, dict[int, float]] = {}
        for line, row in files.rows(path, ("layer", axis, "time_us")):
            time = files.duration(path, line, row, "time_us", 1e-6) * PS_PER_US
            points.setdefault(row["layer"], {})[files.count(path, line, row, axis)] = time
        return {layer: Curve(curve) for layer, curve in points.items()}
