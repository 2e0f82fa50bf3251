"""A link to a component in another process: calls of gRPC, and one conversation for the whole session."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Protocol

import grpc
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1 import component_pb2_grpc as pb_grpc
from metronome.component.v1.conversation import Conversation, Framed, Stream
from metronome.hwmodels.interface import Advanced, Completion, Description, Feature, Operation, Template, Use
from metronome.hwmodels.ports import Port

from ..errors import ComponentFailure, InputError, plain
from .components import ComponentSpec, warn_of_unread
from .interrupts import DOOR
from .launch.endpoint import Endpoint
from .link import advancing
from .watchdog import Watchdog

TOKEN = secrets.token_hex(4)  # in the names of our sessions: a server that outlives a run may still have another's
HEARTBEAT_MS = 1000
SOON_S = 1.0


_SESSIONS = count()


class Host(Protocol):
    """The process behind a link, as far as we started it."""

    @property
    def pid(self) -> int:
        """0 where it is not ours."""
        ...

    @property
    def image(self) -> str:
        """Digest of the container image it runs in; empty where it runs in none."""
        ...

    def last_words(self) -> str:
        """The end of what it has printed."""
        ...

    def post_mortem(self) -> tuple[str, str]:
        """(what became of it, its last words); empty while it runs."""
        ...

    def give_up(self) -> None:
        """It does not answer any more: its end need not be waited for."""
        ...


class RemoteLink:
    """One session with one component process. ``timeout_s`` is how long it may be silent.

    A component may say that it is at it (`Progress`): it is silent all the same while what it says stays the same, and
    given up after ``answer_timeout_s`` however much it says.
    """

    remote = True
    asked_freely = True
    incidents: Mapping[str, Any] = {}

    def __init__(
        self,
        spec: ComponentSpec,
        endpoint: Endpoint,
        watchdog: Watchdog,
        host: Host,
        session: int = 0,
    ) -> None:
        self.name, self.wall_s = spec.name, 0.0
        self.host, self.image, self.timeout_s = host, host.image, spec.options.timeout_s
        self._answer_timeout_s = spec.options.answer_timeout_s
        self._start_s = spec.options.start_timeout_s  # at least: tables are read when it is described and configured
        self._spec, self._endpoint, self._watchdog, self._post_mortem = spec, endpoint, watchdog, host.post_mortem
        self._number, self._session = session, f"{spec.name}#{session}-{TOKEN}-{next(_SESSIONS)}"
        self._others: list[RemoteLink] = []
        with DOOR:
            self._channel = endpoint.channel(codec.CHANNEL_OPTIONS)
        self._stub = pb_grpc.ComponentServiceStub(self._channel)
        self._talk: Conversation | None = None
        self._framed = False  # whether it takes frames
        self._asked: grpc.Future | None = None
        self._templates: dict[int, Template] = {}
        self._seq = 0
        self._sent: tuple[int, Sequence[Operation]] = (0, ())
        self._foretold: Advanced | None = None  # came along with the last answer, and
        self._taken: Advanced | None = None  # has been taken since
        self._silent_since: float | None = None
        self._asked_at = 0.0
        self._timed_out = 0.0  # after how long
        watchdog.add(self)
        self._description = self._describe()
        self.ports: Sequence[Port] = self._description.ports

    @property
    def description(self) -> Description:
        return self._description

    def _describe(self) -> Description:
        try:
            request = pb.DescribeRequest(protocol_minor=codec.PROTOCOL_MINOR, orchestrator="metronome")
            answer = self._ask(self._stub.Describe, request, self._start_s, wait_for_ready=True)
            if answer.min_protocol_minor > codec.PROTOCOL_MINOR:
                raise ComponentFailure(
                    self.name,
                    f"needs protocol 1.{answer.min_protocol_minor}, this is 1.{codec.PROTOCOL_MINOR}",
                )
            found: Description = codec.described(answer)
            self._framed = answer.frames and self._endpoint.address.startswith("unix:")
            name, version, summary = (plain(said, 200) for said in (found.name, found.version, found.summary))
            found = replace(found, name=name, version=version, summary=summary)
            self._config = dict(self._spec.config)
            if self._spec.facts is not None:
                self._check_kind(found)
                fields = codec.from_struct(answer.config_schema).get("properties", {})
                warn_of_unread(self.name, found.name, self._spec.stated, fields)
                facts = {name: value for name, value in self._spec.facts.items() if name in fields}
                self._config = facts | self._config
            return found
        except grpc.RpcError as error:
            raise self._failure(error, "being described") from None
        except codec.MalformedMessage as error:
            raise ComponentFailure(self.name, str(error), "being described") from None

    def _check_kind(self, found: Description) -> None:
        if found.kind != self._spec.kind:
            raise InputError(
                f"component {self.name}",
                "kind",
                found.kind,
                f"{found.name} answers there; what is wanted is a model of {self._spec.kind}",
            )

    def be_patient(self, seconds: float) -> None:
        """Somebody looks into it with a debugger: from now on it may be silent for so long."""
        self.timeout_s = self._answer_timeout_s = seconds

    def again(self) -> RemoteLink:
        """Another session with the same process; it ends with this one."""
        number = self._number + len(self._others) + 1
        other = RemoteLink(self._spec, self._endpoint, self._watchdog, self.host, number)
        self._others.append(other)
        return other

    def _settle(self) -> None:
        """The component does what was taken of what it foretold: somebody looks at it."""
        if self._taken is not None:
            self.advance(self._taken.reached_ps, (), False)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        """Ends the session: the component's figures of it."""
        self._settle()
        request = pb.CloseRequest(session_id=self._session, uses=codec.to_uses(uses))
        doing = "being asked for its statistics"
        try:
            return self._read(self._ask(self._stub.Close, request).statistics, doing)
        except grpc.RpcError as error:
            raise self._failure(error, doing) from None

    def _read(self, struct: Any, doing: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = codec.from_struct(struct)
            return found
        except codec.MalformedMessage as error:
            raise ComponentFailure(self.name, str(error), doing) from None

    def inspect(self) -> dict[str, Any]:
        self._settle()
        request, doing = pb.InspectRequest(session_id=self._session), "being inspected"
        return self._read(self._call(self._stub.Inspect, request, doing).value, doing)

    def snapshot(self) -> dict[str, Any]:
        return self.digested()[0]

    def digested(self) -> tuple[dict[str, Any], str]:
        """A snapshot, and the component's digest of it; empty where it makes none."""
        self._settle()
        request, doing = pb.SnapshotRequest(session_id=self._session), "taking a snapshot"
        taken = self._call(self._stub.Snapshot, request, doing)
        return self._read(taken.state, doing), str(taken.digest)

    def restore(self, state: dict[str, Any]) -> None:
        self.restored(state)

    def restored(self, state: dict[str, Any]) -> str:
        """As `restore`; the component's digest of the state it then has."""
        self._foretold = self._taken = None
        request = pb.RestoreRequest(session_id=self._session, state=codec.to_struct(state))
        return str(self._call(self._stub.Restore, request, "being restored").digest)

    def _ask(self, method: Any, request: Any, least_s: float = 0, **options: Any) -> Any:
        """The answer to a call that is no stream. Raises grpc.RpcError."""
        with DOOR:
            self._asked = method.future(request, timeout=max(least_s, self.timeout_s), **options)
            try:
                return self._asked.result()
            finally:
                self._asked = None

    def _call(self, method: Callable[..., Any], request: Any, doing: str) -> Any:
        try:
            return self._ask(method, request)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise ComponentFailure(self.name, error.details() or "cannot do that", doing) from None
            raise self._failure(error, doing) from None

    def declare(self, templates: Sequence[Template]) -> Mapping[int, frozenset[int]] | None:
        self._templates = {template.id: template for template in templates}
        request = pb.ConfigureRequest(
            session_id=self._session,
            instance=self.name,
            config=codec.to_struct(self._config),
            seed=self._spec.seed,
            features=sorted(map(str, self._description.features)),
            templates=[codec.to_template(template) for template in templates],
            heartbeat_ms=HEARTBEAT_MS,
        )
        try:
            answer = self._ask(self._stub.Configure, request, self._start_s)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise self._refused(error.details() or "") from None
            raise self._failure(error, "being configured") from None
        with DOOR:
            self._talk = self._conversation()
        if answer.ports:
            self.ports = tuple(codec.from_port(port) for port in answer.ports)
        if str(Feature.SNAPSHOT) not in answer.features:  # its model may take them, and this one of it not
            self._description = replace(self._description, features=self._description.features - {Feature.SNAPSHOT})
        if Feature.RESOURCES not in self._description.features:
            return None
        return {entry.template_id: frozenset(entry.resource) for entry in answer.resources}

    def _conversation(self) -> Conversation:
        if self._framed:
            with contextlib.suppress(OSError):
                return Framed(self._endpoint.address)
        return Stream(self._stub)

    def _refused(self, details: str) -> InputError:
        where = f"component {self.name}"
        try:
            why = json.loads(details)
        except ValueError:
            return InputError(where, "config", None, details)
        if "template" in why:
            template = self._templates[why["template"]]
            return InputError(where, template.kind, template.layer, f"{why['component']} cannot do it: {why['why']}")
        return InputError(where, why["field"], why["value"], why["allowed"])

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
        """``answered``: completions of the component's requests, of one with ports."""
        if len(operations) > self._description.max_batch_ops:
            raise ComponentFailure(
                self.name,
                f"takes at most {self._description.max_batch_ops} operations at once, not {len(operations)}",
            )
        told, self._foretold = self._foretold, None
        if told and stop_at_first and not operations and not answered and grant_ps >= told.reached_ps:
            self._taken = told
            return
        self._seq += 1
        self._sent = (grant_ps, operations)
        self._silent_since = self._asked_at = time.monotonic()
        request = pb.SimulateRequest(
            seq=self._seq,
            session_id=self._session if self._seq == 1 else "",
            grant_ps=grant_ps,
            stop_at_first_completion=stop_at_first,
            operations=codec.to_operations(operations),
            answered=codec.to_completions(answered) if answered else None,
            foretell=stop_at_first,
            taken=self._taken is not None,
        )
        self._taken = None
        with DOOR:
            self._configured().send(request)

    def _configured(self) -> Conversation:
        if self._talk is None:
            raise ComponentFailure(self.name, "was asked before it was configured")
        return self._talk

    def receive(self) -> Advanced:
        if self._taken is not None:
            return self._taken
        talk = self._configured()
        start, said = time.perf_counter(), ""
        try:
            while True:
                with DOOR:
                    answer = talk.receive()
                if answer.seq == self._seq and answer.HasField("advanced"):
                    advanced: Advanced = codec.from_advanced(answer.advanced, self.ports)
                    self._foretold = codec.foretold(answer.advanced)
                    return advanced
                if answer.HasField("fault"):
                    late = answer.fault.code == pb.FAULT_CODE_LATE_OPERATION
                    words = self._post_mortem()[1]
                    code = "late" if late else "fault"
                    raise ComponentFailure(self.name, answer.fault.message, self._doing(), words, code)
                if not answer.HasField("progress"):
                    raise ComponentFailure(self.name, f"answered message {answer.seq}, not {self._seq}", self._doing())
                if answer.progress.activity != said:  # liveness is not progress
                    self._silent_since, said = time.monotonic(), answer.progress.activity
        except grpc.RpcError as error:
            raise self._failure(error, self._doing()) from None
        except StopIteration:
            raise self._ended(self._doing()) from None
        except codec.MalformedMessage as error:
            raise ComponentFailure(self.name, f"answered nonsense: {error}", self._doing()) from None
        finally:
            self._silent_since = None
            self.wall_s += time.perf_counter() - start

    def interrupt(self, now: float) -> None:
        """Called by the watchdog: a signal waits. An answer that comes soon is waited for: the session lives on."""
        since, asked = self._silent_since, self._asked
        call = self._talk if since is not None and now - since > SOON_S else asked
        if call is not None:
            self.host.give_up()
            call.cancel()

    def check_silence(self, now: float) -> None:
        """Called by the watchdog: end the wait if it has lasted too long."""
        since = self._silent_since
        if since is None or self._timed_out:
            return
        silent, overdue = now - since > self.timeout_s, now - self._asked_at > self._answer_timeout_s
        if silent or overdue:
            self._timed_out = self.timeout_s if silent else self._answer_timeout_s
            if self._talk is not None:
                self._talk.cancel()

    def _doing(self) -> str:
        grant_ps, operations = self._sent
        if not operations:
            return advancing(grant_ps)
        first = operations[0]
        template = self._templates[first.template]
        more = f" and {len(operations) - 1} more" if len(operations) > 1 else ""
        return f"doing {template.kind} '{template.layer}' {list(first.values)} at {first.at_ps} ps{more}"

    def _failure(self, error: grpc.RpcError, doing: str) -> ComponentFailure:
        if self._timed_out or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._silent(doing)
        what, words = self._post_mortem()
        if what or error.code() is grpc.StatusCode.UNAVAILABLE:
            self.host.give_up()
            return ComponentFailure(self.name, what or f"unavailable: {error.details()}", doing, words, "dead")
        what = f"{error.code().name.lower().replace('_', ' ')}: {error.details()}"
        return ComponentFailure(self.name, what, doing, words)

    def _silent(self, doing: str) -> ComponentFailure:
        self.host.give_up()
        what, words = f"gave no answer for {self._timed_out or self.timeout_s:g} s", self._post_mortem()[1]
        return ComponentFailure(self.name, what, doing, words, "timeout")

    def _ended(self, doing: str) -> ComponentFailure:
        """The other side has ended the conversation, or we have as it was silent for too long."""
        if self._timed_out:
            return self._silent(doing)
        what, words = self._post_mortem()
        if what:
            self.host.give_up()
        return ComponentFailure(self.name, what or "ended the conversation", doing, words, "dead")

    def close(self) -> None:
        """End the conversation and the session; errors no longer matter."""
        for other in self._others:
            other.close()
        self._watchdog.drop(self)
        with DOOR:
            if self._talk is not None:
                self._talk.close()
            self._channel.close()
