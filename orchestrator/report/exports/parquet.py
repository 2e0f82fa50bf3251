"""requests.csv and timeseries.csv as Parquet, for pandas, DuckDB and the like: the same columns and values, with types.

Needs the extra ``parquet`` (pyarrow).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from ..result import Cell, Result, Table


def write(result: Result, folder: Path) -> list[Path]:
    """``requests.parquet`` and ``timeseries.parquet`` in a folder, which is made if need be. Raises InputError without
    pyarrow, OSError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError("report", "--format", "parquet", "needs pip install 'metronome-cosim[parquet]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in (("requests", result.requests), ("timeseries", result.series)):
        columns = {column: _typed(table, column) for column in table.columns}
        types = {"int": pyarrow.int64(), "float": pyarrow.float64(), "str": pyarrow.string()}
        schema = pyarrow.schema([(column, types[kind]) for column, (kind, _) in columns.items()])
        path = folder / f"{name}.parquet"
        parquet.write_table(pyarrow.table([cells for _, cells in columns.values()], schema=schema), path)
        written.append(path)
    return written


def _typed(table: Table, column: str) -> tuple[str, Sequence[Cell]]:
    """``int``, ``float`` or ``str``, and the cells as such; nothing stays nothing."""
    cells = table[column]
    kinds = {type(cell) for cell in cells if cell is not None}
    if str in kinds:
        return "str", [None if cell is None else str(cell) for cell in cells]
    if float in kinds:
        return "float", [None if cell is None else float(cell) for cell in cells]
    return "int", cells
