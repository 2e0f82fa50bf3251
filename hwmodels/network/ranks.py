"""Who takes part in an operation of a network, checked once for all models that know their devices."""

from __future__ import annotations

from collections.abc import Container

from ..interface import Template, UnsupportedOperation


def ranks_of(component: str, template: Template, devices: Container[str], have: str) -> list[str]:
    """The devices of an operation in rank order. ``have``: what there is, for the message.

    Raises UnsupportedOperation for one that is not there, pairs that are none, and groups of one or with repeats.
    """
    ranks = str(template.attributes["ranks"]).split(",")
    for rank in ranks:
        if rank not in devices:
            raise UnsupportedOperation(component, template, f"{rank} is not among the devices of {have}")
    if template.kind == "send":
        if len(ranks) % 2 or any(a == b for a, b in zip(ranks[::2], ranks[1::2], strict=True)):
            raise UnsupportedOperation(component, template, "needs pairs of different devices")
    elif len(set(ranks)) != len(ranks) or len(ranks) < 2:
        raise UnsupportedOperation(component, template, "needs at least two devices, each once")
    return ranks
