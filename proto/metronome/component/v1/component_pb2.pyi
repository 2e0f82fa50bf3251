from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TimePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_POLICY_UNSPECIFIED: _ClassVar[TimePolicy]
    TIME_POLICY_ORACLE: _ClassVar[TimePolicy]
    TIME_POLICY_CONSERVATIVE: _ClassVar[TimePolicy]
    TIME_POLICY_FORWARD_ONLY: _ClassVar[TimePolicy]
    TIME_POLICY_BATCH: _ClassVar[TimePolicy]

class Provenance(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROVENANCE_UNSPECIFIED: _ClassVar[Provenance]
    PROVENANCE_MEASURED: _ClassVar[Provenance]
    PROVENANCE_INTERPOLATED: _ClassVar[Provenance]
    PROVENANCE_CLAMPED: _ClassVar[Provenance]
    PROVENANCE_EXTRAPOLATED: _ClassVar[Provenance]
    PROVENANCE_MODELLED: _ClassVar[Provenance]

class FaultCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAULT_CODE_UNSPECIFIED: _ClassVar[FaultCode]
    FAULT_CODE_LATE_OPERATION: _ClassVar[FaultCode]
    FAULT_CODE_BAD_OPERATION: _ClassVar[FaultCode]
    FAULT_CODE_OVERLOAD: _ClassVar[FaultCode]
    FAULT_CODE_MODEL: _ClassVar[FaultCode]
TIME_POLICY_UNSPECIFIED: TimePolicy
TIME_POLICY_ORACLE: TimePolicy
TIME_POLICY_CONSERVATIVE: TimePolicy
TIME_POLICY_FORWARD_ONLY: TimePolicy
TIME_POLICY_BATCH: TimePolicy
PROVENANCE_UNSPECIFIED: Provenance
PROVENANCE_MEASURED: Provenance
PROVENANCE_INTERPOLATED: Provenance
PROVENANCE_CLAMPED: Provenance
PROVENANCE_EXTRAPOLATED: Provenance
PROVENANCE_MODELLED: Provenance
FAULT_CODE_UNSPECIFIED: FaultCode
FAULT_CODE_LATE_OPERATION: FaultCode
FAULT_CODE_BAD_OPERATION: FaultCode
FAULT_CODE_OVERLOAD: FaultCode
FAULT_CODE_MODEL: FaultCode

class DescribeRequest(_message.Message):
    __slots__ = ("protocol_minor", "orchestrator")
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    ORCHESTRATOR_FIELD_NUMBER: _ClassVar[int]
    protocol_minor: int
    orchestrator: str
    def __init__(self, protocol_minor: _Optional[int] = ..., orchestrator: _Optional[str] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("protocol_minor", "min_protocol_minor", "name", "kind", "version", "time_policy", "op_kinds", "features", "memoryless", "deterministic", "max_batch_ops", "config_schema", "summary", "ports", "frames")
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    MIN_PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_POLICY_FIELD_NUMBER: _ClassVar[int]
    OP_KINDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MEMORYLESS_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_OPS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    protocol_minor: int
    min_protocol_minor: int
    name: str
    kind: str
    version: str
    time_policy: TimePolicy
    op_kinds: _containers.RepeatedScalarFieldContainer[str]
    features: _containers.RepeatedScalarFieldContainer[str]
    memoryless: bool
    deterministic: bool
    max_batch_ops: int
    config_schema: _struct_pb2.Struct
    summary: str
    ports: _containers.RepeatedCompositeFieldContainer[Port]
    frames: bool
    def __init__(self, protocol_minor: _Optional[int] = ..., min_protocol_minor: _Optional[int] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., version: _Optional[str] = ..., time_policy: _Optional[_Union[TimePolicy, str]] = ..., op_kinds: _Optional[_Iterable[str]] = ..., features: _Optional[_Iterable[str]] = ..., memoryless: _Optional[bool] = ..., deterministic: _Optional[bool] = ..., max_batch_ops: _Optional[int] = ..., config_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., summary: _Optional[str] = ..., ports: _Optional[_Iterable[_Union[Port, _Mapping]]] = ..., frames: _Optional[bool] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("id", "kind", "layer", "attributes")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: str
    layer: str
    attributes: _struct_pb2.Struct
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[str] = ..., layer: _Optional[str] = ..., attributes: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Port(_message.Message):
    __slots__ = ("name", "kind", "templates", "latency_ps", "credits")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_PS_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    latency_ps: int
    credits: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ..., latency_ps: _Optional[int] = ..., credits: _Optional[int] = ...) -> None: ...

class ConfigureRequest(_message.Message):
    __slots__ = ("session_id", "instance", "config", "seed", "features", "templates", "validate_only", "heartbeat_ms")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    instance: str
    config: _struct_pb2.Struct
    seed: int
    features: _containers.RepeatedScalarFieldContainer[str]
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    validate_only: bool
    heartbeat_ms: int
    def __init__(self, session_id: _Optional[str] = ..., instance: _Optional[str] = ..., config: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., seed: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ..., validate_only: _Optional[bool] = ..., heartbeat_ms: _Optional[int] = ...) -> None: ...

class TemplateResources(_message.Message):
    __slots__ = ("template_id", "resource")
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    template_id: int
    resource: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, template_id: _Optional[int] = ..., resource: _Optional[_Iterable[int]] = ...) -> None: ...

class ConfigureResponse(_message.Message):
    __slots__ = ("config_digest", "features", "resources", "ports")
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    config_digest: str
    features: _containers.RepeatedScalarFieldContainer[str]
    resources: _containers.RepeatedCompositeFieldContainer[TemplateResources]
    ports: _containers.RepeatedCompositeFieldContainer[Port]
    def __init__(self, config_digest: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., resources: _Optional[_Iterable[_Union[TemplateResources, _Mapping]]] = ..., ports: _Optional[_Iterable[_Union[Port, _Mapping]]] = ...) -> None: ...

class Operations(_message.Message):
    __slots__ = ("template_id", "value_count", "value", "op_id", "at_ps", "microstep", "dep_count", "dep_op_id")
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_COUNT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OP_ID_FIELD_NUMBER: _ClassVar[int]
    AT_PS_FIELD_NUMBER: _ClassVar[int]
    MICROSTEP_FIELD_NUMBER: _ClassVar[int]
    DEP_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEP_OP_ID_FIELD_NUMBER: _ClassVar[int]
    template_id: _containers.RepeatedScalarFieldContainer[int]
    value_count: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[int]
    op_id: _containers.RepeatedScalarFieldContainer[int]
    at_ps: _containers.RepeatedScalarFieldContainer[int]
    microstep: _containers.RepeatedScalarFieldContainer[int]
    dep_count: _containers.RepeatedScalarFieldContainer[int]
    dep_op_id: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, template_id: _Optional[_Iterable[int]] = ..., value_count: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[int]] = ..., op_id: _Optional[_Iterable[int]] = ..., at_ps: _Optional[_Iterable[int]] = ..., microstep: _Optional[_Iterable[int]] = ..., dep_count: _Optional[_Iterable[int]] = ..., dep_op_id: _Optional[_Iterable[int]] = ...) -> None: ...

class SimulateRequest(_message.Message):
    __slots__ = ("seq", "session_id", "grant_ps", "stop_at_first_completion", "operations", "answered", "foretell", "taken")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    GRANT_PS_FIELD_NUMBER: _ClassVar[int]
    STOP_AT_FIRST_COMPLETION_FIELD_NUMBER: _ClassVar[int]
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    FORETELL_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    seq: int
    session_id: str
    grant_ps: int
    stop_at_first_completion: bool
    operations: Operations
    answered: Completions
    foretell: bool
    taken: bool
    def __init__(self, seq: _Optional[int] = ..., session_id: _Optional[str] = ..., grant_ps: _Optional[int] = ..., stop_at_first_completion: _Optional[bool] = ..., operations: _Optional[_Union[Operations, _Mapping]] = ..., answered: _Optional[_Union[Completions, _Mapping]] = ..., foretell: _Optional[bool] = ..., taken: _Optional[bool] = ...) -> None: ...

class Completions(_message.Message):
    __slots__ = ("op_id", "start_ps", "finish_ps", "provenance", "energy_pj")
    OP_ID_FIELD_NUMBER: _ClassVar[int]
    START_PS_FIELD_NUMBER: _ClassVar[int]
    FINISH_PS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    ENERGY_PJ_FIELD_NUMBER: _ClassVar[int]
    op_id: _containers.RepeatedScalarFieldContainer[int]
    start_ps: _containers.RepeatedScalarFieldContainer[int]
    finish_ps: _containers.RepeatedScalarFieldContainer[int]
    provenance: _containers.RepeatedScalarFieldContainer[Provenance]
    energy_pj: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, op_id: _Optional[_Iterable[int]] = ..., start_ps: _Optional[_Iterable[int]] = ..., finish_ps: _Optional[_Iterable[int]] = ..., provenance: _Optional[_Iterable[_Union[Provenance, str]]] = ..., energy_pj: _Optional[_Iterable[int]] = ...) -> None: ...

class Advanced(_message.Message):
    __slots__ = ("reached_ps", "completions", "next_event_ps", "requests", "request_port", "foretold")
    REACHED_PS_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_EVENT_PS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_PORT_FIELD_NUMBER: _ClassVar[int]
    FORETOLD_FIELD_NUMBER: _ClassVar[int]
    reached_ps: int
    completions: Completions
    next_event_ps: int
    requests: Operations
    request_port: _containers.RepeatedScalarFieldContainer[int]
    foretold: Advanced
    def __init__(self, reached_ps: _Optional[int] = ..., completions: _Optional[_Union[Completions, _Mapping]] = ..., next_event_ps: _Optional[int] = ..., requests: _Optional[_Union[Operations, _Mapping]] = ..., request_port: _Optional[_Iterable[int]] = ..., foretold: _Optional[_Union[Advanced, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("activity",)
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    activity: str
    def __init__(self, activity: _Optional[str] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("code", "op_id", "message", "session_usable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    OP_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SESSION_USABLE_FIELD_NUMBER: _ClassVar[int]
    code: FaultCode
    op_id: _containers.RepeatedScalarFieldContainer[int]
    message: str
    session_usable: bool
    def __init__(self, code: _Optional[_Union[FaultCode, str]] = ..., op_id: _Optional[_Iterable[int]] = ..., message: _Optional[str] = ..., session_usable: _Optional[bool] = ...) -> None: ...

class SimulateResponse(_message.Message):
    __slots__ = ("seq", "advanced", "progress", "fault")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    ADVANCED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    advanced: Advanced
    progress: Progress
    fault: Fault
    def __init__(self, seq: _Optional[int] = ..., advanced: _Optional[_Union[Advanced, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class SnapshotResponse(_message.Message):
    __slots__ = ("state", "digest")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    state: _struct_pb2.Struct
    digest: str
    def __init__(self, state: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., digest: _Optional[str] = ...) -> None: ...

class RestoreRequest(_message.Message):
    __slots__ = ("session_id", "state")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    state: _struct_pb2.Struct
    def __init__(self, session_id: _Optional[str] = ..., state: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class RestoreResponse(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    def __init__(self, digest: _Optional[str] = ...) -> None: ...

class InspectRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class InspectResponse(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _struct_pb2.Struct
    def __init__(self, value: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Uses(_message.Message):
    __slots__ = ("template_id", "value_count", "value", "times")
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    VALUE_COUNT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    template_id: _containers.RepeatedScalarFieldContainer[int]
    value_count: _containers.RepeatedScalarFieldContainer[int]
    value: _containers.RepeatedScalarFieldContainer[int]
    times: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, template_id: _Optional[_Iterable[int]] = ..., value_count: _Optional[_Iterable[int]] = ..., value: _Optional[_Iterable[int]] = ..., times: _Optional[_Iterable[int]] = ...) -> None: ...

class CloseRequest(_message.Message):
    __slots__ = ("session_id", "uses")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    uses: Uses
    def __init__(self, session_id: _Optional[str] = ..., uses: _Optional[_Union[Uses, _Mapping]] = ...) -> None: ...

class CloseResponse(_message.Message):
    __slots__ = ("statistics",)
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    statistics: _struct_pb2.Struct
    def __init__(self, statistics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...
