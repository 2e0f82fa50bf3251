"""From measurements to the tables of a bundle, which `profiled` reads: meta.yaml, and a folder of CSVs a TP degree."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from metronome.hwmodels.interface import ConfigError, Template

from .journal import Key
from .points import per_sequence

SAME = ("model", "variant", "hardware", "torch_version")


def open_bundle(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write meta.yaml, or see that what is there is of the same model, device and PyTorch. Raises ConfigError."""
    path = folder / "meta.yaml"
    if path.is_file():
        try:
            there = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ConfigError(str(path), "malformed YAML", str(error).replace("\n", " ")) from None
        for name in SAME:
            found = there.get(name) if isinstance(there, dict) else None
            if found != facts[name]:
                raise ConfigError(f"{path}: {name}", found, f"is not {facts[name]}: measure into another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(facts), sort_keys=False), encoding="utf-8")


def write(folder: Path, tp: int, templates: Sequence[Template], times: Mapping[Key, float | None]) -> None:
    """All tables of a degree, of what has been measured. Raises OSError."""
    own = folder / f"tp{tp}"
    known = {key: time for key, time in times.items() if time is not None}
    plain = [t for t in templates if t.kind not in ("attention", "moe")]
    for name, axis, of_sequences in (("dense", "tokens", False), ("per_sequence", "sequences", True)):
        layers = {t.layer for t in plain if per_sequence(t) == of_sequences}
        rows = [(key[0], int(key[2]), time) for key, time in known.items() if key[0] in layers]
        _table(own / f"{name}.csv", ("layer", axis, "time_us"), sorted(rows))
    for template in templates:
        mine = {key[1:]: time for key, time in known.items() if key[0] == template.layer}
        if template.kind == "attention":
            header = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us")
            _table(own / "attention.csv", header, _attention(mine))
        elif template.kind == "moe":
            experts = sorted((int(key[1]), int(key[2]), time) for key, time in mine.items())
            (folder / "tp1").mkdir(exist_ok=True)
            _table(folder / "tp1" / "moe.csv", ("tokens", "activated_experts", "time_us"), experts)


def _attention(times: Mapping[Key, float]) -> list[tuple[Any, ...]]:
    """Prompts alone, decodes alone, and of both together the sum: PyTorch does them one after another."""
    parts = {
        part: {(int(key[1]), int(key[2])): time for key, time in times.items() if key[0] == part}
        for part in ("prompt", "decode")
    }
    nothing = {(0, 0): 0.0}
    rows = [
        (*prompt, *decode, format(one + other, ".6g"))
        for prompt, one in {**nothing, **parts["prompt"]}.items()
        for decode, other in {**nothing, **parts["decode"]}.items()
        if prompt[0] or decode[0]
    ]
    return sorted(rows)


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    rows = list(rows)
    if not rows:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])
