"""What repeats, alone or together: layers of a model, sections of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LONGEST = 12  # layers, or sections, that repeat together, at most


def patterns(items: Sequence[T]) -> list[tuple[Sequence[T], int]]:
    """The items as patterns and how often each repeats: from the front, whatever covers the most of them."""
    found = []
    at = 0
    while at < len(items):
        best, times = 1, 1
        for length in range(1, LONGEST + 1):
            pattern = items[at : at + length]
            repeat = 1
            while items[at + repeat * length : at + (repeat + 1) * length] == pattern:
                repeat += 1
            if repeat > 1 and repeat * length > best * times:
                best, times = length, repeat
        found.append((items[at : at + best], times))
        at += best * times
    return found
