"""The page of component models: every one that can be named, and the fields of its configuration."""

from __future__ import annotations

import fields
from metronome.orchestrator.coupling import registry

HEAD = """# Component models

Every model and adapter that `components.NAME.model` can name, with the keys of its configuration, which stand beside
`model`. Made from the code, as `metronome components --json` prints it. What each needs is in
[adapters](../adapters.md); a model of your own in [Time and components](../coupling.md).
"""


def page() -> str:
    """The page's Markdown."""
    return "\n".join([HEAD, *(part for name in registry.names() for part in _model(name))])


def _model(name: str) -> list[str]:
    model = registry.find(name)
    found = model.description
    able = ", ".join(f"`{kind}`" for kind in sorted(found.op_kinds))
    words = f"{found.summary}. Kind: {found.kind}; time: {found.time_policy}; operations: {able}."
    return fields.sections({**model.config_schema(), "description": words}, name, name)
