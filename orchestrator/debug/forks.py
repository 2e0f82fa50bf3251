"""A session of the same run beside another, from the same event on."""

from __future__ import annotations

from ..record.recording import TapingSource
from ..source import Source
from .session import DebugSession
from .tape import MemoryTape
from .timeline import Timeline


def fork(session: DebugSession, source: Source, timeline: Timeline | None = None) -> DebugSession:
    """Another session of the same run that rests before the same event, with components of its own; edits up to here
    are made in it, too.

    Components are given their messages up to here; what comes is asked of them. Raises InputError, ComponentFailure,
    and DivergenceError where one answers otherwise than it did.
    """
    tape = MemoryTape(session.tape.log)
    tape.incidents |= session.tape.incidents
    edits = [edit for edit in session.edits if edit.event <= session.position]
    taping, inputs = TapingSource(source, tape), session.simulation.inputs
    other = DebugSession(session.scenario, inputs, taping, tape, session.log, timeline, edits, source)
    try:
        other.seek(session.position)
        other.inside.go_live(fresh=True)
    except BaseException:
        other.__exit__()
        raise
    other.log = other.log[: other.position]
    return other
