"""What every part of the scenario file shares: strict fields, and help for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

MOST_FIELDS = 12  # of a mapping, named where there is none


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
        if isinstance(data, dict):
            for key, value in data.items():
                if isinstance(value, bool) and key in _numbers(cls):
                    raise ValueError(
                        f"{key} = {str(value).lower()}: must be a number (YAML reads yes, no, on and off so)"
                    )
        return data


def said(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """What a validation error says, without the names of our classes and of Python's types."""
    if kind == "model_type":
        return f"must be a mapping with {_fields(context['class_name'])}"
    plain = {"dict_type": "must be a mapping", "list_type": "must be a list"}
    return plain.get(kind, message.removeprefix("Value error, "))


def _fields(name: str) -> str:
    """The fields of the class of a part of a scenario, by the class's name."""
    kinds: list[type[BaseModel]] = [BaseModel]
    for kind in kinds:  # which grows
        kinds += kind.__subclasses__()
    found = next((list(kind.model_fields) for kind in kinds if kind.__name__ == name), [])
    return ", ".join(found[:MOST_FIELDS]) + (
        f" and {len(found) - MOST_FIELDS} more" if len(found) > MOST_FIELDS else ""
    )


@cache
def _numbers(model: type[BaseModel]) -> frozenset[str]:
    """Fields that are numbers, of which Python takes true for 1."""
    kinds = {name: set(_kinds(field.annotation)) for name, field in model.model_fields.items()}
    return frozenset(name for name, found in kinds.items() if found & {int, float} and not found & {bool, Any})


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types at the leaves of an annotation, but those of a list's or a mapping's values."""
    if get_origin(annotation) in (list, tuple, dict, frozenset):
        return
    inner = get_args(annotation)
    if not inner or get_origin(annotation) is Literal:
        yield annotation
    for one in inner:
        yield from _kinds(one)
