"""A slow component, asked only where its answers cannot be had from answers nearby, with a checked error."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from .. import registry
from ..components import ComponentSpec
from ..link import Link
from .link import SurrogateLink
from .store import identity


def open_surrogate(spec: ComponentSpec, link: Link, behind: Sequence[tuple[ComponentSpec, Link]] = ()) -> Link:
    """The surrogate a component's options ask for, in front of its link; what is ``behind`` it its answers depend on,
    too. Raises InputError."""
    options = spec.options.surrogate
    if options is None:
        raise AssertionError("only where it is asked for")
    found = " ".join(_identity(*one) for one in ((spec, link), *behind))
    return SurrogateLink(link, options, sha256(found.encode()).hexdigest() if behind else found)


def _identity(spec: ComponentSpec, link: Link) -> str:
    model = registry.find(spec.model) if spec.facts is None else None
    return identity(spec, link.description, model, link.image)
