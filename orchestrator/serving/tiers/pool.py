"""One pool of K and V off the devices: chunks by name, who writes and reads them, and what goes when it is full.

A chunk has its place from the moment it is to be written, and can be found once it is whole. Who is written or read
stays, and so does who is pinned, unless its time to live is over. The rules are those of vLLM's manager
(`v1/kv_offload/cpu/manager.py`, 0.19); so is the threshold (`reuse_manager.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...errors import BadAnswer
from .eviction import EvictionPolicy, Owner

REMEMBERED = 64_000  # names whose askings are counted, as in vLLM


@dataclass(slots=True)
class PoolCounts:
    """Of a run, in chunks, bytes and ps.

    Attributes:
        allocated: = ``freed`` + what is there.
        freed: of them ``expired`` had not been asked for in too long, and ``lost`` went with who had written them,
            some before they were whole; the others made room.
        refused: found no room, each counted once a request; some find room later.
        hits: were recalled.
        bytes_in, bytes_out: of copies that have ended.
        stall_ps: how long requests, or whole steps, waited for copies from here or to here.
    """

    allocated: int = 0
    freed: int = 0
    expired: int = 0
    lost: int = 0
    hits: int = 0
    refused: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    stall_ps: int = 0


@dataclass(slots=True)
class Chunk:
    """``whole``: its bytes are there; ``readers`` copy from it; so many have it pinned: it is not let go for others."""

    whole: bool = False
    readers: int = 0
    pins: int = 0


class Clock(Protocol):
    """Knows the time, in picoseconds."""

    @property
    def now_ps(self) -> int: ...


class TierPool:
    """``size`` chunks of ``chunk_bytes`` bytes. ``name``: what routes and figures call it.

    What nobody has computed or asked for in ``ttl_ps`` by the ``clock`` is gone (0: never). It is dropped when somebody
    looks, which nobody can tell from its being dropped before.
    """

    def __init__(
        self,
        name: str,
        size: int,
        chunk_bytes: int,
        policy: EvictionPolicy,
        threshold: int = 0,
        ttl_ps: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.size, self.chunk_bytes = name, size, chunk_bytes
        self._policy, self._threshold = policy, threshold
        self._ttl_ps, self._clock = ttl_ps, clock
        self._asked_ps: OrderedDict[bytes, int] = OrderedDict()  # with a time to live: when last, in that order
        self._chunks: dict[bytes, Chunk] = {}
        self._asked: OrderedDict[bytes, int] = OrderedDict()
        self.counts = PoolCounts()

    @property
    def used(self) -> int:
        """Chunks that have a place, whole or not."""
        self._expire()
        return len(self._chunks)

    @property
    def indifferent(self) -> bool:
        """Nothing is there, and it is not counted who is asked for."""
        self._expire()
        return not self._chunks and self._threshold < 2

    @property
    def whole(self) -> int:
        """Chunks that can be found."""
        return sum(chunk.whole for chunk in self._chunks.values())

    def has(self, name: bytes) -> bool:
        """Whether it can be found: its bytes are there."""
        self._expire()
        chunk = self._chunks.get(name)
        return chunk is not None and chunk.whole

    def leading(self, names: Sequence[bytes]) -> int:
        """How many of the first of these can be found, up to one that cannot."""
        self._expire()
        chunks, found = self._chunks, 0
        for name in names:
            chunk = chunks.get(name)
            if chunk is None or not chunk.whole:
                break
            found += 1
        return found

    def asked(self, names: Sequence[bytes]) -> None:
        """A request looks for these: counted, where only what is asked for often is kept."""
        if self._threshold < 2:
            return
        for name in names:
            if name not in self._asked and len(self._asked) >= REMEMBERED:
                self._asked.popitem(last=False)
            self._asked[name] = self._asked.pop(name, 0) + 1

    def touch(self, names: Sequence[bytes]) -> None:
        """A request begins with these, in this order."""
        self._expire()
        self._policy.touched(names)
        self._is_asked(names)

    def pinnable(self, names: Sequence[bytes]) -> list[Chunk]:
        """Those of them that have a place."""
        self._expire()
        return [self._chunks[name] for name in names if name in self._chunks]

    def _is_asked(self, names: Sequence[bytes]) -> None:
        """They live as long again."""
        if self._clock is not None and self._ttl_ps:
            for name in names:
                if name in self._chunks:
                    self._asked_ps[name] = self._clock.now_ps
                    self._asked_ps.move_to_end(name)

    def _expire(self) -> None:
        """Whoever has lived too long goes, but for those that are written or read."""
        if self._clock is None or not self._ttl_ps:
            return
        due = self._clock.now_ps - self._ttl_ps
        going = []
        for name, asked_ps in self._asked_ps.items():
            if asked_ps > due:
                break
            chunk = self._chunks[name]
            if chunk.whole and not chunk.readers:
                going.append(name)
        for name in going:
            self._drop(name)
        self.counts.expired += len(going)

    def prepare(self, names: Sequence[bytes], owner: Owner, refused: int = 0) -> list[bytes] | None:
        """A place for each of these that is not there; returns whose bytes are to be written. None, and nothing has
        changed, if what would have to go is in use. The first ``refused`` are offered again, and not counted again."""
        self._expire()
        offered = names
        if self._threshold >= 2:
            names = [name for name in names if self._asked.get(name, 0) >= self._threshold]
        new = [name for name in dict.fromkeys(names) if name not in self._chunks]
        short = len(new) + len(self._chunks) - self.size
        if short > 0 and not self._evict(short, set(names)):
            self.counts.refused += len(set(new) - set(offered[:refused]))
            return None
        for name in new:
            self._chunks[name] = Chunk()
            self._policy.inserted(name, owner)
        self._is_asked(new)
        self.counts.allocated += len(new)
        return new

    def _order(self) -> Iterator[bytes]:
        """In which they would go. Raises BadAnswer for a policy that gives anything else."""
        order, given = self._policy.victims(), set[bytes]()
        if not isinstance(order, Iterable):
            raise BadAnswer(self._policy, "victims", order, "the names of its blocks, who goes first first")
        for name in order:
            if not isinstance(name, bytes) or name not in self._chunks or name in given:
                raise BadAnswer(self._policy, "victims", name, "the name of a block that is here, each once")
            given.add(name)
            yield name

    def _evict(self, count: int, kept: set[bytes]) -> bool:
        """Let so many go; False, and none has gone, if there are not as many that nobody writes or reads."""
        going: list[bytes] = []
        for name in self._order():
            chunk = self._chunks[name]
            if chunk.whole and not chunk.readers and not chunk.pins and name not in kept:
                going.append(name)
                if len(going) == count:
                    break
        if len(going) < count:
            return False
        for name in going:
            self._drop(name)
        return True

    def _drop(self, name: bytes) -> None:
        self._policy.removed(name)
        del self._chunks[name]
        self._asked_ps.pop(name, None)
        self.counts.freed += 1

    def written(self, names: Sequence[bytes]) -> None:
        """Their bytes are there: they can be found."""
        for name in names:
            self._chunks[name].whole = True
        self._is_asked(names)

    def lose(self, names: Sequence[bytes] | None = None) -> None:
        """Some are gone, or all: who wrote them is no more. Whoever copies from one has to say so all the same."""
        for name in list(self._chunks) if names is None else names:
            if name in self._chunks:
                self._drop(name)
                self.counts.lost += 1

    def read(self, names: Sequence[bytes]) -> list[Chunk]:
        """Somebody begins to copy these, which are whole; `done_reading` wants what this returns."""
        self.counts.hits += len(names)
        for name in names:
            if not self.has(name):
                raise AssertionError(f"{self.name}: a chunk is read that is not whole")
            self._chunks[name].readers += 1
        return [self._chunks[name] for name in names]

    def done_reading(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            if chunk.readers < 1:
                raise AssertionError(f"{self.name}: more readers have left than came")
            chunk.readers -= 1

    def internals(self) -> list[object]:
        """Its chunks in the order in which they would go, for a fingerprint."""
        self._expire()
        rows = ((name, self._chunks[name]) for name in self._order())
        return [[name.hex(), chunk.whole, chunk.readers, chunk.pins] for name, chunk in rows]
