"""What memories spend on bytes from or to them over a network, whose model counts its links only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..lowering.work import Work
from ..scenario.schema import Cluster

BITS = 8


def per_bit(cluster: Cluster) -> dict[str, float | None]:
    """pJ of every memory that networks can connect; None where it is not known."""
    return {name: memory.energy_pj_per_bit for name, memory in cluster.memory().items()}


class MemoryEnergy:
    """``per_bit``: pJ of every memory that networks connect; None where it is not known."""

    def __init__(self, per_bit: Mapping[str, float | None], works: Iterable[Work]) -> None:
        self._per_bit = dict(per_bit)
        self._ends: dict[int, list[tuple[str, int]]] = {}  # of a send: its memories, how often it is one's
        self._moved: set[str] = set()
        for work in works:
            if work.template.kind == "send":
                ranks = Counter(str(work.template.attributes.get("ranks", "")).split(","))
                ends = [(name, times) for name, times in ranks.items() if name in self._per_bit]
                if ends:
                    self._ends[work.template.id] = ends

    def become(self, per_bit: Mapping[str, float | None]) -> None:
        """From now on it is these."""
        self._per_bit = dict(per_bit)

    def of(self, work: Work, values: tuple[int, ...]) -> list[tuple[str, int]]:
        """(memory, pJ) of an operation; a send's first value is its bytes to each target."""
        found = []
        for name, times in self._ends.get(work.template.id, ()):
            per_bit = self._per_bit[name]
            self._moved.add(name)
            if per_bit:
                found.append((name, round(values[0] * times * BITS * per_bit)))
        return found

    @property
    def unknown(self) -> list[str]:
        """Memories that bytes came from or went to, and whose energy is not known."""
        return [name for name, per_bit in self._per_bit.items() if per_bit is None and name in self._moved]
