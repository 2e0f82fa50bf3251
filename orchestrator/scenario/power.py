"""What a node draws, as a scenario says it."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from ..strict import Strict
from .names import Name

#: accounts of a node that are not parts of it
OWN_PARTS = ("base", "accelerators", "psu", "pim")


class PowerPart(Strict):
    """A part of a node that draws power beside its accelerators."""

    idle_w: float = Field(ge=0, description="whatever happens")
    busy_w: float | None = Field(
        default=None, ge=0, description="while an accelerator of the node computes; default: idle_w"
    )

    @property
    def most_w(self) -> float:
        return self.idle_w if self.busy_w is None else self.busy_w


class NodePower(Strict):
    """What a node draws: all that stands here, and its accelerators."""

    base_w: float = Field(default=0, ge=0, description="fans, boards and all that is not named apart")
    parts: dict[Name, PowerPart] = Field(default={}, description="cpu, dram, nic, storage ...: by any name")
    off_w: float = Field(default=0, ge=0, description="an accelerator whose instance is off: 0, or its standby power")
    standby_s: float | None = Field(
        default=None, ge=0, description="accelerators stay awake after work for; default: as their device"
    )
    accelerator_cap_w: float | None = Field(default=None, gt=0, description="no accelerator draws more")
    cap_w: float | None = Field(
        default=None,
        gt=0,
        description="the node draws no more, its supplies' losses apart: accelerators share the rest",
    )
    psu_efficiency: float = Field(default=1, gt=0, le=1, description="what is drawn over what is taken from the wall")

    @model_validator(mode="after")
    def _busier(self) -> NodePower:
        for name, part in self.parts.items():
            if part.busy_w is not None and part.busy_w < part.idle_w:
                raise ValueError(f"parts.{name}.busy_w = {part.busy_w:g} is below its idle_w, {part.idle_w:g}")
            if name in OWN_PARTS:
                raise ValueError(f"parts.{name}: has an account of its own; other names: cpu, dram, nic, storage ...")
        return self

    @property
    def besides_w(self) -> float:
        """Base and parts, at their busiest."""
        return self.base_w + math.fsum(part.most_w for part in self.parts.values())

    def accelerators_caps_w(self, count: int) -> list[tuple[float, str]]:
        """(what each of so many accelerators may draw, the field that says so) by each cap."""
        caps = [] if self.accelerator_cap_w is None else [(self.accelerator_cap_w, "accelerator_cap_w")]
        if self.cap_w is not None:
            caps.append(((self.cap_w - self.besides_w) / count, "cap_w"))
        return caps


class Rack(Strict):
    """Nodes behind one supply."""

    name: Name = Field(description="unique among racks")
    nodes: list[Name] = Field(min_length=1, description="by name; a node is in one rack at most")
    cap_w: float = Field(
        gt=0, description="its nodes draw no more, their supplies' losses apart: all their accelerators share the rest"
    )


Rate = Annotated[float, Field(ge=0)]
#: one figure, or steps: from which second on, and how much
Rates = Rate | Annotated[list[tuple[Annotated[int, Field(ge=0)], Rate]], Field(min_length=1)]


class Electricity(Strict):
    """What a kilowatt-hour costs and emits, over the run."""

    usd_per_kwh: Rates | None = Field(default=None, description="one price, or steps: [[0, 0.08], [3600, 0.21]]")
    g_co2_per_kwh: Rates | None = Field(default=None, description="grams of carbon dioxide, in the same way")

    @field_validator("usd_per_kwh", "g_co2_per_kwh", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> Any:
        for step in value if isinstance(value, list) else ():
            if not isinstance(step, list | tuple) or len(step) != 2 or not isinstance(step[0], int):
                raise ValueError(f"a step is [second, rate], of a whole second; {step} is not")
        return value

    @field_validator("usd_per_kwh", "g_co2_per_kwh")
    @classmethod
    def _in_order(cls, value: Rates | None) -> Rates | None:
        if isinstance(value, list):
            begins = [second for second, _ in value]
            if begins[0] or begins != sorted(set(begins)):
                raise ValueError(f"steps begin at second 0 and go on: {', '.join(map(str, begins))}")
        return value
