"""The instrument of `why`: every step, what each component does in it, who was left out of it and for what reason."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..coupling.port import layers
from ..lowering.work import Work
from ..serving.interface import Step as EngineStep
from ..serving.offloading import TierCopy
from ..serving.replica import Replica
from .blame import UNSEEN, Decision, Reason, decision
from .recalls import Copies, Streamed

STAGE = "for a pipeline stage, or another member"
INPUTS = "inputs of the prompts"
RECALLS = "recalls that the step waits for"
IN_FLIGHT = 64  # steps of an instance at most


class Asked(NamedTuple):
    """An operation and its numbers, and as how many of it one after another it lasts."""

    work: Work
    values: Sequence[int]
    times: float


class Slice(NamedTuple):
    """``took_ps`` of an operation chain, by component (or reason) and layer. ``asked``: of a single operation, what its
    component was asked."""

    component: str
    layer: str
    took_ps: int
    asked: Asked | None = None


@dataclass(slots=True)
class Step:
    """A step, who is computed in it, and its critical path."""

    instance: str
    number: int
    start_ps: int
    inputs_ps: int  # when its operations could start
    requests: frozenset[int]
    decided: Decision | None  # None: before anybody looked
    end_ps: int = -1
    waited: list[TierCopy] = field(default_factory=list)  # copies that it waited for, as they ended
    chains: list[tuple[int, int, int, list[Slice]]] = field(default_factory=list)  # start, -end, member, parts
    folded: list[Slice] = field(default_factory=list)
    energy_pj: Counter[str] = field(default_factory=Counter)  # by component

    @property
    def took_ps(self) -> int:
        """Once it has ended."""
        return self.end_ps - self.start_ps

    def share(self, request: int) -> float:
        """Of what it takes and spends, by the request's tokens among all that it computes for anybody."""
        prompts = self.decided.prompts if self.decided else {}
        return prompts.get(request, 1) / (sum(prompts.values()) + len(self.requests) - len(prompts))

    def path(self) -> list[Slice]:
        """Parts that add up to the step's time."""
        found: list[Slice] = []
        if self.inputs_ps > self.start_ps:
            found.append(Slice("host", INPUTS, self.inputs_ps - self.start_ps))
        reached = self.inputs_ps
        for start, minus_end, _, parts in sorted(self.chains, key=lambda chain: chain[:3]):
            if start < reached:
                continue  # a member that had to wait for a slower one
            if start > reached:
                found.append(self._gap(reached, start))
            found += parts
            reached = -minus_end
        if self.end_ps > reached:
            found.append(self._gap(reached, self.end_ps))
        return found

    def _gap(self, start_ps: int, end_ps: int) -> Slice:
        """Between two operations, or after the last."""
        waited = [one for one in self.waited if start_ps < one.ended_ps <= end_ps]
        if end_ps == self.end_ps and self.chains:  # its last layer is computed after that of the last recall is there
            first = min(chain[0] for chain in self.chains)
            waited += [one for one in self.waited if one.recall and one.ended_ps > first]
        last = next((one for one in reversed(waited) if one.recall or one.ended_ps == end_ps), None)
        if last is None:
            return Slice("waiting", STAGE, end_ps - start_ps)
        text = RECALLS if last.recall else f"copies to {last.tier} that the step waits for"
        return Slice("memory", text, end_ps - start_ps)

    def waits_for(self, copy: TierCopy) -> bool:
        """Whether a copy of its engine that has just ended is one that it waits for: a recall of those it computes, or
        what the device lets go for it (with the step), or a store that ends as it goes on (of who was preempted)."""
        if copy.recall:
            return copy.request in self.requests
        written_back = copy.request < 0 and copy.began_ps == self.inputs_ps
        return written_back or (copy.request >= 0 and copy.request not in self.requests and not self.chains)

    def reason(self, request: int) -> Reason:
        """Why a request is not in it."""
        return self.decided.reasons.get(request, UNSEEN) if self.decided else UNSEEN


class Witness:
    """Sees the steps of all requests, or with ``only`` the parts of that one's alone."""

    def __init__(self, networks: Callable[[str, str], set[str]], only: int | None = None) -> None:
        self._networks_between, self._only = networks, only
        self.steps: dict[tuple[str, int], Step] = {}
        self.decided: dict[str, list[Decision]] = {}  # by instance, as time goes on
        self.place: dict[int, str] = {}  # of each request the last instance that had it
        self.served: dict[int, list[str]] = {}  # of each request the instances that have computed it, in order
        self.moves: dict[int, list[tuple[int, int]]] = {}
        self.networks: dict[int, set[str]] = {}
        self._numbered: dict[tuple[str, int], Decision] = {}
        self.ways: dict[int, list[tuple[str, str, int]]] = {}  # of K and V: source, target, how long
        self._moving: dict[int, tuple[int, str, str]] = {}
        self.copies = Copies()
        self._of: dict[int, list[Step]] = {}  # by request
        self._at: dict[str, list[Step]] = {}  # by instance
        self._longest_ps = 0
        self._parts: tuple[Sequence[Work], Sequence[int]] = ((), ())
        self._numbers: tuple[Sequence[int], Sequence[float]] = ((), ())
        self._instance: dict[str, str] = {}  # of each engine

    def scheduled(
        self, instance: str, number: int, replicas: Sequence[Replica], steps: Sequence[EngineStep | None], now_ps: int
    ) -> None:
        found = self._numbered[instance, number] = decision(replicas, steps, now_ps, self._only)
        self.decided.setdefault(instance, []).append(found)
        self._instance.update((replica.name, instance) for replica in replicas)
        self.place.update(dict.fromkeys(found.reasons, instance))

    def step_launched(self, instance: str, number: int, now_ps: int, starts_ps: int, requests: Sequence[int]) -> None:
        decided = self._numbered.pop((instance, number), None)
        step = Step(instance, number, now_ps, starts_ps, frozenset(requests), decided)
        self.steps[instance, number] = step
        self._at.setdefault(instance, []).append(step)
        for request in step.requests if self._only is None else step.requests & {self._only}:
            self._of.setdefault(request, []).append(step)
        self.place.update(dict.fromkeys(requests, instance))
        for request in requests:
            known = self.served.setdefault(request, [])
            if not known or known[-1] != instance:
                known.append(instance)

    def step_landed(self, instance: str, number: int, now_ps: int, energy_pj: int) -> None:
        if step := self.steps.get((instance, number)):
            step.end_ps = now_ps
            self._longest_ps = max(self._longest_ps, now_ps - step.start_ps)

    def _noted(self, instance: str, number: int) -> Step | None:
        step = self.steps.get((instance, number))
        return step if step and (self._only is None or self._only in step.requests) else None

    def energy_spent(self, instance: str, number: int, component: str, energy_pj: int) -> None:
        if energy_pj and (mine := self._noted(instance, number)):
            mine.energy_pj[component] += energy_pj

    def operation_numbers(self, items: Sequence[Work], values: Sequence[int], times: Sequence[float]) -> None:
        self._numbers = values, times

    def operation_parts(self, items: Sequence[Work], took_ps: Sequence[int]) -> None:
        self._parts = items, took_ps

    def _slices(self, component: str, items: Sequence[Work], took_ps: int) -> list[Slice]:
        """One for each operation where its component has said what each takes."""
        known, parts = self._parts
        if known is not items or not parts:
            return [Slice(component, layers(items), took_ps)]
        values, times = self._numbers  # told just before
        each = zip(items, parts, times, strict=True)
        return [Slice(component, work.template.layer, part, Asked(work, values, often)) for work, part, often in each]

    def operations(
        self,
        instance: str,
        step: int,
        member: int,
        component: str,
        items: Sequence[Work],
        start_ps: int,
        took_ps: int,
    ) -> None:
        mine = self._noted(instance, step)
        if mine is None:
            return
        if items[0].template.kind == "train" and mine.folded:
            between = sum(part.took_ps for part in mine.folded)
            parts = [*mine.folded, Slice(component, items[0].template.layer, took_ps - between)]
            mine.chains.append((start_ps, -start_ps - took_ps, member, parts))
            mine.folded = []
            return
        slices = self._slices(component, items, took_ps)
        if mine.chains:
            start, minus_end, whose, parts = mine.chains[-1]
            if whose == member and start_ps < -minus_end:
                return  # hidden behind what takes the time
            if whose == member and -minus_end == start_ps:
                mine.chains[-1] = (start, minus_end - took_ps, member, [*parts, *slices])
                return
        mine.chains.append((start_ps, -start_ps - took_ps, member, slices))

    def operations_folded(
        self, instance: str, step: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        if mine := self._noted(instance, step):
            mine.folded += self._slices(component, items, took_ps)

    def transfer_began(self, request: int, source: str, target: str, now_ps: int) -> None:
        self._moving[request] = now_ps, source, target
        self.networks.setdefault(request, set()).update(self._networks_between(source, target))

    def transfer_ended(self, request: int, now_ps: int) -> None:
        began, source, target = self._moving.pop(request, (-1, "", ""))
        self.moves.setdefault(request, []).append((began, now_ps))
        if source:
            self.ways.setdefault(request, []).append((source, target, now_ps - began))

    def tier_copy_began(self, copy: TierCopy) -> None:
        self.copies.began(copy)

    def tier_copy_ended(self, copy: TierCopy) -> None:
        self.copies.ended(copy)
        for step in self._at.get(self._instance.get(copy.engine, ""), ())[-IN_FLIGHT:]:
            mine = self._only is None or self._only in step.requests
            if mine and step.end_ps < 0 and step.waits_for(copy):
                step.waited.append(copy)

    def weights_began(self, instance: str, work: Work, size: int, now_ps: int) -> None:
        self.copies.stream_began(Streamed(instance, work, size, now_ps))

    def weights_ended(self, instance: str, work: Work, size: int, start_ps: int, now_ps: int) -> None:
        self.copies.stream_ended(Streamed(instance, work, size, start_ps), now_ps)

    def close(self, now_ps: int) -> None:
        """What is on its way has been so until now."""
        self.copies.close(now_ps)
        for request in list(self._moving):
            self.transfer_ended(request, now_ps)
        open_ps = [now_ps - step.start_ps for step in self.steps.values() if step.end_ps < 0]
        self._longest_ps = max([self._longest_ps, *open_ps])

    def mine(self, request: int) -> list[Step]:
        """Steps of a request that are done, as they began."""
        return [step for step in self._of.get(request, ()) if step.end_ps >= 0]

    def under_way(self, request: int) -> Step | None:
        """The first of its steps that are not over."""
        return next((step for step in self._of.get(request, ()) if step.end_ps < 0), None)

    def others(self, request: int, instance: str, start_ps: int, end_ps: int) -> list[Step]:
        """Steps of an instance between two times without the request, as they began."""
        known = self._at.get(instance, [])
        first = bisect_left(known, start_ps - self._longest_ps, key=lambda step: step.start_ps)
        last = bisect_left(known, end_ps, first, key=lambda step: step.start_ps)
        return [step for step in known[first:last] if request not in step.requests]

    def standing(self, request: int, instance: str, at_ps: int) -> Reason | None:
        """What the last decision until then left a request waiting for, if that lasts."""
        known = self.decided.get(instance, [])
        last = bisect_right(known, at_ps, key=lambda one: one.at_ps)
        reason = known[last - 1].reasons.get(request) if last else None
        return reason if reason and reason.lasts else None
