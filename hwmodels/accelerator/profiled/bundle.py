"""Reading an LLMServingSim profile bundle: ``meta.yaml`` and one folder of CSVs a TP degree.

Times in the files are microseconds; everything leaves here in picoseconds. A hardware folder holds
bundles at ``<org>/<model>/<variant>``; a bundle folder holds ``meta.yaml`` itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...interface import PS_PER_US, ConfigError, Provenance, Template, worse
from .experts import slices_of_experts
from .tables import AttentionTable, Curve, SkewTable, Surface

DTYPE_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float8": "fp8"}


class Bundle:
    """The measured tables of one model at one TP degree; every table is read when first asked for."""

    experts_in = "moe.csv"

    def __init__(self, folder: Path, tp: int) -> None:
        self.folder, self.tp = folder, tp
        self.meta = _load_yaml(folder / "meta.yaml")
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
        rows = _matrix(
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
        rows = _matrix(path, ("tokens", "activated_experts", "time_us"))
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
        """The skew table; None where the profile disables it."""
        fit = self.meta.get("skew_fit") or {}
        if not fit.get("enabled"):
            return None
        per_tp = fit["per_tp"].get(self.tp)
        path = self._tp_folder(self.tp) / "skew_fit.csv"
        if per_tp is None or not path.is_file():
            return None
        axes = {**fit["bucket_axes"], **per_tp.get("bucket_axes", {})}
        names = ("n", "skew_rate", "kv_big", "kp")
        buckets = {
            (int(r["pc"]), r["n_label"], r["skew_rate_label"], r["kv_big_label"], r["kp_label"]): float(r["alpha"])
            for _, r in _rows(path, ("pc", "n_label", "skew_rate_label", "kv_big_label", "kp_label", "alpha"))
        }
        return SkewTable(
            {name: axes[f"{name}_bins"] for name in names},
            {name: axes[f"{name}_labels"] for name in names},
            buckets,
            float(per_tp["alpha_default"]),
        )

    def _tp_folder(self, tp: int) -> Path:
        return self.folder / f"tp{tp}"

    def _curves(self, name: str, axis: str) -> dict[str, Curve]:
        path = self._tp_folder(self.tp) / name
        points: dict[str, dict[int, float]] = {}
        for line, row in _rows(path, ("layer", axis, "time_us")):
            try:
                points.setdefault(row["layer"], {})[int(row[axis])] = float(row["time_us"]) * PS_PER_US
            except ValueError:
                raise ConfigError(f"{path}:{line}", row, f"layer, {axis} and time_us as numbers") from None
        return {layer: Curve(curve) for layer, curve in points.items()}


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError(str(path), "malformed YAML", str(error).replace("\n", " ")) from None
    return data if isinstance(data, dict) else {}


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise ConfigError("bundle", str(path), "no such file")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(str(path), reader.fieldnames, f"needs the columns {', '.join(needed)}")
        yield from enumerate(reader, 2)


def _matrix(path: Path, needed: tuple[str, ...]) -> list[list[float]]:
    """All-number CSV by numpy's reader: the attention table has some 20,000 rows."""
    if not path.is_file():
        raise ConfigError("bundle", str(path), "no such file")
    with path.open() as file:
        header = file.readline().strip().split(",")
        if header[: len(needed)] != list(needed):
            raise ConfigError(str(path), header, f"needs the columns {', '.join(needed)}")
        try:
            rows = np.loadtxt(file, delimiter=",", ndmin=2)
        except ValueError as error:
            raise ConfigError(str(path), "malformed row", str(error)) from None
    if not len(rows) or not np.isfinite(rows).all() or (rows < 0).any():
        raise ConfigError(str(path), "rows", "at least one, all finite and none negative")
    table: list[list[float]] = rows.tolist()
    return table
