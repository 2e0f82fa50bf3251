"""Every part of a scenario that the pages show is loaded again from what a run writes of it, and is the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import pytest
import yaml
from metronome.orchestrator.scenario.schema import Scenario
from pydantic import BaseModel, TypeAdapter, ValidationError

from .conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = re.compile(r"```yaml\n(.*?)```", re.S)
WORDS = re.compile(r"`([a-z_]+: {[^`{]*:[^`]*})`")


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """Those of a type, and of their fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models(field.annotation)
    for one in get_args(kind):
        yield from models(one)


FIELDS: dict[str, list[Any]] = {}  # by name: the types of fields called so
for model in models(Scenario):
    for name, field in model.model_fields.items():
        FIELDS.setdefault(name, []).append(Annotated[field.annotation, name, *field.metadata])


def parts() -> Iterator[Any]:
    """Fields of a scenario, with their values, in the pages' YAML and in their lines."""
    for page in PAGES:
        text = page.read_text()
        for form in (*BLOCKS.findall(text), *WORDS.findall(text)):
            shown = yaml.safe_load(form) if "..." not in form else None
            for name, value in shown.items() if isinstance(shown, dict) else ():
                if name in FIELDS and not isinstance(value, str | int | float):
                    yield pytest.param(name, value, id=f"{page.name}: {name}")


@pytest.mark.parametrize(("name", "value"), list(parts()))
def test_a_part_of_the_pages_is_the_same_when_it_is_written_and_read(name, value):
    taken = 0
    for kind in FIELDS[name]:
        field: TypeAdapter[Any] = TypeAdapter(kind)
        try:
            said = field.validate_python(value)
        except ValidationError:  # a namesake
            continue
        taken += 1
        assert field.validate_python(field.dump_python(said, mode="json", exclude_none=True)) == said
        assert field.validate_python(field.dump_python(said, mode="json")) == said
    assert taken
