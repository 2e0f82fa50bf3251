"""Components that break the contract on purpose, one rule each: what the checks are checked with.

``Faulty({"fault": NAME})`` is a memory with a clock, ``FaultyOracle`` a network without one, ``Asker`` (in
`faulty_asker`) a memory with a port; each has the faults of `FAULTS` that name it, and without a fault keeps the
contract.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

from metronome.hwmodels.interface import Advanced, BadOperation, Completion, LateOperation, Operation
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.network.alpha_beta import AlphaBeta


class Fault(NamedTuple):
    """``caught_by`` is the check that has to notice it."""

    model: str
    caught_by: str
    what: str


FAULTS: Mapping[str, Fault] = {
    "drops": Fault("Faulty", "completes_everything", "never completes the third operation"),
    "repeats": Fault("Faulty", "completes_everything", "completes an operation twice"),
    "invents": Fault("Faulty", "completes_everything", "completes an operation nobody asked for"),
    "hurries": Fault("Faulty", "completes_everything", "starts before it may"),
    "takes-no-time": Fault("Faulty", "completes_everything", "finishes when it starts"),
    "gives-energy": Fault("Faulty", "completes_everything", "uses negative energy"),
    "throws-dice": Fault("Faulty", "two_runs_are_equal", "takes another time in every session"),
    "over-reaches": Fault("Faulty", "time_is_monotone", "reaches beyond its grant"),
    "runs-back": Fault("Faulty", "time_is_monotone", "reaches less than before"),
    "foresees": Fault("Faulty", "time_is_monotone", "completes what lies beyond the grant"),
    "ticks-with-grants": Fault("Faulty", "split_grants_change_nothing", "finishes only at the end of a grant"),
    "stops-late": Fault("Faulty", "split_grants_change_nothing", "takes longer when asked to stop at completions"),
    "promises-early": Fault("Faulty", "next_event_is_honoured", "does nothing at the promised time"),
    "promises-late": Fault("Faulty", "next_event_is_honoured", "acts before the promised time"),
    "promises-nothing": Fault("Faulty", "next_event_is_honoured", "has work and promises nothing"),
    "takes-late": Fault("Faulty", "late_operations_are_refused", "takes an operation of its past"),
    "sulks-when-late": Fault("Faulty", "late_operations_are_refused", "does nothing more after refusing one"),
    "takes-unknown": Fault("Faulty", "bad_operations_are_refused", "takes an operation of an unknown template"),
    "takes-empty": Fault("Faulty", "bad_operations_are_refused", "takes an operation without its numbers"),
    "takes-negative": Fault("Faulty", "bad_operations_are_refused", "takes a negative number"),
    "sulks": Fault("Faulty", "bad_operations_are_refused", "does nothing more after refusing one"),
    "tires": Fault("Faulty", "answers_do_not_depend_on_when", "takes longer later"),
    "forgets-in-snapshots": Fault("Faulty", "snapshots_restore", "leaves its queue out of a snapshot"),
    "ignores-restore": Fault("Faulty", "snapshots_restore", "goes on as if nothing had been restored"),
    "moves-when-looked-at": Fault("Faulty", "looking_changes_nothing", "loses an operation when inspected"),
    "counts-looks": Fault("Faulty", "looking_changes_nothing", "shows how often it was inspected"),
    "foretells-wrong": Fault("Faulty", "split_grants_change_nothing", "does otherwise than it foretold"),
    "shares": Fault("Faulty", "sessions_are_isolated", "all its sessions wait for one another"),
    "chokes": Fault("Faulty", "large_batches_are_taken", "drops what goes beyond a thousand operations"),
    "asks-in-the-past": Fault("Asker", "ports_are_kept", "asks at its port for something earlier than it is"),
    "asks-too-soon": Fault("Asker", "ports_are_kept", "asks before its port's least latency is over"),
    "overdraws": Fault("Asker", "ports_are_kept", "asks for more at once than it has credits"),
    "asks-twice": Fault("Asker", "ports_are_kept", "asks again before it is answered"),
    "asks-for-anything": Fault("Asker", "ports_are_kept", "asks for what its port does not name"),
    "asks-anywhere": Fault("Asker", "ports_are_kept", "asks at a port that it does not have"),
    "forgets-an-answer": Fault("Asker", "ports_are_kept", "owes an operation although it is answered"),
    "listens": Fault("FaultyOracle", "batches_may_be_split", "answers by what else is asked"),
    "hangs": Fault("FaultyOracle", "completes_everything", "never answers"),
}

_DICE = count(1)
_shared_free_ps = 0
HANG_S = 3600.0


class Faulty(BandwidthLatency):
    """A first-come-first-served memory that breaks one rule."""

    description = replace(BandwidthLatency.description, name="faulty", summary="breaks the contract on purpose")

    def __init__(self, config: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        given = {"bandwidth_gb_s": 1, "energy_pj_per_bit": 1, **(config or {})}
        self.fault = given.pop("fault", "")
        super().__init__(given, seed)
        self._dice, self._sulking, self._looks, self._last = next(_DICE), False, 0, 0

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        global _shared_free_ps
        fault = self.fault
        if self._sulking:
            return Advanced(grant_ps, ())
        if fault == "shares":
            self._free_ps = max(self._free_ps, _shared_free_ps)
        if fault == "chokes" and len(operations) > 1000:
            operations = operations[:1000]
        try:
            answer = super().advance(grant_ps, self._admitted(operations), stop_at_first_completion)
        except LateOperation:
            if fault == "takes-late":
                return Advanced(grant_ps, ())
            self._sulking = fault == "sulks-when-late"
            raise
        except BadOperation:
            self._sulking = fault == "sulks"
            raise
        if fault == "shares":
            _shared_free_ps = self._free_ps
        return self._spoilt(answer, grant_ps, stop_at_first_completion)

    def _admitted(self, operations: Sequence[Operation]) -> list[Operation]:
        """Operations, less those that this fault takes without a word."""
        takes: dict[str, Callable[[Operation], bool]] = {
            "takes-unknown": lambda o: o.template not in self.templates,
            "takes-empty": lambda o: not o.values,
            "takes-negative": lambda o: bool(o.values) and min(o.values) < 0,
        }
        silent = takes.get(self.fault)
        return [operation for operation in operations if silent is None or not silent(operation)]

    def _spoilt(self, answer: Advanced, grant_ps: int, stop: bool) -> Advanced:
        done, reached, promise = list(answer.completions), answer.reached_ps, answer.next_event_ps
        match self.fault:
            case "drops":
                done = [c for c in done if c.op_id != 2]
            case "repeats":
                done += [c for c in done if c.op_id == 1]
            case "invents" if done:
                done.append(done[-1]._replace(op_id=777))
            case "hurries":
                done = [c._replace(start_ps=max(0, c.start_ps - 600_000)) for c in done]
            case "takes-no-time":
                done = [c._replace(finish_ps=c.start_ps) for c in done]
            case "gives-energy":
                done = [c._replace(energy_pj=-1) for c in done]
            case "throws-dice":
                done = [c._replace(start_ps=max(0, c.start_ps - self._dice)) for c in done]
            case "over-reaches":
                reached += 5
            case "runs-back":
                reached, self._last = max(0, self._last - 1), reached
            case "foresees" if self._queue:
                done += list(self._queue)
                self._queue.clear()
                promise = None
            case "ticks-with-grants":
                done = [c._replace(finish_ps=reached) for c in done]
            case "stops-late" if stop:
                done = [c._replace(start_ps=max(0, c.start_ps - 1)) for c in done]
            case "promises-early" if promise is not None:
                promise -= 1000
            case "promises-late" if promise is not None:
                promise += 1000
            case "promises-nothing":
                promise = None
        return Advanced(reached, tuple(done), promise)

    def foretold(self) -> Advanced | None:
        return Advanced(0, ()) if self.fault == "foretells-wrong" else None

    def transfer_ps(self, operation: Operation) -> int:
        tired = 1000 if self.fault == "tires" and operation.at_ps > 100_000_000 else 0
        return super().transfer_ps(operation) + tired

    def inspect(self) -> dict[str, Any]:
        self._looks += 1
        if self.fault == "moves-when-looked-at" and self._queue:
            self._queue.pop()
        return super().inspect() | ({"looks": self._looks} if self.fault == "counts-looks" else {})

    def snapshot(self) -> dict[str, Any]:
        state = super().snapshot()
        return state | ({"queue": []} if self.fault == "forgets-in-snapshots" else {})

    def restore(self, state: dict[str, Any]) -> None:
        if self.fault != "ignores-restore":
            super().restore(state)


class FaultyOracle(AlphaBeta):
    """A network of latency and bandwidth that breaks one rule."""

    description = replace(AlphaBeta.description, name="faulty-oracle", summary="breaks the contract on purpose")

    def __init__(self, config: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        given = {"bandwidth_gb_s": 100, "latency_ns": 500, **(config or {})}
        self.fault = given.pop("fault", "")
        super().__init__(given, seed)

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        if self.fault == "hangs":
            time.sleep(HANG_S)
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        if self.fault != "listens":
            return answer
        later: list[Completion] = [c._replace(finish_ps=c.finish_ps + len(operations)) for c in answer.completions]
        return replace(answer, completions=tuple(later))
