"""Between the values of `metronome.hwmodels.interface` and the messages of the wire contract.

Operations and completions travel in columns: building one message an operation costs eight to nine
times as much in Python (docs/coupling.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from metronome.hwmodels.interface import (
    Advanced,
    BadOperation,
    Completion,
    ComponentError,
    Description,
    Feature,
    Operation,
    Provenance,
    Template,
    TimePolicy,
    Use,
)
from metronome.hwmodels.ports import Port, Request

from . import component_pb2 as pb

PROTOCOL_MINOR = 1
MAX_MESSAGE_BYTES = 64 * 2**20
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
)

_POLICIES = {
    TimePolicy.ORACLE: pb.TIME_POLICY_ORACLE,
    TimePolicy.CONSERVATIVE: pb.TIME_POLICY_CONSERVATIVE,
    TimePolicy.FORWARD_ONLY: pb.TIME_POLICY_FORWARD_ONLY,
    TimePolicy.BATCH: pb.TIME_POLICY_BATCH,
}
_POLICY_OF = {number: policy for policy, number in _POLICIES.items()}
_PROVENANCES = {
    Provenance.MEASURED: pb.PROVENANCE_MEASURED,
    Provenance.INTERPOLATED: pb.PROVENANCE_INTERPOLATED,
    Provenance.CLAMPED: pb.PROVENANCE_CLAMPED,
    Provenance.EXTRAPOLATED: pb.PROVENANCE_EXTRAPOLATED,
    Provenance.MODELLED: pb.PROVENANCE_MODELLED,
}
_PROVENANCE_OF = {number: provenance for provenance, number in _PROVENANCES.items()}


#: A Struct's numbers are doubles: a greater integer (2.5 hours in ps) travels as {INTEGER: "its digits"}; a key of that
#: name, or of more such signs, has one more of them on its way.
EXACT = 2**53
INTEGER = "@int"


class MalformedMessage(ValueError):
    """A message whose columns do not fit together, or that names what does not exist."""


def to_struct(data: Mapping[str, Any]) -> Struct:
    struct = Struct()
    struct.update({_escaped(key): _plain(value) for key, value in data.items()})
    return struct


def from_struct(struct: Struct) -> dict[str, Any]:
    """A Struct's numbers are doubles; whole ones come back as integers, and those that no double holds as they were.

    Raises MalformedMessage for an integer that is none.
    """
    return {_unescaped(key): _value(field) for key, field in struct.fields.items()}


def describe(description: Description, schema: Mapping[str, Any]) -> pb.DescribeResponse:
    return pb.DescribeResponse(
        protocol_minor=PROTOCOL_MINOR,
        min_protocol_minor=0,
        name=description.name,
        kind=description.kind,
        version=description.version,
        time_policy=_POLICIES[description.time_policy],
        op_kinds=sorted(description.op_kinds),
        features=sorted(map(str, description.features)),
        memoryless=description.memoryless,
        deterministic=description.deterministic,
        max_batch_ops=description.max_batch_ops,
        config_schema=to_struct(schema),
        summary=description.summary,
        ports=[to_port(port) for port in description.ports],
    )


def described(message: pb.DescribeResponse) -> Description:
    """Raises MalformedMessage for a time policy this side does not know; unknown features are dropped."""
    if message.time_policy not in _POLICY_OF:
        raise MalformedMessage(f"time policy {message.time_policy} is not known")
    known = {str(feature): feature for feature in Feature}
    return Description(
        name=message.name,
        kind=message.kind,
        version=message.version,
        time_policy=_POLICY_OF[message.time_policy],
        op_kinds=frozenset(message.op_kinds),
        features=frozenset(known[name] for name in message.features if name in known),
        memoryless=message.memoryless,
        deterministic=message.deterministic,
        max_batch_ops=message.max_batch_ops,
        summary=message.summary,
        ports=tuple(from_port(port) for port in message.ports),
    )


def to_template(template: Template) -> pb.Template:
    return pb.Template(
        id=template.id, kind=template.kind, layer=template.layer, attributes=to_struct(template.attributes)
    )


def from_template(message: pb.Template) -> Template:
    return Template(message.id, message.kind, message.layer, from_struct(message.attributes))


def to_port(port: Port) -> pb.Port:
    templates = [to_template(template) for template in port.templates]
    return pb.Port(
        name=port.name, kind=port.kind, templates=templates, latency_ps=port.latency_ps, credits=port.credits
    )


def from_port(message: pb.Port) -> Port:
    templates = tuple(from_template(template) for template in message.templates)
    return Port(message.name, message.kind, templates, message.latency_ps, message.credits)


def to_operations(operations: Sequence[Operation]) -> pb.Operations:
    columns = pb.Operations(
        template_id=[o.template for o in operations],
        value_count=[len(o.values) for o in operations],
        value=[value for o in operations for value in o.values],
        op_id=[o.op_id for o in operations],
    )
    if any(o.at_ps for o in operations):
        columns.at_ps.extend(o.at_ps for o in operations)
    if any(o.microstep for o in operations):
        columns.microstep.extend(o.microstep for o in operations)
    if any(o.after for o in operations):
        columns.dep_count.extend(len(o.after) for o in operations)
        columns.dep_op_id.extend(dep for o in operations for dep in o.after)
    return columns


def from_operations(columns: pb.Operations) -> list[Operation]:
    """Raises BadOperation where columns disagree about how many operations there are."""
    count = len(columns.template_id)
    zeros = [0] * count
    ids, at, micro, deps = (
        list(column) or zeros for column in (columns.op_id, columns.at_ps, columns.microstep, columns.dep_count)
    )
    counts = list(columns.value_count)
    if {len(counts), len(ids), len(at), len(micro), len(deps)} != {count}:
        raise BadOperation("columns of different length")
    if sum(counts) != len(columns.value) or sum(deps) != len(columns.dep_op_id):
        raise BadOperation("counts do not add up to the numbers sent")
    values, after = iter(columns.value), iter(columns.dep_op_id)
    return [
        Operation(
            columns.template_id[i],
            tuple(next(values) for _ in range(counts[i])),
            ids[i],
            at[i],
            micro[i],
            tuple(next(after) for _ in range(deps[i])),
        )
        for i in range(count)
    ]


def to_uses(uses: Sequence[Use]) -> pb.Uses:
    return pb.Uses(
        template_id=[use.template for use in uses],
        value_count=[len(use.values) for use in uses],
        value=[value for use in uses for value in use.values],
        times=[use.times for use in uses],
    )


def from_uses(columns: pb.Uses) -> list[Use]:
    """Raises BadOperation where columns disagree about how many there are."""
    if {len(columns.value_count), len(columns.times)} != {len(columns.template_id)}:
        raise BadOperation("columns of different length")
    if sum(columns.value_count) != len(columns.value):
        raise BadOperation("counts do not add up to the numbers sent")
    values = iter(columns.value)
    return [
        Use(template, tuple(next(values) for _ in range(count)), times)
        for template, count, times in zip(columns.template_id, columns.value_count, columns.times, strict=True)
    ]


def to_completions(done: Sequence[Completion]) -> pb.Completions:
    columns = pb.Completions(
        op_id=[c.op_id for c in done],
        start_ps=[c.start_ps for c in done],
        finish_ps=[c.finish_ps for c in done],
        provenance=[_PROVENANCES[c.provenance] for c in done],
    )
    if any(c.energy_pj is not None for c in done):
        columns.energy_pj.extend(map(_energy, done))
    return columns


def _energy(done: Completion) -> int:
    """As on the wire, where -1 is none. Raises ComponentError for less than nothing."""
    if done.energy_pj is None:
        return -1
    if done.energy_pj < 0:
        raise ComponentError(f"says operation {done.op_id} took {done.energy_pj} pJ: a whole number from 0, or none")
    return done.energy_pj


def from_completions(columns: pb.Completions) -> tuple[Completion, ...]:
    """Raises MalformedMessage."""
    count = len(columns.op_id)
    energies: Iterable[int] = columns.energy_pj or [-1] * count
    lengths = {len(columns.start_ps), len(columns.finish_ps), len(columns.provenance), len(list(energies))}
    if lengths - {count}:
        raise MalformedMessage("completion columns of different length")
    try:
        return tuple(
            Completion(op, start, finish, _PROVENANCE_OF[how], None if energy < 0 else energy)
            for op, start, finish, how, energy in zip(
                columns.op_id, columns.start_ps, columns.finish_ps, columns.provenance, energies, strict=True
            )
        )
    except KeyError as error:
        raise MalformedMessage(f"provenance {error.args[0]} is not known") from None


def to_advanced(answer: Advanced, ports: Sequence[Port] = (), foretold: Advanced | None = None) -> pb.Advanced:
    """``ports``: the session's, whose numbers the requests of the answer carry; ``foretold``: its next answer."""
    message = pb.Advanced(
        reached_ps=answer.reached_ps,
        completions=to_completions(answer.completions),
        next_event_ps=answer.next_event_ps,
    )
    if answer.requests:
        numbers = {port.name: number for number, port in enumerate(ports)}
        message.requests.CopyFrom(to_operations([Operation(r[1], r[2], r[3], r[4]) for r in answer.requests]))
        unknown = next((request.port for request in answer.requests if request.port not in numbers), None)
        if unknown is not None:
            raise MalformedMessage(f"a request at a port {unknown!r}; its ports: {', '.join(numbers)}")
        message.request_port.extend(numbers[request.port] for request in answer.requests)
    if foretold is not None:
        message.foretold.CopyFrom(to_advanced(foretold))
    return message


def from_advanced(message: pb.Advanced, ports: Sequence[Port] = ()) -> Advanced:
    """Raises MalformedMessage."""
    next_event = message.next_event_ps if message.HasField("next_event_ps") else None
    requests = _requests(message, ports) if message.request_port else ()
    return Advanced(message.reached_ps, from_completions(message.completions), next_event, requests)


def foretold(message: pb.Advanced) -> Advanced | None:
    """The answer that came along with this one. Raises MalformedMessage."""
    return from_advanced(message.foretold) if message.HasField("foretold") else None


def _requests(message: pb.Advanced, ports: Sequence[Port]) -> tuple[Request, ...]:
    try:
        operations = from_operations(message.requests)
        if len(operations) != len(message.request_port):
            raise MalformedMessage("columns of requests of different length")
        return tuple(
            Request(ports[number].name, operation[0], operation[1], operation[2], operation[3])
            for number, operation in zip(message.request_port, operations, strict=True)
        )
    except BadOperation as error:
        raise MalformedMessage(f"requests: {error}") from None
    except IndexError:
        raise MalformedMessage(f"a request at port {max(message.request_port)}; it has {len(ports)}") from None


def _plain(value: Any) -> Any:
    """What a Struct can hold."""
    if isinstance(value, Mapping):
        return {_escaped(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int) and abs(value) > EXACT:
        return {INTEGER: str(value)}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _value(field: Value) -> Any:
    kind = field.WhichOneof("kind")
    if kind == "struct_value":
        fields = field.struct_value.fields
        return _integer(_value(fields[INTEGER])) if fields.keys() == {INTEGER} else from_struct(field.struct_value)
    if kind == "list_value":
        return [_value(item) for item in field.list_value.values]
    if kind == "number_value":
        number = field.number_value
        return int(number) if number.is_integer() else number
    return getattr(field, kind) if kind in ("string_value", "bool_value") else None


def _escaped(key: str) -> str:
    return f"@{key}" if key.startswith("@") and key.lstrip("@") == "int" else key


def _unescaped(key: str) -> str:
    return key[1:] if key.startswith("@@") and key.lstrip("@") == "int" else key


def _integer(digits: object) -> int:
    if isinstance(digits, str) and len(digits) < 50 and digits.removeprefix("-").isdecimal():
        return int(digits)
    raise MalformedMessage(f"{str(digits)[:80]!r} is no integer")
