"""A slow component, asked only where its answers cannot be had from answers nearby, with a checked error."""

from __future__ import annotations

from .. import registry
from ..components import ComponentSpec
from ..link import Link
from .link import SurrogateLink
from .store import identity


def open_surrogate(spec: ComponentSpec, link: Link) -> Link:
    """The surrogate a component's options ask for, in front of its link. Raises InputError."""
    options = spec.options.surrogate
    if options is None:
        raise AssertionError("only where it is asked for")
    model = registry.find(spec.model) if spec.facts is None else None
    return SurrogateLink(link, options, identity(spec, link.description, model, link.image))
