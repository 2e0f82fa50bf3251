"""What the rest of the orchestrator knows of a serving engine.

Router, dispatcher, step loop, report, debugger and validation import this and nothing beneath it. Beneath it are
engines (`vllm`, `sglang`, other people's), each of which decides on its own who is computed when, and which
K and V stay where. No engine knows what a step costs, what time it is between two calls, or who listens.
`tests/engine_contract.py` is to engines what conformance is to components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ..workload.request import Request
from .batch import Batch
from .request_state import RequestState

LayerHook = Callable[[int], None]


class Role(StrEnum):
    """What an engine does of a request."""

    BOTH = "both"
    PREFILL = "prefill"
    DECODE = "decode"


class PromptChunk(NamedTuple):
    """``tokens`` of a request's prompt that a step computes, up to ``end``."""

    state: RequestState
    tokens: int
    end: int


class StepMoves(Protocol):
    """K and V that move for a step, where engines keep some off their devices.

    Attributes:
        waits: the step cannot begin, or not end, before some of them are there.
    """

    waits: bool

    def begin(self, run: Callable[[], None]) -> None:
        """The step is to begin: ``run`` when it can."""
        ...

    def end(self, done: Callable[[int], None], energy_pj: int) -> None:
        """Its operations are done: ``done(energy_pj)`` when what they waited for is, too."""
        ...

    def computed(self) -> None:
        """Its tokens are out: what it computed may leave."""
        ...


@dataclass(slots=True)
class Step:
    """One step of one engine, from `Engine.schedule` to `Engine.finish`; engines may add fields of their own.

    Attributes:
        batch: its shape.
        slot: its place among the steps the engine may have in flight (vLLM: of the batch queue), from 0. A slot
            holds one step at a time, and has a step log of its own.
        tokens: output tokens it gives, known once it is settled.
        first: requests whose first token it gives, or whose token counts though they were preempted meanwhile.
        ended: requests whose last token it gives.
        handed: requests whose prompt it completes for another engine to decode.
        moves: K and V that move for it, if any do.
    """

    batch: Batch
    slot: int = 0
    tokens: int = 0
    first: Sequence[RequestState] = ()
    ended: Sequence[RequestState] = ()
    handed: Sequence[RequestState] = ()
    moves: StepMoves | None = None

    def members(self) -> list[RequestState]:
        """Requests computed in it; only until it is settled."""
        raise NotImplementedError

    def prompt_chunks(self) -> Sequence[PromptChunk]:
        """The prompts computed in it; only until it is settled."""
        raise NotImplementedError

    def give_nothing(self) -> None:
        """Its engine has failed since: its tokens count for nobody."""
        self.tokens = 0
        self.first, self.ended, self.handed = [], [], []

    def deliver(self, delivered_ps: int) -> None:
        """Write down when the first and the last tokens it gives are with the clients."""
        for state in self.first:
            if state.first_token_ps < 0:
                state.first_token_ps = delivered_ps
        for state in self.ended:
            # Another engine's servers, which the first token came through, may be busier.
            state.end_ps = max(delivered_ps, state.first_token_ps)


@dataclass(slots=True)
class EngineCounts:
    """Totals of a run.

    Attributes:
        preemptions: how often a running request lost its K and V (SGLang: was retracted).
        recomputed_tokens: tokens computed again because of that.
        prefix_hit_tokens: prompt tokens whose K and V were in the prefix cache on admission.
        admissions: how often a request began to run.
    """

    preemptions: int = 0
    recomputed_tokens: int = 0
    prefix_hit_tokens: int = 0
    admissions: int = 0


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as it is now on the engine that has it.

    Attributes:
        id: the request's.
        state: ``waiting``, ``moving`` (its K and V come from another engine), ``prefill``, ``decode`` or ``handed``
            (its prompt is computed, its K and V are still to be fetched).
        num_computed_tokens: tokens whose K and V are there, or being put there by the step in flight.
        num_output_tokens: tokens produced.
        blocks: KV blocks it holds.
        waits_for: what keeps it from being computed, in words; empty where nothing does.
    """

    id: int
    state: str
    num_computed_tokens: int
    num_output_tokens: int
    blocks: int
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class KvView:
    """Blocks of a KV pool: ``size`` in all, ``used`` held by requests, ``cached`` findable by their content."""

    size: int
    free: int
    used: int
    cached: int


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine at one moment, made when asked for. Requests are in the order the engine looks at them.

    ``blocked`` says what the first of the waiting waits for, in words. ``slots``: of every step that can be in
    flight, its number, its decoding requests and whether it is.
    """

    waiting: tuple[int, ...]
    running: tuple[int, ...]
    prefilling: tuple[int, ...]
    handed: tuple[int, ...]
    kv: KvView
    counts: EngineCounts
    config: Mapping[str, Any]
    slots: tuple[Mapping[str, Any], ...]
    blocked: str


class KvConnector(Protocol):
    """Where K and V of requests come from and go to: what vLLM calls a KV connector.

    The dispatcher and the step loop tell it of requests, engines of blocks; it moves K and V with a `KvTransfer`
    and tells engines when they have left or arrived.

    Attributes:
        decode_gives_first_token: the engine that decodes computes the prompt's last token again and samples the first
            token; the one that computed the prompt gives one, too, which nobody is sent.
    """

    decode_gives_first_token: bool

    def arrived(self, state: RequestState) -> None:
        """A request that two engines will share has come to its first engine, and is to be submitted to it."""
        ...

    def reserved(self, state: RequestState, tokens: int) -> None:
        """An engine has blocks for a request from elsewhere; ``tokens`` of its prompt it has not in its own cache."""
        ...

    def prompt_computed(self, state: RequestState) -> None:
        """Its first token is out, its K and V are whole on the engine that computed them."""
        ...

    def aborted(self, request: int) -> None:
        """A request, by number, was dropped by its client, and by the engines that had it."""
        ...

    def layer_hook(self, step: Step) -> LayerHook | None:
        """Before a step: what is to be told how many of its layers are through, if anything."""
        ...


class KvTransfer(Protocol):
    """Moves K and V between two endpoints: engines, by name, or memories."""

    def move(self, source: str, target: str, tokens: int, layers: range | None, done: Callable[[], None]) -> None:
        """K and V of that many tokens (of some layers, or of all); ``done`` when the last byte is there."""
        ...


class Leapt(NamedTuple):
    """What steps that were done at once leave: the step in flight after them, the one scheduled after that (if one is,
    while a step is in flight), and at the end of each the KV blocks that requests held, and those of a `Caching` engine
    that nobody held and that could be found."""

    flight: Step
    upcoming: Step | None
    used_blocks: Sequence[int]
    cached_blocks: Sequence[int] = ()


@runtime_checkable
class Leaping(Protocol):
    """An engine that can do several steps at once, as long as nobody comes or goes.

    Attributes:
        looked_at: called before anybody is shown what such steps change (`load` and `queued_tokens` they do not).
        changing: called before anything from outside changes it.
    """

    looked_at: Callable[[], None]
    changing: Callable[[], None]

    def certain_steps(self, flight: Step, most: int) -> int:
        """For how many of so many steps after the one in flight, which has been launched, all is certain, if nobody
        from outside interferes: its requests all decode, nobody can join, nobody's last token is out."""
        ...

    def leap(self, flight: Step, upcoming: Step | None, steps: int) -> Leapt:
        """So many steps end and as many start, beginning with the end of the one in flight; ``upcoming`` is scheduled
        after it. As `settle`, `finish` and `schedule`, one after another, would do."""
        ...


@runtime_checkable
class Caching(Protocol):
    """An engine that knows how much of its free memory its prefix cache has."""

    @property
    def cached_blocks(self) -> int:
        """KV blocks that nobody holds and whose content can be found."""
        ...


class Engine(Protocol):
    """One serving engine of one instance, or of one data-parallel rank of it.

    The order of calls is: any number of `submit`, `schedule` (which looks at what was submitted), then for the step
    it returned `settle` and `finish`. Before it is finished more steps may be scheduled, as many as it has slots;
    with asynchronous scheduling the next is scheduled after `settle`, before `finish`.

    Attributes:
        role: what it does of a request.
        counts: totals so far.
        block_size: tokens a KV block.
        num_blocks: KV blocks it can use.
        connector: told of blocks reserved for K and V from elsewhere; set before the run starts, if there is any.
    """

    role: Role
    counts: EngineCounts
    block_size: int
    num_blocks: int
    connector: KvConnector | None

    def new_request(self, request: Request) -> RequestState:
        """Its own record of a request, to be submitted."""
        ...

    def check(self, request: Request) -> None:
        """Raises InputError for a request that could never be served."""
        ...

    def submit(self, state: RequestState) -> None:
        """A request is in its input queue; it is looked at by the next `schedule`. It has passed `check`."""
        ...

    def schedule(self, now_ps: int) -> Step | None:
        """Decide the next step; None when there is nothing to compute, or no slot is free."""
        ...

    def settle(self, step: Step) -> None:
        """Count on the step's tokens, which may still be on their way: fills what `Step` says is known then."""
        ...

    def finish(self, step: Step, delivered_ps: int) -> None:
        """A settled step's tokens are out of the engine, and at ``delivered_ps`` with the clients.

        Those who ended give back what they held; times of first and last tokens are written down (`Step.deliver`).
        """
        ...

    def abort(self, state: RequestState) -> None:
        """Drop a request it has, wherever it is; what it held is free. Tokens on their way count for nobody."""
        ...

    def stop(self) -> list[RequestState]:
        """It fails: every request it had is returned, its K and V are gone, steps in flight give nothing.

        These have rows in its step logs too: what it counts in `RequestState.token_steps` goes on behind them.
        """
        ...

    def restart(self) -> None:
        """It is there again, with an empty cache. Only after `stop`."""
        ...

    def finished_sending(self, state: RequestState) -> None:
        """K and V of a handed-over request have left: what they held is free (and can still be hit)."""
        ...

    def finished_recving(self, state: RequestState) -> None:
        """K and V of a request from elsewhere are here: it can be decoded."""
        ...

    @property
    def load(self) -> tuple[int, int]:
        """How many requests wait (those not looked at yet among them) and how many run."""
        ...

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens that no step computes yet."""
        ...

    @property
    def used_blocks(self) -> int:
        """KV blocks that requests hold."""
        ...

    def cached_tokens(self, request: Request) -> int:
        """Tokens of its prompt that are in the prefix cache now."""
        ...

    def steady(self, most: int) -> int:
        """For how many of that many steps after the one just scheduled its batch stays the same, if nobody joins."""
        ...

    def requests(self) -> list[RequestState]:
        """All it has, in no order that matters."""
        ...

    def look(self, state: RequestState) -> RequestView:
        """One request it has, now."""
        ...

    def view(self) -> EngineView:
        """The whole of it, now."""
        ...

    def configure(self, field: str, value: object) -> None:
        """Change one of its flags between two steps; raises InputError naming what can be changed."""
        ...

    def internals(self) -> list[object]:
        """What decides what it does next and is not in its view, JSON-ready, for a fingerprint."""
        ...


class AdmissionPolicy(Protocol):
    """In which order requests that wait are admitted."""

    def key(self, state: RequestState) -> Any:
        """Smallest first; equal ones in order of arrival. It must not change while the request waits."""
        ...


class VictimPolicy(Protocol):
    """Who is preempted when KV blocks run out."""

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        """One of these, which are in order of admission."""
        ...
