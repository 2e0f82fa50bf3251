"""Where the ranks of an instance are: data-parallel members of pipeline stages of tensor-parallel ranks.

Ranks are numbered as vLLM numbers them: tensor parallel fastest, then pipeline, then data parallel.
"""

from __future__ import annotations

from dataclasses import dataclass

Device = tuple[str, int]  # node, number on it


def address(device: Device) -> str:
    """The name by which network models know a device: ``n0.3``."""
    return f"{device[0]}.{device[1]}"


@dataclass(frozen=True, slots=True)
class Layout:
    """``devices`` in rank order, dp x pp x tp of them; ``ffn`` devices hold the experts apart, if any."""

    devices: tuple[Device, ...]
    dp: int = 1
    pp: int = 1
    tp: int = 1
    expert_parallel: bool = False
    ffn: tuple[Device, ...] = ()

    def ranks(self, member: int, stage: int) -> tuple[Device, ...]:
        """The tensor-parallel ranks of a stage of a data-parallel member."""
        first = (member * self.pp + stage) * self.tp
        return self.devices[first : first + self.tp]

    def all_ranks(self, stage: int) -> tuple[Device, ...]:
        """The ranks of a stage of all members: the expert-parallel group."""
        return tuple(device for member in range(self.dp) for device in self.ranks(member, stage))

    @property
    def homes(self) -> dict[str, dict[str, int]]:
        """Node -> nodes, with the number of devices on each, of ranks that work in step and whose first is on it: its
        component is asked for all of them."""
        groups = [self.ranks(member, stage) for member in range(self.dp) for stage in range(self.pp)]
        found: dict[str, dict[str, int]] = {}
        for group in [*groups, self.ffn] if self.ffn else groups:
            counts = found.setdefault(group[0][0], {})
            for node, _ in group:
                counts[node] = counts.get(node, 0) + 1
        return found

    @property
    def expert_ranks(self) -> int:
        """Over how many devices a layer's experts are spread."""
        if self.ffn:
            return len(self.ffn)
        return self.dp * self.tp if self.expert_parallel else 1

    def layers(self, count: int) -> list[range]:
        """The layers of each stage, cut as vLLM does: what is left over goes to the stages before the last."""
        sizes = [count // self.pp] * self.pp
        for i in range(count % self.pp):
            sizes[-2 - i] += 1
        ranges, first = [], 0
        for size in sizes:
            ranges.append(range(first, first + size))
            first += size
        return ranges
