"""Bad input that is nearly good: one to three changes of a tree, a table, a text or a recording, by a seed."""

from __future__ import annotations

import copy
import json
from random import Random
from zlib import crc32

import msgpack
import zstandard
from metronome.orchestrator.record import journal

#: What a field may hold that its reader did not think of.
ODD = (
    None, True, False, 0, -1, 1, 2, 2**31, 2**53, 2**62, 2**63, 2**64, 10**30, -(2**63), 0.0, -0.5, 1e-300, 1e308,
    float("nan"), float("inf"), "", " ", "0", "-1", "nan", "1e999", "true", "\x00", "\x1b[31m", "é\u202e", "a/b", "..",
    "../../etc/passwd", "n0[0:4000000000]", "n0[4:2]", "x" * 5000, [], {}, [[]], [None], {"": None}, {"a": {"b": []}},
    [1, "a", None], "os:system", "this:that", ["n0.accelerators"] * 3,
)  # fmt: off


def spots(tree: object, path: tuple = ()) -> list[tuple]:
    """Every path of a tree of dictionaries and lists."""
    found = [path] if path else []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        found += spots(value, (*path, key))
    return found


def change(tree: object, random: Random) -> object:
    """A copy of a tree with one to three of its parts replaced, removed, renamed, repeated or swapped."""
    tree = copy.deepcopy(tree)
    for _ in range(random.randint(1, 3)):
        places = spots(tree)
        if not places:
            return tree
        *above, last = random.choice(places)
        parent = tree
        for key in above:
            parent = parent[key]
        what = random.randrange(6)
        if what == 0:
            del parent[last]
        elif what == 1 and isinstance(parent, dict):
            parent[f"{last}{random.choice(('s', '_', ' ', ''))}"[1:]] = parent.pop(last)
        elif what == 2 and isinstance(parent, list):
            parent.extend(copy.deepcopy(parent[:3]))
        elif what == 3:
            *others, other = random.choice(places)
            spot = tree
            try:
                for key in others:
                    spot = spot[key]
                parent[last] = copy.deepcopy(spot[other])
            except (KeyError, IndexError, TypeError):
                parent[last] = random.choice(ODD)
        else:
            parent[last] = copy.deepcopy(random.choice(ODD))
    return tree


def table(text: str, random: Random) -> str:
    """A CSV text with a cell, a row, the header or the end changed."""
    lines = text.splitlines()
    for _ in range(random.randint(1, 3)):
        if not lines:
            break
        line = random.randrange(len(lines))
        cells = lines[line].split(",")
        what = random.randrange(5)
        if what == 0:
            del lines[line]
        elif what == 1:
            lines.insert(line, lines[line])
        elif what == 2:
            cells.pop()
            lines[line] = ",".join(cells)
        else:
            odd = random.choice(("", "0", "-1", "nan", "inf", "1e999", "x", "1.5", str(2**63), " 3", '"', "\x00"))
            cells[random.randrange(len(cells))] = odd
            lines[line] = ",".join(cells)
    return "\n".join(lines) + ("\n" if random.random() < 0.9 else "")


def raw(data: bytes, random: Random) -> bytes:
    """Bytes flipped, cut, doubled or put in."""
    data = bytearray(data)
    for _ in range(random.randint(1, 4)):
        if not data:
            break
        place = random.randrange(len(data))
        what = random.randrange(4)
        if what == 0:
            data[place] = random.randrange(256)
        elif what == 1:
            del data[place : place + random.randint(1, 40)]
        elif what == 2:
            data[place:place] = data[place : place + random.randint(1, 40)]
        else:
            data[place:place] = random.choice((b"\xff\xfe", b"{", b"]", b": ", b"\t", b"&a ", b"*a", b"<<: ", b"\n- "))
    return bytes(data)


def recording(data: bytes, random: Random) -> bytes:
    """A journal with one frame's content changed, all checksums right again."""
    offset = len(journal.MAGIC) + journal._START.size
    frames = []
    while offset + journal._HEAD_BYTES <= len(data):
        kind, length, _, first = journal._HEADER.unpack_from(data, offset)
        start = offset + journal._HEAD_BYTES
        frames.append([kind, data[start : start + length], first])
        offset = start + length
        if kind == b"E":
            break
    which = random.randrange(len(frames))
    kind, payload, first = frames[which]
    if random.random() < 0.15:
        frames[which] = [random.choice((b"H", b"B", b"E", b"X")), payload, random.choice((first, 0, 2**63, 7))]
    elif random.random() < 0.15:
        frames[which][1] = raw(payload, random)
    elif kind == b"B":
        content = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(payload), strict_map_key=False)
        content = _plain(change(content, random))
        frames[which][1] = zstandard.ZstdCompressor(level=1).compress(msgpack.packb(content))
    else:
        frames[which][1] = json.dumps(change(json.loads(payload), random)).encode()
    out = bytearray(journal.MAGIC + journal._START.pack(journal.VERSION))
    starts = {}
    for kind, payload, first in frames:
        starts[first, kind] = len(out)
        head = journal._HEADER.pack(kind, len(payload), crc32(payload), first)
        last = len(out)
        out += head + journal._CHECK.pack(crc32(head)) + payload
    out += journal._END.pack(random.choice((last, last, last, 0, 2**64 - 1)))
    return bytes(out)


def _plain(tree: object) -> object:
    """What msgpack can hold: no integer beyond 64 bits."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return 2**64 - 1 if isinstance(tree, int) and not -(2**63) <= tree < 2**64 else tree
