"""How much CPU time a message at a port costs, in one process and between two: python -m tests.wiring [requests].

One component asks, the other answers; a message is a request or its completion. CPU time is that of all processes.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from metronome.adapters.conformance.faulty_asker import BYTES, Asker
from metronome.hwmodels.interface import Operation, Template
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.hwmodels.wiring.alone import Alone
from metronome.hwmodels.wiring.local import LocalMember
from metronome.orchestrator.coupling.components import ComponentSpec
from metronome.orchestrator.coupling.launch.process import open_processes
from metronome.orchestrator.coupling.wired.member import LinkMember
from metronome.orchestrator.scenario.components import ComponentOptions

READ = Template(0, "read", "weights")
ASKER = {"latency_ps": 1_000_000, "credits": 1000}
MEMORY = {"bandwidth_gb_s": 64, "latency_ns": 0}  # 1 ns each


def spent_s() -> float:
    """CPU time of this process and of those it has waited for."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in times)


def here(requests: int) -> tuple[int, int]:
    members = [LocalMember("a", Asker(ASKER)), LocalMember("m", BandwidthLatency(MEMORY))]
    alone = Alone(members, [("a.mem", "m")], [READ], lambda n, known: members[n].component.declare(known))
    alone.play(Operation(0, (BYTES * requests,), 0))
    return alone.group.messages, alone.group.windows


def apart(requests: int) -> tuple[int, int]:
    options = ComponentOptions(run="process", on_failure="fail")
    named = {"a": ("metronome.adapters.conformance.faulty_asker:Asker", ASKER), "m": ("bandwidth-latency", MEMORY)}
    specs = [ComponentSpec(n, "memory", i, m, c, options, 0) for i, (n, (m, c)) in enumerate(named.items())]
    with open_processes(specs, Path("/tmp")) as links:
        members = [LinkMember(links[name]) for name in named]
        alone = Alone(members, [("a.mem", "m")], [READ], lambda n, known: members[n].link.declare(known))
        alone.play(Operation(0, (BYTES * requests,), 0))
        return alone.group.messages, alone.group.windows


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    for name, run in (("in process", here), ("between processes", apart)):
        before = spent_s()
        run(1)
        between = spent_s()
        messages, windows = run(requests)
        spent = spent_s() - between - (between - before)  # less what it takes to start and to end
        print(
            f"{name}: {messages} messages in {windows} windows, {spent:.2f} s of CPU, {spent / messages * 1e6:.2f} us each"
        )


main()
