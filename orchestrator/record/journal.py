"""The file of a recording: append-only frames, compressed, with an index at its end.

A frame is a header (kind, length, checksum of what follows, number of the first event in it, checksum
of the header) and its payload. Kinds: ``H`` what was run (JSON, first), ``B`` a block of events and
exchanges (msgpack, zstd), ``E`` how the run ended and the index of blocks (JSON); the last 8 bytes say
where that is. What a crash leaves is a file without ``E``, its last frame perhaps torn: the torn frame is
cut, the index made by walking the headers. A damaged frame anywhere else is an error, never misread.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import msgpack
import numpy as np
import zstandard

from ..errors import InputError, MetronomeError
from ..kernel.queue import Event
from .exchange import Exchange, pack, unpack

MAGIC = b"METRONOME RECORDING\n"
VERSION = 1
_START = struct.Struct("<H")
_HEADER = struct.Struct("<cIIQ")
_CHECK = struct.Struct("<I")
_END = struct.Struct("<Q")
_HEAD_BYTES = _HEADER.size + _CHECK.size
BLOCK_EVENTS = 1024
BLOCK_NUMBERS = 100_000  # operations, templates and uses after which a block is written early
LONGEST_S = 5.0  # so is one that took long to fill: what a killed run loses. Where blocks end changes no result.
COLUMNS = ("time_ps", "microstep", "priority", "rank", "kind", "about", "cause")


class Row(NamedTuple):
    """An event as recorded; fields as in `kernel.queue.Event`."""

    time_ps: int
    microstep: int
    priority: int
    rank: int
    kind: str
    about: int
    cause: int

    @classmethod
    def of(cls, event: Event) -> Row:
        return cls(event.time_ps, event.microstep, event.priority, event.rank, event.kind, event.about, event.cause)


class Block(NamedTuple):
    """Events ``first``, ``first`` + 1, ... and the exchanges between them, in order. ``incidents``, by component: from
    then on another model answers."""

    first: int
    rows: list[Row]
    exchanges: list[Exchange]
    incidents: dict[str, dict[str, Any]]


MARK = "incident"  # in the place of an exchange's verb


#: What decoding raises where the checksums are right and the content is not what we write.
MISSHAPEN = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)
MOST_BYTES = 1 << 30  # of a block, unpacked


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Raises InputError for content that a recording cannot have."""
    try:
        yield
    except (*MISSHAPEN, zstandard.ZstdError, msgpack.UnpackException) as error:
        what = f"holds what no recording holds ({type(error).__name__}: {str(error)[:200]})"
        raise InputError(str(path), "recording", None, what) from None


@dataclass(slots=True)
class _Begun:
    """The block that is being filled: its first event, its number and place in the file, and what it has so far."""

    first: int
    number: int
    offset: int
    since_s: float
    rows: list[tuple[int, ...]] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    exchanges: list[Any] = field(default_factory=list)
    numbers: int = 0


class JournalWriter:
    """Writes a recording; as a `Tape` it knows no answers, it only keeps them.

    Memory is bounded: a block is written when it has 1024 events, or 100,000 numbers of exchanges, or after 5 s. A
    signal may interrupt anything here: a block that was not written to its end is written again, in the same place.
    """

    interrupted = False

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._file: BinaryIO = path.open("wb")
        self._file.write(MAGIC + _START.pack(VERSION))
        self._frame(b"H", json.dumps(header).encode(), 0)
        self._file.flush()  # a run that is killed before its first block can be gone on with, too
        self._prepare(0, ())

    @classmethod
    def onto(cls, journal: Journal) -> JournalWriter:
        """Writes on where a recording ends; what lies beyond its last whole block is cut off. Raises InputError."""
        writer = cls.__new__(cls)
        try:
            file = journal.path.open("r+b")
            file.truncate(journal.end)
            file.seek(0, 2)
        except OSError as error:
            raise InputError(str(journal.path), "recording", None, f"cannot be written to: {error}") from None
        writer._file = file
        writer._prepare(journal.events, journal.index)
        return writer

    def _prepare(self, events: int, index: Sequence[tuple[int, int]]) -> None:
        self.event = events
        self.incidents: dict[str, dict[str, Any]] = {}  # it only writes
        self._packer = msgpack.Packer(autoreset=True)
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._broken = False  # the disk is full, or the like: nothing more is kept
        self._index = list(index)  # first event, offset
        self._begin(events + 1)

    def see(self, event: Event) -> None:
        """An event is about to act."""
        self.event += 1
        begun = self._begun
        kind = begun.kinds.setdefault(event.kind, len(begun.kinds))
        begun.rows.append((event.time_ps, event.microstep, event.priority, event.rank, kind, event.about, event.cause))
        full = len(begun.rows) >= BLOCK_EVENTS or begun.numbers >= BLOCK_NUMBERS
        if full or monotonic() - begun.since_s > LONGEST_S:
            self.flush()

    def get(self, session: str, index: int) -> Exchange | None:
        return None

    def add(self, exchange: Exchange) -> None:
        if self._broken:
            return
        self._begun.exchanges.append(pack(exchange))
        self._begun.numbers += len(exchange.asked) + (len(exchange.asked[1]) if exchange.verb == "advance" else 0)

    def mark(self, component: str, incident: dict[str, Any]) -> None:
        self.add(Exchange(component, self.event, MARK, (), incident))

    def flush(self) -> None:
        """Write what there is as a block. Raises OSError where it cannot be written."""
        begun = self._begun
        if not begun.rows and not begun.exchanges:
            return
        rows = np.array(begun.rows, dtype=np.int64).reshape(len(begun.rows), len(COLUMNS)).T
        rows[0] = np.diff(rows[0], prepend=0)
        rows[6] = np.arange(begun.first, begun.first + len(begun.rows)) - rows[6]
        payload = self._packer.pack((begun.first, list(begun.kinds), rows.tobytes(), begun.exchanges))
        try:
            self._file.seek(begun.offset)
            self._file.truncate()
            self._frame(b"B", self._compressor.compress(payload), begun.first)
            self._file.flush()
        except OSError:
            self._broken = True
            begun.exchanges.clear()
            raise
        self._index[begun.number :] = [(begun.first, begun.offset)]
        self._begin(begun.first + len(begun.rows))

    def _begin(self, first: int) -> None:
        self._begun = _Begun(first, len(self._index), self._file.tell(), monotonic())

    def close(self, status: str, error: str) -> None:
        """How the run ended; the recording is whole. Raises OSError where it cannot be written."""
        self.flush()
        offset = self._file.tell()
        ending = {"status": status, "error": error, "events": self.event, "blocks": self._index}
        self._frame(b"E", json.dumps(ending).encode(), self.event)
        self._file.write(_END.pack(offset))
        self._file.close()

    def _frame(self, kind: bytes, payload: bytes, first: int) -> None:
        head = _HEADER.pack(kind, len(payload), crc32(payload), first)
        self._file.write(head + _CHECK.pack(crc32(head)) + payload)


def is_journal(path: Path) -> bool:
    """Whether a file is one, or the beginning of one that was cut short."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MAGIC.startswith(file.read(len(MAGIC)))


class Journal:
    """A recording's file, read. Raises InputError for what is no recording, of another version, or damaged.

    ``truncated``: the run did not end orderly, and what was not yet written is missing. ``ending``: status
    and error of one that did.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        self.ending: dict[str, Any] | None = None
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise self._bad(f"cannot be read: {error.strerror}") from None
        start = self._file.read(len(MAGIC) + _START.size)
        if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + _START.size:
            raise self._bad("is no recording")
        (version,) = _START.unpack(start[len(MAGIC) :])
        if version != VERSION:
            raise self._bad(f"is of version {version}; this program reads version {VERSION}")
        self._size = path.stat().st_size
        first = self._head(self._file.tell())
        if first is None or first[0] != b"H":
            raise self._bad("has no header: nothing was recorded yet")
        with decoding(path):
            self.header: dict[str, Any] = dict(json.loads(self._payload(*first[1:4])))
        self._blocks: list[tuple[int, int]] = []  # first event, offset
        if not self._indexed():
            self._walk(first[2] + first[1])
        self.events = self._count()

    def _indexed(self) -> bool:
        """Whether the file is whole; then its end says where everything is."""
        self._file.seek(self._size - _END.size)
        (offset,) = _END.unpack(self._file.read(_END.size))
        try:
            head = self._head(offset)
        except InputError:
            return False
        if head is None or head[0] != b"E" or head[2] + head[1] + _END.size != self._size:
            return False
        with decoding(self.path):
            ending = json.loads(self._payload(*head[1:4]))
            self.ending = {**ending, **{name: _of(str, ending[name]) for name in ("status", "error")}}
            _of(int, ending["events"])
            self._blocks = [(_of(int, first), _of(int, start)) for first, start in ending["blocks"]]
        return True

    def _walk(self, offset: int) -> None:
        """Find every block of a file without an index; a torn frame at the end is cut."""
        self.truncated = True
        while offset < self._size and (head := self._head(offset)) is not None:
            kind, length, start, _, first = head
            if kind == b"B":
                self._blocks.append((first, offset))
            offset = start + length
        if self._blocks and not self._whole(self._blocks[-1][1]):
            self._blocks.pop()

    def _head(self, offset: int) -> tuple[bytes, int, int, int, int] | None:
        """(kind, length, where the payload starts, its checksum, first event); None where the file is torn."""
        if not 0 <= offset <= self._size:
            raise self._bad(f"points to byte {offset}, where it has none")
        self._file.seek(offset)
        data = self._file.read(_HEAD_BYTES)
        if len(data) < _HEAD_BYTES:
            return None
        kind, length, check, first = _HEADER.unpack(data[: _HEADER.size])
        if crc32(data[: _HEADER.size]) != _CHECK.unpack(data[_HEADER.size :])[0]:
            raise self._bad(f"is damaged at byte {offset}")
        start = offset + _HEAD_BYTES
        return None if start + length > self._size else (kind, length, start, check, first)

    def _payload(self, length: int, start: int, check: int) -> bytes:
        self._file.seek(start)
        payload = self._file.read(length)
        if crc32(payload) != check:
            raise self._bad(f"is damaged at byte {start}")
        return payload

    def _whole(self, offset: int) -> bool:
        try:
            self._block(offset)
        except MetronomeError:
            return False
        return True

    def _count(self) -> int:
        if self.ending is not None:
            return int(self.ending["events"])
        if not self._blocks:
            return 0
        last = self._block(self._blocks[-1][1])
        return last.first + len(last.rows) - 1

    @property
    def index(self) -> Sequence[tuple[int, int]]:
        """First event and place in the file of every block."""
        return self._blocks

    @property
    def end(self) -> int:
        """Where the last whole block ends; of a recording without any, its header."""
        head = self._head(self._blocks[-1][1] if self._blocks else len(MAGIC) + _START.size)
        if head is None:
            raise self._bad("is damaged at its end")
        return head[2] + head[1]

    def cut_ending(self) -> None:
        """Forget how the run ended. Its last block goes with it: there, too, is what was asked and said as it ended."""
        if self.ending is not None:
            last = self._blocks.pop() if self._blocks else (1, 0)
            self.ending, self.truncated, self.events = None, True, last[0] - 1

    def blocks(self) -> Iterator[Block]:
        for _, offset in self._blocks:
            yield self._block(offset)

    def block_of(self, event: int) -> Block:
        """The block with that event."""
        found = next((offset for first, offset in reversed(self._blocks) if first <= event), None)
        if found is None:
            raise self._bad(f"has no event {event}")
        return self._block(found)

    def row(self, event: int) -> Row:
        block = self.block_of(event)
        with decoding(self.path):
            return block.rows[event - block.first]

    def _block(self, offset: int) -> Block:
        head = self._head(offset)
        if head is None:
            raise self._bad(f"is damaged at byte {offset}")
        packed = self._payload(*head[1:4])
        with decoding(self.path):
            return self._unpacked(packed)

    def _unpacked(self, data: bytes) -> Block:
        if zstandard.get_frame_parameters(data).content_size > MOST_BYTES:
            raise ValueError(f"a block of more than {MOST_BYTES} bytes")
        payload = zstandard.ZstdDecompressor().decompress(data)
        first, kinds, packed, exchanges = msgpack.unpackb(payload, use_list=False, strict_map_key=False)
        _of(int, first)
        rows = np.frombuffer(packed, dtype=np.int64).reshape(len(COLUMNS), -1).copy()
        rows[0] = np.cumsum(rows[0])
        rows[6] = np.arange(first, first + rows.shape[1]) - rows[6]
        columns = rows.tolist()
        columns[4] = [_of(str, kinds[kind]) for kind in columns[4]]
        found = [unpack(e) for e in exchanges]
        incidents = {e.session: _of(dict, e.answer) for e in found if e.verb == MARK}
        rest = [e for e in found if e.verb != MARK]
        return Block(first, [Row(*row) for row in zip(*columns, strict=True)], rest, incidents)

    def close(self) -> None:
        self._file.close()

    def _bad(self, why: str) -> InputError:
        return InputError(str(self.path), "recording", None, why)


def _of(kind: type, value: Any) -> Any:
    """The value, which must be of that type; TypeError if it is not."""
    if type(value) is not kind:
        raise TypeError(f"{str(value)[:80]!r} is no {kind.__name__}")
    return value
