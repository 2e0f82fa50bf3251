"""Coverage-guided: `make guided`, ten minutes each of the wire's decoder and of the reader of recordings.

    python -m tests.fuzz.guided {wire|journal} [libFuzzer's options, e.g. -max_total_time=600]

Needs atheris (the extra ``fuzz``). Inputs that reach new branches are kept in out/guided, and so is what is found
(``crash-...``, ``timeout-...``): put it into ``corpus/``, which both begin from and `test_guided` tries.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from zlib import crc32

import zstandard
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.hwmodels.interface import BadOperation
from metronome.orchestrator.errors import MetronomeError
from metronome.orchestrator.record import exchange, journal

CORPUS = Path(__file__).parent / "corpus"

#: Messages that a stranger's bytes become, and what is made of each.
DECODERS: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (pb.SimulateRequest, lambda message: codec.from_operations(message.operations)),
    (pb.SimulateResponse, lambda message: codec.from_advanced(message.advanced)),
    (pb.DescribeResponse, codec.described),
    (pb.ConfigureRequest, lambda m: ([codec.from_template(t) for t in m.templates], codec.from_struct(m.config))),
    (pb.Uses, codec.from_uses),
    (Struct, codec.from_struct),
)


def wire(data: bytes) -> None:
    """The first byte says which message the others are. Raises what no decoder may raise."""
    if data:
        kind, decode = DECODERS[data[0] % len(DECODERS)]
        with contextlib.suppress(DecodeError, codec.MalformedMessage, BadOperation):
            decode(kind.FromString(data[1:]))


def framed(data: bytes) -> bytes:
    """A recording of frames whose contents are ``data``: kind, length (2 bytes), number of an event (1 byte), content;
    of a block before it is compressed. All checksums are right, and so is the place of the end."""
    out = bytearray(journal.MAGIC + journal._START.pack(journal.VERSION))
    last = len(out)
    while len(data) >= 4:
        number, length, first = struct.unpack("<BHB", data[:4])
        content, data = data[4 : 4 + length], data[4 + length :]
        kind = (b"H", b"B", b"E", b"X")[number % 4]
        payload = zstandard.ZstdCompressor(level=1).compress(content) if kind == b"B" else content
        head = journal._HEADER.pack(kind, len(payload), crc32(payload), first)
        last = len(out)
        out += head + journal._CHECK.pack(crc32(head)) + payload
    return bytes(out + journal._END.pack(last))


def recording(data: bytes) -> None:
    """A file of these bytes, or (if the first is odd) of frames of them, is read from end to end."""
    if not data:
        return
    path = _scratch() / f"journal-{os.getpid()}"
    path.write_bytes(framed(data[1:]) if data[0] % 2 else data[1:])
    with contextlib.suppress(MetronomeError):
        found = journal.Journal(path)
        for _ in found.blocks():
            pass
        found.row(found.events)
        assert found.end <= path.stat().st_size


def _scratch() -> Path:
    shared = Path("/dev/shm")  # a file a try
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


TARGETS = {"wire": wire, "journal": recording}


def _functions(*modules: ModuleType) -> Iterator[FunctionType]:
    """All that these modules define, methods included."""
    for module in modules:
        for thing in vars(module).values():
            for each in (thing, *(vars(thing).values() if isinstance(thing, type) else ())):
                if isinstance(each, FunctionType) and each.__module__ == module.__name__:
                    yield each


def main() -> None:
    import atheris

    target, *options = sys.argv[1:]
    for function in _functions(codec, exchange, journal):
        atheris.instrument_func(function)
    kept = Path("out/guided") / target
    kept.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [sys.argv[0], *options, f"-artifact_prefix={kept}/", str(kept), str(CORPUS / target)], TARGETS[target]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
