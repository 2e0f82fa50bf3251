"""Classes of the user's own, named in a scenario as ``module:Class``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..errors import InputError, let_interrupts_through, raised_at, words


def make_own(field: str, name: str, known: Sequence[str], *methods: str) -> Any:
    """One of the class that the scenario's ``field`` names, made without arguments; it must have all ``methods``, given
    with their arguments for the message. ``known`` are the names that would not have come here. Raises InputError,
    whatever the user's own code raises."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InputError("scenario", field, name, f"one of {', '.join(known)}, or module:Class")
    try:
        made = getattr(import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:  # it is not there, or wants arguments
        raise InputError("scenario", field, name, f"cannot be loaded: {error}") from None
    except BaseException as error:
        let_interrupts_through(error)
        raise InputError("scenario", field, name, f"cannot be loaded: {words(error)}, in {raised_at(error)}") from None
    for method in methods:
        if not callable(getattr(made, method.partition("(")[0], None)):
            raise InputError("scenario", field, name, f"has no method {method}")
    return made
