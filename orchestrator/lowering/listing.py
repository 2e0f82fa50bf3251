"""A plan as data for people: the operations of one step, section by section, with the formulas of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from metronome.hwmodels.interface import OPERATION_VALUES

from .quantity import EACH_PROMPT
from .work import Plan, PlannedOperation, Section, Work

MAX_PERIOD = 8  # sections that repeat together, at most


def sections(plan: Plan, chained: Callable[[Section], bool]) -> list[dict[str, Any]]:
    """JSON-ready. ``times``: how often the section is done in a step; sections that alternate share a ``cycle``.

    ``chained`` says whether a network does a section's network operations as one (kind ``train``).
    """
    found = []
    for cycle, (repeats, members) in enumerate(_cycles(plan.sections)):
        for section in members:
            if not section.operations:
                continue  # it counts layers only
            found.append(
                {
                    "section": section.name,
                    "stage": section.stage,
                    "times": section.repeat * repeats,
                    "cycle": cycle,
                    "operations": [_operation(operation) for operation in section.operations],
                    "chained": chained(section),
                }
            )
    return found


def _operation(operation: PlannedOperation) -> dict[str, Any]:
    work = operation.works[0]
    return {
        "components": list(dict.fromkeys(each.component for each in operation.works)),
        "kind": work.template.kind,
        "layer": work.template.layer,
        "shape": dict(work.template.attributes),
        "members": len(operation.works),
        "joint": operation.joint,
        "numbers": numbers(work),
    }


def numbers(work: Work) -> dict[str, str]:
    """Name -> formula, in the order the component gets them; the pairs of the prompts follow under their own name."""
    names = (*OPERATION_VALUES[work.template.kind], *((EACH_PROMPT,) if work.operands.prompts else ()))
    return dict(zip(names, work.operands.formulas, strict=True))


def _cycles(all_sections: Sequence[Section]) -> Iterator[tuple[int, Sequence[Section]]]:
    """(how often, the sections): a run of sections that repeats itself is told once."""
    at = 0
    while at < len(all_sections):
        period, times = 1, 1
        for length in range(1, MAX_PERIOD + 1):
            first = all_sections[at : at + length]
            count = 1
            while all_sections[at + count * length : at + (count + 1) * length] == first:
                count += 1
            if count > 1:
                period, times = length, count
                break
        yield times, all_sections[at : at + period]
        at += period * times
