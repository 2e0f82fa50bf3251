"""A link in front of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metronome.hwmodels.interface import Description, Template, Use

from .link import Link


class WrappedLink:
    """What it does not say of its own the link behind it says; `advance` and `again` are its own."""

    def __init__(self, link: Link) -> None:
        self.name, self._link = link.name, link

    @property
    def behind(self) -> Link:
        return self._link

    @property
    def wall_s(self) -> float:
        return self._link.wall_s

    @property
    def image(self) -> str:
        return self._link.image

    @property
    def incidents(self) -> Mapping[str, Any]:
        return self._link.incidents

    @property
    def description(self) -> Description:
        return self._link.description

    @property
    def asked_freely(self) -> bool:
        return self._link.asked_freely

    @property
    def remote(self) -> bool:
        return self._link.remote

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        return self._link.declare(templates)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        return self._link.statistics(uses)

    def inspect(self) -> dict[str, Any]:
        return self._link.inspect()

    def snapshot(self) -> dict[str, Any]:
        return self._link.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self._link.restore(state)

    def close(self) -> None:
        self._link.close()
