"""Names that a scenario gives to its parts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="letters, digits, - and _")]


def unique(what: str, names: list[str]) -> None:
    """Raises ValueError where a name is used twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} name '{name}' is used twice; names must be unique")
