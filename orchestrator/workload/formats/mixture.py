"""Several classes of traffic at once: each a workload of its own, with its priority and what it is promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from typing import Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from ...strict import Strict
from ..options import WorkloadOptions
from ..randomness import stream
from ..reading import read as read_one
from ..registry import Format, Reading
from ..request import Request
from ..schema import parse
from ..slo import Slo


class TrafficClass(Strict):
    """One class; ``workload`` is of any format but a mixture."""

    name: str = Field(min_length=1, description="what its requests are called in results")
    workload: SerializeAsAny[WorkloadOptions] = Field(description="its own load, of any format but mixture")
    priority: int | None = Field(
        default=None,
        description="smaller is more urgent, where scheduling_policy is priority; default: each request's own, else 0",
    )
    slo: Slo | None = Field(default=None, description="default: the scenario's")
    model: str = Field(default="", description="which of the instances' models it asks for; default: any")

    @field_validator("workload", mode="before")
    @classmethod
    def _workload(cls, value: object) -> WorkloadOptions:
        found = parse(value)
        if isinstance(found, MixtureOptions):
            raise ValueError("a mixture cannot hold a mixture")
        if found.max_concurrency is not None:
            raise ValueError("max_concurrency is of the whole mixture: say it there")
        if found.client != type(found.client)():
            raise ValueError("client is of the whole mixture: say it there")
        return found


class MixtureOptions(WorkloadOptions):
    """Classes of traffic, merged by time of arrival."""

    format: Literal["mixture"] = "mixture"
    classes: list[TrafficClass] = Field(min_length=1, description="sent beside one another")

    @property
    def class_slos(self) -> dict[str, Slo]:
        return {one.name: one.slo for one in self.classes if one.slo is not None}

    @property
    def models(self) -> set[str]:
        return {one.model for one in self.classes}

    @property
    def has_images(self) -> bool:
        return any(one.workload.has_images for one in self.classes)

    @model_validator(mode="after")
    def _names(self) -> MixtureOptions:
        names = [one.name for one in self.classes]
        if len(set(names)) < len(names):
            raise ValueError("classes: names must be unique")
        if self.given:
            raise ValueError("each class has its own pace; the mixture has none")
        return self


def read(options: MixtureOptions, reading: Reading) -> Iterator[Request]:
    parts = []
    for place, one in enumerate(options.classes):
        seed = int(stream(reading.seed, f"workload.class.{one.name}").integers(2**62))
        own = Reading(reading.path, seed, reading.strict, reading.notes)
        parts.append(_marked(place, one, read_one(one.workload, own)))
        reading.prioritised |= bool(one.priority) or (one.priority is None and own.prioritised)
    number = 0
    for _, _, request in merge(*parts, key=lambda part: part[:2]):
        numbered = _numbered(request, number)
        yield numbered
        number += _turns(numbered)


def _marked(place: int, one: TrafficClass, requests: Iterator[Request]) -> Iterator[tuple[int, int, Request]]:
    for request in requests:
        yield request.arrival_ps, place, _with_class(request, one)


def _with_class(request: Request, one: TrafficClass) -> Request:
    then = None if request.next_turn is None else _with_class(request.next_turn, one)
    session = None if request.session is None else f"{one.name}/{request.session}"
    priority = request.priority if one.priority is None else one.priority
    marked = replace(request, slo_class=one.name, priority=priority, model=one.model)
    return replace(marked, session=session, next_turn=then)


def _numbered(request: Request, number: int) -> Request:
    then = None if request.next_turn is None else _numbered(request.next_turn, number + 1)
    return replace(request, id=number, next_turn=then)


def _turns(request: Request) -> int:
    return 1 if request.next_turn is None else 1 + _turns(request.next_turn)


FORMAT = Format(MixtureOptions, read)
