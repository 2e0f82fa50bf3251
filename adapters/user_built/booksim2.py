"""``booksim2``: BookSim 2 (Jiang et al., ISPASS 2013) as a network on chip: the latency of a packet under a load.

It takes no flows, only a synthetic load, so it is asked once: the mean latency of a packet at the load
of its configuration. A message follows its first packet at a flit a cycle. Its exit code says nothing
(255 where it converged, 0 where it did not): the text does.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import Description, Feature, Provenance, Template, TimePolicy
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig, read

UNSTABLE = re.compile(r"unstable|Aborting simulation|Unknown|Error|Too many sample periods", re.I)


class Booksim2Config(ToolConfig):
    """`program` is booksim."""

    config: Path = Field(description="BookSim's configuration: topology, load, packet size")
    flit_bytes: int = Field(default=16, gt=0)
    clock_mhz: float = Field(default=1000, gt=0)


class Booksim2(Tool[Booksim2Config]):
    """Messages between two nodes of the network, under its load."""

    description = Description(
        name="booksim2",
        kind="network",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"send"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="BookSim 2: a packet's latency under a synthetic load (path of booksim)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._text = read(self.config.config)

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        if not self._known:
            self._known["latency"], self._known["flits"] = self._measure()
        behind = max(0.0, -(-values[0] // self.config.flit_bytes) - self._known["flits"])
        cycles = self._known["latency"] + behind
        return Estimate(max(1, round(cycles * 1e6 / self.config.clock_mhz)), Provenance.MODELLED)

    def _measure(self) -> tuple[float, float]:
        """(mean cycles of a packet, its mean flits)."""
        asked = f"booksim2, the load of {self.config.config.name}"
        printed = self._run(asked, ["network.cfg"], {"network.cfg": self._text}, ok=None).printed
        if (bad := UNSTABLE.search(printed)) is not None:
            raise ToolFailure(asked, f"it says {bad[0]!r}", printed)
        _, heading, overall = printed.partition("====== Overall Traffic Statistics ======")
        if not heading:
            raise ToolFailure(asked, "it ends without its statistics", printed)
        return tuple(_average(overall, what, asked) for what in ("Packet latency", "Accepted packet size"))  # type: ignore[return-value]


def _average(text: str, what: str, asked: str) -> float:
    found = re.findall(rf"^{what} average = ([0-9.]+) ", text, re.M)
    if len(found) != 1 or not 0 < float(found[0]) < float("inf"):
        raise ToolFailure(asked, f"{what} average: {found}, not one positive figure", text)
    return float(found[0])
