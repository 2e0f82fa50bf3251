"""A scenario's workload section as options of the format it names."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Discriminator, SerializeAsAny, Tag, ValidationError, WrapValidator

from ..strict import said
from .options import WorkloadOptions
from .registry import find, known

OTHER = "other"


def parse(value: object) -> WorkloadOptions:
    """Options of the format that ``value`` names. Raises ValueError."""
    if isinstance(value, WorkloadOptions):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a mapping with format")
    name = value.get("format")
    if name is None:
        raise ValueError("format is missing, and the file's looks do not tell; known: " + ", ".join(sorted(known())))
    one = find(str(name))
    try:
        options = one.options.model_validate({**value, "format": one.name})
    except ValidationError as error:
        first = error.errors()[0]
        spot = ".".join(map(str, first["loc"]))
        message = said(first["type"], first["msg"], first.get("ctx", {}))
        raise ValueError(f"{spot + ': ' if spot else ''}{message}") from None
    return options.model_copy(update={"format": str(name)})  # as it was named, to be found again


def _format(data: Any) -> str:
    """The tag of a workload section: its format, or that it is none of those known by name."""
    name = data.get("format") if isinstance(data, dict) else getattr(data, "format", None)
    return name if isinstance(name, str) and name in known() else OTHER


def formats_in_scenarios() -> tuple[str, ...]:
    """Tags that validation puts into the place of an error; nobody wrote them."""
    return (*known(), OTHER)


def workload_type() -> Any:
    """Any format's options: those of known formats by their tags, so that errors name the very field."""
    other = Annotated[SerializeAsAny[WorkloadOptions], WrapValidator(lambda value, _: parse(value)), Tag(OTHER)]
    tagged = (Annotated[one.options, Tag(name)] for name, one in known().items())
    return Annotated[Union[(*tagged, other)], Discriminator(_format)]
