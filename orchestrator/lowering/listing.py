"""A plan as data for people: the operations of one step, section by section, with the formulas of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metronome.hwmodels.interface import OPERATION_VALUES

from .patterns import patterns
from .work import Plan, PlannedOperation, Section, Work


def sections(plan: Plan, chained: Callable[[Section], bool]) -> list[dict[str, Any]]:
    """JSON-ready. ``times``: how often the section is done in a step, ``layers`` of the model each time; sections
    that alternate share a ``cycle``.

    ``chained`` says whether a network does a section's network operations as one (kind ``train``).
    """
    found = []
    for cycle, (members, repeats) in enumerate(patterns(plan.sections)):
        for section in members:
            if not section.operations:
                continue  # it counts layers only
            found.append(
                {
                    "section": section.name,
                    "stage": section.stage,
                    "times": section.repeat * repeats,
                    "layers": section.layers,
                    "cycle": cycle,
                    "operations": [_operation(operation) for operation in section.operations],
                    "chained": chained(section),
                }
            )
    return found


def streamed(work: Work, size: str) -> dict[str, Any]:
    """As a section: what comes to each device from off it, ``size`` bytes, beside the operations or before them."""
    operation = _operation(PlannedOperation((work,))) | {"numbers": {"bytes": size}}
    section = {"section": "weights off the devices", "stage": None, "times": 1, "layers": 0, "cycle": -1}
    return section | {"operations": [operation], "chained": False}


def _operation(operation: PlannedOperation) -> dict[str, Any]:
    work = operation.works[0]
    return {
        "components": list(dict.fromkeys(each.component for each in operation.works)),
        **({"instead": list(dict.fromkeys(each.component for each in operation.instead))} if operation.instead else {}),
        "kind": work.template.kind,
        "layer": work.template.layer,
        "shape": dict(work.template.attributes),
        "members": len(operation.works),
        "joint": operation.joint,
        "numbers": numbers(work),
    }


def numbers(work: Work) -> dict[str, str]:
    """Name -> formula, in the order the component gets them; the pairs of the prompts follow under their own name."""
    names = (*OPERATION_VALUES[work.template.kind], *((work.operands.pairs,) if work.operands.pairs else ()))
    return dict(zip(names, work.operands.formulas, strict=True))
