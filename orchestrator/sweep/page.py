"""sweep.html: the points as a picture and a table, one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .points import PointRow
from .table import Table

WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN = 720, 420, 84, 48, 28


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of the picture: its place, and what it is in words."""

    x: float
    y: float
    label: str
    front: bool


def render(table: Table) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader(__package__, "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    names = list(table.sweep.objectives)
    x, y = names[0], names[1] if len(names) > 1 else names[0]
    shown = [row for row in table.rows if _figure(row, x) is not None and _figure(row, y) is not None]
    across, up = _Scale([_figure(row, x) for row in shown]), _Scale([_figure(row, y) for row in shown])
    dots = [
        Dot(
            LEFT + across.share(_figure(row, x)) * (WIDTH - LEFT - MARGIN),
            MARGIN + (1 - up.share(_figure(row, y))) * (HEIGHT - BOTTOM - MARGIN),
            f"{describe(row)}: {x} {number(_figure(row, x))}, {y} {number(_figure(row, y))}",
            row["front"],
        )
        for row in shown
    ]
    edge = sorted((dot for dot in dots if dot.front), key=lambda dot: dot.x)
    return environment.get_template("sweep.html.j2").render(
        table=table,
        style=files(__package__).joinpath("assets/sweep.css").read_text(),
        size=(WIDTH, HEIGHT, LEFT, BOTTOM, MARGIN),
        x=x,
        y=y,
        ways=table.sweep.objectives,
        dots=sorted(dots, key=lambda dot: dot.front),
        line=" ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in edge),
        across=[(LEFT + share * (WIDTH - LEFT - MARGIN), text) for share, text in across.marks()],
        up=[(MARGIN + (1 - share) * (HEIGHT - BOTTOM - MARGIN), text) for share, text in up.marks()],
        columns=table.columns(),
        number=number,
        describe=describe,
    )


def describe(row: PointRow) -> str:
    """A point in words: of each path as much of its end as tells it from the others."""
    return ", ".join(f"{_end(path, row['point'])} = {value}" for path, value in row["point"].items())


def _end(path: str, paths: Iterable[str]) -> str:
    parts = path.split(".")
    for count in range(1, len(parts)):
        end = parts[-count:]
        if sum(other.split(".")[-count:] == end for other in paths) == 1:
            return ".".join(end) if not end[0].isdigit() else ".".join(parts[-count - 1 :])
    return path


def number(value: Any) -> str:
    """To four digits."""
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _figure(row: PointRow, name: str) -> Any:
    return row["figures"].get(name)


class _Scale:
    """From the least to the most of some values."""

    def __init__(self, values: list[Any]) -> None:
        self._low: float = min(values, default=0.0)
        self._high: float = max(values, default=1.0)

    def share(self, value: float) -> float:
        span = self._high - self._low
        return (value - self._low) / span if span else 0.5

    def marks(self) -> list[tuple[float, str]]:
        span = self._high - self._low
        return [(share, number(self._low + share * span)) for share in ((0, 0.25, 0.5, 0.75, 1) if span else (0.5,))]
