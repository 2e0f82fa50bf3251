"""Reader of LLMServingSim JSONL: flat requests and agentic sessions, mixed line by line.

Flat: ``input_toks, output_toks, arrival_time_ns`` and optionally ``input_tok_ids, output_tok_ids``.
Agentic: ``session_id`` (optional), ``arrival_time_ns``, ``sub_requests`` of the flat form less the
arrival, each with ``tool_duration_ns``: how long its tool runs before the next one is sent.
Ours, in either form: ``priority``, and ``abort_after_ns``, after which the client gives it up.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import orjson

from ...errors import InputError
from ...units import PS_PER_NS
from ..options import TimedTraceOptions
from ..registry import Format, Reading, unlike
from ..request import Request
from ..rows import empty, open_file, unread

MAX_ARRIVAL_NS = 2**53  # 104 days: within int64 picoseconds
TURN = frozenset({"input_toks", "output_toks", "input_tok_ids", "output_tok_ids", "priority", "abort_after_ns"})
FLAT = TURN | {"arrival_time_ns"}
AGENTIC = frozenset({"session_id", "arrival_time_ns", "sub_requests"})
SUB_REQUEST = TURN | {"tool_duration_ns"}


class LLMServingSimOptions(TimedTraceOptions):
    """An LLMServingSim JSONL file, flat or agentic."""

    format: Literal["llmservingsim"] = "llmservingsim"


def read(options: LLMServingSimOptions, reading: Reading) -> Iterator[Request]:
    """Requests as they come, one line in memory at a time. Raises InputError with the line number."""
    path = reading.path(options.path)
    reader = _Reader(path, lambda row, known: unread(reading, options.path, row, known))
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield reader.parse(number, line)
    if not reader.lines:
        raise empty(path)


class _Reader:
    def __init__(self, path: Path, unread: Callable[[dict[str, Any], frozenset[str]], None]) -> None:
        self.path, self.lines, self._next_id = path, 0, 0
        self._unread = unread
        self._sessions: set[str] = set()

    def parse(self, number: int, line: bytes) -> Request:
        where = f"{self.path}:{number}"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            hint = unlike(self.path, "llmservingsim")
            raise InputError(where, "line", None, f"is not JSON: {_why(line) or error}{hint}") from None
        if not isinstance(row, dict):
            raise InputError(where, "line", row, "must be a JSON object")
        arrival = _integer(where, row, "arrival_time_ns", 0)
        if arrival > MAX_ARRIVAL_NS:
            raise InputError(where, "arrival_time_ns", arrival, f"at most {MAX_ARRIVAL_NS} (104 days)")
        self.lines += 1
        agentic = "sub_requests" in row
        if not row.keys() <= (known := AGENTIC if agentic else FLAT):
            self._unread(row, known)
        if not agentic:
            return self._request(where, row, arrival * PS_PER_NS, self._take_ids(1))
        return self._session(where, row, arrival * PS_PER_NS)

    def _session(self, where: str, row: dict[str, Any], arrival_ps: int) -> Request:
        turns = row["sub_requests"]
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
            raise InputError(where, "sub_requests", turns, "must be a list of at least one request object")
        first = self._take_ids(len(turns))
        name = str(row.get("session_id", f"session-{first}"))
        if name in self._sessions:
            raise InputError(where, "session_id", name, "is used twice; session ids must be unique")
        self._sessions.add(name)
        request: Request | None = None
        for i in range(len(turns) - 1, -1, -1):
            spot = f"{where}: sub_requests[{i}]"
            if not turns[i].keys() <= SUB_REQUEST:
                self._unread(turns[i], SUB_REQUEST)
            think = _integer(spot, turns[i], "tool_duration_ns", 0, default=0)
            request = self._request(spot, turns[i], arrival_ps if i == 0 else 0, first + i, name, request, think)
        if request is None:
            raise AssertionError("a session has at least one turn")
        return request

    def _request(
        self,
        where: str,
        row: dict[str, Any],
        arrival_ps: int,
        request_id: int,
        session: str | None = None,
        next_turn: Request | None = None,
        think_ns: int = 0,
    ) -> Request:
        inputs = _integer(where, row, "input_toks", 0)
        outputs = _integer(where, row, "output_toks", 0)
        ids = _token_ids(where, row, inputs, outputs)
        abort_ns = _integer(where, row, "abort_after_ns", 0) if row.get("abort_after_ns") is not None else None
        return Request(
            request_id,
            arrival_ps,
            inputs,
            outputs,
            ids,
            session,
            next_turn,
            think_ns * PS_PER_NS,
            _integer(where, row, "priority", -(2**31), default=0),
            None if abort_ns is None else abort_ns * PS_PER_NS,
        )

    def _take_ids(self, count: int) -> int:
        self._next_id += count
        return self._next_id - count


def _token_ids(where: str, row: dict[str, Any], inputs: int, outputs: int) -> array[int] | None:
    if row.get("input_tok_ids") is None:
        return None
    ids: array[int] = array("q")
    for field, count in (("input_tok_ids", inputs), ("output_tok_ids", outputs)):
        part = row.get(field)
        if part is None:
            break  # outputs may be unknown: their blocks are then never shared
        if not isinstance(part, list) or len(part) != count:
            length = len(part) if isinstance(part, list) else type(part).__name__
            raise InputError(where, field, length, f"must be a list of {count} token ids, as many as its count says")
        try:
            ids += array("q", part)
        except (TypeError, OverflowError):
            raise InputError(where, field, part, "token ids must be 64-bit integers") from None
    return ids


def _integer(where: str, row: dict[str, Any], field: str, least: int, default: int | None = None) -> int:
    value = row.get(field, default)
    if value is None:
        raise InputError(where, field, None, "is missing")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(where, field, value, f"must be an integer of at least {least}")
    if value >= 2**63:
        raise InputError(where, field, value, "has more than 64 bits")
    return value


def _why(line: bytes) -> str:
    """What is wrong with a line, in the words of the slower parser, which says more."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a number")

    try:
        json.loads(line, parse_constant=refuse)
    except ValueError as error:
        return str(error)
    return ""


def _looks_like(path: Path, head: bytes) -> bool:
    return b'"input_toks"' in head or b'"sub_requests"' in head


FORMAT = Format(LLMServingSimOptions, read, _looks_like)
