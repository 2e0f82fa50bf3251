"""The one seam between the orchestrator and a piece of hardware.

A *component* is asked one thing, :meth:`Component.advance`: here are operations, and a promise (the
*grant*) that nothing earlier than it will come; tell me which of them are done, and when you will
next do something. The same interface is served in process and over gRPC.

Units everywhere: time in integer picoseconds, data in bytes, work in FLOPs, energy in picojoules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, Protocol

from .offers import Asking as Asking
from .offers import BesideMemory as BesideMemory
from .offers import DeclaresTraffic as DeclaresTraffic
from .offers import Foretelling as Foretelling
from .offers import Inspectable as Inspectable
from .offers import Progressions as Progressions
from .offers import Resources as Resources
from .offers import Snapshots as Snapshots
from .offers import foretelling as foretelling
from .offers import progressions as progressions
from .ports import Port, Request
from .traffic import Moved as Moved
from .traffic import Overlap as Overlap
from .traffic import Pattern as Pattern
from .traffic import Traffic as Traffic

PS_PER_NS = 10**3
PS_PER_US = 10**6
PS_PER_S = 10**12
MAX_PS = 2**63 - 1  # 106 days: the range of the signed 64-bit time on the wire

Attribute = str | int | float | bool


class TimePolicy(StrEnum):
    """How a component relates to simulated time (docs/coupling.md)."""

    ORACLE = "oracle"  # a pure question: no clock, answers may lie in the future, cacheable
    CONSERVATIVE = "conservative"  # stateful; never sees an operation older than its time
    FORWARD_ONLY = "forward-only"  # cycle-level; as conservative, never over-granted, no retry
    BATCH = "batch"  # file in, file out: a whole set of operations at once


class Feature(StrEnum):
    """Optional abilities, negotiated when a session is configured."""

    SNAPSHOT = "snapshot"  # snapshot() / restore()
    INSPECT = "inspect"  # inspect(): look at state without changing it
    PROGRESS = "progress"  # progress(): slow, and says how far it is while it computes
    RESOURCES = "resources"  # resources(): which templates can never meet
    TRAFFIC = "traffic"  # traffic(): what an operation moves, for the memory beside it to do
    PORTS = "ports"  # answered(): it asks other components, at the ports it is described with
    ACCOUNTS = "accounts"  # statistics() wants the uses: it says what was carried, answers used again included
    TYPICAL = (
        "typical"  # statistics() wants typical uses: numbers between the same powers of two are one, by their mean
    )


class Provenance(StrEnum):
    """Where a figure comes from; every completion carries one."""

    MEASURED = "measured"  # a point that was measured
    INTERPOLATED = "interpolated"  # between measured points
    CLAMPED = "clamped"  # below the first measured point: that point's value
    EXTRAPOLATED = "extrapolated"  # beyond the last measured point
    MODELLED = "modelled"  # computed from a formula and a datasheet
    CALIBRATED = "calibrated"  # any of these times a factor of the scenario's calibration: the orchestrator's to say


#: Worst first: what a figure made of several figures counts as.
PROVENANCE_ORDER = (
    Provenance.MODELLED,
    Provenance.EXTRAPOLATED,
    Provenance.CALIBRATED,
    Provenance.CLAMPED,
    Provenance.INTERPOLATED,
    Provenance.MEASURED,
)

_RANK = {provenance: rank for rank, provenance in enumerate(PROVENANCE_ORDER)}


def worse(first: Provenance, second: Provenance) -> Provenance:
    """What a figure made of both counts as."""
    return first if _RANK[first] <= _RANK[second] else second


@dataclass(frozen=True, slots=True)
class Template:
    """What does not change between uses of an operation; declared once a session.

    Attributes:
        id: unique within a session.
        kind: one of the kinds in :data:`OPERATION_VALUES`.
        layer: canonical layer name (``qkv_proj``, ``attention``, ...), for tables and reports.
        attributes: static shape and dtype, as listed for the kind in :data:`OPERATION_ATTRIBUTES`.
    """

    id: int
    kind: str
    layer: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Operation(NamedTuple):  # a frozen dataclass takes three times as long to make
    """One use of a template: the few numbers that change, in the order of `OPERATION_VALUES`.

    ``at_ps`` is when it may start, ``after`` the ids of operations it waits for (BATCH only).
    """

    template: int
    values: tuple[int, ...]
    op_id: int = 0
    at_ps: int = 0
    microstep: int = 0
    after: tuple[int, ...] = ()


#: Key of the order in which operations are taken: when, microstep, id.
in_order = itemgetter(3, 4, 2)

#: kind -> names of the numbers in ``Operation.values``. ``attention`` is followed by one pair (new tokens, tokens
#: already in the KV cache) for every prompt in the batch; ``train`` by one pair (gap before it in ps, bytes) for each
#: of its operations, which are done one after another ``repeat`` times. A ``slowdown`` takes no time: a byte over its
#: links takes ``millionths`` / 10^6 times as long (0: it does not move) until its template's next one.
OPERATION_VALUES: Mapping[str, tuple[str, ...]] = {
    "gemm": ("m",),
    "norm": ("tokens",),
    "elementwise": ("tokens",),
    "embedding": ("tokens",),
    "sampler": ("sequences",),
    "attention": ("decodes", "context_sum", "context_max", "context_min"),
    "moe": ("tokens", "active_experts"),
    "state": ("tokens", "sequences"),
    "read": ("bytes",),
    "write": ("bytes",),
    "copy": ("bytes",),
    "move": ("read_bytes", "write_bytes"),
    "load": ("bytes", "address"),
    "store": ("bytes", "address"),
    "send": ("bytes",),
    "all_reduce": ("bytes",),
    "all_gather": ("bytes",),
    "reduce_scatter": ("bytes",),
    "all_to_all": ("bytes",),
    "broadcast": ("bytes",),
    "train": ("repeat",),
    "slowdown": ("millionths",),
}

PAIRED: Mapping[str, str] = {"attention": "new tokens, cached tokens", "train": "gap, bytes"}

#: kind -> attributes a template of that kind always carries. Sizes in elements, dtypes by their short names (bf16,
#: fp8, ...). ``width`` is elements moved per token. Collective bytes are the size of the full vector (all_reduce,
#: reduce_scatter), of one rank's shard (all_gather) or of all that one rank sends, its own part included (all_to_all).
#: ``ranks`` names the devices in rank order, comma-separated: ``n0.0,n0.1`` (of a send: source, target, source,
#: target, ..., all at once); ``owner`` may say whose traffic it is, for reports. ``routing_kernels`` may say in how
#: many kernels a ``moe`` chooses its experts (else one). A ``state`` is ``heads`` x ``head_size`` x ``depth`` numbers
#: a sequence, and the last inputs of a convolution ``conv_width`` wide. ``of`` names the templates of a train's
#: operations, declared before it, comma-separated. A model that does not do ``train`` or ``slowdown`` is never sent
#: one; ``links`` of the latter are names of the model's own, with * for any part. A ``move`` is the memory's part of
#: an accelerator's operation: what that reads and writes, side by side, in a ``pattern`` of `Pattern`; a memory that
#: does not do it is asked for a read, then a write. What else there may be: `base.ALTERATIONS`.
OPERATION_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "gemm": ("n", "k", "dtype"),
    "norm": ("width", "dtype"),
    "elementwise": ("width", "dtype"),
    "embedding": ("width", "dtype"),
    "sampler": ("width", "dtype"),
    "attention": ("heads", "kv_heads", "head_size", "dtype", "kv_dtype"),
    "moe": ("hidden", "intermediate", "experts", "top_k", "dtype"),
    "state": ("heads", "head_size", "depth", "conv_width", "dtype", "state_dtype"),
    "read": (),
    "write": (),
    "copy": (),
    "move": ("pattern",),
    "load": (),
    "store": (),
    **dict.fromkeys(
        ("send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"), ("participants", "ranks")
    ),
    "train": ("of",),
    "slowdown": ("links",),
}

DTYPE_BYTES: Mapping[str, float] = {
    "fp32": 4,
    "bf16": 2,
    "fp16": 2,
    "fp8": 1,
    "int8": 1,
    "int4": 0.5,
    "fp4": 0.5,
}


class Completion(NamedTuple):
    """An operation done: when it started and finished, what it cost, where the figure comes from.

    ``energy_pj`` is the energy above what the device draws awake with nothing to do, of one device or, of a
    network operation, of one participant's share; None where the component does not know it.
    """

    op_id: int
    start_ps: int
    finish_ps: int
    provenance: Provenance
    energy_pj: int | None = None


class Estimate(NamedTuple):
    """How long an operation alone takes (ps), from where that is known, and the energy it adds above idle (pJ)."""

    duration_ps: int
    provenance: Provenance
    energy_pj: int | None = None


class Estimates(NamedTuple):
    """Several in columns; ``energies_pj`` is None where none is known."""

    durations_ps: Sequence[int]
    provenances: Sequence[Provenance]
    energies_pj: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Advanced:
    """The answer to one advance.

    ``reached_ps`` <= the grant; completions of a stepped component lie at or before it (an oracle's
    are final and may lie later). ``next_event_ps`` is when the component will next complete
    something if it gets nothing new, None when idle; a forward-only one, which cannot look ahead, may say
    a time before which it surely completes nothing. ``requests``, of one with ports (`ports`), are none before
    ``reached_ps``; until it is answered it may owe operations and promise nothing.
    """

    reached_ps: int
    completions: tuple[Completion, ...]
    next_event_ps: int | None = None
    requests: tuple[Request, ...] = ()


class Use(NamedTuple):
    """An operation whose remembered answer served ``times`` times."""

    template: int
    values: tuple[int, ...]
    times: int


@dataclass(frozen=True, slots=True)
class Description:
    """What a model is, before it is configured.

    Attributes:
        memoryless: idle means back to the initial state, so the answer for an operation alone is
            exact; such a component is asked as an oracle while only one sequential user reaches it.
        deterministic: the same operations always give the same answers.
    """

    name: str
    kind: str  # accelerator | pim | memory | network
    version: str
    time_policy: TimePolicy
    op_kinds: frozenset[str]
    features: frozenset[Feature] = frozenset()
    memoryless: bool = True
    deterministic: bool = True
    max_batch_ops: int = 100_000
    summary: str = ""
    ports: tuple[Port, ...] = ()


class ComponentError(Exception):
    """Root of what a component may raise."""


class ConfigError(ComponentError):
    """The configuration is wrong: ``field`` holds ``value``; ``allowed`` says what would do."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {allowed}" if value is None else f"{field} = {value!r}: {allowed}")
        self.field, self.value, self.allowed = field, value, allowed


class UnsupportedOperation(ComponentError):
    """The component cannot do an operation of this kind or shape; raised before time 0."""

    def __init__(self, component: str, template: Template, why: str) -> None:
        super().__init__(f"{component} cannot do {template.kind} '{template.layer}': {why}")
        self.component, self.template, self.why = component, template, why


class LateOperation(ComponentError):
    """An operation older than the component's time; refused, never silently moved."""

    def __init__(self, operation: Operation, reached_ps: int) -> None:
        super().__init__(
            f"operation {operation.op_id} at {operation.at_ps} ps is older than the component's time {reached_ps} ps"
        )
        self.operation, self.reached_ps = operation, reached_ps


class BadOperation(ComponentError):
    """An operation whose numbers make no sense (negative, unknown template, wrong count)."""


class Component(Protocol):
    """One piece of hardware in one session.

    Built as ``Model(config, seed)`` with a plain mapping; raises :class:`ConfigError`.
    """

    description: ClassVar[Description]

    @classmethod
    def config_schema(cls) -> dict[str, Any]:
        """JSON Schema of the configuration."""
        ...

    def declare(self, templates: Sequence[Template]) -> None:
        """Every template of the plan, before time 0; raises :class:`UnsupportedOperation`."""
        ...

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        """Take operations and simulate up to ``grant_ps``, or to the first completion if asked.

        The grant promises that no operation older than it will follow.
        Raises LateOperation, BadOperation.
        """
        ...

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """Figures of the session, JSON-ready, asked for once at its end.

        ``uses`` are operations whose remembered answers were used without asking again, given to
        models with the feature ACCOUNTS alone (with TYPICAL: typical ones). One that accounts for
        what it carried counts them (one with a clock beside what it was given, one without instead
        of it). ``relative_error`` may say how far off its figures are, by provenance.
        """
        ...


def in_progression(first: Sequence[int], more: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """So many sets of numbers, of which each is larger by ``more`` than the one before."""
    return list(zip(*map(_column, first, more, repeat(count)), strict=True))


def _column(first: int, more: int, count: int) -> Iterable[int]:
    return range(first, first + more * count, more) if more else repeat(first, count)


def check_operation(operation: Operation, templates: Mapping[int, Template]) -> Template:
    """The operation's template; raises BadOperation if its numbers cannot be."""
    template = templates.get(operation.template)
    if template is None:
        raise BadOperation(f"operation {operation.op_id} names template {operation.template}, never declared")
    names = OPERATION_VALUES[template.kind]
    extra = len(operation.values) - len(names)
    if extra < 0 or (extra and (template.kind not in PAIRED or extra % 2)):
        raise BadOperation(
            f"operation {operation.op_id} ({template.kind}) carries {len(operation.values)} numbers; "
            f"{template.kind} takes {', '.join(names)}"
            + (f" and pairs of ({PAIRED[template.kind]})" if template.kind in PAIRED else "")
        )
    if min(operation.values) < 0:
        raise BadOperation(f"operation {operation.op_id} ({template.kind}) carries a negative number")
    return template
