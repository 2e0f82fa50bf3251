"""From the wires of a scenario to links: who is wired to whom becomes one link, of who is asked from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import InputError
from ..components import HBM, ComponentSpec
from ..link import Link
from .island import IslandLink


def behind_wires(
    specs: Sequence[ComponentSpec], links: Mapping[str, Link]
) -> dict[str, list[tuple[ComponentSpec, Link]]]:
    """Of each component that is asked from outside, those it asks over wires, directly or not. Raises InputError."""
    by_name = {spec.name: spec for spec in specs}
    asked = {target for spec in specs for _, target in spec.wires}
    found: dict[str, list[tuple[ComponentSpec, Link]]] = {}
    taken: dict[str, str] = {}
    for spec in specs:
        if spec.wires and spec.name not in asked:
            names = reached(spec.name, by_name)[1:]
            for name in names:
                _check_own(spec.name, name, taken)
            found[spec.name] = [(by_name[name], links[name]) for name in names]
    circle = sorted({spec.name for spec in specs if spec.wires} - {*found, *taken})
    if circle:
        raise InputError("scenario", "wires", ", ".join(circle), "ask only one another: nobody is asked from outside")
    return found


def _check_own(asker: str, name: str, taken: dict[str, str]) -> None:
    """Raises InputError for what is not the asker's alone: it is asked for operations alone."""
    if not name.endswith(HBM):
        why = f"{asker} asks it at a port, and all devices share it: over wires that is not modelled, as yet; "
        raise InputError("scenario", "wires", name, why + "NODE.hbm is each accelerator's own")
    if taken.setdefault(name, asker) != asker:
        raise InputError("scenario", "wires", name, f"is wired to {taken[name]} and to {asker}")


def wired(specs: Sequence[ComponentSpec], links: Mapping[str, Link]) -> dict[str, Link]:
    """The links that take the place of those: each an island's, of who is asked from outside. Raises InputError."""
    by_name = {spec.name: spec for spec in specs}
    found: dict[str, Link] = {}
    for name, others in behind_wires(specs, links).items():
        members = [by_name[name], *(spec for spec, _ in others)]
        wires = [(f"{spec.name}.{port}", target) for spec in members for port, target in spec.wires]
        found[name] = IslandLink(links[name], [link for _, link in others], wires)
    return found


def reached(name: str, specs: Mapping[str, ComponentSpec]) -> list[str]:
    """It, and all it asks, directly or not, each once."""
    found = [name]
    for one in found:
        found += [target for _, target in specs[one].wires if target not in found]
    return found
