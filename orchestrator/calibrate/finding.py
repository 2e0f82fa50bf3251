"""What a calibration found, as a value, as text and as the file that a scenario includes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from ..scenario.calibration import PARTS

NAMES = {"ttft": "TTFT", "tpot": "TPOT", "e2el": "latency"}
TO_TELL = (
    "To tell them apart: a log in which prompts, answers and batch sizes vary more, e.g. of several lengths at several "
    "loads one after another."
)


@dataclass(frozen=True, slots=True)
class Half:
    """Mean absolute errors of one half of a log, relative to the metric's mean over the log, by metric.

    ``calibrated`` is with factors found on the other half; None where no part was held to be off.
    """

    name: str
    as_is: Mapping[str, float]
    calibrated: Mapping[str, float] | None

    def worse(self, by: float) -> bool:
        """Whether some metric is further off than before, by more than that: it is paid for by another."""
        return self.calibrated is not None and any(self.calibrated[m] > error + by for m, error in self.as_is.items())


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one part: its factor where one is proposed, and why, or why not."""

    part: str
    factor: float | None
    interval: tuple[float, float] | None
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """All of it. ``rivals`` are sets of factors that explain the log as well as one another; ``alike`` says why nothing
    was sought, where requests are of one shape."""

    source: str
    load: str
    verdicts: tuple[Verdict, ...]
    halves: tuple[Half, ...]
    rivals: tuple[Mapping[str, float], ...]
    condition: float | None
    runs: int
    alike: str = ""

    @property
    def proposed(self) -> dict[str, Verdict]:
        return {verdict.part: verdict for verdict in self.verdicts if verdict.factor is not None}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_yaml(self) -> str:
        """The file of the proposed factors, with what they are from and what they multiply."""
        lines = ["# Written by `metronome calibrate`; in a scenario: `calibration: THIS_FILE` (docs/calibrate.md)."]
        for half in self.halves:
            lines.append(f"# Held out, {_errors(half)}.")
        lines += [f"# {part}: {PARTS[part]}." for part in self.proposed]
        data: dict[str, Any] = {"source": self.source, "factors": {}, "intervals": {}}
        for part, verdict in self.proposed.items():
            data["factors"][part] = verdict.factor
            if verdict.interval is not None:
                data["intervals"][part] = list(verdict.interval)
        dumped = yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
        return "\n".join(lines) + "\n" + dumped

    def as_text(self) -> str:
        lines = [f"{self.source}; simulated: {self.load}", ""]
        lines += ["mean absolute error", *(f"  {_errors(half)}" for half in self.halves), ""]
        width = max(len(verdict.part) for verdict in self.verdicts)
        for verdict in self.verdicts:
            factor, interval = "", ""
            if verdict.factor is not None:
                factor = f"x{verdict.factor:.3f}"
            if verdict.interval is not None:
                interval = "{:.3f} to {:.3f}".format(*verdict.interval)
            lines.append(f"{verdict.part:<{width}}  {factor:<8}{interval:<16}  {verdict.why}")
        lines.append("")
        if self.rivals:
            lines += ["The log cannot tell these apart; each explains the half it was not found on as well:"]
            lines += [f"  {described(rival)}" for rival in self.rivals]
        if self.alike:
            lines.append(self.alike)
        if self.rivals or self.alike:
            lines.append(TO_TELL)
        if self.condition is not None:
            lines.append(f"condition number of the parts' effects: {self.condition:,.0f}; {self.runs} runs")
        return "\n".join(lines)


def described(factors: Mapping[str, float]) -> str:
    return ", ".join(f"{part} x{factor:.3f}" for part, factor in factors.items()) or "no factor at all"


def _errors(half: Half) -> str:
    parts = []
    for metric, error in half.as_is.items():
        then = "" if half.calibrated is None else f" -> {half.calibrated[metric]:.2%}"
        parts.append(f"{NAMES[metric]} {error:.2%}{then}")
    return f"{half.name}: {', '.join(parts)}"


def interval(factor: float, half_width: float) -> tuple[float, float]:
    """Of 95 % by Student's t over the blocks of a log; times are never negative."""
    return round(max(0.0, factor - half_width), 4), round(factor + half_width, 4)
