"""Clients of ServeGen: a folder of ``chunk-N-trace.csv`` (rates) and ``chunk-N-dataset.json`` (lengths), one pair a
client.

A row of a trace says, from its second on: rate, coefficient of variation, Gamma or Weibull, and that law's two
parameters (shape, scale in s). Gaps are drawn from the law in force, brought to its rate. A dataset has, from its
second on, how probable each length is, for prompts and answers, independently. Source: alibaba/ServeGen (Apache-2.0).
"""

from __future__ import annotations

import csv
import json
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from heapq import merge
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ...errors import InputError
from ...units import PS_PER_S
from ..arrivals import RateSteps
from ..options import TimedTraceOptions
from ..randomness import Lengths
from ..registry import Format, Reading
from ..request import Request

PAIR = re.compile(r"([0-9.eE+-]+)\s*:\s*([0-9.eE+-]+)")
TRACE = re.compile(r"chunk-(\d+)-trace\.csv$")
SHOWN, DEEPEST = 3, 3  # folders that are named, and how far below they are looked for
Law = tuple[str, float]  # Gamma, Weibull or "", and its shape


class ServeGenOptions(TimedTraceOptions):
    """A folder of ServeGen clients; ``path`` is the folder."""

    format: Literal["servegen"] = "servegen"
    clients: list[int] = Field(default=[], description="only these, by number; default: all")
    input_tokens: Lengths | None = Field(default=None, description="of clients whose folder has no dataset")
    output_tokens: Lengths | None = Field(default=None, description="of clients whose folder has no dataset")


def read(options: ServeGenOptions, reading: Reading) -> Iterator[Request]:
    folder = reading.path(options.path)
    numbers = sorted(int(match[1]) for path in folder.glob("*") if (match := TRACE.match(path.name)))
    if not numbers:
        raise InputError(str(folder), "workload.path", None, f"has no chunk-N-trace.csv; {instead(folder)}")
    for client in options.clients:
        if client not in numbers:
            raise InputError(str(folder), "workload.clients", client, f"there are {numbers[0]} to {numbers[-1]}")
    chosen = [_client(folder, number, options, reading) for number in options.clients or numbers]
    end = options.window[1] if options.window else math.inf  # drawn in order of time: what follows need not be drawn
    for number, (now, _, inputs, outputs) in enumerate(merge(*chosen)):
        if now >= end:
            return
        yield Request(number, round(now * PS_PER_S), inputs, outputs)


def instead(path: Path) -> str:
    """What to give in place of one client's file, or of a folder above; what ServeGen wants, of anything else."""
    wanted = "ServeGen wants the folder with chunk-N-trace.csv"
    if TRACE.match(path.name):
        return f"{wanted}: {path.parent} (clients: [N] takes single ones)"
    below = sorted({str(file.parent.relative_to(path)) for file in _below(path)})
    more = f", or another of {len(below)}" if len(below) > SHOWN else ""
    return f"{wanted}: {' or '.join(below[:SHOWN])}{more} in it" if below else wanted


def _below(folder: Path) -> Iterator[Path]:
    """Clients' files in folders of a folder."""
    for depth in range(1, DEEPEST + 1):
        yield from folder.glob(f"{'*/' * depth}chunk-*-trace.csv")


def _client(
    folder: Path, number: int, options: ServeGenOptions, reading: Reading
) -> Iterator[tuple[float, int, int, int]]:
    """(second, client, prompt, answer) of one client's requests."""
    start, steps, laws = _trace(folder / f"chunk-{number}-trace.csv")
    lengths = _lengths(folder / f"chunk-{number}-dataset.json", options, reading)
    gaps, draws = reading.stream(f"client.{number}.gaps"), reading.stream(f"client.{number}.lengths")
    clock = RateSteps(steps, lasts=False)
    while (now := start + clock.after(_gap(laws[min(clock.index, len(laws) - 1)], gaps))) < math.inf:
        inputs, outputs = lengths.draw(now, draws)
        yield now, number, inputs, outputs


def _gap(law: Law, random: np.random.Generator) -> float:
    """A gap of mean 1."""
    kind, shape = law
    if kind == "Gamma":
        return float(random.gamma(shape, 1 / shape))
    if kind == "Weibull":
        return float(random.weibull(shape)) / math.gamma(1 + 1 / shape)
    return float(random.exponential())


def _trace(path: Path) -> tuple[float, list[tuple[float, float]], list[Law]]:
    """(first second, (rate, duration) of each row, law of each row)."""
    rows: list[tuple[float, float, Law]] = []
    try:
        with path.open(newline="") as file:
            for line, cells in enumerate(csv.reader(file), 1):
                try:
                    start, rate, kind = float(cells[0]), float(cells[1]), cells[3].strip()
                    shape = float(cells[4])
                    if kind not in ("Gamma", "Weibull", "") or not 0 <= rate < math.inf or (rate and shape <= 0):
                        raise ValueError
                except (ValueError, IndexError):
                    allowed = "must be second, rate, variation, Gamma or Weibull, shape, scale"
                    raise InputError(f"{path}:{line}", "line", ",".join(cells), allowed) from None
                rows.append((start, rate, (kind, shape)))
    except OSError as error:
        raise InputError(str(path), "workload", None, f"cannot be read: {error.strerror}") from None
    if not rows or any(one[0] >= other[0] for one, other in pairwise(rows)):
        raise InputError(str(path), "workload", None, "must have rows, in order of time")
    width = rows[1][0] - rows[0][0] if len(rows) > 1 else 600.0
    ends = [row[0] for row in rows[1:]] + [rows[-1][0] + width]
    steps = [(rate, end - start) for (start, rate, _), end in zip(rows, ends, strict=True)]
    return rows[0][0], steps, [law for *_, law in rows]


class _Drawn:
    """Lengths by a rule of the scenario's, in place of a dataset."""

    def __init__(self, inputs: Lengths, outputs: Lengths) -> None:
        self._inputs, self._outputs = inputs, outputs

    def draw(self, now: float, random: np.random.Generator) -> tuple[int, int]:
        return self._inputs.draw(random), self._outputs.draw(random)


Table = tuple[list[int], list[float]]  # lengths, and how probable each or a smaller one is


class _Dataset:
    """Lengths as a client's dataset has them, from each of its seconds on; windows without any are passed over."""

    def __init__(self, starts: list[float], tables: list[tuple[Table, Table]]) -> None:
        self._starts, self._tables = starts, tables

    def draw(self, now: float, random: np.random.Generator) -> tuple[int, int]:
        at = max(0, bisect_right(self._starts, now) - 1)
        inputs, outputs = (_pick(table, random.random()) for table in self._tables[at])
        return inputs, outputs


def _pick(table: Table, share: float) -> int:
    lengths, upto = table
    return lengths[min(bisect_right(upto, share * upto[-1]), len(lengths) - 1)]


def _lengths(path: Path, options: ServeGenOptions, reading: Reading) -> _Drawn | _Dataset:
    if not path.is_file():
        if options.input_tokens is None or options.output_tokens is None:
            allowed = "is not there: give workload.input_tokens and workload.output_tokens"
            raise InputError(str(path), "dataset", None, allowed)
        reading.note(f"{path.parent}: clients without a dataset have lengths by the scenario's rule")
        return _Drawn(options.input_tokens, options.output_tokens)
    try:
        windows = json.loads(path.read_text())
        rows = sorted((float(start), window) for start, window in windows.items() if window["input_tokens"] != "{}")
        tables = [(_table(w["input_tokens"]), _table(w["output_tokens"])) for _, w in rows]
        if not rows:
            raise ValueError("no window of it has lengths")
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(str(path), "dataset", None, f"is no dataset of ServeGen's: {error!r}") from None
    return _Dataset([start for start, _ in rows], tables)


def _table(text: str) -> Table:
    pairs = [(round(float(length)), float(share)) for length, share in PAIR.findall(text) if float(share) > 0]
    if not pairs:
        raise ValueError("no length has a probability")
    return [length for length, _ in pairs], list(accumulate(share for _, share in pairs))


def _looks_like(path: Path, head: bytes) -> bool:
    """One client's file and a folder above are known, too: what ServeGen wants is then said."""
    if not path.is_dir():
        return bool(TRACE.match(path.name))
    return any(TRACE.match(file.name) for file in path.iterdir()) or any(_below(path))


FORMAT = Format(ServeGenOptions, read, _looks_like)
