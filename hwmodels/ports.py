"""Ports: how one component asks another (docs/ports.md).

A component with the feature PORTS is described with its ports. A scenario wires each to another component. What it
wants done there it says as `Request`s of an answer to `advance`, and is handed the completions before a later one.
Times are picoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .interface import Template

MOST_CREDITS = 1 << 20


@dataclass(frozen=True, slots=True)
class Port:
    """A place where a component asks another.

    Attributes:
        kind: of component that may be wired to it: accelerator | pim | memory | network.
        templates: of what it asks for; their ids are the port's own.
        latency_ps: from what makes the component ask to the request's time, at least: the lookahead.
        credits: requests not yet answered, at most. An answer gives its credit back.
    """

    name: str
    kind: str
    templates: tuple[Template, ...]
    latency_ps: int = 0
    credits: int = 1024


class Request(NamedTuple):
    """An operation that a component wants done at one of its ports, from ``at_ps`` on.

    ``template`` is one of the port's, ``values`` as of any operation; ``op_id`` is unlike that of any request of the
    component that is not answered yet.
    """

    port: str
    template: int
    values: tuple[int, ...]
    op_id: int
    at_ps: int
