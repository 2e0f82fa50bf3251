"""The console's `why`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..errors import InputError
from . import counterfactual_looks, looks, why_looks
from .counterfactual import counterfactual
from .expressions import number
from .session import DebugSession
from .why import why, why_all, why_slowest

ALLOWED = "the id of a request, a component and an operation, an instance and a step, --slowest N, or --all"

OF_ONE = "what if is asked of one request: why REQUEST with PATH=VALUE, or why REQUEST without ID"


def _at_least_one(text: str) -> int:
    """How many requests. Raises InputError."""
    if not (text.isdigit() and int(text)):
        raise InputError("debugger", "why --slowest", text, "must be a number of requests, at least 1")
    return int(text)


class WhyCommand:
    """Part of `Console`: where latency came from."""

    session: DebugSession

    def say(self, text: str) -> None:
        raise NotImplementedError

    def do_why(self, arg: str) -> None:
        """why REQUEST [without ID,... | with PATH=VALUE ...] | COMPONENT OP | INSTANCE STEP | --slowest N | --all
        [--json]: where latency came from, as parts that add up to it; and where it would have come from otherwise.
        `why REQUEST without` says whom it would be worth to ask about."""
        words = arg.split()
        if "--json" in words:
            words.remove("--json")
            self.say(json.dumps(self._as_json(words)))
            return
        for line in self._why(words):
            self.say(line)

    def _why(self, words: list[str]) -> Iterable[str]:
        match words:
            case ["--all"]:
                return why_looks.table(self.session)
            case ["--slowest", count]:
                return why_looks.table(self.session, _at_least_one(count))
            case ["--all" | "--slowest", *_] if {"with", "without"} & {*words}:
                raise InputError("debugger", "why", " ".join(words), OF_ONE)
            case [request, "without" | "with", *_]:
                return counterfactual_looks.otherwise(self.session, number(request), words[1:])
            case [component, op] if not component.startswith("-"):
                if component in [unit.name for unit in self.session.simulation.units]:
                    return why_looks.step(self.session, component, number(op))
                return looks.operation(self.session, component, number(op))
            case [request] if not request.startswith("-"):
                return why_looks.because(self.session, number(request))
        raise InputError("debugger", "why", " ".join(words), ALLOWED)

    def _as_json(self, words: list[str]) -> Any:
        match words:
            case ["--all"]:
                return [counterfactual_looks.split_as_json(answer) for answer in why_all(self.session)]
            case ["--slowest", count]:
                answers = why_slowest(self.session, _at_least_one(count))
                return [counterfactual_looks.split_as_json(answer) for answer in answers]
            case ["--all" | "--slowest", *_] if {"with", "without"} & {*words}:
                raise InputError("debugger", "why", " ".join(words), OF_ONE)
            case [request, "without" | "with", *_]:
                change = counterfactual_looks.change_of(words[1:])
                return counterfactual_looks.as_json(counterfactual(self.session, number(request), change))
            case [request] if not request.startswith("-"):
                return counterfactual_looks.split_as_json(why(self.session, number(request)))
        raise InputError(
            "debugger", "why --json", " ".join(words), "the id of a request, with a change or not, or --all"
        )
