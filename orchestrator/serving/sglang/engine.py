"""SGLang behind the serving interface: an input queue before the scheduler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...errors import InputError
from ...workload.request import Request
from ..interface import EngineView, KvConnector, KvView, RequestView, Role, Step
from ..request_state import RequestState
from ..spec import EngineSpec
from .options import SglangOptions
from .prefill_adder import CLIP_MAX_NEW_TOKENS
from .request_state import SglangRequestState
from .scheduler import SglangScheduler, SglangStep

SETTABLE = ("max_num_seqs", "chunked_prefill_size", "max_prefill_tokens")
#: requests that may run where the scenario does not say: a share of the pool's contexts, within these bounds
#: (`ModelRunner.init_memory_pool`, 0.5.5)
FEWEST_REQUESTS, MOST_REQUESTS, REQUESTS_A_CONTEXT = 2048, 4096, 512


class SglangEngine:
    """As `metronome.orchestrator.serving.interface.Engine`. Raises InputError for what it does not model."""

    def __init__(self, spec: EngineSpec) -> None:
        where = f"instance {spec.name}"
        if spec.role is not Role.BOTH:
            raise InputError(where, "role", str(spec.role), "the SGLang engine does not hand prompts over: role both")
        if spec.slots != 1:
            raise InputError(where, "steps in flight", spec.slots, "the SGLang engine has one: no pipeline, no ffn")
        if spec.victims is not None:
            raise InputError(where, "scheduling_policy", "victim", "SGLang retracts by its own rule")
        self._spec = spec
        self.role: Role = spec.role
        self.connector: KvConnector | None = None
        self.block_size, self.num_blocks = spec.options.block_size, spec.num_blocks
        self._options = self._whole(spec.options)
        self._life = 0
        self._begun = 0  # steps, of all its lives
        self.scheduler = self._new_scheduler()
        self.counts = self.scheduler.counts
        self._arrived: list[SglangRequestState] = []
        self._present: dict[int, SglangRequestState] = {}

    def _whole(self, options: SglangOptions) -> SglangOptions:
        contexts = self.num_blocks * self.block_size / self._spec.max_model_len
        most = min(max(int(contexts * REQUESTS_A_CONTEXT), FEWEST_REQUESTS), MOST_REQUESTS)
        return options if options.max_num_seqs else options.model_copy(update={"max_num_seqs": most})

    def _new_scheduler(self) -> SglangScheduler:
        spec = self._spec
        overlap = spec.async_scheduling
        sizes = self.num_blocks, spec.seed, spec.first_log
        made = SglangScheduler(self._options, *sizes, overlap, spec.admission)
        made.rows = self._begun
        return made

    def new_request(self, request: Request) -> RequestState:
        return SglangRequestState(request)

    def check(self, request: Request) -> None:
        tokens = request.input_tokens + request.output_tokens
        where, name = f"request {request.id}", self._spec.name
        if tokens > self._spec.max_model_len:
            limit = f"instance {name} takes at most {self._spec.max_model_len} (max_model_len)"
            raise InputError(where, "input + output tokens", tokens, limit)
        if request.images:
            raise InputError(where, "image tokens", request.images[0].tokens, "the encoder's work is not modelled here")
        # Admission wants room for the prompt and as much output as it counts with, and some more (PrefillAdder).
        counted = request.input_tokens + min(request.output_tokens, CLIP_MAX_NEW_TOKENS)
        need = max(counted, tokens) + 2 * self.block_size + 1
        if need > self.num_blocks * self.block_size:
            limit = f"instance {name} has {self.num_blocks} pages of {self.block_size} tokens"
            raise InputError(where, "KV tokens", need, limit)

    def submit(self, state: RequestState) -> None:
        own = _own(state)
        self._arrived.append(own)
        self._present[own.request.id] = own

    def schedule(self, now_ps: int) -> Step | None:
        for state in self._arrived:
            state.look_at(now_ps)
            self.scheduler.waiting.append(state)
        self._arrived.clear()
        step = self.scheduler.schedule(now_ps)
        if step is not None:
            step.life = self._life
            self._begun += not self._spec.async_scheduling
        return step

    def settle(self, step: Step) -> None:
        if isinstance(step, SglangStep) and step.life == self._life:
            self._begun += self._spec.async_scheduling
            self.scheduler.settle(step)

    def finish(self, step: Step, delivered_ps: int) -> None:
        if not isinstance(step, SglangStep) or step.life != self._life:  # it has failed since
            step.give_nothing()
            return
        self.scheduler.finish(step)
        step.deliver(delivered_ps)
        for state in step.ended:
            del self._present[state.request.id]

    def abort(self, state: RequestState) -> None:
        own = _own(state)
        del self._present[own.request.id]
        if own in self._arrived:
            self._arrived.remove(own)
            own.aborted = True
        else:
            self.scheduler.abort(own)

    def stop(self) -> list[RequestState]:
        lost = self.requests()
        self._arrived, self._present = [], {}
        self._life += 1
        self.scheduler = self._new_scheduler()
        self.scheduler.counts = self.counts
        return lost

    def restart(self) -> None:
        """Its scheduler is new since it failed."""

    def finished_sending(self, state: RequestState) -> None:
        raise NotImplementedError("role prefill is refused")

    def finished_recving(self, state: RequestState) -> None:
        raise NotImplementedError("role decode is refused")

    # Looked at from outside -----------------------------------------------------------------------

    @property
    def load(self) -> tuple[int, int]:
        waiting = len(self._arrived) + len(self.scheduler.waiting)
        return waiting, len(self._present) - waiting

    @property
    def queued_tokens(self) -> int:
        waiting = sum(state.num_tokens for state in (*self._arrived, *self.scheduler.waiting))
        chunked = self.scheduler.chunked
        return waiting + (chunked.num_tokens - chunked.num_computed_tokens if chunked else 0)

    @property
    def used_blocks(self) -> int:
        memory = self.scheduler.memory
        return memory.own + memory.tree.protected // memory.page_size

    @property
    def cached_blocks(self) -> int:
        tree = self.scheduler.memory.tree
        return tree.evictable // tree.page_size

    def cached_tokens(self, request: Request) -> int:
        if request.token_ids is None or not self.scheduler.memory.caching:
            return 0
        return self.scheduler.memory.beginning_of(request.token_ids, request.input_tokens)

    def steady(self, most: int) -> int:
        """Nothing is promised: a prompt may come before the next decode."""
        return 0

    def requests(self) -> list[RequestState]:
        return list(self._present.values())

    def look(self, state: RequestState) -> RequestView:
        own, scheduler = _own(state), self.scheduler
        where, waits = "prefill", ""
        if own in self._arrived or own in scheduler.waiting:
            where, waits = "waiting", self._blocked(own)
        elif own.joined >= 0:
            where = "decode"
            scheduler.running.update(own)
        blocks = own.own_pages(self.block_size) + own.protected // self.block_size
        return RequestView(own.request.id, where, own.num_computed_tokens, own.num_output_tokens, blocks, waits)

    def _blocked(self, state: SglangRequestState) -> str:
        scheduler = self.scheduler
        most = self._options.max_num_seqs or 0
        if len(scheduler.running) >= most:
            return f"a place: max_running_requests = {most} are running"
        scheduler.running.update_all()
        reserved = sum(min(one.remaining, CLIP_MAX_NEW_TOKENS) for one in scheduler.running.states)
        rest = scheduler.memory.free_tokens - reserved * scheduler.new_token_ratio
        if state.num_tokens + min(state.remaining, CLIP_MAX_NEW_TOKENS) >= rest:
            ratio = f"{scheduler.new_token_ratio:.2f} of what the running may still produce is reserved"
            return f"KV tokens: {scheduler.memory.free_tokens} are free, {ratio}"
        return "its next step"

    def view(self) -> EngineView:
        scheduler, memory = self.scheduler, self.scheduler.memory
        waiting = [*scheduler.waiting, *self._arrived]
        decoding = [state.request.id for state in scheduler.running.states if state.joined >= 0]
        outside = {*decoding, *(state.request.id for state in waiting)}
        prefilling = [number for number in self._present if number not in outside]
        free = self.num_blocks - self.used_blocks
        return EngineView(
            waiting=tuple(state.request.id for state in waiting),
            running=(*decoding, *prefilling),
            prefilling=tuple(prefilling),
            handed=(),
            kv=KvView(self.num_blocks, free, self.used_blocks, memory.tree.size // memory.page_size),
            counts=replace(self.counts),
            config=self._options.model_dump(exclude={"version"}),
            slots=({"step": scheduler.rows, "decodes": len(decoding), "in_flight": bool(scheduler.flying)},),
            blocked=self._blocked(waiting[0]) if waiting else "",
        )

    def configure(self, field: str, value: object) -> None:
        if field not in SETTABLE:
            raise InputError("engine", field, value, f"cannot be set; of a config {', '.join(SETTABLE)} can")
        if type(value) is not int or value < 1:
            raise InputError("engine", field, value, "must be a whole number, at least 1")
        change: dict[str, Any] = {field: value}
        self._options = self.scheduler.options = self._options.model_copy(update=change)

    def internals(self) -> list[object]:
        scheduler = self.scheduler
        nodes = sorted((node.number, node.used, node.locks, len(node.key)) for node in scheduler.memory.tree.nodes())
        return [scheduler.new_token_ratio, scheduler.memory.own, nodes]


def _own(state: RequestState) -> SglangRequestState:
    """A record that `new_request` has made."""
    if not isinstance(state, SglangRequestState):
        raise TypeError(f"request {state.request.id} was made by another engine")
    return state
