"""The tables of docs/reliability.md that the long forms write."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def replace(name: str, text: str) -> None:
    """What lies between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is ``text`` from now on."""
    before, rest = DOCUMENT.read_text().split(f"<!-- {name} -->\n")
    after = rest.split(f"<!-- /{name} -->\n")[1]
    DOCUMENT.write_text(f"{before}<!-- {name} -->\n{text}<!-- /{name} -->\n{after}")
