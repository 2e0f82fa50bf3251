"""Components that misbehave, or behave by another time policy, named `tests.coupling.fakes:Class`."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import Advanced, Completion, Feature, LateOperation, Provenance, TimePolicy
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.network.alpha_beta import AlphaBeta
from metronome.hwmodels.process import LIFE


class SteppedNetwork(AlphaBeta):
    """alpha-beta with a clock and, it says, a memory: it has to be stepped."""

    description = replace(AlphaBeta.description, time_policy=TimePolicy.CONSERVATIVE, memoryless=False)
    policy_stops = True

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.now, self.queue = 0, []

    def advance(self, grant_ps, operations, stop_at_first_completion=False) -> Advanced:
        self.queue += super().advance(grant_ps, operations).completions
        self.queue.sort(key=lambda c: (c.finish_ps, c.op_id))
        due = [c for c in self.queue if c.finish_ps <= grant_ps]
        if stop_at_first_completion and due:
            due = [c for c in due if c.finish_ps == due[0].finish_ps]
            grant_ps = due[0].finish_ps
        self.queue = [c for c in self.queue if c not in due]
        self.now = max(self.now, grant_ps)
        return Advanced(self.now, tuple(due), self.queue[0].finish_ps if self.queue else None)


class ForwardOnlyNetwork(SteppedNetwork):
    description = replace(SteppedNetwork.description, time_policy=TimePolicy.FORWARD_ONLY)


class BatchAccelerator(Roofline):
    description = replace(Roofline.description, time_policy=TimePolicy.BATCH)


class NoMoe(Roofline):
    """Cannot do experts."""

    description = replace(Roofline.description, op_kinds=Roofline.description.op_kinds - {"moe"})


class _After(Roofline):
    """Well behaved for 20 questions."""

    calls = 0

    def advance(self, grant_ps, operations, stop_at_first_completion=False) -> Advanced:
        self.calls += 1
        if self.calls > 20:
            return self.misbehave(grant_ps, operations)
        return super().advance(grant_ps, operations, stop_at_first_completion)

    def misbehave(self, grant_ps, operations) -> Advanced:
        raise NotImplementedError


class Dies(_After):
    def misbehave(self, grant_ps, operations):
        print("the end is near", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


class FrozenAsItStarts(_After):
    """Hangs in its first life, and is stopped while the second one is made."""

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        if os.environ.get(LIFE) == "1":
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(600)  # another thread may take the signal, a little later: this one does not go on

    def misbehave(self, grant_ps, operations):
        time.sleep(600 if os.environ.get(LIFE) == "0" else 0)
        return Roofline.advance(self, grant_ps, operations)


class Owes(BandwidthLatency):
    """Uses less than nothing."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        return replace(answer, completions=tuple(c._replace(energy_pj=-7) for c in answer.completions))


class Leaves(_After):
    def misbehave(self, grant_ps, operations):
        sys.exit(0)


class NeverMade(Roofline):
    def __init__(self, config: Any = None, seed: int = 0) -> None:
        time.sleep(600)


class Devours(_After):
    """Takes memory until there is none."""

    def misbehave(self, grant_ps, operations):
        held = []
        while True:
            held.append(bytearray(b"x") * 10_000_000)


class Late(_After):
    """Says that it was given an operation of its past."""

    def misbehave(self, grant_ps, operations):
        raise LateOperation(operations[0], 10**15)


class Hangs(_After):
    def misbehave(self, grant_ps, operations):
        print("thinking hard", file=sys.stderr, flush=True)
        time.sleep(600)


class Slow(_After):
    """Takes longer than its time limit, but says all the while how far it is."""

    description = replace(Roofline.description, features=frozenset({Feature.PROGRESS}))
    done, naps = 0, 4

    def misbehave(self, grant_ps, operations):
        if self.calls == 21:
            for _ in range(self.naps):
                time.sleep(1)
                self.done += 1
        return Roofline.advance(self, grant_ps, operations)

    def progress(self):
        return f"{self.done} naps"


class SaysTheSame(Slow):
    """Hangs, and says all the while that it is at it."""

    naps = 600

    def progress(self):
        return "computing"


class NeverDone(Slow):
    """Gets on, and never comes to an end."""

    naps = 600


class RunsOn(BandwidthLatency):
    """Its time runs back."""

    calls = 0

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        self.calls += 1
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        return Advanced(1, (), grant_ps + 1) if self.calls > 20 else answer


class PromisesThePast(BandwidthLatency):
    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        return replace(answer, next_event_ps=0) if answer.reached_ps else answer


class Radiates(BandwidthLatency):
    """Uses more energy than the sun."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        return replace(answer, completions=tuple(c._replace(energy_pj=2**62) for c in answer.completions))


class SaysNaN(Roofline):
    def statistics(self, uses=()):
        return {"relative_error": {"modelled": float("nan")}}


class SaysAList(SaysNaN):
    def statistics(self, uses=()):
        return {"relative_error": [1, 2]}


class Raises(_After):
    def misbehave(self, grant_ps, operations):
        return 1 // 0


class Forgets(_After):
    def misbehave(self, grant_ps, operations):
        return Advanced(grant_ps, ())


class Repeats(_After):
    def misbehave(self, grant_ps, operations):
        return Advanced(grant_ps, tuple(Completion(0, 0, 1, Provenance.MODELLED) for _ in operations) * 2)


class RunsBack(_After):
    def misbehave(self, grant_ps, operations):
        return Advanced(grant_ps, tuple(Completion(o.op_id, 5, 1, Provenance.MODELLED) for o in operations))


class BreaksPromise(BandwidthLatency):
    """Promises to act and never does."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        return Advanced(min(grant_ps, 10**9), (), 10**9)


class FallsSilent(BandwidthLatency):
    """Takes operations and promises nothing."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        return Advanced(grant_ps, (), None)


class OverReaches(BandwidthLatency):
    """Acts beyond its grant."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        done = tuple(Completion(o.op_id, o.at_ps, grant_ps + 7, Provenance.MODELLED) for o in operations)
        return Advanced(grant_ps + 7, done, None)


class ExitsAtOnce(Roofline):
    @classmethod
    def config_schema(cls):
        return super().config_schema()


if os.environ.get("METRONOME_COMPONENT_COOKIE") and "tests.coupling.fakes:ExitsAtOnce" in sys.argv:
    sys.exit("no licence found")


class _Beyond(_After):
    """Well behaved up to some length of contexts, however often it is asked: a flaw, not an accident."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        kinds = [self.templates[operation.template].kind for operation in operations]
        long = any(kind == "attention" and o.values[1] > 1200 for kind, o in zip(kinds, operations, strict=True))
        self.calls = 100 if long else 0
        return super().advance(grant_ps, operations, stop_at_first_completion)


class RaisesBeyond(_Beyond, Raises):
    pass


class RunsBackBeyond(_Beyond, RunsBack):
    pass


class DiesBeyond(_Beyond, Dies):
    pass


class Fickle(Dies):
    """Dies, and says that it answers the same question in several ways."""

    description = replace(Roofline.description, deterministic=False)


FIRST_LIFE = os.environ.get(LIFE, "0") == "0"


class Changeable(Dies):
    """Is of another version when it comes back."""

    description = replace(Roofline.description, version="1" if FIRST_LIFE else "2")


class OfTwoMinds(BandwidthLatency):
    """Remembers, and when it comes back everything takes a picosecond longer."""

    description = replace(BandwidthLatency.description, memoryless=False, features=frozenset())
    calls = 0

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        self.calls += 1
        if FIRST_LIFE and self.calls > 50:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().advance(grant_ps, operations, stop_at_first_completion)

    def transfer_ps(self, operation):
        return super().transfer_ps(operation) + (0 if FIRST_LIFE else 1)


class ForgetsItsState(OfTwoMinds):
    """Takes snapshots, and makes something else of them."""

    description = replace(BandwidthLatency.description, memoryless=False)

    def restore(self, state):
        super().restore({**state, "free_ps": state["free_ps"] + 1})


class Remembers(BandwidthLatency):
    """Every transfer takes a picosecond longer than the one before."""

    description = replace(BandwidthLatency.description, memoryless=False)
    transfers = 0

    def transfer_ps(self, operation):
        self.transfers += 1
        return super().transfer_ps(operation) + self.transfers

    def snapshot(self):
        return {**super().snapshot(), "transfers": self.transfers}

    def restore(self, state):
        super().restore(state)
        self.transfers = state["transfers"]


class RepeatsLater(BandwidthLatency):
    """Completes every operation once more with its next answer: as new, it has none to repeat."""

    last: tuple[Completion, ...] = ()

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        repeated, self.last = self.last, answer.completions or self.last
        return replace(answer, completions=(*repeated, *answer.completions)) if operations else answer
