"""Figures that components say of themselves, checked before anything is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import MOST_TEXT, ComponentFailure

MOST_ENERGY_PJ = 10**18  # 1 MJ: no operation of a device takes as much
DEEPEST, MOST = 16, 100_000  # levels and values of statistics


def check_energy(component: str, op_id: int, energy_pj: object) -> None:
    """Raises ComponentFailure for an energy above idle that no operation has."""
    if energy_pj is None or (type(energy_pj) is int and 0 <= energy_pj <= MOST_ENERGY_PJ):
        return
    what = f"says operation {op_id} took {energy_pj!r} pJ: a whole number from 0 to {MOST_ENERGY_PJ} (1 MJ), or none"
    raise ComponentFailure(component, what)


def sound(component: str, statistics: Any) -> dict[str, Any]:
    """Its statistics, if they are what a result can hold. Raises ComponentFailure, with the field."""
    if not isinstance(statistics, dict):
        raise _misshapen(component, "", statistics, "a mapping")
    _plain(component, "", statistics, 0, [0])
    errors = statistics.get("relative_error", {})
    if not isinstance(errors, Mapping):
        raise _misshapen(component, "relative_error", errors, "a mapping by provenance")
    for how, error in errors.items():
        if type(error) not in (int, float) or error < 0:
            raise _misshapen(component, f"relative_error.{how}", error, "a number, 0 or more")
    links = statistics.get("links", [])
    if not isinstance(links, list) or not all(isinstance(link, Mapping) for link in links):
        raise _misshapen(component, "links", links, "a list of mappings")
    for number, link in enumerate(links):
        for field, kinds in (("link", (str,)), ("bytes", (int, float)), ("busy_s", (int, float)), ("users", (dict,))):
            if type(link.get(field)) not in kinds:
                raise _misshapen(component, f"links.{number}.{field}", link.get(field), kinds[0].__name__)
    return statistics


def _plain(component: str, path: str, value: Any, depth: int, seen: list[int]) -> None:
    seen[0] += 1
    if depth > DEEPEST or seen[0] > MOST:
        raise _misshapen(component, path, None, f"at most {DEEPEST} levels and {MOST} values")
    if isinstance(value, (dict, list, tuple)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(value, dict) and not isinstance(key, str):
                raise _misshapen(component, path, key, "names that are texts")
            _plain(component, f"{path}.{key}".lstrip("."), inner, depth + 1, seen)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _misshapen(component, path, value, "a finite number")
    elif isinstance(value, str) and len(value) > MOST_TEXT:
        raise _misshapen(component, path, value[:100], f"a text of at most {MOST_TEXT} characters")
    elif value is not None and not isinstance(value, (str, int)):
        raise _misshapen(component, path, value, "a number, a text, a list or a mapping")


def _misshapen(component: str, path: str, value: object, allowed: str) -> ComponentFailure:
    spot = f"statistics.{path}" if path else "statistics"
    shown = "" if value is None else f" = {str(value)[:80]!r}"
    return ComponentFailure(component, f"{spot}{shown}: must be {allowed}", "being asked for its figures")
