"""What a component may offer beside its one verb; most by a feature of its description (`Feature`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .traffic import Traffic

if TYPE_CHECKING:
    from .interface import Advanced, Completion, Component, Estimate, Estimates, Operation


@runtime_checkable
class DeclaresTraffic(Protocol):
    """Feature TRAFFIC: what an operation has its memory do, and the model's own part of the time.

    Models whose figures contain their memory, measured ones say, declare none.
    """

    def traffic(self, operation: Operation) -> Traffic: ...


@runtime_checkable
class BesideMemory(Protocol):
    """Of a model that declares traffic: its work and its memory's go together as no `Overlap` says, and it says how.

    ``memory_ps`` is what each part of the ``traffic`` that it declared took there.
    """

    def beside(self, operation: Operation, traffic: Traffic, memory_ps: Sequence[int]) -> Estimate: ...


@runtime_checkable
class Progressions(Protocol):
    """Of an oracle that knows a quicker way than `advance` to answer one operation at numbers that grow evenly."""

    def progression(self, operation: Operation, more: Sequence[int], count: int) -> Estimates | None:
        """The costs of ``operation``, and of ``count`` - 1 after it, of which each has so many ``more`` of every number
        than the one before: exactly those that `advance` gives. None where it knows no quicker way."""
        ...


@runtime_checkable
class Foretelling(Protocol):
    """Of a component with a clock that can tell its next answer: over the wire that spares a message."""

    def foretold(self) -> Advanced | None:
        """What `advance` to its next event, without operations and stopping at the first completion, would answer now.
        Nothing of it has happened yet. None where it is not known, or there is no next event."""
        ...


@runtime_checkable
class Asking(Protocol):
    """Feature PORTS: ``answered`` hands over completions of its requests, before the `advance` that they belong to."""

    def answered(self, completions: Sequence[Completion]) -> None: ...


@runtime_checkable
class Resources(Protocol):
    """Feature RESOURCES: what of the component each declared template may touch.

    Templates without a common resource never slow one another down, so each may be asked or stepped
    on its own merits.
    """

    def resources(self) -> Mapping[int, frozenset[int]]: ...


@runtime_checkable
class Snapshots(Protocol):
    """Feature SNAPSHOT: the whole state as JSON-ready data, and back."""

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Inspectable(Protocol):
    """Feature INSPECT: the state as a JSON-ready tree; never changes it."""

    def inspect(self) -> dict[str, Any]: ...


def progressions(component: Component) -> Progressions | None:
    """The component, if it answers progressions as it answers single operations."""
    return component if isinstance(component, Progressions) and _keeps_up(component, "progression") else None


def foretelling(component: Component) -> Foretelling | None:
    """The component, if it tells its next answer as it then gives it."""
    return component if isinstance(component, Foretelling) and _keeps_up(component, "foretold") else None


def _keeps_up(component: object, method: str) -> bool:
    """Whether that is as new as its `advance`: not where a class derived from the one with that method has an `advance`
    of its own."""
    for kind in type(component).__mro__:
        if method in vars(kind):
            return True
        if "advance" in vars(kind):
            return False
    return False
