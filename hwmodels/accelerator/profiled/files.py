"""The files of a profile, every number of them checked where it is read: file, line and field of what is wrong."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...interface import ConfigError

LONGEST_S = 1000.0  # a kernel that takes longer was not measured in these units
MOST = 2**53  # tokens, sequences: what a float holds exactly


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError."""
    try:
        data = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(str(path), "malformed YAML", str(error).replace("\n", " ")) from None
    except OSError as error:
        raise ConfigError("bundle", str(path), f"cannot be read: {error.strerror}") from None
    if not isinstance(data, dict):
        raise ConfigError(str(path), data, "must be a mapping")
    return data


def rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file that has these columns, and in each of them a cell. Raises ConfigError."""
    if not path.is_file():
        raise ConfigError("bundle", str(path), "no such file")
    line = 1
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if not set(needed) <= set(reader.fieldnames or ()):
                raise ConfigError(str(path), reader.fieldnames, f"needs the columns {', '.join(needed)}")
            for row in reader:
                line = reader.line_num
                missing = [name for name in needed if row[name] is None]
                if missing or None in row:
                    raise ConfigError(f"{path}:{line}", None, f"needs {len(reader.fieldnames or ())} cells")
                yield line, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}:{line + 1}", None, f"cannot be read: {error}") from None
    if line == 1:
        raise ConfigError(str(path), "rows", "at least one")


def duration(path: Path, line: int, row: Mapping[str, str], field: str, unit_s: float) -> float:
    """A measured time, in its own unit of ``unit_s`` seconds: nothing takes no time. Raises ConfigError."""
    value = number(path, line, row, field)
    if not 0 < value * unit_s <= LONGEST_S:
        raise ConfigError(f"{path}:{line}: {field}", row[field], f"a time above 0, at most {LONGEST_S:g} s")
    return value


def count(path: Path, line: int, row: Mapping[str, str], field: str) -> int:
    """A whole number, 0 or more. Raises ConfigError."""
    text = (row.get(field) or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) <= MOST):
        raise ConfigError(f"{path}:{line}: {field}", row.get(field), "a whole number, 0 or more")
    return int(text)


def number(path: Path, line: int, row: Mapping[str, str], field: str) -> float:
    """A finite number. Raises ConfigError."""
    try:
        value = float(row.get(field) or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{path}:{line}: {field}", row.get(field), "a finite number")
    return value


def matrix(path: Path, needed: tuple[str, ...]) -> list[list[float]]:
    """All-number CSV by numpy's reader (an attention table has some 20,000 rows); the last column of ``needed`` is a
    time in microseconds, the others are counts. Raises ConfigError."""
    if not path.is_file():
        raise ConfigError("bundle", str(path), "no such file")
    try:
        with path.open() as file:
            header = file.readline().strip().split(",")
            if header[: len(needed)] != list(needed):
                raise ConfigError(str(path), header, f"needs the columns {', '.join(needed)}")
            found = np.loadtxt(file, delimiter=",", ndmin=2, usecols=range(len(needed)))
    except ValueError as error:
        raise ConfigError(str(path), "malformed row", str(error)) from None
    if not len(found):
        raise ConfigError(str(path), "rows", "at least one")
    counts, times = found[:, :-1], found[:, -1]
    whole = (counts >= 0) & (counts <= MOST) & (np.floor(counts) == counts)
    right = np.column_stack([whole, (times > 0) & (times * 1e-6 <= LONGEST_S)])
    if not right.all():
        row, column = map(int, np.argwhere(~right)[0])
        allowed = (
            "a whole number, 0 or more" if column < len(needed) - 1 else f"a time above 0, at most {LONGEST_S:g} s"
        )
        raise ConfigError(f"{path}:{row + 2}: {needed[column]}", float(found[row, column]), allowed)
    table: list[list[float]] = found.tolist()
    return table


def edges(path: Path, axes: Mapping[str, Any], axis: str) -> tuple[list[float], list[str]]:
    """Bins and labels of one axis of a skew fit: numbers that rise, a label between each two. Raises ConfigError."""
    bins, labels = axes.get(f"{axis}_bins"), axes.get(f"{axis}_labels")
    if not isinstance(bins, list) or not all(type(b) in (int, float) and math.isfinite(b) for b in bins):
        raise ConfigError(f"{path}: skew_fit.bucket_axes.{axis}_bins", bins, "a list of finite numbers")
    if sorted(bins) != bins:
        raise ConfigError(f"{path}: skew_fit.bucket_axes.{axis}_bins", bins, "numbers that rise")
    if not isinstance(labels, list) or not labels or len(labels) != len(bins) - 1:
        raise ConfigError(
            f"{path}: skew_fit.bucket_axes.{axis}_labels", labels, f"a label for each of {len(bins) - 1} bins"
        )
    return bins, [str(label) for label in labels]
