"""``booksim2``: BookSim 2 (Jiang et al., ISPASS 2013) as a network on chip.

It knows no flows, only synthetic traffic. What is asked of it:

- a message between two nodes: the mean latency of a packet under the load that its configuration names, asked once; the
  message follows its first packet at a flit a cycle;
- a collective: the load that is asked for, as a batch (``sim_type = batch``): every node sends the operation's packets
  as fast as it can, to all (``uniform``) for an all-to-all, to the next (``neighbor``) for each step of a ring; it
  takes until the last packet has arrived. What is more than ``sample_packets`` a node goes on at the rate of those.

Its exit code says nothing (255 where it converged, 0 where it did not): the text does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import (
    ConfigError,
    Description,
    Feature,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
)
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig, read

UNSTABLE = re.compile(r"unstable|Aborting simulation|Unknown|Error|Too many sample periods|can't open", re.I)
ECHO = re.compile(r"(?s)BEGIN Configuration File.*?END Configuration File[^\n]*\n?")
SETTING = re.compile(r"(?m)^\s*(\w+)\s*=\s*([^;\n]+?)\s*;")
GRIDS = ("mesh", "torus", "cmesh", "fly")  # of k to the power of n nodes


class Pattern(NamedTuple):
    """A collective as batches: BookSim's traffic, and how many, of what share of the operation's bytes a node."""

    traffic: str
    steps: Callable[[int], int]
    share: Callable[[int], float]


COLLECTIVES: Mapping[str, Pattern] = {
    "all_to_all": Pattern("uniform", lambda ranks: 1, lambda ranks: (ranks - 1) / ranks),
    "all_reduce": Pattern("neighbor", lambda ranks: 2 * (ranks - 1), lambda ranks: 1 / ranks),
    "reduce_scatter": Pattern("neighbor", lambda ranks: ranks - 1, lambda ranks: 1 / ranks),
    "all_gather": Pattern("neighbor", lambda ranks: ranks - 1, lambda ranks: 1),
}


class Booksim2Config(ToolConfig):
    """`program` is booksim."""

    config: Path = Field(
        description="BookSim's configuration: topology, load, packet size; files it names lie beside it"
    )
    flit_bytes: int = Field(default=16, gt=0)
    clock_mhz: float = Field(default=1000, gt=0)
    nodes: int | None = Field(
        default=None, gt=1, description="of the network; needed where it is no mesh, torus or fly"
    )
    sample_packets: int = Field(default=1000, gt=0, description="of a node in a collective, at most")


class Booksim2(Tool[Booksim2Config]):
    """Messages between two nodes under the configured load, and collectives of the whole network."""

    description = Description(
        name="booksim2",
        kind="network",
        version="2",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"send", *COLLECTIVES}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="BookSim 2: packets under a synthetic load, collectives as batches (path of booksim)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._text, self._files = _gathered(self.config.config)
        self._settings = dict(SETTING.findall(self._text))
        try:
            self._packet_flits = int(self._settings.get("packet_size", "1"))
        except ValueError:
            raise ConfigError("config", self._settings["packet_size"], "packet_size is one whole number here") from None

    @property
    def _nodes(self) -> int | None:
        given = self._settings
        if self.config.nodes is not None or given.get("topology", "torus") not in GRIDS:
            return self.config.nodes
        k, n, c = (int(given.get(name, default)) for name, default in (("k", "8"), ("n", "2"), ("c", "1")))
        return int(k**n * c)

    def check_template(self, template: Template) -> None:
        ranks = int(template.attributes["participants"])
        if template.kind in COLLECTIVES and ranks != self._nodes:
            has = (
                "no nodes: are given"
                if self._nodes is None
                else f"{self._nodes} nodes, and all take part in its traffic"
            )
            raise UnsupportedOperation(self.description.name, template, f"among {ranks}; the network has {has}")

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        if template.kind == "send":
            cycles = self._message(values[0])
        else:
            ranks = int(template.attributes["participants"])
            pattern = COLLECTIVES[template.kind]
            cycles = pattern.steps(ranks) * self._batch(pattern.traffic, values[0] * pattern.share(ranks))
        return Estimate(max(1, round(cycles * 1e6 / self.config.clock_mhz)), Provenance.MODELLED)

    def _message(self, size: int) -> float:
        """Cycles of a message alone under the configured load."""
        if "latency" not in self._known:
            asked = f"booksim2, the load of {self.config.config.name}"
            overall = self._overall(asked, self._text)
            self._known["latency"] = _figure(overall, "Packet latency average", asked)
            self._known["flits"] = _figure(overall, "Accepted packet size average", asked)
        return self._known["latency"] + max(0.0, -(-size // self.config.flit_bytes) - self._known["flits"])

    def _batch(self, traffic: str, size: float) -> float:
        """Cycles until every node's bytes, sent at once, have arrived."""
        packets = max(1, -(-round(size) // (self.config.flit_bytes * self._packet_flits)))
        count = min(packets, self.config.sample_packets)
        if (traffic, count) not in self._known:
            asked = f"booksim2, {count} packets of every node, {traffic}"
            batch = f"sim_type = batch;\nbatch_count = 1;\nbatch_size = {count};\ntraffic = {traffic};\n"
            overall = self._overall(asked, f"{self._text}\n{batch}")
            took = _figure(overall, "Overall min batch duration", asked)  # its words for all three of min, mean and max
            if took < count * self._packet_flits:
                raise ToolFailure(asked, f"{took:g} cycles: a node cannot send more than a flit a cycle", overall)
            self._known[traffic, count] = took
        return self._known[traffic, count] * packets / count

    def _overall(self, asked: str, text: str) -> str:
        """The statistics at the end of a run."""
        printed = ECHO.sub("", self._run(asked, ["network.cfg"], {"network.cfg": text, **self._files}, ok=None).printed)
        if (bad := UNSTABLE.search(printed)) is not None:
            raise ToolFailure(asked, f"it says {bad[0]!r}", printed)
        _, heading, overall = printed.partition("====== Overall Traffic Statistics ======")
        if not heading:
            raise ToolFailure(asked, "it ends without its statistics", printed)
        return overall


def _gathered(config: Path) -> tuple[str, dict[str, str | bytes]]:
    """The configuration, and the files it names, by the names it has for them. Raises ConfigError."""
    text, files = read(config), {}
    for key, value in SETTING.findall(text):
        path = config.parent / value.strip("\"'")
        if path.is_file():
            name = path.name
            text = re.sub(rf"(?m)^(\s*{key}\s*=\s*){re.escape(value)}", rf"\g<1>{name}", text)
            files[name] = path.read_bytes()
        elif key.endswith("_file") and value not in ('""', "''"):
            raise ConfigError("config", str(config), f"{key} = {value}: there is no such file beside it")
    return text, files


def _figure(text: str, what: str, asked: str) -> float:
    found = {float(number) for number in re.findall(rf"(?m)^{what} = ([0-9.eE+]+) ", text)}
    if len(found) != 1 or not 0 < (one := found.pop()) < float("inf"):
        raise ToolFailure(asked, f"{what}: {sorted(found)}, not one positive figure", text)
    return one
