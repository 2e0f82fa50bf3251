"""Whether a log's requests can tell parts apart at all: the design of parts over the steps that compute them.

Requests of one shape (as many tokens in and out) have one TTFT and one TPOT in common. What distinguishes two of them
is whom they met, and that no server repeats; a half of the log is then no other evidence than its other half. So what
counts of a request is the part of its steps' times that goes with its shape: the more directions these times have, the
more factors can be found. Of one shape there are as many as there are metrics, whatever is in a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..coupling.calibrated import part_of
from ..lowering.work import Work
from ..report.result import Table
from ..scenario.calibration import PARTS
from ..scenario.schema import Scenario
from ..serving.interface import Step
from ..serving.replica import Replica
from .observations import Floats, Ints

METRICS = 2  # a prompt's steps are its TTFT, the others its TPOT
SEEN = 0.03  # of the largest: what chance makes of lengths within 5 % of one another is below
COLUMNS = tuple(PARTS)


class Heard:
    """Instrument: which parts of a step a run has, and how long they take in the steps of each request."""

    def __init__(self, scenario: Scenario) -> None:
        served = any(instance.engine.api_server_count for instance in scenario.instances)
        self.parts = {"host", "api_server"} if served else {"host"}
        self._networks = {network.name for network in scenario.cluster.networks}
        self._steps: dict[tuple[str, int], Floats] = {}
        self._members: dict[tuple[str, int], tuple[int, Sequence[int]]] = {}
        self._told: tuple[Sequence[Work], Sequence[int]] = (), ()
        self._prompts: set[tuple[str, int]] = set()  # steps with prompts in them

    def scheduled(
        self, instance: str, number: int, replicas: Sequence[Replica], steps: Sequence[Step | None], now_ps: int
    ) -> None:
        if any(step and step.batch.prompts for step in steps):
            self._prompts.add((instance, number))

    def step_launched(self, instance: str, number: int, now_ps: int, starts_ps: int, requests: Sequence[int]) -> None:
        self._members[instance, number] = now_ps, tuple(requests)
        self._step(instance, number)[COLUMNS.index("host")] = 1.0  # its unit is of no account: about as long in each

    def operation_parts(self, items: Sequence[Work], took_ps: Sequence[int]) -> None:
        self._told = items, took_ps

    def operations(
        self, instance: str, step: int, member: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        self._hear(instance, step, items, took_ps)

    def operations_folded(
        self, instance: str, step: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        self._hear(instance, step, items, took_ps)

    def sent(self, work: Work, start_ps: int, took_ps: int) -> None:
        self.parts.add("link")

    def _step(self, instance: str, number: int) -> Floats:
        return self._steps.setdefault((instance, number), np.zeros(len(COLUMNS)))

    def _hear(self, instance: str, number: int, items: Sequence[Work], took_ps: int) -> None:
        known, parts = self._told
        if known is not items or not parts:
            parts = [took_ps // len(items)] * len(items)
        step = self._step(instance, number)
        for work, part_ps in zip(items, parts, strict=True):
            kind = work.template.kind
            if work.component in self._networks:
                part = "link"
            elif kind == "attention":
                part = "prompt_attention" if (instance, number) in self._prompts else "decode_attention"
                self.parts |= {"decode_attention", "prompt_attention"}
            else:
                part = part_of(kind, (), "accelerator")
            self.parts.add(part)
            if part:
                step[COLUMNS.index(part)] += part_ps

    def _rows(self, requests: Table) -> tuple[Floats, Floats]:
        """Of each request the times of its steps until its first token, and those of one step after it."""
        place = {number: row for row, number in enumerate(requests["id"])}
        first_ps = np.array(requests["first_token"], dtype=float) * 1e3
        before = np.zeros((len(place), len(COLUMNS)))
        after, steps = before.copy(), np.zeros(len(place))
        for key, (now_ps, members) in self._members.items():
            for number in members:
                row = place.get(number)
                if row is None:
                    continue
                if now_ps < first_ps[row]:
                    before[row] += self._steps[key]
                else:
                    after[row] += self._steps[key]
                    steps[row] += 1
        return before, after / np.maximum(steps, 1)[:, None]

    def directions(self, requests: Table) -> int:
        """How many combinations of parts go with requests' shapes by themselves: the numerical rank of the design."""
        shapes = _shape(requests)
        projected = shapes @ np.linalg.pinv(shapes, rcond=1e-9)
        design = np.concatenate([projected @ rows / max(rows.sum(), 1e-30) for rows in self._rows(requests)])
        lengths = np.linalg.norm(design, axis=0)
        values = np.linalg.svd(design[:, lengths > 0] / lengths[lengths > 0], compute_uv=False)
        return int((values > SEEN * values[0]).sum()) if len(values) else 0

    def shapes(self, requests: Table) -> str:
        """How long prompts and answers are, in words."""
        prompts, answers = (np.array(requests[name], dtype=int) for name in ("input", "output"))
        return f"{_range(prompts)} tokens in and {_range(answers)} out"


def _shape(requests: Table) -> Floats:
    """Smooth functions of a request's lengths, centred; the first is 1."""
    prompt, answer = (np.log(np.maximum(np.array(requests[name], dtype=float), 1)) for name in ("input", "output"))
    functions = (prompt, answer, prompt**2, answer**2, prompt * answer)
    return np.stack([np.ones(len(prompt)), *(values - values.mean() for values in functions)], axis=1)


def _range(values: Ints) -> str:
    least, most = values.min(), values.max()
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
