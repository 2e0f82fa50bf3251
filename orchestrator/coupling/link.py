"""The transport under a port: a component in this process, or one behind gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, Protocol, cast

from metronome.hwmodels.interface import (
    Advanced,
    Asking,
    Completion,
    Component,
    ComponentError,
    ConfigError,
    Description,
    Estimates,
    Inspectable,
    LateOperation,
    Operation,
    Resources,
    Snapshots,
    Template,
    UnsupportedOperation,
    Use,
    progressions,
)
from metronome.hwmodels.ports import Port

from ..errors import ComponentFailure, InputError, let_interrupts_through, raised_at, words
from ..units import MAX_PS
from .figures import check_energy


class Link(Protocol):
    """One session with one component."""

    name: str

    @property
    def wall_s(self) -> float:
        """Time spent waiting for answers."""
        ...

    @property
    def image(self) -> str:
        """Digest of the container image it runs in; empty where it runs in none."""
        ...

    @property
    def incidents(self) -> Mapping[str, Any]:
        """What has befallen its component, for the result: ``recoveries``, ``fallback``; empty mostly."""
        ...

    @property
    def description(self) -> Description: ...

    @property
    def asked_freely(self) -> bool:
        """Whether questions whose answers are never needed leave no trace, in its answers or its figures."""
        ...

    @property
    def remote(self) -> bool:
        """Whether a question costs a round trip; such a link is a `SplitLink`."""
        ...

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        """Configure the session; raises InputError for what the component refuses.

        Returns what parts of it each template touches, if it tells parts apart.
        """
        ...

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        """As `Component.advance`; raises ComponentFailure."""
        ...

    def again(self) -> Link:
        """Another session with a component of the same configuration, not yet declared."""
        ...

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        """The component's figures at the end; ``uses`` as in `Component.statistics`."""
        ...

    def inspect(self) -> dict[str, Any]:
        """The component's state, unchanged by looking; raises ComponentFailure where it offers none."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Its whole state, for `restore` in this or another session; raises ComponentFailure where it offers none."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class SplitLink(Link, Protocol):
    """A link whose component answers elsewhere: while it does, others can be asked."""

    def send(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> None:
        """An `advance` without its answer; raises ComponentFailure."""
        ...

    def receive(self) -> Advanced:
        """The answer to the last `send`; raises ComponentFailure."""
        ...


def split(link: Link) -> SplitLink:
    """The same link, to be sent to and received from; only where it is remote."""
    if not link.remote:
        raise TypeError(f"{link.name} answers in this process")
    return cast(SplitLink, link)


class LocalLink:
    """A component in the orchestrator's own process: a call, nothing else."""

    remote = False
    asked_freely = True
    image = ""
    incidents: Mapping[str, Any] = {}

    def __init__(self, name: str, make: Callable[[], Component]) -> None:
        self.name, self._make, self.wall_s = name, make, 0.0
        self.component = make()
        self._progressions = progressions(self.component)

    @property
    def description(self) -> Description:
        return self.component.description

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        try:
            self.component.declare(templates)
            return self.component.resources() if isinstance(self.component, Resources) else None
        except (ConfigError, UnsupportedOperation) as error:
            raise refused(self.name, error) from None
        except BaseException as error:
            raise raised(self.name, error, "being told what it will be asked") from error

    def again(self) -> Link:
        return LocalLink(self.name, self._make)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        try:
            return self.component.statistics(uses)
        except BaseException as error:
            raise failed(self.name, error, "being asked for its figures") from error

    def inspect(self) -> dict[str, Any]:
        if not isinstance(self.component, Inspectable):
            raise ComponentFailure(self.name, "cannot be inspected: its model has no feature inspect")
        try:
            return self.component.inspect()
        except BaseException as error:
            raise raised(self.name, error, "being inspected") from error

    def snapshot(self) -> dict[str, Any]:
        return self._snapshots().snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self._snapshots().restore(state)

    def _snapshots(self) -> Snapshots:
        if not isinstance(self.component, Snapshots):
            raise ComponentFailure(self.name, "takes no snapshots: its model has no feature snapshot")
        return self.component

    @property
    def ports(self) -> Sequence[Port]:
        """Where it asks others."""
        return self.component.description.ports

    def exchange(self, grant_ps: int, operations: Sequence[Operation], answered: Sequence[Completion]) -> Advanced:
        """As `advance`, after completions of its own requests."""
        if answered:
            if not isinstance(self.component, Asking):
                raise ComponentFailure(self.name, "has ports, and no method answered()", doing(grant_ps, operations))
            self.component.answered(answered)
        return self.advance(grant_ps, operations, False)

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        start = time.perf_counter()
        try:
            answer = self.component.advance(grant_ps, operations, stop_at_first)
        except BaseException as error:
            raise failed(self.name, error, doing(grant_ps, operations)) from error
        self.wall_s += time.perf_counter() - start
        return answer

    def progression(self, operation: Operation, more: Sequence[int], count: int) -> Estimates | None:
        """As `Progressions.progression`; None where each is to be asked for."""
        if self._progressions is None:
            return None
        start = time.perf_counter()
        try:
            answer = self._progressions.progression(operation, more, count)
        except BaseException as error:
            raise failed(self.name, error, "answering") from error
        self.wall_s += time.perf_counter() - start
        return answer

    def close(self) -> None:
        pass


def doing(grant_ps: int, operations: Sequence[Operation]) -> str:
    """What a component was at when something befell it."""
    return "answering" if operations and grant_ps == MAX_PS else advancing(grant_ps)


def advancing(grant_ps: int) -> str:
    """What a component does that is given no more than time; without a limit, nobody else has anything to do."""
    return "advancing to its next event" if grant_ps == MAX_PS else f"advancing to {grant_ps} ps"


def failed(component: str, error: BaseException, doing: str) -> ComponentFailure:
    """As `raised`; what the contract has an error for is said in the model's own words."""
    if not isinstance(error, ComponentError):
        return raised(component, error, doing)
    return ComponentFailure(component, str(error), doing, code="late" if isinstance(error, LateOperation) else "fault")


def raised(component: str, error: BaseException, doing: str) -> ComponentFailure:
    """An exception out of a model, as a failure of that component. Raises the interrupt that is behind it, if any."""
    let_interrupts_through(error)
    return ComponentFailure(component, words(error), doing, f"in {raised_at(error)}")


def refused(component: str, error: ConfigError | UnsupportedOperation) -> InputError:
    """A component's refusal before time 0, as the user's input error."""
    where = f"component {component}"
    if isinstance(error, ConfigError):
        return InputError(where, error.field, error.value, error.allowed)
    return InputError(where, error.template.kind, error.template.layer, f"{error.component} cannot do it: {error.why}")


def checked(link: Link, answer: Advanced, asked: dict[int, Any], grant_ps: int | None) -> Advanced:
    """Refuse an answer that cannot be: unknown or repeated operations, time running back.

    ``grant_ps`` is None for oracles, whose answers may lie beyond it.
    """
    seen = set()
    latest = None if grant_ps is None else answer.reached_ps
    for op_id, start_ps, finish_ps, _, energy_pj in answer.completions:
        if energy_pj is not None:
            check_energy(link.name, op_id, energy_pj)
        whole = finish_ps.__class__ is int or isinstance(finish_ps, Integral)
        in_order = start_ps <= finish_ps and (latest is None or finish_ps <= latest)
        if whole and in_order and op_id in asked and op_id not in seen:
            seen.add(op_id)
            continue
        if op_id not in asked or op_id in seen:
            again = " again" if op_id in seen else ""
            problem = f"answered operation {op_id}, which it was not asked{again}"
        elif not whole:
            problem = f"completed operation {op_id} at {finish_ps} ps, which is no whole number of picoseconds"
        elif finish_ps < start_ps:
            problem = f"says operation {op_id} finished at {finish_ps} ps, before its start {start_ps}"
        else:
            problem = f"completed operation {op_id} at {finish_ps} ps but reached {answer.reached_ps} ps only"
        raise ComponentFailure(link.name, problem)
    if grant_ps is not None and answer.reached_ps > grant_ps:
        raise ComponentFailure(link.name, f"reached {answer.reached_ps} ps, beyond its grant of {grant_ps} ps")
    return answer
