"""The journal: what goes in comes out, a crash loses only what was not written, damage is never misread."""

from __future__ import annotations

import json
import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.interface import Advanced, Completion, Operation, Provenance, Template, Use
from metronome.orchestrator.errors import ComponentFailure, InputError
from metronome.orchestrator.kernel.queue import Event, Priority
from metronome.orchestrator.record.exchange import (
    Exchange,
    asked_for_statistics,
    asked_to_advance,
    asked_to_declare,
    operations_of,
    templates_of,
)
from metronome.orchestrator.record.journal import BLOCK_EVENTS, Journal, JournalWriter, Row

INT64 = st.integers(0, 2**63 - 1)
rows = st.builds(
    Row,
    INT64,
    st.integers(0, 9),
    st.sampled_from([int(p) for p in Priority]),
    st.integers(0, 300),
    st.sampled_from(["arrival", "compute", "all_reduce"]),
    INT64,
    st.integers(0, 2**40),
)
operations = st.builds(
    Operation,
    st.integers(0, 99),
    st.lists(INT64, max_size=4).map(tuple),
    INT64,
    INT64,
    st.integers(0, 9),
    st.lists(INT64, max_size=2).map(tuple),
)
completions = st.builds(Completion, INT64, INT64, INT64, st.sampled_from(Provenance), st.none() | st.integers(0, 2**62))
answers = st.one_of(
    st.builds(Advanced, INT64, st.lists(completions, max_size=4).map(tuple), st.none() | INT64),
    st.builds(ComponentFailure, st.just("c"), st.text(max_size=9), st.text(max_size=9), st.text(max_size=9)),
)


def event(row: Row) -> Event:
    return Event(
        row.time_ps, row.microstep, Priority(row.priority), row.rank, 0, row.kind, row.about, row.cause, lambda: None
    )


def same(a: Exchange, b: Exchange) -> bool:
    if isinstance(a.answer, ComponentFailure):
        return a[:4] == b[:4] and str(a.answer) == str(b.answer) and a.answer.code == b.answer.code
    return a == b


@given(
    events=st.lists(rows, max_size=40), asked=st.lists(st.tuples(st.lists(operations, max_size=3), answers), max_size=8)
)
def test_what_is_recorded_is_read(tmp_path_factory, events, asked):
    path = tmp_path_factory.mktemp("j") / "journal"
    writer = JournalWriter(path, {"what": "ever"})
    sent = [
        Exchange(f"s#{i % 2}", 0, "advance", asked_to_advance(5, ops, True), answer)
        for i, (ops, answer) in enumerate(asked)
    ]
    for exchange in sent[:3]:
        writer.add(exchange)
    for row in events:
        writer.see(event(row))
    for exchange in sent[3:]:
        writer.add(exchange)
    writer.close("complete", "")
    journal = Journal(path)
    assert journal.header == {"what": "ever"} and not journal.truncated
    assert journal.events == len(events) and journal.ending["status"] == "complete"
    assert [row for block in journal.blocks() for row in block.rows] == events == [Row.of(event(r)) for r in events]
    found = [exchange for block in journal.blocks() for exchange in block.exchanges]
    assert len(found) == len(sent) and all(map(same, found, sent))


def test_every_verb_survives(tmp_path):
    templates = [Template(3, "gemm", "qkv", {"n": 4, "k": 2, "dtype": "bf16"})]
    sent = [
        Exchange("a#0", 0, "declare", asked_to_declare(templates), {3: frozenset({1, 2})}),
        Exchange("b#0", 0, "declare", asked_to_declare(templates), None),
        Exchange("a#0", 0, "advance", asked_to_advance(9, [Operation(3, (5,), 1, 2)], False), Advanced(9, ())),
        Exchange(
            "a#0",
            0,
            "statistics",
            asked_for_statistics([Use(3, (5,), 7)]),
            {"links": [{"busy_s": 0.1 + 0.2}], "n": None},
        ),
    ]
    writer = JournalWriter(tmp_path / "journal", {})
    for exchange in sent:
        writer.add(exchange)
    writer.close("complete", "")
    found = [exchange for block in Journal(tmp_path / "journal").blocks() for exchange in block.exchanges]
    assert found == sent
    assert templates_of(found[0]) == templates
    assert operations_of(found[2]) == (9, [Operation(3, (5,), 1, 2)], False)


@pytest.fixture
def whole(tmp_path):
    """A journal of four blocks, and where its frames begin."""
    path = tmp_path / "journal"
    writer = JournalWriter(path, {"x": 1})
    for n in range(3 * BLOCK_EVENTS + 10):
        writer.see(event(Row(n * 1000, 0, 0, 0, "compute", n, n // 2)))
    writer.close("complete", "")
    return path


def test_a_torn_tail_is_cut_wherever_it_tears(whole):
    data = whole.read_bytes()
    blocks = [first for first, _ in Journal(whole)._blocks]
    offsets = [offset for _, offset in Journal(whole)._blocks]
    assert blocks == [1 + i * BLOCK_EVENTS for i in range(4)]
    for cut in [*range(offsets[1] - 3, offsets[1] + 40), *range(offsets[3], len(data), 97)]:
        whole.write_bytes(data[:cut])
        journal = Journal(whole)
        assert journal.truncated and journal.ending is None
        left = sum(
            1 for start, end in zip(offsets, [*offsets[1:], None], strict=True) if end is not None and end <= cut
        )
        events = [row for block in journal.blocks() for row in block.rows]
        assert len(events) in (left * BLOCK_EVENTS, 3 * BLOCK_EVENTS + 10)
        assert journal.events == len(events)
        assert [row.about for row in events] == list(range(len(events)))


def test_a_tail_of_zeros_is_not_read_as_a_block(whole):
    data = whole.read_bytes()
    offset = Journal(whole)._blocks[2][1]
    whole.write_bytes(data[: offset + 100] + bytes(len(data) - offset - 100))
    with pytest.raises(InputError, match="damaged"):
        list(Journal(whole).blocks())


def test_a_flipped_bit_is_noticed(whole):
    good = whole.read_bytes()
    for at in range(50, len(good), len(good) // 80):
        data = bytearray(good)
        data[at] ^= 4
        whole.write_bytes(bytes(data))
        try:
            journal = Journal(whole)
            events = [row.about for block in journal.blocks() for row in block.rows]
        except InputError as error:
            assert "damaged" in str(error) or "no header" in str(error), at
        else:
            assert journal.truncated and events == list(range(len(events))), at


def frame(kind, payload):
    head = struct.pack("<cIIQ", kind, len(payload), crc32(payload), 0)
    return head + struct.pack("<I", crc32(head)) + payload


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no recording"),
        (b"hello world, this is not it", "is no recording"),
        (b"METRONOME RECORDING\n\x01", "is no recording"),
        (b"METRONOME RECORDING\n\x07\x00", "version 7; this program reads version 1"),
        (b"METRONOME RECORDING\n\x01\x00", "no header"),
        (b"METRONOME RECORDING\n\x01\x00" + frame(b"B", b"{}"), "no header"),
        (b"METRONOME RECORDING\n\x01\x00" + frame(b"X", b"{}"), "no header"),
        (b"METRONOME RECORDING\n\x01\x00" + frame(b"H", b"{}")[:-1], "no header: nothing was recorded yet"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, content, why):
    (tmp_path / "journal").write_bytes(content)
    with pytest.raises(InputError, match=why):
        Journal(tmp_path / "journal")


@pytest.mark.parametrize("place", [-5, 10**9])
def test_an_index_that_points_outside_is_refused(tmp_path, place):
    ending = {"status": "complete", "error": "", "events": 1, "blocks": [[1, place]]}
    head = b"METRONOME RECORDING\n\x01\x00" + frame(b"H", b"{}")
    data = head + frame(b"E", json.dumps(ending).encode()) + struct.pack("<Q", len(head))
    (tmp_path / "journal").write_bytes(data)
    with pytest.raises(InputError, match=f"points to byte {place}, where it has none"):
        list(Journal(tmp_path / "journal").blocks())


def test_a_block_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    """Few bytes may say that they are any number."""
    bomb = frame(b"B", b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**30 + 1))
    (tmp_path / "journal").write_bytes(b"METRONOME RECORDING\n\x01\x00" + frame(b"H", b"{}") + 2 * bomb)
    with pytest.raises(InputError, match="a block of more than 1073741824 bytes"):
        Journal(tmp_path / "journal")


def test_any_event_is_found_by_the_index(whole):
    journal = Journal(whole)
    for n in (1, 2, BLOCK_EVENTS, BLOCK_EVENTS + 1, journal.events):
        assert journal.row(n).about == n - 1


def test_a_last_block_whose_content_never_reached_the_disk_is_cut(whole):
    """Its header is there and the file is as long as that says; what is in it is not."""
    found = Journal(whole)
    end, (last, offset) = found.end, found.index[-1]
    data = whole.read_bytes()[:end]
    for lost in (1, 50, end - offset - 40):
        whole.write_bytes(data[:-lost] + bytes(lost))
        journal = Journal(whole)
        assert journal.truncated and journal.events == last - 1 == 3 * BLOCK_EVENTS
        assert len(list(journal.blocks())) == 3


def test_bytes_at_a_torn_end_that_point_to_a_block_are_no_ending(whole):
    """As the numbers in a block may."""
    journal = Journal(whole)
    whole.write_bytes(whole.read_bytes()[: journal.end] + struct.pack("<Q", journal.index[1][1]))
    torn = Journal(whole)
    assert torn.truncated and torn.ending is None
    assert (torn.index, torn.events) == (journal.index, journal.events)


def test_what_follows_an_ending_makes_it_none(whole):
    """Even bytes that point to it."""
    data = whole.read_bytes()
    whole.write_bytes(data + data[-8:])
    assert Journal(whole).ending is None and Journal(whole).truncated


def see(writer, numbers):
    for n in numbers:
        writer.see(event(Row(n, 0, 0, 0, "compute", n, 0)))


def seen(path):
    return [row.about for block in Journal(path).blocks() for row in block.rows]


def test_a_block_is_on_disk_as_soon_as_it_is_full(tmp_path):
    """What a kill loses is less than a block: nothing waits in a buffer of the process."""
    path = tmp_path / "journal"
    writer = JournalWriter(path, {"x": 1})
    see(writer, range(1023))
    found = Journal(path)  # its header is there from the beginning
    assert found.header == {"x": 1} and found.truncated and found.events == 0
    see(writer, [1023])
    assert Journal(path).events == 1024
    writer.close("complete", "")


def test_events_wait_no_longer_than_five_seconds_for_a_block(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("metronome.orchestrator.record.journal.monotonic", lambda: now)
    path = tmp_path / "journal"
    writer = JournalWriter(path, {})
    see(writer, [0])
    now = 105.0
    see(writer, [1])
    assert Journal(path).events == 0
    now = 105.1
    see(writer, [2])
    assert (Journal(path).events, seen(path)) == (3, [0, 1, 2])
    now = 110.1
    see(writer, [3])
    assert Journal(path).events == 3  # five seconds after the block before
    writer.close("complete", "")


@pytest.mark.parametrize(("operations", "written"), [(90_000, 0), (100_000, 1)])
def test_a_hundred_thousand_operations_fill_a_block(tmp_path, operations, written):
    """A block of events may have many millions, and all wait in memory."""
    path = tmp_path / "journal"
    writer = JournalWriter(path, {})
    asked = asked_to_advance(9, [Operation(0, (5,), n) for n in range(operations)], False)
    writer.add(Exchange("a#0", 0, "advance", asked, Advanced(9, ())))
    see(writer, [0])
    assert Journal(path).events == written
    writer.close("complete", "")


@pytest.mark.parametrize("before", [0, 1, 2])
def test_what_a_kill_cut_short_is_written_on(tmp_path, before):
    path = tmp_path / "journal"
    first = JournalWriter(path, {"x": 1})
    see(first, range(before))
    first.flush()
    with path.open("ab") as file:
        file.write(b"torn")
    writer = JournalWriter.onto(Journal(path))
    see(writer, range(before, 5))
    writer.close("complete", "")
    journal = Journal(path)
    assert journal.header == {"x": 1} and not journal.truncated
    assert (journal.events, seen(path)) == (5, [0, 1, 2, 3, 4])
    assert [journal.row(n).about for n in range(1, 6)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("blocks", "left"), [([3, 2], 3), ([3], 0), ([], 0)])
def test_how_a_run_failed_is_cut_off_with_what_was_said_last(tmp_path, blocks, left):
    path = tmp_path / "journal"
    writer = JournalWriter(path, {})
    for count in blocks:
        see(writer, range(count))
        writer.flush()
    writer.close("failed", "why")
    journal = Journal(path)
    assert journal.ending["error"] == "why" and journal.events == sum(blocks)
    journal.cut_ending()
    assert (journal.ending, journal.truncated, journal.events) == (None, True, left)
    assert len(list(journal.blocks())) == len(blocks[1:])
    see(again := JournalWriter.onto(journal), [7])
    again.close("complete", "")
    assert Journal(path).events == left + 1


def test_that_another_model_answers_from_now_on_is_no_message(tmp_path):
    writer = JournalWriter(tmp_path / "journal", {})
    said = Exchange("a#0", 0, "advance", asked_to_advance(9, [], False), Advanced(9, ()))
    writer.add(said)
    writer.mark("a", {"fallback": "b", "since": [1]})
    writer.close("complete", "")
    (block,) = Journal(tmp_path / "journal").blocks()
    assert block.exchanges == [said] and block.incidents == {"a": {"fallback": "b", "since": [1]}}
