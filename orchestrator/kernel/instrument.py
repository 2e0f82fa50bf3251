"""How anybody looks on: rooms call hooks, instruments are objects with methods of the hooks' names.

Any number of instruments may be attached. A hook that nobody listens to is an empty tuple, so looking costs nothing
where nobody looks. An instrument cannot change a run: one that raises is dropped, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import get_annotations
from typing import Any, Generic, ParamSpec

from ..errors import let_interrupts_through

P = ParamSpec("P")


class Hook(Generic[P]):
    """One thing that can be told of. ``listeners`` is empty where nobody listens: ask before making up arguments."""

    __slots__ = ("_instruments", "listeners", "name")

    def __init__(self, instruments: Instruments, name: str) -> None:
        self._instruments, self.name = instruments, name
        self.listeners: tuple[Callable[P, object], ...] = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for listener in self.listeners:
            try:
                listener(*args, **kwargs)
            except BaseException as error:  # whatever it is, the run is not its business
                let_interrupts_through(error)
                self._instruments.drop(listener, error)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook[P]:
        copied: Hook[P] = deepcopy(self._instruments, memo).hook(self.name)
        return copied


class Hooks:
    """The hooks of one room: a subclass annotates an attribute for each, ``name: Hook[[types of arguments]]``."""

    def __init__(self, instruments: Instruments) -> None:
        for name in get_annotations(type(self)):
            setattr(self, name, instruments.hook(name))


class Instruments:
    """Everybody who looks on at one run.

    A copy of a run takes along the instruments that say ``rewinds = True``: what they have written down goes back in
    time with it. The others stay with the original.
    """

    def __init__(self, say: Callable[[str], None] = lambda message: None) -> None:
        self._say = say
        self._all: list[object] = []
        self._hooks: dict[str, Hook[...]] = {}

    def hook(self, name: str) -> Any:
        """The hook of that name, which is made when first asked for."""
        if name not in self._hooks:
            self._hooks[name] = Hook(self, name)
            self._listen(name)
        return self._hooks[name]

    def add(self, instrument: object) -> None:
        """Attach an instrument after those that are attached already."""
        self._all.append(instrument)
        for name in self._hooks:
            self._listen(name)

    def remove(self, instrument: object) -> None:
        self._all = [one for one in self._all if one is not instrument]
        for name in self._hooks:
            self._listen(name)

    def drop(self, listener: Callable[..., object], error: BaseException) -> None:
        """Detach the instrument that a method belongs to, and say why."""
        instrument = getattr(listener, "__self__", listener)
        name = type(instrument).__name__
        self._say(f"instrument {name} is dropped: {type(error).__name__} in {listener.__name__}: {error}")
        self.remove(instrument)

    def _listen(self, name: str) -> None:
        methods = (getattr(instrument, name, None) for instrument in self._all)
        self._hooks[name].listeners = tuple(method for method in methods if method is not None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Instruments:
        copied = memo[id(self)] = Instruments(self._say)
        copied._all = [deepcopy(one, memo) for one in self._all if getattr(one, "rewinds", False)]
        for name in self._hooks:
            copied.hook(name)
        return copied
