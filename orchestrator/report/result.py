"""What a run leaves behind, as a value: figures, requests, a time series. It knows nothing of the run that made it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..errors import InputError
from .columns import Cell as Cell
from .columns import ColumnRows

Figure = int | float | None


class _Own(BaseModel, extra="allow"):
    """What readers of ``metronome`` in result.json count on."""

    status: str
    accelerators: list[str] = []
    availability: dict[str, Any] = {}
    classes: dict[str, dict[str, Any]] = {}
    components: dict[str, dict[str, Any]] = {}
    electricity: dict[str, float] = {}
    energy_by_part_j: dict[str, dict[str, float]] = {}
    energy_excludes: list[str] = []
    error_bars: dict[str, Any] | None = None
    failed: dict[str, int] = {}
    kv_blocks: dict[str, int] = {}
    kv_tiers: dict[str, dict[str, Any]] = {}
    kv_transfers: dict[str, Any] | None = None
    warnings: list[str] = []
    weight_offloading: dict[str, dict[str, Any]] = {}
    workload: list[str] = []


class _Metrics(BaseModel, extra="allow"):
    """And at its top."""

    metronome: _Own
    model_id: str = ""
    num_prompts: int = 0
    duration: Figure = None
    completed: int = 0
    failed: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    request_throughput: Figure = None
    request_goodput: Figure = None
    output_throughput: Figure = None
    total_token_throughput: Figure = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: ``complete``, ``interrupted`` or ``failed``, and why."""

    status: str = "complete"
    error: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under named columns; ``formats`` says how a column's numbers are written, if not as they are.

    ``table["ttft"]`` is a column, ``for row in table`` gives rows as dictionaries.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    formats: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, column: str) -> list[Cell]:
        place = self.columns.index(column)
        return self.rows.column(place) if isinstance(self.rows, ColumnRows) else [row[place] for row in self.rows]

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def write(self, path: Path) -> None:
        """As CSV; nothing for None."""
        formats = [self.formats.get(column, "") for column in self.columns]
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self.columns)
            for row in self.rows:
                writer.writerow("" if cell is None else format(cell, f) for cell, f in zip(row, formats, strict=True))

    @classmethod
    def read(cls, path: Path) -> Table:
        """Of a CSV file; cells that are numbers become numbers. Raises InputError."""
        try:
            with path.open(newline="") as file:
                reader = csv.reader(file)
                header = next(reader, None)
                if header is None:
                    raise ValueError("it is empty")
                rows = ColumnRows(len(header), _alike(path, len(header), reader), _cell)
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(str(path), "table", None, f"cannot be read: {error}") from None
        return cls(tuple(header), rows)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one run; docs/results.md says what the figures mean.

    Attributes:
        metrics: the content of result.json: the keys of `vllm bench serve --save-result`, ours under ``metronome``.
        requests: one row a finished request, by id; times in ns.
        series: 1 s bins of throughput, requests, KV use and power.
        failures: one row a request that was refused or given up, by id; times in ns.
    """

    metrics: dict[str, Any]
    requests: Table
    series: Table
    failures: Table = Table((), [])

    def __getitem__(self, name: str) -> Any:
        """A figure by its key in result.json."""
        return self.metrics[name]

    @property
    def status(self) -> str:
        """``complete``, ``interrupted`` or ``failed``."""
        return str(self.metrics["metronome"]["status"])

    def write(self, folder: Path | str) -> None:
        """result.json, requests.csv and timeseries.csv in ``folder``, which is made if need be; failed.csv if any.

        result.json is there when all the others are: without it they may be cut.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").unlink(missing_ok=True)
        self.requests.write(folder / "requests.csv")
        self.series.write(folder / "timeseries.csv")
        if len(self.failures):
            self.failures.write(folder / "failed.csv")
        self.write_metrics(folder)

    def write_metrics(self, folder: Path) -> None:
        """result.json, in place of one that is there."""
        part = folder / "result.json.part"
        part.write_text(json.dumps(self.metrics, indent=1) + "\n")
        part.replace(folder / "result.json")

    @classmethod
    def read(cls, folder: Path | str) -> Result:
        """The result that a run has written into ``folder``. Raises InputError."""
        folder = Path(folder)
        try:
            metrics = json.loads((folder / "result.json").read_text())
            _Metrics.model_validate(metrics)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise InputError(str(folder), "result.json", None, f"is no run's: {place}: {first['msg']}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(str(folder), "result.json", None, f"cannot be read: {error}") from None
        failed = folder / "failed.csv"
        failures = Table.read(failed) if failed.exists() else Table((), [])
        return cls(metrics, Table.read(folder / "requests.csv"), Table.read(folder / "timeseries.csv"), failures)


def _alike(path: Path, cells: int, rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Raises InputError for a row that is not as long as the header."""
    for number, row in enumerate(rows, 2):
        if len(row) != cells:
            raise InputError(f"{path}:{number}", "row", None, f"has {len(row)} cells; the header has {cells}")
        yield row


def _cell(text: str) -> Cell:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
