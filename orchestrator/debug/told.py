"""What is known of a component at a moment without asking it: what it was told, can do, and has said.

Of every component there is that much, an adapter's tool and a recording's too, now and in the past: it is on the tape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metronome.hwmodels.interface import TimePolicy

from ..errors import InputError
from ..record.exchange import Exchange
from ..record.link import TapedLink
from ..simulation import Simulation
from .state import Lazy
from .tape import MemoryTape

RECENT = 64  # messages that are looked at, of which
SHOWN = 16  # operations are shown
STATELESS = "none: each answer is a function of its operation alone"


def of(simulation: Simulation, tape: MemoryTape, name: str) -> dict[str, Any]:
    """As nodes of the state tree, made when they are looked into."""
    spec = next(spec for spec in simulation.specs if spec.name == name)
    links = [link for link in simulation.ports.links(name) if isinstance(link, TapedLink)]
    return {
        "config": lambda: dict(spec.config),
        "description": lambda: _description(links[0]),
        "templates": _templates(links[0], tape),
        "answers": _numbered(lambda: [entry for link in links for entry in _answers(link, tape)]),
    }


def _numbered(entries: Callable[[], list[dict[str, Any]]]) -> Lazy:
    """From the oldest; -1 is the latest."""

    def get(name: str) -> dict[str, Any]:
        known = entries()
        if name.lstrip("-").isdigit() and -len(known) <= int(name) < len(known):
            return known[int(name)]
        raise InputError("state", "answer", name, f"one of {len(known)}, from 0; -1 is the latest")

    return Lazy(lambda: range(len(entries())), get)


def _description(link: TapedLink) -> dict[str, Any]:
    said = link.description
    return {
        "version": said.version,
        "time_policy": str(said.time_policy),
        "memoryless": said.memoryless,
        "op_kinds": sorted(said.op_kinds),
        "features": sorted(map(str, said.features)),
    }


def _templates(link: TapedLink, tape: MemoryTape) -> Lazy:
    """Of everything it may be asked: kind, layer, and its shape."""
    declared = tape.sessions[link.session][0].asked

    def get(name: str) -> dict[str, Any]:
        for number, kind, layer, attributes in declared:
            if str(number) == name:
                return {"kind": kind, "layer": layer, "attributes": dict(attributes)}
        raise InputError("state", "template", name, "there is none of that number")

    return Lazy(lambda: [number for number, *_ in declared], get)


def _answers(link: TapedLink, tape: MemoryTape) -> list[dict[str, Any]]:
    """The latest operations it was asked about, with what it said of them as far as it has."""
    known = tape.sessions.get(link.session, [])[: link.position]
    names = {number: f"{kind} '{layer}'" for number, kind, layer, _ in known[0].asked} if known else {}
    recent = [exchange for exchange in known[-RECENT:] if exchange.verb == "advance"]
    done = {completion.op_id: completion for each in recent for completion in getattr(each.answer, "completions", ())}
    if link.description.time_policy is TimePolicy.ORACLE:  # its numbers begin anew with every message
        entries = [_entry(e, o, names, getattr(e.answer, "completions", ())) for e in recent for o in e.asked[1]]
    else:
        entries = [_entry(e, o, names, [done[o[2]]] if o[2] in done else ()) for e in recent for o in e.asked[1]]
    return entries[-SHOWN:]


def _entry(exchange: Exchange, operation: Any, names: dict[int, str], completions: Any) -> dict[str, Any]:
    template, values, number = operation[:3]
    said = next((completion for completion in completions if completion.op_id == number), None)
    return {
        "event": exchange.event,
        "operation": f"{names.get(template, template)} {list(values)}",
        "took_ps": None if said is None else said.finish_ps - said.start_ps,
        "energy_pj": None if said is None else said.energy_pj,
        "provenance": None if said is None else str(said.provenance),
    }
