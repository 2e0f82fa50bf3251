"""The page of every field of a scenario: type, unit, limits, default and description, from its JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from examples import example
from metronome.orchestrator.scenario.schema import Scenario
from metronome.orchestrator.serving.engines import kinds
from metronome.orchestrator.workload.registry import known

#: last parts of a field's name -> its unit; the longest that fits is taken
UNITS = {
    "_gb_s": "GB/s (10⁹ bytes)",
    "_gib": "GiB (2³⁰ bytes)",
    "_mib": "MiB (2²⁰ bytes)",
    "_ns": "ns",
    "_ms": "ms",
    "_s": "s",
    "_w": "W",
    "_pj_per_bit": "pJ/bit",
    "_rate": "1/s",
    "_tokens": "tokens",
    "_len": "tokens",
    "_length": "tokens",
    "_rps": "1/s",
    "_block_size": "tokens",
    "_tflops": "10¹² FLOP/s",
}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
MOST_CHOICES = 4  # parts a field may be, of which each is linked
Titles = dict[str, str]  # of each definition's section
HEAD = """# Every field

Made from the schema of this version, which `metronome validate --schema` prints. A section is a part of the file; its
title is the part's path, `[]` one entry of a list, `NAME` a name of your own. Units are those of the field's name;
examples are from the bundled scenarios.
What the parts are for is in [The scenario file](../scenario.md), [workload](../workload.md) and
[engines](../engines.md). A component has further keys, those of its model: [Component models](components.md).
"""


def page() -> str:
    """The page's Markdown."""
    return "\n".join([HEAD, *sections(Scenario.model_json_schema(), "", "top")])


def sections(schema: dict[str, Any], path: str, title: str) -> list[str]:
    """A table of the fields of what has that schema, and one of each part of it, with paths from ``path``."""
    titles = _titles(schema, path)
    parts = [_section(title, schema, titles)]
    top = list(schema.get("properties", {}))
    order = sorted(titles, key=lambda name: _place(titles[name], path, top))  # what belongs to a field together
    return parts + [_section(titles[name], schema["$defs"][name], titles) for name in order]


def _place(title: str, path: str, top: list[str]) -> int:
    return top.index(re.split(r"[.,\[]", title.removeprefix(f"{path}."))[0])


def _titles(schema: dict[str, Any], path: str) -> Titles:
    """Each part's title, by its definition, at the shortest path to it."""
    titles, level = dict[str, str](), [(schema, path)]
    while level:
        below = []
        for part, place in level:
            for field, inner in part.get("properties", {}).items():
                for name, suffix in _named(inner):
                    if name not in titles:
                        spot = f"{place}.{field}".lstrip(".") + suffix
                        titles[name] = _title(name, spot)
                        below.append((schema["$defs"][name], spot))
        level = below
    return titles


def _named(schema: Any) -> Iterator[tuple[str, str]]:
    """Definitions a field's schema names, and what is put behind the field's path to come to one."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2], ""
    for key in ("anyOf", "oneOf"):
        for one in schema.get(key, ()):
            yield from _named(one)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(schema.get(key), dict):
            yield from ((name, suffix + more) for name, more in _named(schema[key]))
    for one in schema.get("patternProperties", {}).values():
        yield from ((name, ".NAME" + more) for name, more in _named(one))


def _title(name: str, place: str) -> str:
    """The path, and of which format or kind of engine the part is."""
    formats = [one for one, found in known().items() if found.options.__name__ == name]
    engines = [one for one, found in kinds().items() if found.options.__name__ == name]
    if place == "workload" and formats:
        return f"{place}, format {', '.join(formats)}"
    if place.endswith(".engine") and engines:
        return f"{place}, {', '.join(engines)}"
    return f"{place}, any other format" if place == "workload" else place


def _section(title: str, part: dict[str, Any], titles: Titles) -> str:
    required = part.get("required", [])
    rows = [
        _row(name, schema, name in required, titles, example(title, name))
        for name, schema in part.get("properties", {}).items()
    ]
    words = " ".join(part.get("description", "").replace("``", "`").split())
    if part.get("additionalProperties") is True:
        words += " Further keys are taken."
    head = "| field | type | unit | default | what it is |\n|---|---|---|---|---|"
    return "\n".join([f"## {title}\n", words, "", head, *rows, ""])


def _row(name: str, schema: dict[str, Any], required: bool, titles: Titles, given: str) -> str:
    default = "**required**" if required else _default(schema)
    kind = _type(schema, titles)
    plain = "](#" not in kind and "boolean" not in kind  # a part's fields have units of their own
    said = schema.get("description", "")
    if given and "e.g." not in said:
        said = f"{said}; e.g. `{given}`".removeprefix("; ")
    cells = [f"`{name}`", kind, unit(name) if plain else "", default, said]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def unit(name: str) -> str:
    """The unit that a field's name says; nothing where it says none."""
    fitting = [ending for ending in UNITS if f"_{name}".endswith(ending)]
    return UNITS[max(fitting, key=len)] if fitting else ""


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema or schema["default"] is None:
        return "none"
    value = schema["default"]
    return "its own defaults" if isinstance(value, dict) and value else f"`{json.dumps(value)}`"


def _type(schema: dict[str, Any], titles: Titles) -> str:
    """The type in words, with its limits; a part of its own as a link."""
    if "$ref" in schema:
        return _link(titles[schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := schema.get("anyOf", schema.get("oneOf")):
        found = [_type(one, titles) for one in choices if one.get("type") != "null"]
        if len(found) > MOST_CHOICES:
            return f"{found[0]}, and the {len(found) - 1} after it"
        return " or ".join(dict.fromkeys(found))
    kind = schema.get("type", "any")
    if "prefixItems" in schema:
        return f"[{', '.join(_type(one, titles) for one in schema['prefixItems'])}]"
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), titles)}"
    if kind == "object":
        inner = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
        of = [_type(one, titles) for one in inner if isinstance(one, dict)]
        return f"mapping of {' or '.join(of)}" if of else "mapping"
    limits = [f"{sign} {schema[key]}" for key, sign in LIMITS.items() if key in schema]
    pattern = [f"matches `{schema['pattern']}`"] if "pattern" in schema else []
    return ", ".join([kind, *limits, *pattern])


def _link(title: str) -> str:
    """A link to the section of that title on this page, by GitHub's rule for anchors."""
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    return f"[{title}](#{anchor})"
