"""One unit in a process of its own (`worker.py`): it may crash, hang, and be there once a process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from metronome.hwmodels.interface import ConfigError

from ..tools.failure import ToolFailure
from ..tools.lines import LineTool

Value = bool | int | float | str
AT_ONCE = 10_000  # steps of a rest in one question: each is bounded by the time limit


class Unit:
    """Initialized, at time 0. Raises ConfigError for what it cannot be asked for, ToolFailure."""

    def __init__(self, python: str, timeout_s: float, asked: Mapping[str, Any]) -> None:
        self._tool = LineTool([python, str(Path(__file__).with_name("worker.py"))], timeout_s)
        self._fmu = Path(str(asked["fmu"])).name
        facts = self._ask("its beginning", ask="open", **asked)
        if "refused" in facts:
            field, value, allowed = facts["refused"]
            raise ConfigError(field, value, allowed)
        self.facts: dict[str, Any] = facts
        self.variable_steps: bool = facts["variable_steps"]
        self.snapshots: bool = facts["snapshots"]
        self._names: Sequence[str] = asked["outputs"]
        self.steps = 0
        self.outputs: dict[str, dict[str, Value]] = {}

    def step(self, from_ps: int, to_ps: int, wanted: float) -> float:
        """Bytes that are done of those wanted."""
        doing = f"the step from {from_ps} ps"
        done, seen = self._ask(doing, ask="step", to=to_ps, wanted=wanted, **{"from": from_ps})
        self._saw(seen, 1)
        if not isfinite(done) or done < 0 or done > wanted * (1 + 1e-9):
            raise ToolFailure(f"fmi, {self._fmu}, {doing}", f"says {done:g} bytes are done, of {wanted:g}")
        return float(min(done, wanted))

    def rest(self, from_ps: int, to_ps: int, part_ps: int) -> None:
        """Nothing is wanted in between; steps of ``part_ps``, the last one of what is left."""
        while from_ps < to_ps:
            then = min(from_ps + part_ps * AT_ONCE, to_ps)
            doing = f"its rest from {from_ps} ps to {then} ps"
            done, seen = self._ask(doing, ask="rest", to=then, part=part_ps, **{"from": from_ps})
            self._saw(seen, -(-(then - from_ps) // part_ps))
            if done:
                raise ToolFailure(f"fmi, {self._fmu}, {doing}", f"says {done:g} bytes are done, and none were wanted")
            from_ps = then

    def save(self) -> dict[str, Any]:
        state = self._ask("its state", ask="save")
        return {
            "state": state,
            "steps": self.steps,
            "outputs": {name: dict(seen) for name, seen in self.outputs.items()},
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        self._ask("a state of its own", ask="load", state=saved["state"])
        self.steps = int(saved["steps"])
        self.outputs = {name: dict(seen) for name, seen in saved["outputs"].items()}

    def _saw(self, seen: Sequence[Sequence[Any]], steps: int) -> None:
        self.steps += steps
        for name, (last, lowest, highest) in zip(self._names, seen, strict=True):
            before = self.outputs.get(name, {"lowest": lowest, "highest": highest})
            low, high = min(before["lowest"], lowest), max(before["highest"], highest)
            self.outputs[name] = {"last": last, "lowest": low, "highest": high}

    def _ask(self, doing: str, **question: Any) -> Any:
        return json.loads(self._tool.ask(json.dumps(question), f"fmi, {self._fmu}, {doing}"))
