"""A component whose times are multiplied by the scenario's calibration, part by part (docs/calibrate.md).

An accelerator's energy goes with its time; a network's, which is of the bits it carries, stays. Only a component that
is asked about operations alone can be calibrated: one that shares the clock answers in that clock's time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from metronome.hwmodels.interface import Advanced, Completion, Operation, Provenance, Template

from ..errors import InputError
from .components import ComponentSpec
from .link import Link, split
from .wrapped import WrappedLink

KINDS = {
    "gemm": "gemm",
    "moe": "moe",
    "state": "state",
    "norm": "other_kernels",
    "elementwise": "other_kernels",
    "embedding": "other_kernels",
    "sampler": "other_kernels",
}
DECODES_ALONE = 4  # numbers of an attention without prompts (`OPERATION_VALUES`)


def part_of(kind: str, values: Sequence[int], component: str) -> str:
    """The part of `scenario.calibration.PARTS` that an operation on a piece of that ``component`` kind is of."""
    if component == "network":
        return "link"
    if kind == "attention":
        return "prompt_attention" if len(values) > DECODES_ALONE else "decode_attention"
    return KINDS.get(kind, "")


def check_calibration(specs: Sequence[ComponentSpec], modes: Callable[[str], str]) -> None:
    """Raises InputError for a component that cannot be calibrated. ``modes``: `Ports.modes`."""
    for spec in specs:
        if spec.factors and "stepped" in modes(spec.name):
            part, factor = next(iter(spec.factors.items()))
            why = f"{spec.name} shares the clock with several users: change its own figures in the scenario"
            raise InputError("scenario", f"calibration.factors.{part}", factor, why)


class CalibratedLink(WrappedLink):
    """``link`` with its times multiplied; ``factors`` by part."""

    def __init__(self, link: Link, factors: Mapping[str, float]) -> None:
        super().__init__(link)
        self._factors = factors
        self._kinds: dict[int, str] = {}
        self._asked: Sequence[Operation] = ()

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        self._kinds = {template.id: template.kind for template in templates}
        return super().declare(templates)

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        return self._scaled(operations, self._link.advance(grant_ps, operations, stop_at_first))

    def send(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> None:
        self._asked = operations
        split(self._link).send(grant_ps, operations, stop_at_first)

    def receive(self) -> Advanced:
        return self._scaled(self._asked, split(self._link).receive())

    def _scaled(self, operations: Sequence[Operation], answer: Advanced) -> Advanced:
        asked = {operation.op_id: operation for operation in operations}
        done = tuple(self._completion(asked.get(one.op_id), one) for one in answer.completions)
        reached = max((answer.reached_ps, *(one.finish_ps for one in done)))
        return Advanced(reached, done, answer.next_event_ps)

    def _completion(self, asked: Operation | None, done: Completion) -> Completion:
        if asked is None:  # an answer that was not asked for: whoever asked refuses it
            return done
        kind = self.description.kind
        factor = self._factors.get(part_of(self._kinds.get(asked.template, ""), asked.values, kind))
        if factor is None:
            return done
        energy = done.energy_pj
        if energy is not None and kind != "network":
            energy = round(energy * factor)
        finish = done.start_ps + round((done.finish_ps - done.start_ps) * factor)
        return Completion(done.op_id, done.start_ps, finish, Provenance.CALIBRATED, energy)

    def again(self) -> Link:
        return CalibratedLink(self._link.again(), self._factors)
