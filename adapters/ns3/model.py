"""``ns3``: the scenario's network in ns-3, every packet of it, with contention as it comes.

ns-3 is GPL-2 and ends its process on bad input, so it stays on the other side of a pipe: `server.cc`,
built by ``metronome tools install ns3`` against Debian's libns3-dev. Devices keep TCP connections that
are open before time 0; collectives are rings of messages. Mainline ns-3 knows no RDMA: a transport of
the datacentre's own (RoCE, NVLink's credits) is stood in for by TCP with large windows and deep queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from metronome.hwmodels.base import Model
from metronome.hwmodels.interface import (
    PS_PER_NS,
    PS_PER_S,
    Advanced,
    BadOperation,
    Completion,
    ConfigError,
    Description,
    Feature,
    LateOperation,
    Operation,
    Provenance,
    Template,
    TimePolicy,
    Use,
    check_operation,
)
from metronome.hwmodels.network.fabric.config import NetworkConfig
from metronome.hwmodels.network.fabric.graph import Routes
from metronome.hwmodels.network.fabric.topology import build
from metronome.hwmodels.network.ranks import ranks_of
from pydantic import Field

from ..tools.environment import program
from ..tools.failure import ToolFailure
from ..tools.lines import LineTool
from ..tools.progress import SaysProgress
from .messages import Message, messages

HEADERS = 60  # bytes of IPv4 and TCP with options in a packet of the MTU
LONGEST_PS = 2**62  # the tool's own clock must not overflow


class Ns3Config(NetworkConfig):
    """The network, its packets and its transport."""

    server_side: ClassVar[frozenset[str]] = frozenset({"program"})
    mtu: int = Field(default=9000, ge=576, le=65535)
    queue_packets: int = Field(
        default=100_000, gt=0, description="of each port; deep enough that nothing is lost, as where credits are used"
    )
    transport: Literal["TcpNewReno", "TcpLinuxReno", "TcpCubic", "TcpDctcp", "TcpBbr", "TcpVegas"] = "TcpLinuxReno"
    window_bytes: int | None = Field(
        default=None,
        ge=1 << 14,
        description="in flight of a connection; default: 16 times what fills the longest way",
    )
    program: str | None = Field(
        default=None,
        description="the built server; default: of `metronome tools install ns3`",
        json_schema_extra={"format": "program"},
    )
    timeout_s: float = Field(default=600, gt=0, description="longest silence")


class Open(NamedTuple):
    """An operation in progress, for its completion."""

    at_ps: int
    energy_pj: int | None


class Ns3(SaysProgress, Model[Ns3Config]):
    """A session is one process of the tool, which knows one network."""

    tools: ClassVar[frozenset[str]] = frozenset({"ns3"})

    description = Description(
        name="ns3",
        kind="network",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=frozenset({"send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"}),
        features=frozenset({Feature.PROGRESS}),
        memoryless=False,  # windows of connections grow
        max_batch_ops=500,
        summary="ns-3, packet by packet over TCP (metronome tools install ns3)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        self._inner, self._outer = own.tiers()
        try:
            self._graph = build(own.groups_as_pairs(), self._inner, self._outer)
        except ValueError as error:
            raise ConfigError("topology", own.topology, str(error)) from None
        self._tool = LineTool([program("ns3", own.program)], own.timeout_s)
        self._ranks: dict[int, list[str]] = {}
        self._now_ps = 0
        self._started = False
        self._open: dict[int, Open] = {}

    def check_template(self, template: Template) -> None:
        self._ranks[template.id] = ranks_of("ns3", template, self._graph.index, self.config.group_names())

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        lines = [self._take(operation) for operation in operations]
        if not self._open:
            self._now_ps = max(self._now_ps, grant_ps)
            return Advanced(self._now_ps, (), None)
        until = max(min(grant_ps, LONGEST_PS), self._now_ps)
        doing = f"ns3, {len(self._open)} operations from {self._now_ps} ps on"
        if not self._started:
            self._set_up()
        answer = self._tool.ask("\n".join([*lines, f"run {until} {int(stop_at_first_completion)}"]), doing)
        try:
            reached, bound, *ends = map(int, answer.split())
        except ValueError:
            raise ToolFailure(doing, f"answered {answer[:80]!r}, which is no time") from None
        done = [self._completion(op_id, end) for op_id, end in zip(ends[::2], ends[1::2], strict=True)]
        stopped = stop_at_first_completion and bool(done)
        self._now_ps = reached if stopped else max(self._now_ps, grant_ps)
        return Advanced(self._now_ps, tuple(done), max(bound, self._now_ps + 1) if self._open else None)

    def _take(self, operation: Operation) -> str:
        """The line that hands an operation over."""
        template = check_operation(operation, self.templates)
        if operation.at_ps < self._now_ps:
            raise LateOperation(operation, self._now_ps)
        if operation.op_id in self._open:
            raise BadOperation(f"operation {operation.op_id} is in progress already")
        sent = self._messages(template, operation.values[0])
        per_bit, total = self.config.energy_pj_per_bit, sum(message.bytes for message in sent)
        participants = int(template.attributes["participants"])
        energy = None if per_bit is None else round(total * 8 * per_bit / participants)
        self._open[operation.op_id] = Open(operation.at_ps, energy)
        places = [self._graph.index[rank] for rank in self._ranks[template.id]]
        tier = self._outer if self._outer and self._crosses(template.id) else self._inner
        begin = operation.at_ps + round(tier.link.launch_ns * PS_PER_NS)
        words = " ".join(f"{places[m.source]} {places[m.target]} {m.bytes} {m.after}" for m in sent)
        return f"op {operation.op_id} {begin} {words}"

    def _messages(self, template: Template, size: int) -> Sequence[Message]:
        return messages(template.kind, len(self._ranks[template.id]), size)

    def _crosses(self, template: int) -> bool:
        return len({rank.rpartition(".")[0] for rank in self._ranks[template]}) > 1

    def _completion(self, op_id: int, end: int) -> Completion:
        done = self._open.pop(op_id)
        return Completion(op_id, done.at_ps, end, Provenance.MODELLED, done.energy_pj)

    def _set_up(self) -> None:
        """What the tool is told first: the network, and who will send to whom."""
        self._started = True
        pairs = sorted(self._pairs())
        both = sorted({*pairs, *((b, a) for a, b in pairs)})  # acknowledgements come back
        sources = np.array([self._graph.index[a] for a, _ in both])
        targets = np.array([self._graph.index[b] for _, b in both])
        routes = self._graph.routes(sources, targets)
        own, window = self.config, self.config.window_bytes or self._window(routes)
        lines = [
            f"set ns3::TcpL4Protocol::SocketType ns3::{own.transport}",
            f"set ns3::TcpSocket::SegmentSize {own.mtu - HEADERS}",
            f"set ns3::TcpSocket::InitialCwnd {window // (own.mtu - HEADERS) + 1}",
            f"set ns3::TcpSocket::SndBufSize {window}",
            f"set ns3::TcpSocket::RcvBufSize {window}",
            f"set ns3::PointToPointNetDevice::Mtu {own.mtu}",
            f"set ns3::DropTailQueue<Packet>::MaxSize {own.queue_packets}p",
            f"nodes {len(self._graph.names)}",
        ]
        ends = self._links(lines)
        for node, device, link in sorted(
            {
                (self._graph.links[link].tail, int(targets[flow]), int(link))
                for flow, link in zip(routes.flow.tolist(), routes.link.tolist(), strict=True)
            }
        ):
            number, end = ends[link]
            lines.append(f"route {node} {device} {number} {end}")
        lines += [f"pair {self._graph.index[a]} {self._graph.index[b]}" for a, b in pairs]
        begun = self._tool.ask("\n".join([*lines, "begin"]), "ns3, its network")
        if begun != "ok":
            raise ToolFailure("ns3, its network", f"answered {begun[:80]!r} instead of ok")

    def _window(self, routes: Routes) -> int:
        """Sixteen times the bytes that are under way when the longest way is full: acknowledgements queue behind the
        data that goes their way, and with less a ring that sends both ways loses a tenth of its rate."""
        links = self._graph.links
        packet = np.array([link.latency_ps + self.config.mtu / link.bytes_per_s * PS_PER_S for link in links])
        there = np.bincount(routes.flow, packet[routes.link], routes.flows)
        narrowest = np.full(routes.flows, np.inf)
        np.minimum.at(narrowest, routes.flow, np.array([link.bytes_per_s for link in links])[routes.link])
        return max(8 * self.config.mtu, round(16 * float((2 * there * narrowest).max()) / PS_PER_S))

    def _pairs(self) -> set[tuple[str, str]]:
        """Who will ever send to whom."""
        return {
            (self._ranks[template.id][message.source], self._ranks[template.id][message.target])
            for template in self.templates.values()
            for message in self._messages(template, 1)
        }

    def _links(self, lines: list[str]) -> dict[int, tuple[int, int]]:
        """Pairs of arrows as links, written to ``lines``; the link and end of each arrow."""
        ends: dict[int, tuple[int, int]] = {}
        waiting: dict[tuple[int, int], list[int]] = {}
        count = 0
        for number, arrow in enumerate(self._graph.links):
            back = waiting.get((arrow.head, arrow.tail))
            if not back:
                waiting.setdefault((arrow.tail, arrow.head), []).append(number)
                continue
            first = back.pop(0)
            there = self._graph.links[first]
            ends[first], ends[number] = (count, 0), (count, 1)
            rates = [round(link.bytes_per_s * 8) for link in (there, arrow)]
            lines.append(f"link {there.tail} {there.head} {rates[0]} {rates[1]} {there.latency_ps}")
            count += 1
        return ends

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"events": self._tool.number("events", "ns3, its events")} if self._started else {}
