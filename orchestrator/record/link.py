"""A link whose answers come from a tape as far as it goes, and from the component beyond, onto the tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

from metronome.hwmodels.interface import Advanced, Description, Operation, Template, Use

from ..coupling.link import Link, split
from ..errors import ComponentFailure, DivergenceError, RecordingEndsError
from .exchange import Exchange, Tape, asked_for_statistics, asked_to_advance, asked_to_declare


class Live:
    """What is behind a taped link: the component's own link, opened when it is first needed; or nothing."""

    def __init__(self, open_link: Callable[[], Link] | None, link: Link | None = None) -> None:
        self._open, self._link = open_link, link

    @property
    def link(self) -> Link:
        """Raises RecordingEndsError where there is no component."""
        if self._link is None:
            if self._open is None:
                raise RecordingEndsError("the recording ends here, and it has no components to go on with")
            self._link = self._open()
        return self._link

    @property
    def wall_s(self) -> float:
        return self._link.wall_s if self._link else 0.0

    @property
    def there(self) -> bool:
        """Whether there is a component to ask."""
        return self._link is not None or self._open is not None

    @property
    def opened(self) -> Link | None:
        return self._link

    def replace(self, link: Link) -> None:
        """From now on this link is behind every copy."""
        self._link = link

    def another(self) -> Live:
        return Live(None if self._open is None and self._link is None else lambda: self.link.again())


class TapedLink:
    """One session, named ``component#number``; copies share tape and component and keep their own place."""

    def __init__(
        self,
        name: str,
        description: Description,
        remote: bool,
        tape: Tape,
        live: Live,
        number: int = 0,
        image: str = "",
    ) -> None:
        self.name, self._description, self.remote, self.image = name, description, remote, image
        self.session = f"{name}#{number}"
        self.tape, self.live, self._marked = tape, live, False
        self.asked_freely = False  # what is asked is on the tape
        self.position = 0  # messages so far
        self._sessions = 1
        self._asked: tuple[Any, ...] = ()
        self._known: Exchange | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> TapedLink:
        copied = memo[id(self)] = copy(self)
        return copied

    @property
    def description(self) -> Description:
        return self._description

    @property
    def first_event(self) -> int:
        """By which its component was first asked something beyond what it can do; 0 before that."""
        first = self.tape.get(self.session, 1)
        return first.event if first and self.position > 1 else 0

    @property
    def wall_s(self) -> float:
        return self.live.wall_s

    @property
    def incidents(self) -> Mapping[str, Any]:
        return self.live.opened.incidents if self.live.opened else self.tape.incidents.get(self.name, {})

    def again(self) -> Link:
        self._sessions += 1
        return TapedLink(self.name, self._description, self.remote, self.tape, self.live.another(), self._sessions - 1)

    def succeeded_by(self, link: Link) -> TapedLink:
        """The root of sessions with a component in this one's place; they are numbered on."""
        found = TapedLink(self.name, link.description, link.remote, self.tape, Live(None, link), self._sessions)
        found.image, found._sessions = link.image, self._sessions + 1
        return found

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        asked = asked_to_declare(templates)
        known = self._known_answer("declare", asked)
        answer: Any = known.answer if known else self.live.link.declare(templates)
        self._keep("declare", asked, answer, known)
        return answer  # type: ignore[no-any-return]

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        if self.remote:
            self.send(grant_ps, operations, stop_at_first)
            return self.receive()
        asked = asked_to_advance(grant_ps, operations, stop_at_first)
        known = self._known_answer("advance", asked)
        if known is not None:
            return self._again(known)
        try:
            answer = self.live.link.advance(grant_ps, operations, stop_at_first)
        except ComponentFailure as failure:
            self._keep("send", asked, failure, None)  # in this process it fails as it is asked
            raise
        self._keep("advance", asked, answer, None)
        return answer

    def send(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> None:
        self._asked = asked_to_advance(grant_ps, operations, stop_at_first)
        self._known = self._known_answer("advance", self._asked)
        if self._known is None:
            try:
                split(self.live.link).send(grant_ps, operations, stop_at_first)
            except ComponentFailure as failure:
                self._keep("send", self._asked, failure, None)
                raise
        elif self._known.verb == "send":
            self.position += 1
            raise self._failure(self._known)

    def receive(self) -> Advanced:
        known, self._known = self._known, None
        if known is not None:
            return self._again(known)
        try:
            answer = split(self.live.link).receive()
        except ComponentFailure as failure:
            self._keep("advance", self._asked, failure, None)
            raise
        fallback = self.live.link.incidents.get("fallback")
        if fallback and not self._marked:
            self._marked = True
            self.tape.mark(self.name, {"fallback": fallback})
        self._keep("advance", self._asked, answer, None)
        return answer

    def _again(self, known: Exchange) -> Advanced:
        """What a recorded message was answered with; raises the failure it ended with."""
        self.position += 1
        if not isinstance(known.answer, Advanced):
            raise self._failure(known)
        return known.answer

    @staticmethod
    def _failure(known: Exchange) -> ComponentFailure:
        failure = known.answer
        if not isinstance(failure, ComponentFailure):
            raise AssertionError("only a failure is kept as one")
        return ComponentFailure(failure.component, failure.what, failure.doing, failure.last_words, failure.code)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        asked = asked_for_statistics(uses)
        known = self._known_answer("statistics", asked)
        answer: Any = known.answer if known else self.live.link.statistics(uses)
        self._keep("statistics", asked, answer, known)
        return answer  # type: ignore[no-any-return]

    def inspect(self) -> dict[str, Any]:
        """The state of the component as it is now, however far the tape has been read."""
        return self.live.link.inspect()

    def snapshot(self) -> dict[str, Any]:
        return self.live.link.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self.live.link.restore(state)

    def close(self) -> None:
        """The component's own link belongs to who opened it."""

    def _known_answer(self, verb: str, asked: tuple[Any, ...]) -> Exchange | None:
        known = self.tape.get(self.session, self.position)
        if known is not None and known.verb == "statistics" != verb:
            # A run that was interrupted in the middle of an event asks for figures where it would have gone on.
            raise RecordingEndsError(f"the recorded run was interrupted in event {self.tape.event}")
        same = known is None or known.asked == asked or (verb == "statistics" and self.tape.interrupted)
        if known is not None and (known.verb not in (verb, "send") or not same):
            raise DivergenceError(
                self.tape.event,
                f"{self.session} was sent another message than the recorded one",
                {"message": (f"{known.verb} {_short(known.asked)}", f"{verb} {_short(asked)}")},
            )
        return known

    def _keep(self, verb: str, asked: tuple[Any, ...], answer: Any, known: Exchange | None) -> None:
        self.position += 1
        if known is None:
            self.tape.add(Exchange(self.session, self.tape.event, verb, asked, answer))


def _short(asked: tuple[Any, ...]) -> str:
    text = str(asked)
    return text if len(text) <= 300 else text[:297] + "..."
