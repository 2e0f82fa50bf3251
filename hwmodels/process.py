"""What goes between a component that has a process of its own and whoever started it, beside the contract."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

#: Environment variable of such a process: how often its component was started anew before.
LIFE = "METRONOME_LIFE"


@runtime_checkable
class Progressing(Protocol):
    """Feature PROGRESS: how far a model is with what it was asked last; called from another thread meanwhile.

    Any short text that changes as it gets on, such as a count. One that stays the same is silence.
    """

    def progress(self) -> str: ...
