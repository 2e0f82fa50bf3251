"""Opening sessions for the checks: the component itself, or its service behind gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from queue import SimpleQueue
from typing import Any

import grpc
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1 import component_pb2_grpc as pb_grpc

from hwmodels.interface import Advanced, BadOperation, Component, LateOperation, Operation, Template

from .checks import Refused, Subject, templates_for


class LocalSession:
    """The component, called."""

    def __init__(self, component: Any) -> None:
        self._component = component

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop: bool = False) -> Advanced:
        try:
            answer: Advanced = self._component.advance(grant_ps, operations, stop)
        except (LateOperation, BadOperation) as error:
            raise Refused(str(error)) from None
        return answer

    def snapshot(self) -> dict[str, Any]:
        state: dict[str, Any] = self._component.snapshot()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        self._component.restore(state)

    def inspect(self) -> dict[str, Any]:
        tree: dict[str, Any] = self._component.inspect()
        return tree

    def close(self) -> None:
        pass


_NUMBERS = count()


class WireSession:
    """The same over the wire contract, with nothing of the orchestrator in between."""

    def __init__(self, channel: grpc.Channel, config: Mapping[str, Any], templates: Sequence[Template]) -> None:
        self._stub = pb_grpc.ComponentServiceStub(channel)
        self._id = f"conformance-{next(_NUMBERS)}"
        self._outbox: SimpleQueue[pb.SimulateRequest | None] = SimpleQueue()
        self._seq = 0
        self._stub.Configure(
            pb.ConfigureRequest(
                session_id=self._id,
                config=codec.to_struct(config),
                templates=[codec.to_template(template) for template in templates],
            )
        )
        self._answers: Iterator[pb.SimulateResponse] = self._stub.Simulate(iter(self._outbox.get, None))

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop: bool = False) -> Advanced:
        self._seq += 1
        self._outbox.put(
            pb.SimulateRequest(
                seq=self._seq,
                session_id=self._id,
                grant_ps=grant_ps,
                stop_at_first_completion=stop,
                operations=codec.to_operations(operations),
            )
        )
        answer = next(self._answers)
        if answer.HasField("fault"):
            raise Refused(answer.fault.message)
        advanced: Advanced = codec.from_advanced(answer.advanced)
        return advanced

    def snapshot(self) -> dict[str, Any]:
        return {"state": self._stub.Snapshot(pb.SnapshotRequest(session_id=self._id)).state}

    def restore(self, state: dict[str, Any]) -> None:
        self._stub.Restore(pb.RestoreRequest(session_id=self._id, state=state["state"]))

    def inspect(self) -> dict[str, Any]:
        tree: dict[str, Any] = codec.from_struct(self._stub.Inspect(pb.InspectRequest(session_id=self._id)).value)
        return tree

    def close(self) -> None:
        self._stub.Close(pb.CloseRequest(session_id=self._id))
        self._outbox.put(None)


def local(model: Any, config: Mapping[str, Any]) -> Subject:
    """A model class, in this process."""
    templates = templates_for(model.description)

    def open_session() -> LocalSession:
        component: Component = model(config, 0)
        component.declare(templates)
        return LocalSession(component)

    return Subject(model.description, templates, open_session)


def over_wire(channel: grpc.Channel, config: Mapping[str, Any]) -> Subject:
    """Whatever serves the contract at the other end of a channel."""
    description = codec.described(pb_grpc.ComponentServiceStub(channel).Describe(pb.DescribeRequest()))
    templates = templates_for(description)
    return Subject(description, templates, lambda: WireSession(channel, config, templates))
