"""Classes of the user's own, named in a scenario as ``module:Class``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..errors import ExtensionFailure, InputError

LOADING = (ImportError, AttributeError, TypeError)  # it is not there, or wants arguments


def make_own(
    field: str, name: str, known: Sequence[str], method: str, bad: tuple[type[Exception], ...] = LOADING
) -> Any:
    """One of the class that the scenario's ``field`` names, made without arguments; it must have a ``method``, given
    with its arguments for the message. ``known`` are the names that would not have come here. Raises InputError, for
    ``bad`` exceptions of the user's own code, too; ExtensionFailure for others."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InputError("scenario", field, name, f"one of {', '.join(known)}, or module:Class")
    try:
        made = getattr(import_module(module), attribute)()
    except bad as error:
        raise InputError("scenario", field, name, f"cannot be loaded: {error}") from None
    except Exception as error:
        raise ExtensionFailure(error) from error
    if not callable(getattr(made, method.partition("(")[0], None)):
        raise InputError("scenario", field, name, f"has no method {method}")
    return made
