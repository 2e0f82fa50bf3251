"""All ports of a run: for every operation of the plans the one that does it.

A component has a port that is asked, a port that is stepped, or both, each with a session of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from metronome.hwmodels.interface import Feature, Operation, Template, TimePolicy

from ..errors import InputError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.work import Section, Work
from ..strict import did_you_mean
from .components import ComponentSpec
from .costs import Tally, Usage
from .figures import sound
from .link import Link
from .memory_energy import MemoryEnergy
from .port import AskedPort, Memory, SteppedPort
from .sharing import stepped
from .spent import Spent
from .uses import Counted

OPTIONAL = ("train", "slowdown")  # a model that does not do one is never sent it
MILLION = 10**6


class Ports:
    """Declares every operation to its component; raises InputError for what one cannot do.

    ``slowdowns`` of components, by a number of the caller's (`slow`). ``per_bit``: pJ of every memory that networks
    connect. ``spent`` is the energy of all operations, and of the memories that they move bytes from and to.
    """

    def __init__(
        self,
        kernel: Kernel,
        specs: Sequence[ComponentSpec],
        links: Mapping[str, Link],
        works: Sequence[Work],
        slowdowns: Mapping[int, Work] | None = None,
        per_bit: Mapping[str, float | None] | None = None,
    ) -> None:
        self._kernel = kernel
        self.spent = Spent()
        self.memories = MemoryEnergy(per_bit or {}, works)
        self._links = dict(links)
        self._memory = Memory()
        self._asked: dict[str, AskedPort] = {}
        self._stepped: dict[str, SteppedPort] = {}
        self._shared: dict[str, set[int]] = {}
        self._templates: dict[str, list[Template]] = {}
        self._users: dict[str, list[tuple[int, str]]] = {}  # of each template
        self._sends: dict[int, Tally] = {}  # of operations that no step has, by template
        self._rank = {spec.name: spec.rank for spec in specs}
        self._slowdowns = dict(slowdowns or {})
        self._slowed: dict[int, float] = {}  # times as long, of components that are slow as a whole
        for spec in specs:
            kinds = links[spec.name].description.op_kinds
            mine = [w for w in (*works, *self._slowdowns.values()) if w.component == spec.name]
            self._open(spec, [w for w in mine if w.template.kind not in OPTIONAL or w.template.kind in kinds])
        for number, work in self._slowdowns.items():
            self._check_slowdown(number, work.component)
            if not self.slows_links(number):
                self._asked[work.component].slows = True

    def _open(self, spec: ComponentSpec, works: Sequence[Work]) -> None:
        link = self._links[spec.name]
        uses = self._users[spec.name] = [(work.template.id, work.user) for work in works]
        templates = {work.template.id: work.template for work in works}
        self._templates[spec.name] = list(templates.values())
        resources = link.declare(self._templates[spec.name])
        shared = self._shared[spec.name] = stepped(link.description, uses, resources)
        if shared:
            self._stepped[spec.name] = SteppedPort(link, self._kernel, spec.rank, self.spent)
        if not shared or len(shared) < len(templates):
            self._asked[spec.name] = AskedPort(self._another(spec.name) if shared else link, self._memory)

    def _another(self, name: str) -> Link:
        link = self._links[name].again()
        link.declare(self._templates[name])
        return link

    def of(self, work: Work) -> AskedPort | SteppedPort:
        if self.is_shared(work):
            return self._stepped[work.component]
        return self._asked[work.component]

    def _check_slowdown(self, number: int, component: str) -> None:
        where = f"failures.{number}.component"
        if component not in self._links:
            hint = did_you_mean(component, self._links)
            raise InputError("scenario", where, component, f"{hint}components: {', '.join(self._links)}")
        if component in self._stepped and not self.slows_links(number):
            what = f"shares the clock with others in this run, and its model {self._links[component].description.name}"
            raise InputError("scenario", where, component, f"cannot be slowed down: it {what} does no slowdown")

    def slows_links(self, number: int) -> bool:
        """Whether the component sees to that slowdown itself; else its operations take so much longer, as a whole."""
        return "slowdown" in self._links[self._slowdowns[number].component].description.op_kinds

    def slow(self, number: int, times: float) -> None:
        """From now on that slowdown is of so many times as long; 1: it is over, infinite: nothing moves."""
        work = self._slowdowns[number]
        if self.slows_links(number):
            if self.is_shared(work):  # else nobody uses what gets slow
                millionths = round(MILLION * times) if times < inf else 0
                self._stepped[work.component].submit(work, (millionths,), _in_force)
            return
        self._slowed[number] = times
        mine = [other for other, each in self._slowdowns.items() if each.component == work.component]
        self._asked[work.component].slowdown = max(self._slowed.get(other, 1) for other in mine)

    def is_shared(self, work: Work) -> bool:
        """Whether it shares the clock with others; False also for a kind that its component does not do."""
        return work.template.id in self._shared[work.component]

    def does_chain(self, section: Section) -> bool:
        """Whether the network operations of a section are done as one: all are shared, on one port, and end it.

        Where they are asked about, one by one is cheaper.
        """
        if section.chain is None or not self.is_shared(section.chain):
            return False
        shared = [each.works[0] for each in section.operations if any(map(self.is_shared, each.works))]
        return section.operations[-1].works[0] in shared and {work.component for work in shared} == {
            section.chain.component
        }

    def start(self, work: Work, values: tuple[int, ...], done: Callable[[int], None]) -> None:
        """Begin one operation now; ``done(energy_pj)`` is called at its end."""
        if spent := self.memories.of(work, values):
            done = partial(self._moved, spent, self._kernel.now_ps, done)
        port = self.of(work)
        if isinstance(port, SteppedPort):
            port.submit(work, values, done)
            return
        if work.template.id not in self._sends:
            self._sends[work.template.id] = port.tally((work,), (1,))
        tally = self._sends[work.template.id]
        if values not in tally.operations.known:
            port.ask([(tally.operations, values)])
        cost = tally.operations.known[values]
        port.memory.trim()
        tally.add(values, cost)
        ends_ps = self._kernel.now_ps + cost.duration_ps
        self.spent.entries(work.component).gather(self._kernel.now_ps, ends_ps, cost.energy_pj)
        self._kernel.at(
            ends_ps,
            Priority.COMPLETION,
            self._rank[work.component],
            work.template.kind,
            work.template.id,
            partial(done, cost.energy_pj),
        )

    def _moved(
        self, spent: Sequence[tuple[str, int]], since_ps: int, done: Callable[[int], None], energy_pj: int
    ) -> None:
        """Bytes are there: what their memories have spent is booked."""
        for memory, more_pj in spent:
            self.spent.entries(memory).gather(since_ps, self._kernel.now_ps, more_pj)
            energy_pj += more_pj
        done(energy_pj)

    def aside(self, name: str) -> AskedPort:
        """A session of a component that takes no part in the run, asked as if nothing else went on."""
        return AskedPort(self._another(name))

    def alone_ps(self, work: Work, values: tuple[int, ...]) -> int:
        """What an operation takes if nothing else goes on."""
        port = self.aside(work.component)
        operations = port.together((work,), (1,))
        port.ask([(operations, values)])
        return operations.known[values].duration_ps

    def modes(self, name: str) -> str:
        """``asked``, ``stepped``, or both, for people."""
        modes = [mode for mode, ports in (("asked", self._asked), ("stepped", self._stepped)) if name in ports]
        return " and ".join(modes)

    @property
    def now_ps(self) -> int:
        return self._kernel.now_ps

    def links(self, name: str) -> list[Link]:
        """Its sessions, the stepped one first."""
        return [ports[name].link for ports in (self._stepped, self._asked) if name in ports]

    def root(self, name: str) -> Link:
        """Its first session, which others are made from."""
        return self._links[name]

    def replace(self, name: str, link: Link) -> bool:
        """From now on that link answers for a component that owes nothing. False, and nothing has changed, if other
        operations would share the clock than do."""
        resources = link.declare(self._templates[name])
        if stepped(link.description, self._users[name], resources) != self._shared[name]:
            return False
        self._links[name] = link
        if name in self._stepped:
            self._stepped[name].relink(link)
        if name in self._asked:
            self._asked[name].relink(self._another(name) if name in self._stepped else link)
        return True

    def open_operations(self, name: str) -> list[dict[str, Any]]:
        """What a component that shares the clock has not completed."""
        return self._stepped[name].open_operations() if name in self._stepped else []

    def waiters(self, name: str) -> list[tuple[Operation, object]]:
        """As `SteppedPort.waiters`; empty for a component that is only asked."""
        return self._stepped[name].waiters() if name in self._stepped else []

    def usage(self, name: str) -> Usage:
        """Counts of one component over both its ports."""
        total = Usage()
        for ports in (self._asked, self._stepped):
            if name in ports:
                total.merge(ports[name].usage())
        return total

    def counted(self, name: str) -> tuple[Usage, Counted | None]:
        """What `add` takes of a component that is only asked."""
        return self.usage(name), self._asked[name].counted()

    def add(self, name: str, usage: Usage, counted: Counted | None) -> None:
        """Count what another part of the run has needed of it."""
        self._asked[name].add(usage, counted)

    def wall_s(self, name: str) -> float:
        return sum(ports[name].link.wall_s for ports in (self._asked, self._stepped) if name in ports)

    def statistics(self, name: str) -> dict[str, Any]:
        """The component's own figures, of everything it was asked for and everything remembered answers stood for."""
        return sound(name, self._statistics(name))

    def _statistics(self, name: str) -> dict[str, Any]:
        description = self._links[name].description
        accounts = Feature.ACCOUNTS in description.features
        asked, clocked = self._asked.get(name), self._stepped.get(name)
        uses = asked.uses() if asked else []
        if clocked:
            return clocked.link.statistics(uses)
        if accounts and description.time_policy in (TimePolicy.CONSERVATIVE, TimePolicy.FORWARD_ONLY):
            # A session with a clock has also counted what was asked ahead and never needed: ask a fresh one.
            return self._another(name).statistics(uses)
        return self._asked[name].link.statistics(uses)


def _in_force(energy_pj: int) -> None:
    """A slowdown takes no time, and nobody waits for it."""
