"""Runs of changed scenarios, kept by content where there is a folder to keep them in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, MetronomeError
from ..scenario.loading import load
from . import costs
from .places import Places
from .points import PointRow
from .store import Store, key
from .worker import Task, new_row

Told = Callable[[int, PointRow, bool], None]  # the place, its row, whether it was there already


class RefusedError(MetronomeError):
    """A scenario that an answer depends on cannot be."""

    exit_code = 2


class RunFailure(MetronomeError):
    """A run that an answer depends on did not come to its end."""

    exit_code = 3


class Runs:
    """Of ``source`` (a scenario's file or bundled name). ``prices``: the user's, USD per hour by accelerator; ``out``:
    where rows are kept; None: nowhere.

    What is refused or complete is kept. What failed may have failed for the machine's sake (a component that did not
    start, no memory left) and is tried again by the next that asks.
    """

    def __init__(
        self, source: str, places: Places[PointRow], prices: Mapping[str, float], out: Path | None = None
    ) -> None:
        self._source, self._places, self._prices = source, places, dict(prices)
        self._store, self._out = Store(out / "points") if out else None, out
        self._warned, self._seen = Counter[str](), 0

    def rows(self, changes: Sequence[Mapping[str, Any]], told: Told = lambda place, row, kept: None) -> list[PointRow]:
        """A row for each set of overrides, in their order; ``told`` as soon as one is there."""
        rows: list[PointRow] = [{}] * len(changes)
        keys: dict[int, str | None] = {}

        def missing() -> Iterator[tuple[int, Task]]:
            for place, change in enumerate(changes):
                keys[place], row = self._known(change)
                if row is None:
                    yield place, (self._source, dict(change))
                else:
                    rows[place] = self._seen_row(row)
                    told(place, rows[place], keys[place] is not None)

        def done(place: int, row: PointRow) -> None:
            if self._store and (name := keys[place]) and row["status"] != "failed":
                self._store.put(name, row)
            rows[place] = self._seen_row(row)
            told(place, rows[place], False)

        self._places.map(missing(), done)
        return rows

    def ended(self, changes: Sequence[Mapping[str, Any]]) -> list[PointRow]:
        """Rows of runs that all came to their end, whatever they found. Raises RefusedError or RunFailure."""
        rows = self.rows(changes)
        for row in rows:
            if row["status"] == "refused":
                raise RefusedError(row["error"])
            if row["status"] == "failed":
                raise RunFailure(row["error"])
        return rows

    def warnings(self) -> list[str]:
        """What the runs so far warned of, each once."""
        return [
            text if count == self._seen else f"{text} (in {count} of {self._seen} runs)"
            for text, count in sorted(self._warned.items())
        ]

    def _seen_row(self, row: PointRow) -> PointRow:
        self._seen += 1
        self._warned.update(row["warnings"])
        return costs.priced(row, self._prices)

    def _known(self, change: Mapping[str, Any]) -> tuple[str | None, PointRow | None]:
        """(key, row), either None: the row where it is kept, or refused without a run; the key where rows are kept."""
        try:
            scenario, folder = load(self._source, change)
        except InputError as error:
            return None, new_row("refused", str(error))
        name = key(scenario, folder, self._out) if self._store else None
        return name, self._store.get(name) if self._store and name else None
