"""Values that the bundled scenarios give a field: an example of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from metronome.orchestrator.scenario.loading import bundled
from metronome.orchestrator.serving.engines import kind_name
from metronome.orchestrator.serving.options import EngineOptions

LONGEST = 40  # characters; what is longer is no help in a table
#: where keys are names of one's own
NAMED = ("components", "devices")


def example(title: str, field: str) -> str:
    """The first value of a field of the part of that title; nothing where no bundled scenario gives one."""
    return _values().get(field if title == "top" else f"{title}.{field}", "")


@cache
def _values() -> dict[str, str]:
    found = dict[str, str]()
    for name in bundled():
        scenario = yaml.safe_load(files("metronome.scenarios").joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
        for path, value in _leaves(scenario, ""):
            said = value if isinstance(value, str) else json.dumps(value)
            if len(said) <= LONGEST:
                found.setdefault(path, said)
    return found


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            part = path if isinstance(inner, dict | list) else _title(path, value)
            yield from _leaves(inner, f"{part}.{'NAME' if path in NAMED else key}".lstrip("."))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for inner in value:
            yield from _leaves(inner, f"{path}[]")
    else:
        yield path, value


def _title(path: str, part: dict[str, Any]) -> str:
    """The title of the part at that path, which says of which kind it is where there are several."""
    if path == "workload":
        return f"{path}, format {part['format']}"
    if path == "instances[].engine":
        return f"{path}, {kind_name(part.get('version', EngineOptions().version))}"
    return path
