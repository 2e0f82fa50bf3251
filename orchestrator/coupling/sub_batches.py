"""Sub-batch interleaving: half of a step's sequences is on the accelerator while the others' attention is in memory.

Both halves go through the same layers in turn: the accelerator computes the projections and the feed-forward part of
one while the PIM devices do the attention of the other (NeuPIMs, Heo et al., ASPLOS 2024). Weights are read twice a
step then, so it pays only where attention in memory is what takes long: the executor compares both ways in every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..serving.batch import Batch
from .overlap import Costs, Span
from .program import InterleavedBlock, Portion


class Round(NamedTuple):
    """Picoseconds of one half in a layer: up to its attention, of that in memory, and of prompts' beside it."""

    before: int
    memory: int
    beside: int


class Half(NamedTuple):
    """What one half needs of a block: its rounds, and what comes after the last attention."""

    rounds: tuple[Round, ...]
    after: int


def halves(batch: Batch) -> tuple[Batch, Batch] | None:
    """Two batches with half of the decodes each, of the batch's mean context, and each prompt where there are fewer
    tokens; None where one of the two would have nothing."""
    decodes = (-(-batch.decodes // 2), batch.decodes // 2)
    prompts: tuple[list[int], list[int]] = ([], [])
    tokens = list(decodes)
    for new, cached in zip(batch.prompts[::2], batch.prompts[1::2], strict=True):
        fewer = 0 if tokens[0] <= tokens[1] else 1
        prompts[fewer].extend((new, cached))
        tokens[fewer] += new
    if not all(tokens):
        return None
    context = batch.context_sum * decodes[0] // batch.decodes if batch.decodes else 0
    padding = -(-batch.padding // 2)
    first = _half(batch, prompts[0], decodes[0], context, padding)
    return first, _half(batch, prompts[1], decodes[1], batch.context_sum - context, batch.padding - padding)


def _half(batch: Batch, prompts: Sequence[int], decodes: int, context_sum: int, padding: int) -> Batch:
    longest, shortest = (batch.context_max, batch.context_min) if decodes else (0, 0)
    return Batch(tuple(prompts), decodes, context_sum, longest, shortest, padding)


def needs(block: InterleavedBlock, costs: Costs) -> Half:
    """What a half takes in one repetition of the block; ``costs`` are of all."""
    took = {id(portion): cost.duration_ps for portion, _, cost in costs}

    def of(*portions: Portion) -> int:
        return sum(took.get(id(portion), 0) for portion in portions) // block.repeat

    rounds = tuple(Round(of(*one.before), of(one.memory), of(one.beside)) for one in block.rounds)
    return Half(rounds, of(*block.after))


class _Turns(NamedTuple):
    """When accelerator and memory are free, and when the latest attention of each half is done."""

    free: int = 0
    memory_free: int = 0
    first: int = 0
    second: int = 0


def interleaved_ps(repeat: int, first: Half, second: Half) -> int:
    """From the start of the first repetition to the end of the last, of halves that take turns."""
    now = _repetition(_Turns(), first, second, owed=False)
    left = repeat - 1
    while left:
        then = _repetition(now, first, second, owed=True)
        left -= 1
        later = {after - before for after, before in zip(then, now, strict=True)}
        now = then
        if len(later) == 1:  # from here on every repetition is like this one
            now = _Turns(*(time + left * min(later) for time in now))
            break
    free = max(now.free, now.first) + first.after
    return max(free, now.second) + second.after


def _repetition(turns: _Turns, first: Half, second: Half, owed: bool) -> _Turns:
    """After one more repetition; ``owed``: what comes after the attention before is still to be done."""
    free, memory_free, *attended = turns
    for number, _ in enumerate(first.rounds):
        for i, half in enumerate((first, second)):
            before, memory, beside = half.rounds[number]
            free = max(free, attended[i]) + (half.after if owed and not number else 0) + before
            memory_free = attended[i] = max(memory_free, free) + memory
            free += beside
    return _Turns(free, memory_free, *attended)


def spans_of_turns(block: InterleavedBlock, costs: Costs, took_ps: int) -> tuple[list[Span], list[Span]]:
    """What took the time of both halves together, and what was hidden, as `overlap.spans`.

    In truth accelerator and memory alternate. Told is the accelerator's work without a break, and the memory's as late
    as it can be: what the accelerator has waited for is what comes after it.
    """
    in_memory = {id(one.memory) for one in block.rounds}
    in_turn: list[Span] = []
    busy = 0
    for portion, values, cost in costs:
        if id(portion) not in in_memory:
            in_turn.append(Span(portion, cost, busy, values))
            busy += cost.duration_ps
    hidden: list[Span] = []
    works = [(portion, values, cost) for portion, values, cost in costs if id(portion) in in_memory]
    since = took_ps - sum(cost.duration_ps for *_, cost in works)
    for portion, values, cost in works:
        split = min(max(busy, since), since + cost.duration_ps)
        for start, end, told in ((since, split, hidden), (split, since + cost.duration_ps, in_turn)):
            if end > start:
                told.append(Span(portion, cost.lasting(end - start), start, values))
        since += cost.duration_ps
    return in_turn, hidden
