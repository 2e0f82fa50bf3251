"""The page of the wire contract: the `.proto` file, its head comment as words, each block as it stands there."""

from __future__ import annotations

import re
from importlib.resources import files

BLOCK = re.compile(r"^((?://[^\n]*\n)*)(service|enum|message) (\w+) \{(?:\}|.*?^\})", re.M | re.S)
KINDS = {"service": "The service", "enum": "Enumerations", "message": "Messages"}


def page() -> str:
    """The page's Markdown."""
    text = files("metronome.component.v1").joinpath("component.proto").read_text(encoding="utf-8")
    head = text.partition("syntax =")[0]
    words = "\n".join(line.removeprefix("//").strip() for line in head.splitlines())
    parts = ["# Wire contract\n", words.replace("docs/coupling.md", "[Time and components](../coupling.md)") + "\n"]
    blocks = list(BLOCK.finditer(text))
    for kind, title in KINDS.items():
        parts.append(f"## {title}\n")
        for block in blocks:
            if block[2] == kind:
                parts.append(f"### {block[3]}\n\n```proto\n{block[0]}\n```\n")
    return "\n".join(parts)
