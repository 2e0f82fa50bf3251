"""What a scenario says of failures, of starting instances, and of how many there are to be."""

from __future__ import annotations

from math import inf
from typing import Annotated

from pydantic import Field, model_validator

from ...strict import Strict

Seconds = Annotated[float, Field(ge=0, le=9e6)]  # the clock ends after 106 days


class Failure(Strict):
    """A part of the simulated cluster fails, at given or drawn times, and is repaired ``repair_s`` later.

    Instances that it takes down lose all K and V. They start again once it is repaired (`StartUp`).
    """

    at_s: Seconds | list[Seconds] | None = Field(default=None, description="when")
    mtbf_s: float | None = Field(
        default=None, ge=1, le=9e6, description="mean time from a repair to the next failure, exponential"
    )
    instance: str | None = Field(default=None, description="one, or with * each of several, on its own")
    accelerator: str | None = Field(default=None, description="e.g. n0[3]: whatever instance it serves")
    node: str | None = Field(default=None, description="all instances with accelerators there; with * each of several")
    component: str | None = Field(default=None, description="a component that gets slow: `slowdown`, or `down`")
    slowdown: float | None = Field(
        default=None, gt=1, le=1e6, description="operations of `component` take so many times as long"
    )
    links: str | None = Field(
        default=None, description="of a network whose model has links: only these, by name, with * for any part"
    )
    down: bool = Field(default=False, description="nothing moves over the links until they are repaired")
    repair_s: Seconds = Field(default=0, description="until it is there again")

    @property
    def times_s(self) -> list[float]:
        """Those that are given, in order."""
        return sorted(self.at_s if isinstance(self.at_s, list) else [] if self.at_s is None else [self.at_s])

    @model_validator(mode="after")
    def _whole(self) -> Failure:
        if (self.at_s is None) == (self.mtbf_s is None):
            raise ValueError("give at_s or mtbf_s")
        if sum(what is not None for what in (self.instance, self.accelerator, self.node, self.component)) != 1:
            raise ValueError("give one of instance, accelerator, node, component")
        if (self.component is None) != (self.slowdown is None and not self.down):
            raise ValueError("component and slowdown (or down) go together: a component that is gone ends the run")
        if self.slowdown is not None and self.down:
            raise ValueError("give slowdown or down")
        if self.links is not None and self.component is None:
            raise ValueError("links are those of a component")
        return self

    @property
    def times(self) -> float:
        """How many times as long operations of the component take."""
        return inf if self.down else self.slowdown or 1.0


class StartUp(Strict):
    """How an instance starts: its process, then its weights, through a link of its own or from a memory."""

    base_s: Seconds = Field(default=0, description="of its process, before its weights are read")
    weights_gb_s: float | None = Field(default=None, ge=1e-6, description="decimal gigabytes a second, of one instance")
    weights_from: str | None = Field(
        default=None,
        description="a memory that the weights are read from, over the network: dram, cxl or nvme of each device's "
        "node, or one by name",
    )
    from_peers: bool = Field(
        default=False, description="rather from an instance with the same weights that serves, if there is one"
    )

    @model_validator(mode="after")
    def _one_way(self) -> StartUp:
        if self.weights_gb_s is not None and self.weights_from is not None:
            raise ValueError("give weights_gb_s or weights_from")
        if self.from_peers and self.weights_from is None:
            raise ValueError("from_peers needs weights_from: where they come from while no peer serves")
        return self


class OnFailure(Strict):
    """What becomes of requests whose instance fails."""

    retry_s: Seconds = Field(default=0, description="until the router has noticed and sends them again")
    max_retries: int = Field(default=3, ge=0, description="0: they fail")


class Autoscaling(Strict):
    """How many of an instance's replicas serve. It starts with ``min_replicas``; at most there are all."""

    instance: str = Field(description="the name of an instance with replicas")
    min_replicas: int = Field(default=1, ge=1, description="serve at least")
    policy: str = Field(default="queue", description="queue, kv, slo, or module:Class")
    target: float | None = Field(
        default=None,
        gt=0,
        description="queue: waiting requests a replica; kv: share of KV blocks in use; slo: share of requests within "
        "slo.ttft_ms",
    )
    period_s: float = Field(default=15, ge=0.001, le=9e6, description="between two looks")
    scale_down_after_s: Seconds = Field(default=300, description="fewer only if fewer were enough all this time")

    @model_validator(mode="after")
    def _whole(self) -> Autoscaling:
        if self.policy in ("queue", "kv", "slo") and self.target is None:
            raise ValueError(f"policy {self.policy} needs a target")
        if self.policy in ("kv", "slo") and self.target is not None and self.target > 1:
            raise ValueError(f"policy {self.policy}: its target is a share, at most 1")
        return self
