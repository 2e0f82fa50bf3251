"""Every measurement as it is made, a line each, so that a profile that was stopped goes on where it was."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from metronome.hwmodels.interface import ConfigError

NAME = "measured.csv"
COLUMNS = ("layer", "part", "first", "second", "time_us")
OUT_OF_MEMORY = "out of memory"  # in place of a time: not tried again

Key = tuple[str, ...]


class Journal:
    """In the folder of one TP degree; ``times`` in us by point, None where memory did not hold it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.times: dict[Key, float | None] = {}
        if self._path.is_file():
            self.times = dict(self._read())
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._path.write_text(",".join(COLUMNS) + "\n")

    def _read(self) -> Iterator[tuple[Key, float | None]]:
        """A last line that was cut short is taken off."""
        text = self._path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            self._path.write_text(text)
        for number, row in enumerate(csv.reader(text.splitlines()[1:]), 2):
            try:
                layer, part, first, second, time = row
                key = (layer, part, first, second) if second else (layer, part, first)
                yield key, None if time == OUT_OF_MEMORY else float(time)
            except ValueError:
                raise ConfigError(f"{self._path}:{number}", ",".join(row), f"needs {', '.join(COLUMNS)}") from None

    def add(self, key: Key, time_us: float | None) -> None:
        """Raises OSError."""
        self.times[key] = time_us
        cells = [*key, *[""] * (4 - len(key)), OUT_OF_MEMORY if time_us is None else format(time_us, ".6g")]
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)
