"""Finding component models by name: entry points of the group ``metronome.components``, or module:Class."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from metronome.adapters.chaos import PREFIX, chaotic
from metronome.hwmodels.interface import Description

from ..errors import let_interrupts_through, words
from ..plugins import named

GROUP = "metronome.components"


class UnknownComponent(LookupError):
    """No model of that name, or what it needs is not installed."""


def names() -> list[str]:
    return sorted(named(GROUP))


def find(name: str) -> Any:
    """The model class of that name, or of ``module:Class``; ``chaos/`` before it makes it fail now and then.

    Raises UnknownComponent, also where importing it fails.
    """
    if name.startswith(PREFIX):
        inner = name.removeprefix(PREFIX)
        if inner.startswith(PREFIX):
            raise UnknownComponent(f"what fails already cannot be made to fail: name {inner}")
        return chaotic(find(inner))
    module, colon, attribute = name.partition(":")
    try:
        if colon:
            _former_names()
            return _model(getattr(import_module(module), attribute))
        if name in named(GROUP):
            return _model(named(GROUP)[name].load())
    except (ImportError, AttributeError) as error:
        raise UnknownComponent(f"cannot be loaded: {error}") from None
    except BaseException as error:  # it is the user's own code
        let_interrupts_through(error)
        raise UnknownComponent(f"cannot be loaded: {words(error)}") from None
    raise UnknownComponent(f"one of {', '.join(names())}, or module:Class")


def _model(found: Any) -> Any:
    if not isinstance(getattr(found, "description", None), Description) or not hasattr(found, "config_schema"):
        raise ImportError("it is no component model: those have a description and a config_schema")
    return found


def _former_names() -> None:
    """Models written for version 0.1 import `hwmodels`, which is `metronome.hwmodels` now: the same classes."""
    for former in ("hwmodels", "hwmodels.base", "hwmodels.interface"):
        sys.modules.setdefault(former, import_module(f"metronome.{former}"))


def known(name: str) -> bool:
    """Whether a model of that name is installed here."""
    try:
        find(name)
    except UnknownComponent:
        return False
    return True
