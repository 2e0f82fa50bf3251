"""What a full pool lets go first; the user's own as ``module:Class``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from ..own import make_own

POLICIES = ("lru", "lfu", "session", "priority")
METHODS = ("victims()", "inserted(name, owner)", "touched(names)", "removed(name)")


class Owner(NamedTuple):
    """For whom a block was computed: the request, its session, or its own number without one, and its priority."""

    request: int
    session: str
    priority: int


class EvictionPolicy(Protocol):
    """An order of the blocks of one pool, by name. It must depend on what it is told alone."""

    def inserted(self, name: bytes, owner: Owner) -> None:
        """A block has come."""
        ...

    def touched(self, names: Iterable[bytes]) -> None:
        """A request begins with these, in this order; some may not be here."""
        ...

    def removed(self, name: bytes) -> None:
        """It has gone."""
        ...

    def victims(self) -> Iterator[bytes]:
        """All blocks, who goes first first; the pool passes over those it cannot let go."""
        ...


class Lru:
    """Who was asked for longest ago; of one request its last block first (`v1/kv_offload/cpu/policies/lru.py`)."""

    def __init__(self) -> None:
        self._order: OrderedDict[bytes, None] = OrderedDict()

    def inserted(self, name: bytes, owner: Owner) -> None:
        self._order[name] = None

    def touched(self, names: Iterable[bytes]) -> None:
        for name in reversed(list(names)):
            if name in self._order:
                self._order.move_to_end(name)

    def removed(self, name: bytes) -> None:
        del self._order[name]

    def victims(self) -> Iterator[bytes]:
        return iter(self._order)


class Ranked:
    """Blocks by a rank that `rank` gives, the smallest first; of equals who was asked for longest ago."""

    def __init__(self) -> None:
        self._rows: dict[Any, OrderedDict[bytes, None]] = {}
        self._rank: dict[bytes, Any] = {}

    def _put(self, name: bytes, rank: Any) -> None:
        self._rank[name] = rank
        self._rows.setdefault(rank, OrderedDict())[name] = None

    def removed(self, name: bytes) -> None:
        rank = self._rank.pop(name)
        row = self._rows[rank]
        del row[name]
        if not row:
            del self._rows[rank]

    def victims(self) -> Iterator[bytes]:
        for rank in sorted(self._rows):
            yield from self._rows[rank]


class Lfu(Ranked):
    """Who was asked for least often."""

    def inserted(self, name: bytes, owner: Owner) -> None:
        self._put(name, 0)

    def touched(self, names: Iterable[bytes]) -> None:
        for name in reversed(list(names)):
            if name in self._rank:
                rank = self._rank[name] + 1
                self.removed(name)
                self._put(name, rank)


class ByPriority(Ranked):
    """The least urgent request's first: its number is the greatest, as for vLLM's scheduling policy."""

    def inserted(self, name: bytes, owner: Owner) -> None:
        self._put(name, -owner.priority)

    def touched(self, names: Iterable[bytes]) -> None:
        for name in reversed(list(names)):
            if name in self._rank:
                self._rows[self._rank[name]].move_to_end(name)


class BySession:
    """Whole sessions: all of the one whose blocks were asked for longest ago, its last block first."""

    def __init__(self) -> None:
        self._session: dict[bytes, str] = {}
        self._members: dict[str, OrderedDict[bytes, None]] = {}
        self._sessions: OrderedDict[str, None] = OrderedDict()  # the longest unasked first

    def inserted(self, name: bytes, owner: Owner) -> None:
        self._session[name] = owner.session
        self._members.setdefault(owner.session, OrderedDict())[name] = None
        self._sessions[owner.session] = None
        self._sessions.move_to_end(owner.session)

    def touched(self, names: Iterable[bytes]) -> None:
        for session in dict.fromkeys(self._session[name] for name in names if name in self._session):
            self._sessions.move_to_end(session)

    def removed(self, name: bytes) -> None:
        session = self._session.pop(name)
        members = self._members[session]
        del members[name]
        if not members:
            del self._members[session], self._sessions[session]

    def victims(self) -> Iterator[bytes]:
        for session in self._sessions:
            yield from reversed(self._members[session])


def make_eviction(where: str, name: str) -> EvictionPolicy:
    """The policy of that name. A class of the user's has the methods of `EvictionPolicy`. Raises InputError."""
    kinds: dict[str, type[Lru | Lfu | BySession | ByPriority]]
    kinds = {"lru": Lru, "lfu": Lfu, "session": BySession, "priority": ByPriority}
    if name in kinds:
        return kinds[name]()
    made: EvictionPolicy = make_own(where, name, POLICIES, *METHODS)
    return made
