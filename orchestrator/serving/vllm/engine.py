"""vLLM's engine core behind the serving interface: an input queue before the scheduler."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from ...errors import InputError
from ...workload.request import Request
from ..interface import EngineView, KvConnector, KvView, Leapt, RequestView, Role, Step
from ..kv.hashing import hash_blocks
from ..offloading import RecallingConnector
from ..request_state import RequestState
from ..spec import EngineSpec
from . import leaping
from .config import SchedulerConfig
from .lanes import VllmStep
from .recalls import RecallingScheduler
from .request_state import VllmRequestState
from .rules import rules_of
from .scheduler import Scheduler
from .start import refuse_request

FIXED = ("block_size", "enable_prefix_caching", "async_scheduling")  # what it was built for


def _alone() -> None:
    """Nobody drives it by leaps."""


class VllmEngine:
    """As `metronome.orchestrator.serving.interface.Engine`, and `Leaping`."""

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self.looked_at = self.changing = _alone
        self.role = spec.role
        names = [field.name for field in fields(SchedulerConfig) if field.name != "async_scheduling"]
        options = {name: getattr(spec.options, name) for name in names}
        self._config = SchedulerConfig(**options, async_scheduling=spec.async_scheduling)
        self.block_size, self.num_blocks = self._config.block_size, spec.num_blocks
        self._life = 0  # how often it has failed
        self._recalls: RecallingConnector | None = None
        self.scheduler = self._new_scheduler()
        self.counts = self.scheduler.counts
        self._arrived: list[VllmRequestState] = []  # not looked at yet

    def _new_scheduler(self) -> Scheduler:
        spec = self._spec
        hand_over = self.role is Role.PREFILL
        policies = spec.admission, spec.victims
        kind = Scheduler if self._recalls is None else RecallingScheduler
        sizes = spec.num_blocks, spec.slots, spec.first_log
        rules = rules_of(spec.options.version)
        made = kind(self._config, *sizes, hand_over, *policies, spec.kv_groups, spec.encoder_tokens, rules)
        if self._recalls is not None and isinstance(made, RecallingScheduler):
            made.attach(self._recalls)
        return made

    @property
    def connector(self) -> KvConnector | None:
        return self.scheduler.remote_kvs.connector

    @connector.setter
    def connector(self, connector: KvConnector | None) -> None:
        if isinstance(connector, RecallingConnector):
            self._recalls = connector
            self.scheduler = self._new_scheduler()
            self.scheduler.counts = self.counts
        self.scheduler.remote_kvs.connector = connector

    # A request's way ------------------------------------------------------------------------------

    def new_request(self, request: Request) -> RequestState:
        return VllmRequestState(request)

    def check(self, request: Request) -> None:
        outputs = 1 if self.role is Role.PREFILL else request.output_tokens
        # Where the first token comes along, blocks for the prompt and for it are reserved at once.
        along = self.role is Role.DECODE and not self.scheduler.remote_kvs.first_token_here
        # The last token's K and V are never computed.
        held = max(request.input_tokens + outputs - 1, request.input_tokens + along)
        need = self.scheduler.cache.most_blocks(request.input_tokens, held)
        refuse_request(request, outputs, need, self._spec)

    def submit(self, state: RequestState) -> None:
        self.changing()
        self._arrived.append(_own(state))

    def schedule(self, now_ps: int) -> Step | None:
        for state in self._arrived:
            state.look_at(now_ps)
            self.scheduler.waiting.append(state)
        self._arrived.clear()
        step = self.scheduler.schedule(now_ps)
        if step is None and isinstance(self.scheduler, RecallingScheduler) and self.scheduler.empty_step():
            step = self.scheduler.schedule(now_ps)
        if step is not None:
            step.life = self._life
        return step

    def settle(self, step: Step) -> None:
        if isinstance(step, VllmStep) and step.life == self._life:
            self.scheduler.settle(step)

    def finish(self, step: Step, delivered_ps: int) -> None:
        if not isinstance(step, VllmStep) or step.life != self._life:  # it has failed since
            step.give_nothing()
            return
        step.ended = [state for state in step.ended if not state.aborted]
        step.handed = [state for state in step.handed if not state.aborted]
        self.scheduler.finish(step)
        step.deliver(delivered_ps)

    def certain_steps(self, flight: Step, most: int) -> int:
        if self._arrived or not isinstance(flight, VllmStep) or flight.life != self._life:
            return 0
        if isinstance(self.scheduler, RecallingScheduler) and not self.scheduler.quiet(flight, most):
            return 0  # what is recalled, stored or let go happens step by step
        return leaping.certain_steps(self.scheduler, flight, most)

    def leap(self, flight: Step, upcoming: Step | None, steps: int) -> Leapt:
        if not isinstance(flight, VllmStep) or not isinstance(upcoming, VllmStep | None):
            raise TypeError("steps of another engine")
        return leaping.leap(self.scheduler, flight, upcoming, steps)

    def abort(self, state: RequestState) -> None:
        self.changing()
        if state in self._arrived:
            self._arrived.remove(_own(state))
            state.aborted = True
            return
        self.scheduler.abort(_own(state))

    def stop(self) -> list[RequestState]:
        self.changing()
        lost = self.requests()
        connector = self.connector
        self._arrived = []
        self._life += 1
        if self._recalls is not None:
            self._recalls.stopped()
        begun = [lane.steps_begun(self._config.async_scheduling) for lane in self.scheduler.lanes]
        self.scheduler = self._new_scheduler()
        for lane, steps in zip(self.scheduler.lanes, begun, strict=True):
            lane.decoders.step = steps
        self.scheduler.counts = self.counts
        self.connector = connector
        return lost

    def restart(self) -> None:
        """Its scheduler is new since it failed."""

    def finished_sending(self, state: RequestState) -> None:
        self.changing()
        self.scheduler.release(_own(state))

    def finished_recving(self, state: RequestState) -> None:
        self.changing()
        self.scheduler.remote_kvs.loaded(_own(state))

    # Looked at from outside -----------------------------------------------------------------------

    @property
    def load(self) -> tuple[int, int]:
        waiting, running = self.scheduler.load
        return waiting + len(self._arrived), running

    @property
    def queued_tokens(self) -> int:
        waiting: list[VllmRequestState] = [*self._arrived, *self.scheduler.waiting]
        tokens = sum(state.num_tokens for state in waiting)
        return tokens + self.scheduler.unfinished_tokens

    @property
    def used_blocks(self) -> int:
        self.looked_at()
        return self.scheduler.pool.used

    @property
    def cached_blocks(self) -> int:
        self.looked_at()
        return self.scheduler.pool.idle_cached

    def cached_tokens(self, request: Request) -> int:
        if request.token_ids is None or not self._config.enable_prefix_caching:
            return 0
        self.looked_at()
        hashes = hash_blocks(request.token_ids[: request.input_tokens], self.block_size)
        cache = self.scheduler.cache
        return cache.hit_tokens(cache.find(hashes, request.input_tokens))

    def steady(self, most: int) -> int:
        return self.scheduler.steady(most)

    def requests(self) -> list[RequestState]:
        self.looked_at()
        scheduler = self.scheduler
        return [
            *self._arrived,
            *scheduler.waiting,
            *scheduler.remote_kvs.sequences(),
            *scheduler.running.values(),
            *scheduler.handed.values(),
        ]

    def look(self, state: RequestState) -> RequestView:
        self.looked_at()
        own = _own(state)
        where = self._where(own)
        computed, produced = own.num_computed_tokens, own.num_output_tokens
        for lane in self.scheduler.lanes:
            if where == "decode" and own in lane.decoders:
                computed = lane.decoders.context(own)
                produced += lane.decoders.step - own.since
        waits = self._blocked(own) if where == "waiting" else ""
        return RequestView(own.request.id, where, computed, produced, self.scheduler.cache.held(own), waits)

    def _where(self, state: VllmRequestState) -> str:
        scheduler = self.scheduler
        if scheduler.running.get(state.order) is state:
            return "prefill" if state.order in scheduler.prefilling else "decode"
        if scheduler.handed.get(state.order) is state:
            return "handed"
        return "moving" if scheduler.remote_kvs.moves(state) else "waiting"

    def _blocked(self, state: VllmRequestState) -> str:
        """What it would wait for at the head of the queue."""
        scheduler, pool = self.scheduler, self.scheduler.pool
        if len(scheduler.running) >= scheduler.config.max_num_seqs:
            return f"a place: max_num_seqs = {scheduler.config.max_num_seqs} are running"
        if pool.free < scheduler.cache.missing(state, state.num_tokens):
            held = 0 if scheduler.running else sum(len(one.block_ids) for one in scheduler.remote_kvs.still())
            more = f", {held} held by requests that wait for more, as vLLM itself may (docs/memory.md)" if held else ""
            return f"KV blocks: {pool.free} of {pool.size} are free{more}"
        return "its next step"

    def view(self) -> EngineView:
        self.looked_at()
        scheduler, pool = self.scheduler, self.scheduler.pool
        first = scheduler.waiting.ordered(scheduler.remote_kvs.still())
        waiting = [*first, *scheduler.waiting, *self._arrived]
        return EngineView(
            waiting=tuple(state.request.id for state in waiting),
            running=tuple(state.request.id for state in scheduler.running.values()),
            prefilling=tuple(s.request.id for s in scheduler.running.values() if s.order in scheduler.prefilling),
            handed=tuple(state.request.id for state in scheduler.handed.values()),
            kv=KvView(pool.size, pool.free, pool.used, pool.cached),
            counts=replace(self.counts),
            config=asdict(scheduler.config),
            slots=tuple(
                {"step": lane.decoders.step, "decodes": lane.decoders.count, "in_flight": lane.in_flight}
                for lane in scheduler.lanes
            ),
            blocked=self._blocked(waiting[0]) if waiting else "",
        )

    def configure(self, field: str, value: object) -> None:
        self.changing()
        known: dict[str, Any] = {name: was for name, was in asdict(self._config).items() if name not in FIXED}
        if field not in known:
            raise InputError("engine", field, value, f"cannot be set; of a config {', '.join(known)} can")
        before = known[field]
        if type(value) is not type(before) or (type(value) is int and value < 0):
            kind = "true or false" if isinstance(before, bool) else "a whole number, not negative"
            raise InputError("engine", field, value, f"must be {kind}")
        if field.startswith("max_") and isinstance(value, int) and value < 1:
            raise InputError("engine", field, value, "must be at least 1")
        change: dict[str, Any] = {field: value}
        self._config = self.scheduler.config = replace(self._config, **change)

    def internals(self) -> list[object]:
        self.looked_at()
        return self.scheduler.pool.internals()


def _own(state: RequestState) -> VllmRequestState:
    """A record that `new_request` has made."""
    if not isinstance(state, VllmRequestState):
        raise TypeError(f"request {state.request.id} was made by another engine")
    return state
