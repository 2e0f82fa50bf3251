"""From the wires of a scenario to links: who is wired to whom becomes one link, of who is asked from outside."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from metronome.hwmodels.interface import Feature

from ...errors import InputError
from ..components import HBM, ComponentSpec, asked_by_one
from ..link import Link


def behind_wires(
    specs: Sequence[ComponentSpec], links: Mapping[str, Link]
) -> dict[str, list[tuple[ComponentSpec, Link]]]:
    """Of each component that is asked from outside, those it asks over wires, directly or not. Raises InputError."""
    by_name = {spec.name: spec for spec in specs}
    asked = {target for spec in specs for _, target in spec.wires}
    _check_circles(specs)
    for spec in specs:
        ports = links[spec.name].description.ports
        if ports and not spec.wires:
            raise InputError("scenario", "wires", f"{spec.name}.{ports[0].name}", "is wired to nothing")
    found: dict[str, list[tuple[ComponentSpec, Link]]] = {}
    taken: dict[str, str] = {}
    for spec in specs:
        if spec.wires and spec.name not in asked:
            names = reached(spec.name, by_name)[1:]
            for name in names:
                _check_own(spec.name, name, taken)
            found[spec.name] = [(by_name[name], links[name]) for name in names]
    return found


def joined(
    specs: Sequence[ComponentSpec], links: dict[str, Link], wired_to: Container[str]
) -> dict[str, list[tuple[ComponentSpec, Link]]]:
    """Accelerators with their memories: ``links`` of what is wired become islands, those of memories that nobody is
    wired to stand behind their accelerator's. What is behind each is returned. Raises InputError."""
    behind: dict[str, list[tuple[ComponentSpec, Link]]] = {}
    if any(spec.wires or Feature.PORTS in links[spec.name].description.features for spec in specs):
        behind = behind_wires(specs, links)
        links |= wired(specs, links)
    asked = asked_by_one(specs)
    for spec in specs:
        if spec.name.endswith(HBM) and spec.name not in wired_to:
            from ..traffic import TrafficLink

            accelerator = asked[spec.name]
            behind[accelerator] = [(spec, links[spec.name])]
            links[accelerator] = TrafficLink(links[accelerator], links[spec.name])
    for asker, members in behind.items():
        for spec, _ in members:
            if spec.options.surrogate:
                why = f"{asker} asks it alone, and its answers are in those: give {asker} the surrogate"
                raise InputError("scenario", f"components.{spec.name}.surrogate", None, why)
    return behind


def _check_circles(specs: Sequence[ComponentSpec]) -> None:
    """Raises InputError for components that ask one another in a cycle of which nobody is asked from outside."""
    by_name = {spec.name: spec for spec in specs}
    asked = {target for spec in specs for _, target in spec.wires}
    seen = {name for spec in specs if spec.name not in asked for name in reached(spec.name, by_name)}
    left = [spec for spec in specs if spec.name not in seen]
    if not left:
        return
    path = [left[0].name]  # from whom is asked to who asks: each of them is asked by another that is left
    while path[-1] not in path[:-1]:
        path.append(next(one.name for one in left if any(target == path[-1] for _, target in one.wires)))
    circle = " -> ".join(reversed(path[path.index(path[-1]) :]))
    why = "is a cycle: they ask only one another, and nobody is asked from outside"
    raise InputError("scenario", "wires", circle, why)


def _check_own(asker: str, name: str, taken: dict[str, str]) -> None:
    """Raises InputError for what is not the asker's alone: it is asked for operations alone."""
    if not name.endswith(HBM):
        why = f"{asker} asks it at a port, and all devices share it: over wires that is not modelled, as yet; "
        raise InputError("scenario", "wires", name, why + "NODE.hbm is each accelerator's own")
    if taken.setdefault(name, asker) != asker:
        raise InputError("scenario", "wires", name, f"is wired to {taken[name]} and to {asker}")


def wired(specs: Sequence[ComponentSpec], links: Mapping[str, Link]) -> dict[str, Link]:
    """The links that take the place of those: each an island's, of who is asked from outside. Raises InputError."""
    from .island import IslandLink

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


def hosted(specs: Sequence[ComponentSpec]) -> list[ComponentSpec]:
    """The same, but for those with whom others are hosted (`run: island`): these are islands (`adapters.island`).

    Raises InputError.
    """
    by_name = {spec.name: spec for spec in specs}
    guests = {spec.name for spec in specs if spec.options.run == "island"}
    found = dict(by_name)
    asked = {target for spec in specs for _, target in spec.wires}
    _check_circles(specs)
    for spec in specs:
        if not spec.wires or spec.name in asked:
            continue
        members = [by_name[name] for name in reached(spec.name, by_name)]
        own = [one.name for one in members[1:] if one.name not in guests]
        if len(own) == len(members) - 1:
            continue
        if own or spec.options.run not in ("inprocess", "process"):
            odd, run = (own[0], by_name[own[0]].options.run) if own else (spec.name, spec.options.run)
            why = "all that one asks over wires are hosted with it, or none; it runs inprocess or in a process"
            raise InputError("scenario", f"components.{odd}.run", run, why)
        wires = [{"from": f"{one.name}.{port}", "to": target} for one in members for port, target in one.wires]
        config = {"members": {one.name: {"model": one.model, **one.config} for one in members}, "wires": wires}
        found[spec.name] = replace(spec, model="island", config=config, wires=())
        for one in members[1:]:
            options = one.options.model_copy(update={"run": "inprocess"})
            found[one.name] = replace(one, options=options, wires=())
            guests.remove(one.name)
    if guests:
        raise InputError("scenario", f"components.{min(guests)}.run", "island", "nothing is wired to it")
    return list(found.values())
