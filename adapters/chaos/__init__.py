"""Any component model, with failures: ``chaos/NAME`` in a scenario or for `metronome conformance`.

It is the model NAME, its answers and configuration, and one field more, ``chaos``, that says what goes wrong when.
Everything is drawn from its seed and from how often the component was started anew, so a run with chaos can be had
again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from .model import ChaosConfig, Chaotic

PREFIX = "chaos/"


@cache
def chaotic(model: Any) -> Any:
    """The class of a model, with chaos."""
    was = model.description
    description = replace(was, name=PREFIX + was.name, summary=f"{was.summary}, and fails as `chaos` says")
    return type(f"Chaotic{model.__name__}", (Chaotic, model), {"description": description})


__all__ = ["PREFIX", "ChaosConfig", "chaotic"]
