"""What a scenario may say of any workload; each format adds its own."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from pydantic import Field, PrivateAttr, model_validator

from ..strict import Strict
from .arrivals import Pace
from .slo import Slo


class Client(Strict):
    """What happens at the client between the last token of one request and the next it sends.

    Only a closed loop (``max_concurrency``) has it: an open one sends by the clock. Each time is drawn evenly from
    mean x (1 - jitter) to mean x (1 + jitter). Where the defaults come from: docs/workload.md, "Closed loop".
    """

    think_ms: float = Field(default=0.0, ge=0, description="after the last token, before the next is to be sent")
    network_ms: float = Field(default=0.0, ge=0, description="on the way to the server, each request")
    send_ms: float = Field(default=1.1, ge=0, description="what the client program takes a request, one after another")
    jitter: float = Field(default=1.0, ge=0, le=1, description="share by which these times vary; 0 = never")


def by_our_names(data: Any, prefix: str, own: Container[str], more: Mapping[str, str] | None = None) -> Any:
    """``data`` with the flags of `vllm bench serve`, which begin with the dataset's name, by the names in ``own``.

    ``more``: other flags of its, and their names here. Raises ValueError where something is given by both names.
    """
    if not isinstance(data, dict):
        return data
    found = dict(data)
    for flag in data:
        name = (more or {}).get(flag) or str(flag).removeprefix(prefix)
        if name == flag or name not in own:
            continue
        if name in data:
            raise ValueError(f"{flag} and {name} say the same thing: give one")
        found[name] = found.pop(flag)
    return found


class WorkloadOptions(Pace):
    """Options that every format has."""

    format: str
    limit: int | None = Field(default=None, ge=1, description="the first so many requests (lines of a file)")
    max_concurrency: int | None = Field(
        default=None, ge=1, description="closed loop: at most so many requests (or sessions) are out at once"
    )
    client: Client = Field(default=Client(), description="what passes at the client, in a closed loop")
    abort_after_s: float | None = Field(
        default=None, gt=0, description="the client gives a request up that is not done this long after it was sent"
    )
    _guessed: bool = PrivateAttr(default=False)

    @property
    def guessed(self) -> bool:
        """Whether the format was guessed from the file."""
        return self._guessed

    @property
    def class_slos(self) -> dict[str, Slo]:
        """What each class of traffic is promised, by name, where the workload says."""
        return {}

    @property
    def models(self) -> set[str]:
        """Served models that its requests ask for, by name; "" where some ask for none."""
        return {""}

    @property
    def has_images(self) -> bool:
        """Whether prompts may have images."""
        return False

    def mark_guessed(self, guessed: bool) -> None:
        self._guessed = guessed

    @property
    def has_arrivals(self) -> bool:
        """Whether the requests of this format come with times of arrival."""
        return False


class TraceOptions(WorkloadOptions):
    """Options of a format that is read from a file; ``path`` is relative to the scenario."""

    path: str = Field(description="a file, from the folder of the scenario")
    window: tuple[float, float] | None = Field(
        default=None, description="only what arrives from the first to the second of these seconds, counted anew"
    )
    scale: float | None = Field(default=None, gt=0, description="recorded gaps times this: 0.5 = twice the load")
    rate: float | None = Field(default=None, gt=0, description="recorded gaps scaled to so many requests a second")
    shuffle: bool = Field(default=False, description="the same arrivals, prompts and answers dealt out anew")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="default: the scenario's")

    @model_validator(mode="after")
    def _one_clock(self) -> TraceOptions:
        if sum((self.scale is not None, self.rate is not None, self.given)) > 1:
            raise ValueError("scale, rate, and a pace of its own (request_rate, rates, a ramp) exclude one another")
        if (self.scale or self.rate or self.window) and not self.has_arrivals:
            raise ValueError(f"format {self.format} has no times of arrival to scale or cut; give request_rate")
        if self.window and not 0 <= self.window[0] < self.window[1]:
            raise ValueError(f"window: must be [from, to] in seconds, 0 <= from < to, not {list(self.window)}")
        return self


class TimedTraceOptions(TraceOptions):
    """Of files with times of arrival."""

    @property
    def has_arrivals(self) -> bool:
        return True
