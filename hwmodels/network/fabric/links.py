"""Sets of links as one number with a bit a link: whether two sets meet is one ``&``."""

from __future__ import annotations

from collections.abc import Iterable


def bits_of(links: Iterable[int]) -> int:
    """By their numbers from 0."""
    found = bytearray()
    for link in links:
        place = link // 8
        if place >= len(found):
            found.extend(bytes(place + 1 - len(found)))
        found[place] |= 1 << link % 8
    return int.from_bytes(found, "little")
