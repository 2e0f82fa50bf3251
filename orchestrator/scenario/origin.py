"""Where a scenario was written, so that what is found wrong with it later names the file and the line, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from ..errors import InputError

if TYPE_CHECKING:
    from .schema import Scenario

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Parts = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A file and its text, which make no scenario another. ``overridden``: fields whose values are not the file's."""

    file: str = field(default="scenario", compare=False)
    text: str = field(default="", compare=False)
    overridden: frozenset[Parts] = field(default=frozenset(), compare=False)

    def place(self, parts: Sequence[int | str]) -> str:
        """File and line of a field, or of the nearest thing around it that is there; ``--set`` where that gave it."""
        if any(tuple(parts[: len(one)]) == one for one in self.overridden):
            return "--set"
        line = line_of(self.text, parts)
        return f"{self.file}:{line}" if line else self.file


def line_of(text: str, parts: Sequence[int | str]) -> int | None:
    """The line of a field in YAML text, or of the nearest thing around it that is there."""
    if not text:
        return None
    node: Any = yaml.compose(text, Loader=_LOADER)
    line = None
    for part in parts:
        if isinstance(node, yaml.MappingNode):
            match = [(k, v) for k, v in node.value if k.value == part]
            if not match:
                break
            line, node = match[0][0].start_mark.line + 1, match[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


@contextmanager
def naming_its_file(scenario: Scenario) -> Iterator[None]:
    """Of what is said to be wrong in the scenario, or in a field of it, file and line are named, if it has a file."""
    try:
        yield
    except InputError as error:
        if not scenario.origin.text or error.where.partition(".")[0] not in ("scenario", *type(scenario).model_fields):
            raise
        field = error.field if error.where == "scenario" else f"{error.where}.{error.field}"
        parts = [int(part) if part.isdigit() else part for part in field.split(".")]
        if parts[0] == "instances" and len(parts) > 1:
            parts[1:2] = _written(scenario.origin.text, parts[1])
        raise InputError(scenario.origin.place(parts), field, error.value, error.allowed) from None


def _written(text: str, number: int | str) -> list[int | str]:
    """Where an instance stands in the file, in which replicas are not written out; nothing if that is not known."""
    listed = yaml.load(text, Loader=_LOADER).get("instances")
    once = isinstance(listed, list) and not any("replicas" in one for one in listed if isinstance(one, dict))
    return [number] if once else []
