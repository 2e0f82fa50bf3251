"""Tables on a terminal of 80 columns: names whole, heads over several lines, figures to the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import JustifyMethod


def show(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], names: int) -> None:
    """Prints it. The first ``names`` columns are names, which are not cut; heads are broken at spaces and at _."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    cells = list(rows)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, head in enumerate(heads):
        shown = head.replace("_", " ").split()
        whole = [*shown, *(row[place] for row in cells if place < names)]
        justify: JustifyMethod = "right" if place >= max(names, 1) else "left"
        table.add_column("\n".join(shown), justify=justify, overflow="fold", min_width=max(map(len, whole)))
    for row in cells:
        table.add_row(*row)
    Console().print(table)
