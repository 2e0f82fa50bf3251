"""The page of the catalog: every device, interconnect, DRAM and PIM part with its figures and their sources."""

from __future__ import annotations

from typing import Any

from metronome.hwmodels.catalog import facts, model_names, names

KINDS = {
    "devices": "Devices",
    "interconnects": "Interconnects",
    "memories": "Memories",
    "drams": "DRAM parts",
    "pims": "PIM parts",
}


def page() -> str:
    """The page's Markdown."""
    parts = [
        "# Catalog\n\nFigures by their keys in `hwmodels/catalog`; a key ends with its unit. Each has its sources.\n"
    ]
    for folder, title in KINDS.items():
        parts.append(f"## {title}\n")
        parts += [_entry(name, facts(folder, name)) for name in names(folder)]
    listed = "\n".join(f"- `{name}`" for name in model_names())
    parts.append(f"## Models\n\nHugging Face `config.json` files under their own names:\n\n{listed}\n")
    return "\n".join(parts)


def _entry(name: str, found: dict[str, Any]) -> str:
    sources = found.get("sources", {"all": found.get("source", "")})
    figures = {key: value for key, value in found.items() if key not in ("source", "sources")}
    rows = [f"| `{key}` | {_value(value)} |" for key, value in figures.items()]
    said = [f"- *{what}*: {text}" for what, text in sources.items()]
    return "\n".join([f"### {name}\n", "| figure | value |", "|---|---|", *rows, "", "Sources:", "", *said, ""])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return str(value)
