"""What every part of the scenario file shares: strict fields, and help for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name nearest to one that is unknown, as the beginning of a sentence; empty if none is near."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean '{near[0]}'? " if near else ""


class Strict(BaseModel):
    """Unknown keys are refused with the nearest known one; NaN and infinity are not numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            for key in data:
                if key not in cls.model_fields:
                    hint = did_you_mean(str(key), cls.model_fields)
                    raise ValueError(f"unknown key '{key}'; {hint}known: {', '.join(cls.model_fields)}")
        return data
