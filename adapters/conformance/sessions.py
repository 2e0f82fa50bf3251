"""Opening sessions for the checks: the component itself, or its service behind gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import grpc
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1 import component_pb2_grpc as pb_grpc
from metronome.component.v1.conversation import Conversation, Framed, Stream
from metronome.hwmodels.interface import (
    Advanced,
    Attribute,
    BadOperation,
    Completion,
    Component,
    Feature,
    LateOperation,
    Operation,
    Template,
    UnsupportedOperation,
    foretelling,
)
from metronome.hwmodels.ports import Port

from .checks import Refused, SessionUnderTest, Subject, Violation, templates_for
from .ported import QUICK_PS, PortedSession


class Foretold:
    """What a component says its next answer will be must be that, if nothing new comes."""

    def __init__(self) -> None:
        self._said: Advanced | None = None

    def check(self, asked: tuple[int, Sequence[Operation], bool, Sequence[Completion]], answer: Advanced) -> None:
        """The answer to (grant, operations, whether to stop at the first completion, what was answered)."""
        said, self._said = self._said, None
        grant_ps, operations, stop, answered = asked
        if said and stop and not operations and not answered and grant_ps >= said.reached_ps and answer != said:
            raise Violation(f"foretold {said}, and answered {answer}")

    def hear(self, said: Advanced | None) -> None:
        """What it says now of the next."""
        self._said = said


class LocalSession:
    """The component, called."""

    def __init__(self, component: Any) -> None:
        self._component, self._foretelling, self._foretold = component, foretelling(component), Foretold()

    def ports(self) -> Sequence[Port]:
        found: Sequence[Port] = self._component.description.ports
        return found

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop: bool = False, answered: Sequence[Completion] = ()
    ) -> Advanced:
        try:
            if answered:
                self._component.answered(answered)
            answer: Advanced = self._component.advance(grant_ps, operations, stop)
        except (LateOperation, BadOperation) as error:
            raise Refused(str(error)) from None
        self._foretold.check((grant_ps, operations, stop, answered), answer)
        if self._foretelling:
            self._foretold.hear(self._foretelling.foretold())
        return answer

    def snapshot(self) -> dict[str, Any]:
        state: dict[str, Any] = self._component.snapshot()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        self._component.restore(state)
        self._foretold.hear(None)

    def inspect(self) -> dict[str, Any]:
        tree: dict[str, Any] = self._component.inspect()
        return tree

    def close(self) -> None:
        pass


_NUMBERS = count()


class WireSession:
    """The same over the wire contract, with nothing of the orchestrator in between; its messages over frames where an
    address, ``unix:PATH``, is given."""

    def __init__(
        self, channel: grpc.Channel, config: Mapping[str, Any], templates: Sequence[Template], framed: str = ""
    ) -> None:
        self._stub = pb_grpc.ComponentServiceStub(channel)
        self._id = f"conformance-{next(_NUMBERS)}"
        self._seq, self._foretold = 0, Foretold()
        configured = self._stub.Configure(
            pb.ConfigureRequest(
                session_id=self._id,
                config=codec.to_struct(config),
                templates=[codec.to_template(template) for template in templates],
            )
        )
        self._ports = tuple(codec.from_port(port) for port in configured.ports)
        self._talk: Conversation = Framed(framed) if framed else Stream(self._stub)

    def ports(self) -> Sequence[Port]:
        return self._ports

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop: bool = False, answered: Sequence[Completion] = ()
    ) -> Advanced:
        self._seq += 1
        self._talk.send(
            pb.SimulateRequest(
                seq=self._seq,
                session_id=self._id,
                grant_ps=grant_ps,
                stop_at_first_completion=stop,
                operations=codec.to_operations(operations),
                answered=codec.to_completions(answered) if answered else None,
                foretell=True,
            )
        )
        answer = self._talk.receive()
        if answer.HasField("fault"):
            raise Refused(answer.fault.message)
        advanced: Advanced = codec.from_advanced(answer.advanced, self._ports)
        self._foretold.check((grant_ps, operations, stop, answered), advanced)
        self._foretold.hear(codec.foretold(answer.advanced))
        return advanced

    def snapshot(self) -> dict[str, Any]:
        return {"state": self._stub.Snapshot(pb.SnapshotRequest(session_id=self._id)).state}

    def restore(self, state: dict[str, Any]) -> None:
        self._stub.Restore(pb.RestoreRequest(session_id=self._id, state=state["state"]))
        self._foretold.hear(None)

    def inspect(self) -> dict[str, Any]:
        tree: dict[str, Any] = codec.from_struct(self._stub.Inspect(pb.InspectRequest(session_id=self._id)).value)
        return tree

    def close(self) -> None:
        self._stub.Close(pb.CloseRequest(session_id=self._id))
        self._talk.close()


def _taken(templates: Sequence[Template], takes: Callable[[list[Template]], bool]) -> tuple[Template, ...]:
    """Those of the checks' shapes that a component takes: one with figures for some only is checked with these."""
    found: list[Template] = []
    for template in templates:
        if takes([*found, template]):
            found.append(template)
    return tuple(found) or tuple(templates)


def local(model: Any, config: Mapping[str, Any], attributes: Mapping[str, Attribute] | None = None) -> Subject:
    """A model class, in this process. ``attributes``: what its templates carry beside their kind's own."""
    shapes = [replace(t, attributes={**t.attributes, **(attributes or {})}) for t in templates_for(model.description)]

    def takes(templates: list[Template]) -> bool:
        try:
            model(config, 0).declare(templates)
        except UnsupportedOperation:
            return False
        return True

    templates = _taken(shapes, takes)

    def open_session(latency_ps: int = QUICK_PS) -> SessionUnderTest:
        component: Component = model(config, 0)
        component.declare(templates)
        session, description = LocalSession(component), component.description
        if Feature.PORTS in description.features:
            return PortedSession(session, description, templates, latency_ps)
        return session

    configured: Component = model(config, 0)
    configured.declare(templates)
    return Subject(configured.description, templates, open_session)


def takes_frames(channel: grpc.Channel, address: str) -> bool:
    """Whether the server there takes messages beside its Unix socket, too."""
    answer = pb_grpc.ComponentServiceStub(channel).Describe(pb.DescribeRequest())
    return bool(answer.frames) and address.startswith("unix:")


def over_wire(channel: grpc.Channel, config: Mapping[str, Any], framed: str = "") -> Subject:
    """Whatever serves the contract at the other end of a channel; ``framed`` as of a `WireSession`."""
    stub = pb_grpc.ComponentServiceStub(channel)
    description = codec.described(stub.Describe(pb.DescribeRequest()))

    def takes(templates: list[Template]) -> bool:
        request = pb.ConfigureRequest(
            session_id="templates",
            config=codec.to_struct(config),
            validate_only=True,
            templates=[codec.to_template(template) for template in templates],
        )
        try:
            stub.Configure(request)
        except grpc.RpcError as error:
            return '"template"' not in str(error.details())
        return True

    templates = _taken(templates_for(description), takes)
    asked = pb.ConfigureRequest(
        session_id="features",
        config=codec.to_struct(config),
        features=sorted(map(str, description.features)),
        validate_only=True,
        templates=[codec.to_template(template) for template in templates],
    )
    if str(Feature.SNAPSHOT) not in stub.Configure(asked).features:  # of this configuration
        description = replace(description, features=description.features - {Feature.SNAPSHOT})

    def open_session(latency_ps: int = QUICK_PS) -> SessionUnderTest:
        session = WireSession(channel, config, templates, framed)
        if Feature.PORTS in description.features:
            return PortedSession(session, description, templates, latency_ps)
        return session

    return Subject(description, templates, open_session)
