"""A run that is going on in another process, as far as its folder tells: the requests that have finished so far."""

from __future__ import annotations

import csv
import time
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..report import underway
from ..report.requests import COLUMNS, Spool
from ..units import PS_PER_NS, PS_PER_S

LATENCIES = ("ttft", "tpot", "e2el")
NS_PER_S = PS_PER_S // PS_PER_NS
BINS = 60  # of the chart
EVERY_S = 0.3  # between two looks at whether it has ended


class Finished:
    """The rows of the spool, read on from where it ended at the last look; times in ns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.restart()

    def restart(self) -> None:
        self._offset = 0
        self.ended: list[int] = []
        self.arrived: list[int] = []
        self.output: list[int] = []
        self.latencies: dict[str, list[int]] = {name: [] for name in LATENCIES}
        self.instances: Counter[str] = Counter()
        self.preemptions = 0

    def read_on(self) -> None:
        """Whole lines only; a file that became shorter is another run's."""
        try:
            if self._path.stat().st_size < self._offset:
                self.restart()
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return
        first = not self._offset
        self._offset += len(new) + len(newline)
        for row in csv.reader(new.decode().splitlines()[first:]):
            self._take(dict(zip(COLUMNS, row, strict=True)))

    def _take(self, row: dict[str, str]) -> None:
        self.ended.append(int(row["end"]))
        self.arrived.append(int(row["arrival"]))
        self.output.append(int(row["output"]))
        self.instances[row["instance"]] += 1
        self.preemptions += int(row["preemptions"])
        for name, values in self.latencies.items():
            if row[name]:
                values.append(int(row[name]))


class Watch:
    """What the page is told. Safe from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, Lock()
        self._finished = Finished(folder / Spool.NAME)
        self._said = underway.look(folder)

    def over(self) -> bool:
        """Whether it has ended with something to view."""
        now = underway.look(self._folder)
        if now and now.alive:
            return False
        journal = self._folder / "recording" / "journal"
        return (self._folder / "result.json").is_file() or (now is not None and journal.is_file())

    def wait(self) -> None:
        """Until it is over, or KeyboardInterrupt."""
        while not self.over():
            time.sleep(EVERY_S)

    def look(self) -> dict[str, Any]:
        """How far it is, and the figures of what has finished; times in ms, but for ``_s``."""
        with self._lock:
            said = underway.look(self._folder) or self._said
            self._said = said
            self._finished.read_on()
            found, done = self._finished, len(self._finished.ended)
            wall_s = self._until(said) - said.began_s if said else 0.0
            total = said.requests if said else None
            return {
                "over": False,
                "scenario": said.scenario if said else "",
                "alive": bool(said and said.alive),
                "done": done,
                "total": total,
                "wall_s": round(wall_s, 1),
                "eta_s": round(wall_s * (total - done) / done, 1) if total and done else None,
                "simulated_s": max(found.ended, default=0) / NS_PER_S,
                "latencies": [_summary(name, values) for name, values in found.latencies.items()],
                "throughput": _throughput(found),
                "instances": sorted(found.instances.items()),
                "preemptions": found.preemptions,
                "chart": _chart(found),
            }

    def _until(self, said: underway.UnderWay | None) -> float:
        """Now, or when a run that was killed was last heard of."""
        try:
            return time.time() if said is None or said.alive else (self._folder / Spool.NAME).stat().st_mtime
        except OSError:
            return said.began_s if said else 0.0


def _summary(name: str, values_ns: list[int]) -> dict[str, Any]:
    values = np.asarray(values_ns, dtype=float) / 1e6
    figures = [values.mean(), *np.percentile(values, (50, 90, 99))] if len(values) else [None] * 4
    return {"name": name, "figures": [None if value is None else float(value) for value in figures]}


def _throughput(found: Finished) -> dict[str, float | None]:
    """From the first arrival to the last end so far."""
    span_s = (max(found.ended) - min(found.arrived)) / NS_PER_S if found.ended else 0
    if not span_s:
        return {"requests": None, "tokens": None}
    return {"requests": len(found.ended) / span_s, "tokens": sum(found.output) / span_s}


def _chart(found: Finished) -> dict[str, Any]:
    """Output tokens a second of requests that ended, by when they did."""
    end_ns = max(found.ended, default=0)
    if not end_ns:
        return {"bin_s": 0, "tokens_per_s": []}
    counts, _ = np.histogram(found.ended, bins=BINS, range=(0, end_ns), weights=found.output)
    bin_s = end_ns / NS_PER_S / BINS
    return {"bin_s": bin_s, "tokens_per_s": [float(count / bin_s) for count in counts]}
