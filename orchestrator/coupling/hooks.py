"""What instruments are told of operations."""

from __future__ import annotations

from collections.abc import Sequence

from ..kernel.instrument import Hook, Hooks
from ..lowering.work import Work


class CouplingHooks(Hooks):
    """Times are picoseconds.

    Attributes:
        operation_began: (component, now): an operation has been handed to a component that shares the clock.
        operation_ended: (component, now): such an operation is done.
        operation_numbers: (operations, numbers, times): of those that are told of next, the numbers they all take, and
            how many times as long as it takes alone each lasts (repeats, a component that is slow).
        operation_parts: (operations, took): of those that are told of next, what each takes; they add up.
        operations: (instance, step, member, component, operations, start, took): what a component does for a step,
            one operation after another, then what is done beside them; told as soon as it is known, which may be before
            it has happened.
        operations_folded: (instance, step, component, operations, start, took): all repetitions of operations that
            alternate with chained collectives; their sum, from the start of the first. What is done
            beside others is left out.
        energy_spent: (instance, step, component, pJ): what a component has spent on a step; told when it is done.
        sent: (send, start, took): K and V have gone one way.
        weights_began: (instance, send, bytes to each device, now): weights of a step begin to come.
        weights_ended: (instance, send, bytes to each device, start, now): they are there.
    """

    operation_began: Hook[[str, int]]
    operation_ended: Hook[[str, int]]
    operation_numbers: Hook[[Sequence[Work], Sequence[int], Sequence[float]]]
    operation_parts: Hook[[Sequence[Work], Sequence[int]]]
    operations: Hook[[str, int, int, str, Sequence[Work], int, int]]
    operations_folded: Hook[[str, int, str, Sequence[Work], int, int]]
    energy_spent: Hook[[str, int, str, int]]
    sent: Hook[[Work, int, int]]
    weights_began: Hook[[str, Work, int, int]]
    weights_ended: Hook[[str, Work, int, int, int]]
