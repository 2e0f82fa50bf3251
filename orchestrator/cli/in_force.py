"""What each engine of a scenario runs with, and who said so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ..placement import UnitPlan
from ..simulation import Simulation

SOURCES = ("given", "by model", "by version and device", "default")
GIVEN, BY_MODEL, BY_VERSION, DEFAULT = SOURCES
#: flags that an engine may have to have otherwise than they are given
UNSURE = ("block_size", "enable_prefix_caching", "async_scheduling")
SHOWN = 3  # values of a list, from its beginning, in a text

Flags = dict[str, dict[str, Any]]


def engines(simulation: Simulation) -> dict[str, dict[str, Any]]:
    """By unit: its engine's version and, flag by flag, the value in force and where it comes from, by source."""
    found = dict[str, dict[str, Any]]()
    for unit, loop in zip(simulation.units, simulation.loops, strict=True):
        flags = unit.options.engine.model_dump(exclude={"version"})
        if flags["max_num_seqs"] is None:  # SGLang's follows from the room for K and V
            flags["max_num_seqs"] = loop.members[0].engine.view().config.get("max_num_seqs")
        late = {
            "async_scheduling": loop.asynchronous,
            "cudagraph_capture_sizes": list(loop.graph_sizes),
            "max_cudagraph_capture_size": max(loop.graph_sizes, default=0),
            "cuda_graph_bs": list(loop.graph_sizes),  # SGLang's names
            "cuda_graph_max_bs": max(loop.graph_sizes, default=0),
        }
        known = {name: value for name, value in late.items() if name in flags}
        early = {name: value for name, value in flags.items() if name not in late}
        found[unit.name] = {"version": unit.options.engine.version, "flags": _flags(unit, early | known)}
    return found


def _flags(unit: UnitPlan, flags: dict[str, Any]) -> Flags:
    by_model = {
        "max_model_len": unit.max_model_len,
        "dtype": unit.arch.dtype,
        "quantization": unit.arch.quantization or None,
        "kv_cache_dtype": unit.kv_dtype,
    }
    found: Flags = {}
    for name, value in (flags | by_model).items():
        owner = unit.options if name in ("dtype", "quantization") else unit.given
        asked = getattr(owner, name)
        if asked not in (None, "auto") and name in owner.model_fields_set and (name not in UNSURE or value == asked):
            source = GIVEN
        elif name == "max_model_len" and asked == "auto":  # by the memory that is left
            source = BY_VERSION
        elif name in by_model or (name in UNSURE[:2] and value != asked):
            source = BY_MODEL
        else:
            source = DEFAULT if value == asked else BY_VERSION
        found[name] = {"value": value, "from": source}
        if name == "dtype" and source != GIVEN:
            found[name] |= _dtype_by(unit)
    return dict(sorted(found.items(), key=lambda flag: SOURCES.index(flag[1]["from"])))


def _dtype_by(unit: UnitPlan) -> dict[str, str]:
    """Who says a type that the scenario does not, and by what: the config, which a device may serve in another."""
    field, stored = unit.arch.dtype_said
    if not field:
        return {"from": DEFAULT, "by": "its config says none"}
    if stored != unit.arch.dtype:
        return {"from": BY_VERSION, "by": f"its {field} is {stored}"}
    return {"from": BY_MODEL, "by": f"its {field}"}


def lines(flags: Flags) -> Iterator[str]:
    """One a source."""
    for source, those in groupby(flags.items(), lambda flag: flag[1]["from"]):
        shown = [f"{name} {_text(flag['value'])}{_by(flag)}" for name, flag in those]
        yield f"{source}: {', '.join(shown)}"


def _by(flag: dict[str, Any]) -> str:
    return f" ({flag['by']})" if "by" in flag else ""


def _text(value: object) -> str:
    if isinstance(value, list) and len(value) > SHOWN + 1:
        return f"[{', '.join(map(str, value[:SHOWN]))} ... {value[-1]}] ({len(value)})"
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return str(value)
