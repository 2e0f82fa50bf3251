"""A session that goes on when its component dies, hangs or lies."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from metronome.hwmodels.interface import Advanced, Completion, Description, Operation, Template, Use
from metronome.hwmodels.ports import Port
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from ...errors import ComponentFailure, RecoveryWarning
from ..conduct import Conduct
from ..link import Link
from ..oracle import answered as every_one
from ..remote import Host, RemoteLink
from .home import Home, beyond_recovery
from .log import Message, SessionLog, digest
from .substitute import Substitute

TRIES = 3  # of one message; then the run ends
NUMBERS = re.compile(r"\d+")
PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0

T = TypeVar("T")


class CannotBeRebuilt(ComponentFailure):
    """Trying again would not help."""


class RecoveringLink:
    """One session with the component in a `Home`, in whichever life that is.

    A failure is answered by starting the component anew, bringing the session to where it was (`SessionLog`), every
    answer and state the same as before, and asking again. So whoever asks sees the answers of a component that never
    failed, or the failure.
    """

    remote = True
    asked_freely = True

    def __init__(self, home: Home, number: int = 0) -> None:
        self._home, self._number, self._sessions = home, number, 1
        self.name = home.spec.name
        self._live: RemoteLink = home.connect(number)
        self._life = home.life
        self._description = self._live.description
        self._past_s = 0.0  # waited in earlier lives
        self._log = SessionLog(self._description)
        self._conduct = Conduct(self)
        self._asked: tuple[int, Sequence[Operation], bool, Sequence[Completion]] = (0, (), False, ())
        self._substitute = Substitute.of(home.spec, self._description)
        self._others: list[RecoveringLink] = []
        self._answered = 0  # messages of this session, in this life
        self._lied: tuple[str, int] | None = None  # how, numbers left out, and after how many; in the life before

    @property
    def description(self) -> Description:
        """What it is in this session, once it is configured."""
        return self._live.description

    @property
    def ports(self) -> Sequence[Port]:
        return self._live.ports

    @property
    def wall_s(self) -> float:
        return self._past_s + self._live.wall_s

    @property
    def image(self) -> str:
        return self._live.image

    @property
    def host(self) -> Host:
        return self._live.host

    def be_patient(self, seconds: float) -> None:
        self._live.be_patient(seconds)

    @property
    def incidents(self) -> dict[str, Any]:
        return self._home.incidents

    def again(self) -> Link:
        self._sessions += 1
        other = self._recovering(lambda: RecoveringLink(self._home, self._sessions - 1))
        self._others.append(other)
        return other

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        resources = self._recovering(lambda: self._live.declare(templates))
        self._log.declared(templates, resources)
        if self._substitute:
            self._substitute.declare(templates)
        return resources

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        self.send(grant_ps, operations, stop_at_first)
        return self.receive()

    def send(
        self,
        grant_ps: int,
        operations: Sequence[Operation],
        stop_at_first: bool,
        answered: Sequence[Completion] = (),
    ) -> None:
        """As `RemoteLink.send`."""
        if self._home.substitute and not self._substituted:
            self._hand_over()
        self._asked = grant_ps, operations, stop_at_first, answered
        self._conduct.sent(grant_ps, operations, answered)
        if not self._substituted:
            self._live.send(*self._asked)

    def receive(self) -> Advanced:
        if self._substituted:
            return self._by_substitute()
        try:
            answer = self._recovering(self._answer, resend=True)
        except ComponentFailure as failure:
            if self._substitute is None:
                raise
            self._mark(failure)
            self._hand_over()
            return self._by_substitute()
        self._answered += 1
        self._log.add(Message(*self._asked[:3], digest(answer), self._asked[3]), self._conduct.idle)
        if self._log.snapshot_due:
            self._take_snapshot()
        return answer

    def _answer(self) -> Advanced:
        return self._checked(self._live.receive())

    def _checked(self, answer: Advanced) -> Advanced:
        """The answer to what was asked last. Raises ComponentFailure for one that cannot be."""
        if self._log.clocked:
            self._conduct.check(answer)
        else:
            every_one(self, self._asked[1], answer)
            self._conduct.open.clear()
        return answer

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        if self._substitute and self._home.substitute:
            return self._substitute.statistics(uses)
        return self._recovering(lambda: self._live.statistics(uses))

    def inspect(self) -> dict[str, Any]:
        return self._recovering(lambda: self._live.inspect())

    def snapshot(self) -> dict[str, Any]:
        return self._recovering(lambda: self._live.snapshot())

    def restore(self, state: dict[str, Any]) -> None:
        self._log.snapshot(state, self._recovering(lambda: self._live.restored(state)))
        self._conduct = Conduct(self, restored=True)

    def close(self) -> None:
        for other in self._others:
            other.close()
        self._live.close()

    # Recovery -------------------------------------------------------------------------------------

    def _recovering(self, ask: Callable[[], T], resend: bool = False) -> T:
        """What ``ask`` gives, of a component that is brought back as often as need be. Raises ComponentFailure."""
        try:
            return ask()
        except ComponentFailure as failure:
            if not _hopeful(failure):
                raise
            return self._brought_back(ask, resend, failure)

    def _brought_back(self, ask: Callable[[], T], resend: bool, met: ComponentFailure) -> T:
        """The same, having met a failure."""
        first: ComponentFailure | None = None
        noticed_s = 0.0

        def once() -> T:
            if retrying.statistics["attempt_number"] == 1:
                raise met
            self._rebuild(resend)
            return ask()

        def before_sleep(state: RetryCallState) -> None:
            nonlocal first, noticed_s
            noticed_s = noticed_s or time.perf_counter()
            failure = state.outcome and state.outcome.exception()
            if isinstance(failure, ComponentFailure):
                self._check_hope(failure, first)
                first = failure
                self._tell(failure)

        retrying = Retrying(
            stop=stop_after_attempt(1 + TRIES),
            wait=wait_exponential(multiplier=PAUSE_S, max=LONGEST_PAUSE_S),
            retry=retry_if_exception(_hopeful),
            before_sleep=before_sleep,
            reraise=True,
        )
        try:
            found = retrying(once)
            self._home.recovery_wall_s += time.perf_counter() - noticed_s if noticed_s else 0.0
            return found
        except ComponentFailure as failure:
            if first is None or isinstance(failure, CannotBeRebuilt):
                raise
            raise beyond_recovery(failure, f"it was started anew {TRIES} times, and failed each time") from None

    def _check_hope(self, failure: ComponentFailure, before: ComponentFailure | None) -> None:
        """Raises CannotBeRebuilt where starting it anew is of no use."""
        why = self._log.why_not
        if self._log.templates is None and not self._number:
            why = "it never worked"
        again = before is not None and failure.code != "dead" and str(before) == str(failure)
        lied = (NUMBERS.sub("#", failure.what), self._answered) if failure.code == "fault" else None
        if again or (lied and lied == self._lied):  # such a lie comes of what it has been asked in its life
            why = "started anew, it does the same again"
        self._lied = lied
        starting = ("starting", "connecting")
        if before and failure.doing in starting and before.doing in starting and failure.code != "dead":
            why = "it does not start any more"
        if why:
            text = f"{failure.what}; it cannot be brought back: {why}"
            raise CannotBeRebuilt(self.name, text, failure.doing, failure.last_words, failure.code)

    def _tell(self, failure: ComponentFailure) -> None:
        if self._life == self._home.life:
            text = f"component {self.name}: {failure.what}; it is started anew (life {self._life + 2})"
            warnings.warn(text, RecoveryWarning, stacklevel=2)

    def _rebuild(self, resend: bool) -> None:
        """The session, in the component's present or next life, as it was before what was asked last."""
        log, past = self._log, self._live
        self._home.renew(self._life)
        self._past_s += past.wall_s
        past.close()
        self._life = self._home.life
        self._live = live = self._home.connect(self._number)
        if live.description != self._description:
            raise self._otherwise("describes itself")
        if log.templates is not None and live.declare(log.templates) != log.resources:
            raise self._otherwise("divides itself into parts")
        if log.state is not None:
            found = live.restored(log.state)
            if log.state_digest and found != log.state_digest:
                raise self._otherwise("is in another state after its snapshot was restored: it states its digest")
        for message in log.messages:
            live.send(message.grant_ps, message.operations, message.stop_at_first, message.answered)
            if digest(live.receive()) != message.answer:
                raise self._otherwise(f"answers what it was asked before (up to {message.grant_ps} ps)")
        self._answered = len(log.messages)
        if resend:
            live.send(*self._asked)

    def _otherwise(self, does: str) -> CannotBeRebuilt:
        return CannotBeRebuilt(self.name, f"cannot be brought back: started anew, it {does} otherwise than before")

    def _take_snapshot(self) -> None:
        try:
            self._log.snapshot(*self._live.digested())
        except ComponentFailure as failure:  # if it is dead or hangs, that is found when it is asked next
            if failure.code == "fault":  # it has the feature, and cannot: its messages are kept
                self._log.no_snapshots()

    # Another model in its place ---------------------------------------------------------------------

    @property
    def _substituted(self) -> bool:
        return self._substitute is not None and self._substitute.answers

    def _hand_over(self) -> None:
        """This session's part of it: what was asked and not answered is asked of the other model."""
        if self._substitute is None:
            raise AssertionError("asked for only where there is one")
        pending = {operation.op_id for operation in self._asked[1]}
        owed = [operation for op_id, operation in self._conduct.open.items() if op_id not in pending]
        self._substitute.take_over(owed, self._conduct.reached_ps)

    def _mark(self, failure: ComponentFailure) -> None:
        if self._substitute is None:
            raise AssertionError("asked for only where there is one")
        model = self._substitute.model
        self._home.substitute = {"model": model, "since_ps": self._conduct.reached_ps, "why": failure.what}
        text = f"component {self.name}: {failure.what}; {model} answers in its place from here: the result is marked"
        warnings.warn(text, RecoveryWarning, stacklevel=2)

    def _by_substitute(self) -> Advanced:
        if self._substitute is None:
            raise AssertionError("asked for only where there is one")
        return self._checked(self._substitute.advance(*self._asked[:3]))


def _hopeful(error: BaseException) -> bool:
    return isinstance(error, ComponentFailure) and not isinstance(error, CannotBeRebuilt)


__all__ = ["RecoveringLink"]
