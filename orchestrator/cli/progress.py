"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..instruments.progress import Progress
from ..units import PS_PER_S


@contextmanager
def progress_bar(quiet: bool, requests: int | None = None) -> Iterator[list[Progress]]:
    """Simulated time, requests done and tokens per wall second, on a terminal only; of how many ``requests`` and when
    they will be done, where that is known."""
    if quiet or not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import (
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}")]
    columns += [TextColumn("ETA"), TimeRemainingColumn()] if requests else [TimeElapsedColumn()]
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=requests)
        started = time.perf_counter()

        def update(now_ps: int, done: int, tokens: int) -> None:
            wall = time.perf_counter() - started
            of = f" of {requests:,}" if requests else ""
            text = f"{now_ps / PS_PER_S:,.1f} s simulated, {done:,}{of} requests, {tokens / wall:,.0f} tokens/s"
            bar.update(task, completed=done, description=text)

        yield [Progress(update)]


@contextmanager
def counting_bar(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """So many of so many are done, and when the rest will be; on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
