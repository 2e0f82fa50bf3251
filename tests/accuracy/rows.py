"""The table of `make accuracy`: rows, as Markdown, and back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: real and simulated value where there are such, relative errors of ours and the peer's."""

    reference: str
    metric: str
    real: float | None
    simulated: float | None
    error: float
    peer: float | None

    @property
    def key(self) -> tuple[str, str]:
        return self.reference, self.metric


def mean_rows(reference: str, of: str, errors: list[float], what: str = "") -> list[Row]:
    """The mean error of some, and that of absolute values; ``what`` they are goes before."""
    absolute = [abs(error) for error in errors]
    return [
        Row(reference, f"{what}{label}", None, None, sum(values) / len(values), None)
        for label, values in ((f"mean of {of}", errors), ("mean of absolute values", absolute))
    ]


def render(sections: list[tuple[str, list[Row]]]) -> str:
    """All sections as Markdown tables."""
    lines = []
    for title, rows in sections:
        lines += [
            f"## {title}",
            "",
            "| reference | metric | real | simulated | error | peer's error |",
            "|---|---|---:|---:|---:|---:|",
        ]
        for row in rows:
            numbers = ("" if value is None else f"{value:,.2f}" for value in (row.real, row.simulated))
            peer = "" if row.peer is None else f"{row.peer:+.1%}"
            lines.append(f"| {row.reference} | {row.metric} | {' | '.join(numbers)} | {row.error:+.2%} | {peer} |")
        lines.append("")
    return "\n".join(lines)


def parse(text: str) -> dict[tuple[str, str], float]:
    """(reference, metric) -> error, of a rendered table."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[4].endswith("%"):
            found[cells[0], cells[1]] = float(cells[4].rstrip("%")) / 100
    return found
