"""``report.html``: one run, or several side by side, as one self-contained page (docs/results.md).

Made from what a run leaves in its folder and from nothing else, so that it can be written again later. It holds no
wall-clock figure: same results, same bytes.
"""

from __future__ import annotations

from pathlib import Path

from ...scenario.loading import as_yaml
from ...scenario.schema import Scenario
from ..result import Result
from .run import SCENARIO_FILE, Run, read

__all__ = ["Run", "read", "render", "write"]


def render(runs: list[Run]) -> str:
    """The page of one run, or of several side by side. Needs at least one."""
    from . import page  # its template engine takes longer to load than many a run to start

    return page.render(runs)


def write(result: Result, scenario: Scenario, folder: Path) -> None:
    """scenario.yaml and report.html of a run, beside its other files. Raises OSError."""
    (folder / SCENARIO_FILE).write_text(as_yaml(scenario), encoding="utf-8")
    page, part = folder / "report.html", folder / "report.html.part"
    try:
        part.write_text(render(read([folder])), encoding="utf-8")
    except OSError:
        part.unlink(missing_ok=True)
        raise
    part.replace(page)  # whole or not at all
