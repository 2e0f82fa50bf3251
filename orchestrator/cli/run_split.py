"""``metronome run`` over several workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..api import clear
from ..errors import InputError
from ..report import underway
from ..report.html import write as write_report
from ..report.result import Result
from ..scenario.loading import parse_overrides
from ..scenario.origin import naming_its_file
from ..scenario.schema import Scenario
from ..shards.run import Ended, Task, run
from ..sweep.places import Cluster
from .progress import progress_bar


def run_split(
    loaded: Scenario,
    folder: Path,
    source: str,
    overrides: Sequence[str],
    seed: int | None,
    output: Path,
    workers: int,
    cluster: Cluster | None,
    strict: bool,
    quiet: bool,
) -> tuple[Result, Ended]:
    """The run and its files in ``output``. Raises InputError."""
    values = parse_overrides(overrides) | ({} if seed is None else {"seed": seed})
    task = Task(source, values, workers, cluster, strict=strict)
    clear(output)
    with naming_its_file(loaded), underway.under_way(output, loaded):
        with progress_bar(quiet, underway.requests_of(loaded)) as bars:
            result, ended = run(loaded, folder, task, *(bar.tell for bar in bars))
        try:
            result.write(output)
            write_report(result, loaded, output)
        except OSError as error:
            raise InputError(str(output), "results", None, f"cannot be written: {error}") from None
    return result, ended
