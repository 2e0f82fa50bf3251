"""Components wired to one another, brought forward in windows that none can disturb: exact, whatever the windows are.

What keeps it exact, and why it never stands still, is argued in docs/ports.md. In short: no member is granted time
beyond the earliest moment at which anything new may reach it. That follows from what everybody has promised and has
waiting for it, along the wires: a request comes no earlier than its port's least latency after its cause, a completion
at least a picosecond after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..interface import MAX_PS, Advanced, Completion, LateOperation, Operation, Template
from ..ports import Request
from .place import NEVER, OUTSIDE, Origin, Place, PortFault
from .wires import Member, Wire, declared

MOST_AT_ONCE = 10_000  # windows in a row that bring nobody forward in time

#: (asker's name, port, target's name, what was asked, its completion as the target's)
Told = Callable[[str, str, str, Origin, Completion], None]


class Group:
    """Members by number, the wires between them; ``outward``: those that are also asked from outside.

    ``told`` is called of every request that has been answered.
    """

    def __init__(self, members: Sequence[Member], wires: Sequence[Wire], outward: Sequence[int]) -> None:
        self._names = [member.name for member in members]
        self._wires = list(wires)
        self._places = [Place(member, rank, wires) for rank, member in enumerate(members)]
        self._outward = frozenset(outward)
        self._kinds: list[dict[int, str]] = [{} for _ in members]
        self._at_once = 0
        self.reached_ps = 0
        self.messages = 0  # requests and completions that have passed
        self.windows = 0
        self.told: Told | None = None

    def declared(self, member: int, templates: Sequence[Template]) -> list[Template]:
        """All that a member's session is to be told of, ``templates`` being those from outside."""
        self.know(member, templates)
        return declared(self._wires, member, templates)

    def know(self, member: int, templates: Sequence[Template]) -> None:
        """What it may be asked from outside."""
        self._kinds[member] = {template.id: template.kind for template in templates}

    @property
    def next_event_ps(self) -> int | None:
        """Before which nothing is completed, unless something new comes from outside."""
        soonest = min(min(place.next_ps, place.due_ps + 1) for place in self._places)
        return None if soonest >= NEVER else soonest

    def advance(self, grant_ps: int, operations: Sequence[tuple[int, Operation]], stop: bool = False) -> Advanced:
        """Take operations from outside, (member, operation), and go as far as the grant; with ``stop`` to the first
        completion of one of these. Raises PortFault, LateOperation."""
        done = self._go(grant_ps, operations, stop)
        self.reached_ps = done[0].finish_ps if stop and done else grant_ps
        return Advanced(self.reached_ps, tuple(done), self.next_event_ps)

    def play(self, operations: Sequence[tuple[int, Operation]]) -> Advanced:
        """Until nothing is left to happen, which may be after the last completion. Raises PortFault, LateOperation."""
        done = self._go(MAX_PS, operations, False)
        self.reached_ps = max(self.reached_ps, *(place.reached_ps for place in self._places))
        return Advanced(self.reached_ps, tuple(done))

    def _go(self, grant_ps: int, operations: Sequence[tuple[int, Operation]], stop: bool) -> list[Completion]:
        for member, operation in operations:
            self._admit(member, operation)
        done: list[Completion] = []
        while not (stop and done):
            movers = self._movers(grant_ps, stop)
            if not movers:
                break
            self.windows += 1
            for place, limit, bound in movers:
                place.send(limit, bound)
            for place, limit, _ in movers:
                self._receive(place, limit, done)
        if not done and all(place.next_ps >= NEVER <= place.due_ps for place in self._places):
            self._check_rest()
        return done

    def _admit(self, member: int, operation: Operation) -> None:
        place = self._places[member]
        if operation.at_ps < self.reached_ps:
            raise LateOperation(operation, self.reached_ps)
        kind = self._kinds[member].get(operation.template, "")
        template, values, op_id, at_ps, microstep, _ = operation
        place.take(Origin(at_ps, OUTSIDE, microstep, op_id, template, None, kind, values))
        place.outside += 1

    # Windows --------------------------------------------------------------------------------------

    def _movers(self, grant_ps: int, stop: bool) -> list[tuple[Place, int, int]]:
        """Who can act now: how far each may go, and when anything new may reach it at the earliest."""
        bounds = self._bounds(grant_ps, stop)
        movers = []
        for place, bound in zip(self._places, bounds, strict=True):
            acts = min(place.next_ps, place.due_ps)
            limit = min(bound, acts + place.lookahead, grant_ps)
            if place.next_ps <= limit or (place.due_ps <= limit and place.due_ps < bound):
                movers.append((place, acts if limit >= MAX_PS else limit, bound))
        self._check_loop(movers)
        return movers

    def _bounds(self, grant_ps: int, stop: bool) -> list[int]:
        """Of each member the earliest time at which anything may come that does not wait for it yet, but for the
        answers to requests that it has still to make: a window ends before those (`Place.lookahead`)."""
        places = self._places
        acts = [min(place.next_ps, place.due_ps) for place in places]
        bounds = [grant_ps if place.rank in self._outward else NEVER for place in places]
        if grant_ps >= MAX_PS:
            bounds = [NEVER] * len(places)
        changed = True
        while changed:
            changed = False
            for source, port, target, _, _ in self._wires:
                at = min(acts[source], bounds[source]) + port.latency_ps
                if at < bounds[target]:
                    bounds[target], changed = at, True
                if places[source].used[port.name]:
                    at = self._completes(target, bounds)
                    if at < bounds[source]:
                        bounds[source], changed = at, True
            if stop:
                first = min(self._completes(p.rank, bounds) if p.outside else NEVER for p in places)
                for rank in self._outward:
                    if first < bounds[rank]:
                        bounds[rank], changed = first, True
        return bounds

    def _completes(self, rank: int, bounds: Sequence[int]) -> int:
        """Before which that member completes nothing."""
        place = self._places[rank]
        return min(place.next_ps, min(place.due_ps, bounds[rank]) + 1)

    def _check_loop(self, movers: Sequence[tuple[Place, int, int]]) -> None:
        if all(limit <= place.reached_ps for place, limit, _ in movers):
            self._at_once += 1
            if movers and self._at_once > MOST_AT_ONCE:
                names = ", ".join(place.member.name for place, _, _ in movers)
                raise PortFault(movers[0][0].member.name, f"acts for ever at {movers[0][1]} ps: a loop of {names}")
        else:
            self._at_once = 0

    # Answers --------------------------------------------------------------------------------------

    def _receive(self, place: Place, limit: int, done: list[Completion]) -> None:
        before, told = place.next_ps, place.first_id
        try:
            answer = place.member.receive()
        except Exception:
            place.withdraw()
            raise
        place.check(answer, limit)
        outside = len(done)
        self._complete(place, answer, done)
        self._ask(place, answer)
        self.messages += len(answer.completions) + len(answer.requests) - (len(done) - outside)
        place.forget()
        place.reached_ps = answer.reached_ps
        place.next_ps = NEVER if answer.next_event_ps is None else answer.next_event_ps
        self._check_promise(place, before, told, limit, answer)

    def _complete(self, place: Place, answer: Advanced, done: list[Completion]) -> None:
        owed, remembered, places, told = place.open, place.remembered, self._places, self.told
        reached_ps, acted_ps = answer.reached_ps, place.acted_ps
        for completion in answer.completions:
            op_id, start_ps, finish_ps, how, energy_pj = completion
            origin = owed.pop(op_id, None)
            if origin is None:
                raise self._never_asked(place, op_id)
            remembered[op_id] = origin
            at_ps, source, way, asked_id, _, wire, _, _ = origin
            if not at_ps < finish_ps <= reached_ps or start_ps > finish_ps or finish_ps < acted_ps:
                raise self._cannot_be(place, origin, completion, reached_ps)
            given = Completion(asked_id, start_ps, finish_ps, how, energy_pj)
            if wire is None:
                place.outside -= 1
                done.append(given)
                continue
            asker = places[source]
            asker.back.append((finish_ps, way, asked_id, given))
            if finish_ps < asker.due_ps:
                asker.due_ps = finish_ps
            if told is not None:
                told(asker.member.name, wire.port.name, place.member.name, origin, completion)

    def _cannot_be(self, place: Place, origin: Origin, completion: Completion, reached_ps: int) -> PortFault:
        text = f"completed {origin.text(self._names)} at {completion.finish_ps} ps"
        if completion.start_ps <= completion.finish_ps <= reached_ps and completion.finish_ps > origin.at_ps:
            return PortFault(place.member.name, f"{text}, and had promised nothing before {place.acted_ps} ps")
        text += f": it is due at {origin.at_ps} ps, starts at {completion.start_ps} ps, and the component has reached"
        return PortFault(place.member.name, f"{text} {reached_ps} ps")

    def _never_asked(self, place: Place, op_id: int) -> PortFault:
        known = place.remembered.get(op_id)
        if known is not None:
            return PortFault(place.member.name, f"answered {known.text(self._names)} twice")
        wires = [wire for wire in self._wires if wire.target == place.rank]
        askers = "; ".join(f"{self._names[wire.source]}, port {wire.port.name}" for wire in wires)
        by = f" by {askers}" if askers else ""
        return PortFault(place.member.name, f"answered operation {op_id}, which it was not asked{by}")

    def _ask(self, place: Place, answer: Advanced) -> None:
        wires, kinds, asked, used, places = place.wires, place.kinds, place.asked, place.used, self._places
        reached_ps, asks_ps = answer.reached_ps, place.asks_ps
        for request in answer.requests:
            port, template, values, op_id, at_ps = request
            wire = wires.get(port)
            kind = None if wire is None else kinds[port].get(template)
            if wire is None or kind is None:
                raise self._nothing_there(place, port, template)
            source, its_port, target, first_template, number = wire
            count = used[port] + 1
            late = at_ps < reached_ps or at_ps < asks_ps + its_port.latency_ps
            if late or op_id in asked or count > its_port.credits:
                raise self._not_so(place, wire, request, kind, reached_ps)
            used[port] = count
            asked[op_id] = wire
            other = places[target]
            other.due.append(Origin(at_ps, source, number, op_id, first_template + template, wire, kind, values))
            if at_ps < other.due_ps:
                other.due_ps = at_ps

    @staticmethod
    def _nothing_there(place: Place, port: str, template: int) -> PortFault:
        name = place.member.name
        if port not in place.wires:
            return PortFault(name, f"asks at a port {port!r}; its ports: {', '.join(place.wires) or 'none'}")
        return PortFault(name, f"asks at port {port} for template {template}, which that does not have")

    @staticmethod
    def _not_so(place: Place, wire: Wire, request: Request, kind: str, reached_ps: int) -> PortFault:
        name, latency, at_ps = place.member.name, wire.latency_ps, request.at_ps
        what = f"asks at port {request.port} for {kind} {request.op_id}"
        if at_ps < reached_ps:
            return PortFault(name, f"{what} at {at_ps} ps, in its past: it has reached {reached_ps} ps")
        if at_ps < place.asks_ps + latency:
            why = f"nothing made it ask before {place.asks_ps} ps, and the port's least latency is {latency} ps"
            return PortFault(name, f"{what} at {at_ps} ps: {why}")
        if request.op_id in place.asked:
            return PortFault(name, f"{what} again before it is answered")
        return PortFault(name, f"{what} beyond its {wire.port.credits} credits")

    # What is owed ---------------------------------------------------------------------------------

    def _check_promise(self, place: Place, before: int, told: int, limit: int, answer: Advanced) -> None:
        """A member that owes must promise, unless it waits for others; and keep what it has promised."""
        if place.open and place.next_ps >= NEVER and not place.asked and place.due_ps >= NEVER:
            origin = next(iter(place.open.values()))
            raise PortFault(place.member.name, f"never answers {origin.text(self._names)}: it promises nothing")
        moved = answer.completions or answer.requests or place.next_ps != before or place.next_id != told
        if not moved and before <= limit and place.next_ps < NEVER:
            raise PortFault(place.member.name, f"promised to act at {before} ps and did not")

    def _check_rest(self) -> None:
        """Nobody will act any more: nobody may owe anything. Raises PortFault with who waits for whom."""
        owing = [place for place in self._places if place.open]
        if not owing:
            return
        texts = []
        for place in owing:
            origin = next(iter(place.open.values()))
            op_id, wire = next(iter(place.asked.items()), (None, None))
            waits = "" if wire is None else f", waiting for {op_id} at its port {wire.port.name}"
            texts.append(f"{place.member.name} owes {origin.text(self._names)}{waits}")
        raise PortFault(owing[0].member.name, f"is in a deadlock: {'; '.join(texts)}")
