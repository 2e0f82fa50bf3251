"""Every error the orchestrator raises on purpose: one tree, with fields. The exit code says whose it is to mend: 2 the
user's input, 3 a component, 1 this program."""

from __future__ import annotations

from collections.abc import Mapping
from sys import stdlib_module_names
from traceback import extract_tb, walk_tb

OURS = {*stdlib_module_names, "metronome", "numpy"}


MOST_TEXT = 8000  # characters of what a component says that are repeated


def plain(text: str, most: int = MOST_TEXT) -> str:
    """Somebody else's text for a terminal: control and invisible characters escaped, not too long."""
    text = text if len(text) <= most else text[:most] + " ..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


class MetronomeError(Exception):
    """Root. ``exit_code`` is what the command line ends with; ``result`` what a run has left that it ended early."""

    exit_code = 1
    result: object = None


class NoEffectWarning(UserWarning):
    """Something the scenario says is read by nobody in this run."""


class NoEnergyWarning(UserWarning):
    """What a component spends is not known, and something was compared without it."""


class RecoveryWarning(UserWarning):
    """A component was started anew in the middle of a run, or another model answers in its place."""


class SurrogateWarning(UserWarning):
    """A surrogate's answer was found further off than its tolerance."""


class InputError(MetronomeError):
    """Something the user gave is wrong: in ``where`` (file, line), ``field`` holds ``value``."""

    exit_code = 2

    def __init__(self, where: str, field: str, value: object, allowed: str) -> None:
        self.where, self.field, self.value, self.allowed = where, field, value, allowed
        shown = "" if value is None else f" = {_short(value)}"
        super().__init__(f"{where}: {plain(field)}{shown}: {plain(allowed)}")


class ComponentFailure(MetronomeError):
    """A component died, hung or lied. Names it, what it was doing and its last words.

    ``code``: ``late`` (it was given an operation of its past), ``timeout``, ``dead``, or ``fault`` for all else.
    """

    exit_code = 3

    def __init__(self, component: str, what: str, doing: str = "", last_words: str = "", code: str = "fault") -> None:
        what, doing, last_words = plain(what), plain(doing), plain(last_words)
        self.component, self.what, self.doing, self.last_words = component, what, doing, last_words
        self.code = code
        text = f"component {component}: {what}"
        if doing:
            text += f" (while {doing})"
        if last_words:
            text += "\n  its last words:\n" + "\n".join("    " + line for line in last_words.splitlines())
        super().__init__(text)


class ExtensionFailure(MetronomeError):
    """Code that is not ours raised in the middle of a run: a router, policy, engine or workload of the user's.

    ``module`` is where; its author can fix it. With our own module's name it is a bug of ours.
    """

    exit_code = 3

    def __init__(self, error: BaseException) -> None:
        frames = [frame for frame, _ in walk_tb(error.__traceback__)]
        names = [str(frame.f_globals.get("__name__", "?")) for frame in frames]
        foreign = [name for name in names if not name.startswith("metronome.") and name.partition(".")[0] not in OURS]
        self.module = foreign[-1] if foreign else "metronome"
        place = f"\n  in {raised_at(error)}"
        ours = "" if foreign else "; this is a bug of Metronome, please report it"
        super().__init__(plain(f"{self.module} raised {words(error)}{ours}{place}"))


class BadAnswer(MetronomeError):
    """A router, policy or the like of the user's answered with what cannot be. ``who`` gave it."""

    exit_code = 3

    def __init__(self, who: object, method: str, answer: object, allowed: str) -> None:
        kind = type(who)
        super().__init__(plain(f"{kind.__module__}:{kind.__name__}: {method} gave {_short(answer)}: must be {allowed}"))


def words(error: BaseException) -> str:
    """Its kind and its message, if it has one that can be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__} (its message cannot be shown)"


def let_interrupts_through(error: BaseException) -> None:
    """For whoever takes anything that code of the user's raises: raises the Ctrl-C or signal that it is, or that is
    behind it. What interrupts the making of a class, where it calls `__set_name__`, Python raises as a RuntimeError."""
    for one in (error, error.__cause__):
        if isinstance(one, KeyboardInterrupt):
            raise one


def raised_at(error: BaseException) -> str:
    """Where an exception comes from, for people: file, line and function."""
    frames = extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}, {frames[-1].name}" if frames else "?"


class RecordingEndsError(MetronomeError):
    """A recording has no answer for what is asked next."""


class DivergenceError(MetronomeError):
    """What happens is not what was recorded: ``fields`` maps a name to (recorded, now)."""

    def __init__(self, event: int, what: str, fields: Mapping[str, tuple[object, object]]) -> None:
        self.event, self.what, self.fields = event, what, dict(fields)
        lines = [f"    {name}: recorded {before}, now {now}" for name, (before, now) in self.fields.items()]
        super().__init__("\n".join([f"diverges from the recording at event {event}: {what}", *lines]))


class StalledError(MetronomeError):
    """Nothing can happen any more although work is outstanding; names who waits for what."""

    exit_code = 3


class TimeError(MetronomeError):
    """Time ran back, overflowed, or stood still for ever: a bug, never an input."""


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else text[:97] + "..."
