"""``island``: components wired to one another, in one process, as one accelerator that is asked.

    members:
      n0.accelerators: {model: systolic-mem, most_tiles: 64}
      n0.hbm: {model: banked-dram, part: hbm3-5600, count: 5}
    wires: [{from: n0.accelerators.mem, to: n0.hbm}]

`metronome serve-island FILE` hosts one. Whom nobody asks over a wire is asked from outside; the rest stays within.
All are memoryless, and an operation is played alone, from rest to rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import (
    Advanced,
    BadOperation,
    ConfigError,
    Description,
    Feature,
    Operation,
    Template,
    TimePolicy,
    Use,
    check_operation,
)
from metronome.hwmodels.wiring.alone import Alone
from metronome.hwmodels.wiring.local import LocalMember
from metronome.hwmodels.wiring.wires import resolve
from pydantic import Field, field_validator

from ..composite.model import KINDS, made, named


class IslandConfig(Config):
    """Who is there, and who asks whom."""

    server_side: ClassVar[frozenset[str]] = frozenset({"members", "wires"})
    members: dict[str, dict[str, Any]] = Field(
        min_length=1,
        description="a model each, with its configuration; whom nobody asks over a wire is asked from outside",
    )
    wires: list[dict[str, str]] = Field(default=[], description="from: MEMBER.PORT, to: MEMBER")

    @field_validator("members")
    @classmethod
    def _models(cls, members: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, member in members.items():
            if not isinstance(member.get("model"), str):
                raise ValueError(f"{name}: which model? model: NAME with its configuration")
        return members

    @field_validator("wires")
    @classmethod
    def _ends(cls, wires: list[dict[str, str]]) -> list[dict[str, str]]:
        for wire in wires:
            if wire.keys() != {"from", "to"}:
                raise ValueError("a wire has a from (MEMBER.PORT) and a to (MEMBER)")
        return wires


class Island(Model[IslandConfig]):
    """The first member, asked for operations alone."""

    description = Description(
        name="island",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset(KINDS),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=500,
        summary="components wired to one another, as one accelerator",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        wires = [(wire["from"], wire["to"]) for wire in self.config.wires]
        made = {name: LocalMember(name, self._made(name, part)) for name, part in sorted(self.config.members.items())}
        resolve(list(made.values()), wires)
        self._members = [made[name] for name in self._order(sorted(made))]
        first = self._members[0].component.description
        if first.kind != self.description.kind:
            field = f"members.{self._members[0].name}.model"
            why = f"models a piece of {first.kind}; nobody asks it over a wire, so it has to be an accelerator"
            raise ConfigError(field, first.name, why)
        self._wires = wires
        self._alone: Alone | None = None

    def _order(self, names: Sequence[str]) -> list[str]:
        """Who is asked from outside, as nobody asks it over a wire; then whom it asks, and whom they ask."""
        asked = {wire["to"] for wire in self.config.wires}
        first = [name for name in names if name not in asked]
        if len(first) != 1:
            why = "all but one are asked over wires; that one is asked from outside"
            raise ConfigError("wires", ", ".join(first) or "all of them", why)
        for one in first:
            wires = [wire for wire in self.config.wires if wire["from"].rpartition(".")[0] == one]
            first += [to for to in dict.fromkeys(wire["to"] for wire in wires) if to not in first]
        return first

    @staticmethod
    def models(config: Mapping[str, Any]) -> list[Any]:
        """The classes of a configuration's members: what its answers depend on beside its own code."""
        members = IslandConfig.model_validate(dict(config)).members
        return [named(f"members.{name}.model", str(part["model"])) for name, part in members.items()]

    def _made(self, name: str, part: Mapping[str, Any]) -> Any:
        model = named(f"members.{name}.model", str(part["model"]))
        if not model.description.memoryless:
            why = "remembers: operations are played alone, from rest"
            raise ConfigError(f"members.{name}.model", part["model"], why)
        return made(f"members.{name}", model, part, self.seed)

    def declare(self, templates: Sequence[Template]) -> None:
        def tell(number: int, known: list[Template]) -> None:
            self._members[number].component.declare(known)

        self._alone = Alone(self._members, self._wires, templates, tell)
        self.templates |= {template.id: template for template in templates}

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        for operation in operations:
            check_operation(operation, self.templates)
        return Advanced(grant_ps, tuple(map(self._known.play, operations)))

    @property
    def _known(self) -> Alone:
        if self._alone is None:
            raise BadOperation("it is asked for what it was never told of")
        return self._alone

    def progress(self) -> str:
        return f"{self._known.group.messages} messages, {self._known.played} operations played"

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        first, *others = self._members
        told = {one.name: {"model": one.description.name, **one.component.statistics(())} for one in others}
        figures = self._alone.figures if self._alone else {}
        return {**first.component.statistics(uses), "island": {**figures, "members": told}}
