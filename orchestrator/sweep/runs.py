"""Runs of changed scenarios, kept by content where there is a folder to keep them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..scenario.loading import load
from . import costs
from .pool import Pool, Row
from .store import Store, key

Told = Callable[[int, Row, bool], None]  # the place, its row, whether it was there already


class Runs:
    """Of ``source`` (a scenario's file or bundled name). ``out``: where rows are kept; None: nowhere."""

    def __init__(self, source: str, pool: Pool, prices: Mapping[str, float], out: Path | None = None) -> None:
        self._source, self._pool, self._prices = source, pool, dict(prices)
        self._store = Store(out / "points") if out else None
        self._digest = costs.digest(self._prices)

    def rows(self, changes: Sequence[Mapping[str, Any]], told: Told = lambda place, row, kept: None) -> list[Row]:
        """A row for each set of overrides, in their order; ``told`` as soon as one is there."""
        rows: list[Row | None] = [None] * len(changes)
        keys, missing = [self._key(change) for change in changes], list[int]()
        for place, name in enumerate(keys):
            row = self._store.get(name) if self._store and name else None
            if row is None:
                missing.append(place)
                continue
            rows[place] = row
            told(place, row, True)

        def done(number: int, row: Row) -> None:
            place = missing[number]
            rows[place] = row
            if self._store and (name := keys[place]):
                self._store.put(name, row)
            told(place, row, False)

        self._pool.map([(self._source, dict(changes[place]), self._prices) for place in missing], done)
        return [row for row in rows if row is not None]

    def _key(self, change: Mapping[str, Any]) -> str | None:
        """None for a scenario that cannot be: it is refused at once, and again."""
        try:
            scenario, folder = load(self._source, change)
        except InputError:
            return None
        return key(scenario, folder) + self._digest
