"""Lines of files, with errors that say which."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ..errors import InputError
from ..strict import did_you_mean
from ..units import PS_PER_S
from .registry import Reading, refuse

MAX_ARRIVAL_PS = 2**53 * 1000  # 104 days: within int64 picoseconds
MAX_TOKENS = 2**31


def open_file(path: Path) -> io.BufferedReader:
    """Raises InputError where it cannot be read."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(str(path), "workload", None, "is no regular file, and it is read more than once")
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(str(path), "workload", None, f"cannot be read: {error.strerror}") from None


def empty(path: Path) -> InputError:
    return InputError(str(path), "workload", None, "is empty; at least one request is needed")


def json_lines(path: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file:line, object) of each line that is not blank; ``name`` is the format it is said to be of."""
    with open_file(path) as file:
        number = 0
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise refuse(path, number, name, f"is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise refuse(path, number, name, "must be a JSON object")
            yield f"{path}:{number}", row
        if not number:
            raise empty(path)


def whole_json(path: Path, name: str) -> Any:
    """The content of a JSON file, all of it at once."""
    with open_file(path) as file:
        content = file.read()
    if not content.strip():
        raise empty(path)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise refuse(path, content[: error.pos].count(b"\n") + 1, name, f"is not JSON: {error}") from None


def csv_lines(path: Path, name: str, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(file:line, cells by column) of each row; the columns ``needed`` are there."""
    with io.TextIOWrapper(open_file(path), "utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        rows = 0
        try:
            header = [column.strip() for column in next(reader, [])]
            if not header:
                raise empty(path)
            for column in needed:
                if column not in header:
                    raise refuse(path, 1, name, f"has no column {column}; columns: {', '.join(header)[:200]}")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise refuse(path, reader.line_num, name, f"has {len(cells)} cells, the header {len(header)}")
                rows += 1
                yield f"{path}:{reader.line_num}", dict(zip(header, cells, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise refuse(path, reader.line_num, name, f"is no text: {error}") from None
        if not rows:
            raise empty(path)


def unread(reading: Reading, file: str, row: Mapping[str, Any], read: Collection[str]) -> None:
    """Notes the keys of a row that nobody reads, each once."""
    for key in row:
        if key not in read:
            near = did_you_mean(key, read).strip()
            reading.note(f"{file}: {key} is not read{'; ' + near if near else ''}")


def tokens(where: str, row: Mapping[str, Any], field: str) -> int:
    """A count of tokens, 0 or more. Raises InputError."""
    value = row.get(field)
    try:
        count = float(value) if isinstance(value, str) else value
        if isinstance(count, float) and count.is_integer():
            count = int(count)
    except ValueError:
        count = None
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < MAX_TOKENS:
        raise InputError(where, field, value, "must be a whole number of tokens, 0 or more")
    return count


def seconds(where: str, row: Mapping[str, Any], field: str, unit_s: float = 1.0) -> int:
    """A time in picoseconds of a cell in units of ``unit_s`` seconds. Raises InputError."""
    value = row.get(field)
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        found = float(value) * unit_s * PS_PER_S
        if not 0 <= found <= MAX_ARRIVAL_PS:
            raise ValueError
    except ValueError:
        raise InputError(where, field, value, "must be a time, 0 to 104 days") from None
    return round(found)
