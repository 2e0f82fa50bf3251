"""The wire contract in front of component models: sessions, the Simulate stream, faults."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1 import component_pb2_grpc as pb_grpc
from metronome.component.v1.server_side import merged
from metronome.hwmodels.interface import (
    Advanced,
    Asking,
    BadOperation,
    Component,
    ComponentError,
    ConfigError,
    Feature,
    Foretelling,
    Inspectable,
    LateOperation,
    Resources,
    Snapshots,
    UnsupportedOperation,
    foretelling,
)
from metronome.hwmodels.process import Progressing

MOST_SESSIONS = 256  # at a time
MOST_ACTIVITY = 200  # characters
MOST_TEXT = 1500  # characters of what a model says of its failure


@dataclass(slots=True)
class Session:
    """One configured component. ``last`` is the latest reply, given again for a repeated message; ``foretold`` is what
    came along with it, of one that is ``foretelling``."""

    component: Component
    features: frozenset[Feature]
    heartbeat_s: float
    foretelling: Foretelling | None = None
    last: pb.SimulateResponse | None = None
    foretold: Advanced | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class ComponentService(pb_grpc.ComponentServiceServicer):  # generated code is untyped
    """Serves sessions of one model class; sessions share nothing. ``own``: the server's part of their configuration."""

    def __init__(self, model: Any, own: Mapping[str, Any] | None = None) -> None:
        self._model, self._own = model, dict(own or {})
        self._sessions: dict[str, Session] = {}
        self.frames = False  # whether it is asked beside its Unix socket, too

    def Describe(self, request: pb.DescribeRequest, context: grpc.ServicerContext) -> pb.DescribeResponse:
        answer = codec.describe(self._model.description, self._model.config_schema())
        answer.frames = self.frames
        return answer

    def Configure(self, request: pb.ConfigureRequest, context: grpc.ServicerContext) -> pb.ConfigureResponse:
        if not request.session_id:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "session_id is empty")
        if request.session_id in self._sessions:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"session {request.session_id} is configured already")
        if len(self._sessions) >= MOST_SESSIONS:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MOST_SESSIONS} sessions are open, and no more may be")
        config: dict[str, Any] = {}
        try:
            config = merged(self._model, self._own, codec.from_struct(request.config))
            component = self._model(config, request.seed)
            component.declare([codec.from_template(template) for template in request.templates])
        except ConfigError as error:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                json.dumps({"field": error.field, "value": error.value, "allowed": error.allowed}, default=str),
            )
        except UnsupportedOperation as error:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                json.dumps({"component": error.component, "template": error.template.id, "why": error.why}),
            )
        except BaseException as error:  # sys.exit of a model, too: whoever asks is told, and does not wait
            traceback.print_exc()
            context.abort(grpc.StatusCode.INTERNAL, _short(f"{type(error).__name__}: {error}"))
        can = component.description.features  # of this configuration: of what its model can at most
        features = frozenset(feature for feature in can if str(feature) in request.features)
        if not request.validate_only:
            self._sessions[request.session_id] = Session(
                component, features, request.heartbeat_ms / 1000, foretelling(component)
            )
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        touched = component.resources() if isinstance(component, Resources) else {}
        resources = [pb.TemplateResources(template_id=t, resource=sorted(parts)) for t, parts in touched.items()]
        ports = [codec.to_port(port) for port in component.description.ports]
        return pb.ConfigureResponse(
            config_digest=digest, features=sorted(map(str, features)), resources=resources, ports=ports
        )

    def Simulate(
        self, requests: Iterator[pb.SimulateRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.SimulateResponse]:
        session: Session | None = None
        for request in requests:
            if session is None:
                session = self._session(request.session_id, context)
            if session.last is not None and session.last.seq == request.seq:
                yield session.last
                continue
            if Feature.PROGRESS in session.features and session.heartbeat_s:
                yield from self._slowly(session, request)
            else:
                session.last = self._answer(session, request)
            if session.last is None:
                raise AssertionError("every message has an answer")
            yield session.last

    def _slowly(self, session: Session, request: pb.SimulateRequest) -> Iterator[pb.SimulateResponse]:
        """Compute beside the stream, saying every heartbeat how far the model is."""

        def work() -> None:
            session.last = self._answer(session, request)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        while True:
            worker.join(session.heartbeat_s)
            if not worker.is_alive():
                return
            if isinstance(session.component, Progressing):
                activity = session.component.progress()[:MOST_ACTIVITY]
                yield pb.SimulateResponse(seq=request.seq, progress=pb.Progress(activity=activity))

    def _answer(self, session: Session, request: pb.SimulateRequest) -> pb.SimulateResponse:
        description = self._model.description
        try:
            count = len(request.operations.template_id)
            if count > description.max_batch_ops:
                return _fault(
                    request.seq,
                    pb.FAULT_CODE_OVERLOAD,
                    f"{count} operations; at most {description.max_batch_ops}",
                )
            operations = codec.from_operations(request.operations)
            done = codec.from_completions(request.answered)
            component = session.component
            with session.lock:
                if request.taken and session.foretold is not None:
                    component.advance(session.foretold.reached_ps, (), True)
                if done:
                    _asking(component).answered(done)
                answer = component.advance(request.grant_ps, operations, request.stop_at_first_completion)
                asked = session.foretelling if request.foretell else None
                session.foretold = asked.foretold() if asked else None
            advanced = codec.to_advanced(answer, component.description.ports, session.foretold)
            return pb.SimulateResponse(seq=request.seq, advanced=advanced)
        except codec.MalformedMessage as error:
            return _fault(request.seq, pb.FAULT_CODE_BAD_OPERATION, str(error))
        except LateOperation as error:
            return _fault(request.seq, pb.FAULT_CODE_LATE_OPERATION, str(error), [error.operation.op_id])
        except BadOperation as error:
            return _fault(request.seq, pb.FAULT_CODE_BAD_OPERATION, str(error))
        except ComponentError as error:
            return _fault(request.seq, pb.FAULT_CODE_MODEL, str(error))
        except BaseException as error:
            traceback.print_exc()
            sys.stderr.flush()
            return _fault(request.seq, pb.FAULT_CODE_MODEL, f"{type(error).__name__}: {error}", usable=False)

    def Snapshot(self, request: pb.SnapshotRequest, context: grpc.ServicerContext) -> pb.SnapshotResponse:
        component = self._able(self._session(request.session_id, context), Snapshots, "takes no snapshots", context)
        state = codec.to_struct(component.snapshot())
        return pb.SnapshotResponse(state=state, digest=_digest(state))

    def Restore(self, request: pb.RestoreRequest, context: grpc.ServicerContext) -> pb.RestoreResponse:
        session = self._session(request.session_id, context)
        component = self._able(session, Snapshots, "takes no snapshots", context)
        component.restore(codec.from_struct(request.state))
        session.last = session.foretold = None
        return pb.RestoreResponse(digest=_digest(codec.to_struct(component.snapshot())))

    def Inspect(self, request: pb.InspectRequest, context: grpc.ServicerContext) -> pb.InspectResponse:
        component = self._able(self._session(request.session_id, context), Inspectable, "cannot be inspected", context)
        return pb.InspectResponse(value=codec.to_struct(component.inspect()))

    def Close(self, request: pb.CloseRequest, context: grpc.ServicerContext) -> pb.CloseResponse:
        session = self._session(request.session_id, context)
        del self._sessions[request.session_id]
        try:
            statistics = session.component.statistics(codec.from_uses(request.uses))
        except BadOperation as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, _short(str(error)))
            raise AssertionError("abort raises") from None
        except BaseException as error:
            traceback.print_exc()
            context.abort(grpc.StatusCode.UNKNOWN, _short(f"{type(error).__name__}: {error}"))
            raise AssertionError("abort raises") from None
        return pb.CloseResponse(statistics=codec.to_struct(statistics))

    def _able(self, session: Session, ability: Any, lacks: str, context: grpc.ServicerContext) -> Any:
        able = isinstance(session.component, ability)
        if ability is Snapshots and Feature.SNAPSHOT not in session.component.description.features:
            able = False  # its model does, and this one of it does not
        if not able:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{self._model.description.name} {lacks}")
            raise AssertionError("abort raises")
        return session.component

    def _session(self, session_id: str, context: grpc.ServicerContext) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"session {session_id!r} is not configured")
            raise AssertionError("abort raises")
        return session


def _asking(component: Component) -> Asking:
    """Raises BadOperation."""
    if not isinstance(component, Asking):
        raise BadOperation("answers to requests, and it asks nobody: it has no ports")
    return component


def _fault(
    seq: int, code: pb.FaultCode, message: str, op_ids: list[int] | None = None, usable: bool = True
) -> pb.SimulateResponse:
    fault = pb.Fault(code=code, op_id=op_ids or [], message=_short(message), session_usable=usable)
    return pb.SimulateResponse(seq=seq, fault=fault)


def _short(text: str) -> str:
    """What fits the 8 KiB of headers that gRPC allows, in any letters."""
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + " ..."


def _digest(state: Any) -> str:
    return hashlib.sha256(json.dumps(codec.from_struct(state), sort_keys=True).encode()).hexdigest()
