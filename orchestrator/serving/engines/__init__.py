"""What a serving engine adds to the time of its operations, by engine version, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

PS_PER_US = 10**6


@dataclass(frozen=True, slots=True)
class EngineModel:
    """``step_gap_ps``: how long the device idles between the end of a step and the start of the next."""

    name: str
    step_gap_ps: int


def names() -> list[str]:
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))


@cache
def engine_model(name: str) -> EngineModel:
    """The engine of that name; KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    facts = yaml.safe_load(files(__name__).joinpath(f"{name}.yaml").read_text())
    return EngineModel(name, round(facts["step_gap_us"] * PS_PER_US))
