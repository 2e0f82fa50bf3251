"""vLLM's own scheduler behind the serving interface: it decides, this counts what it has decided.

It runs in a process of its own and is told of requests, of steps that are to be scheduled, and of steps whose tokens
are out. Tokens are those of the workload, or of no other request where it gives none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from metronome.adapters.vllm import RealScheduler

from ...errors import InputError
from ...workload.request import Request
from ..batch import Batch
from ..interface import EngineCounts, EngineView, KvConnector, KvView, PromptChunk, RequestView, Role, Step
from ..kv.hybrid import kv_cache
from ..request_state import RequestState
from ..spec import EngineSpec
from ..vllm.start import refuse_request

FLAGS = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "long_prefill_token_threshold",
    "enable_chunked_prefill",
    "scheduler_reserve_full_isl",
    "block_size",
    "enable_prefix_caching",
)
UNKNOWN = 1 << 32  # from here on: ids of tokens that the workload does not say, which no two requests share


@dataclass(slots=True)
class RealStep(Step):
    """``number`` is vLLM's; ``rows``: (request, new tokens, computed before); ``gives``: who gets a token.

    ``life`` tells whether the engine has failed since.
    """

    number: int = field(kw_only=True)
    life: int = field(kw_only=True)
    rows: list[tuple[RequestState, int, int]] = field(kw_only=True)
    gives: list[RequestState] = field(kw_only=True)

    def members(self) -> list[RequestState]:
        return [state for state, _, _ in self.rows]

    def prompt_chunks(self) -> list[PromptChunk]:
        return [PromptChunk(state, new, done + new) for state, new, done in self.rows if done < state.num_tokens - 1]


class RealVllmEngine:
    """As `metronome.orchestrator.serving.interface.Engine`, of whole requests alone. Leaving it as a context ends
    vLLM's process, if no other engine has its scheduler there."""

    role = Role.BOTH
    connector: KvConnector | None = None

    def __init__(self, spec: EngineSpec) -> None:
        self._spec, options = spec, spec.options
        self.counts = EngineCounts()
        self.block_size, self.num_blocks = options.block_size, spec.num_blocks
        self._flags: dict[str, Any] = {name: getattr(options, name) for name in FLAGS} | {
            "policy": options.scheduling_policy,
            "async_scheduling": spec.async_scheduling,
            "pipeline_parallel_size": spec.slots,
            "max_model_len": spec.max_model_len,
            "num_gpu_blocks": spec.num_blocks + 1,  # block 0 is the null block
            "kv_groups": [[group.window, group.chunk, group.state, group.ratio] for group in spec.kv_groups]
            or [[0, 0]],
            "encoder_tokens": spec.encoder_tokens,
        }
        self._cache = kv_cache(spec.num_blocks, options.block_size, False, spec.kv_groups)  # its arithmetic alone
        self._real: RealScheduler | None = RealScheduler(options.version.partition("@")[2])
        self._life = 0
        self._steps = [0] * spec.slots  # so far, by slot
        self._begin()

    def _begin(self) -> None:
        self._arrived: list[RequestState] = []  # not looked at yet
        self._states: dict[int, RequestState] = {}
        self._admitted: set[int] = set()  # and not preempted since
        self._prefilling: set[int] = set()  # of those, who has got no token since
        self._free_slots = list(range(self._spec.slots))
        self._state: list[Any] = [self.num_blocks, 0, [], []]
        self._ask("open", self._flags)

    def _ask(self, verb: str, *arguments: Any) -> Any:
        if self._real is None:
            raise AssertionError("its run has ended")
        return self._real.ask(verb, *arguments)

    def __enter__(self) -> RealVllmEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self._real = None

    # A request's way ------------------------------------------------------------------------------

    def new_request(self, request: Request) -> RequestState:
        return RequestState(request)

    def check(self, request: Request) -> None:
        need = self._cache.most_blocks(request.input_tokens, request.input_tokens + request.output_tokens - 1)
        refuse_request(request, request.output_tokens, need, self._spec)

    def submit(self, state: RequestState) -> None:
        self._arrived.append(state)

    def schedule(self, now_ps: int) -> RealStep | None:
        if not self._free_slots:
            return None
        for state in self._arrived:
            state.look_at(now_ps)
            self._states[state.request.id] = state
            request = state.request
            prompt = _tokens(request, 0, request.input_tokens)
            images = [list(image) for image in request.images]
            self._ask("add", request.id, prompt, request.output_tokens, request.priority, False, images)
        self._arrived.clear()
        number, rows, preempted, _, images, *self._state = self._ask("schedule")
        for id in preempted:
            self._admitted.discard(id)
            self._prefilling.discard(id)
            self._states[id].num_preemptions += 1
            self._states[id].num_computed_tokens = 0
        self.counts.preemptions += len(preempted)
        if not rows:
            self._ask("update", number, {})
            return None
        return self._step(number, [(self._states[id], new, done) for id, new, done in rows], images, now_ps)

    def _step(self, number: int, rows: list[tuple[RequestState, int, int]], images: list[int], now_ps: int) -> RealStep:
        gives = []
        for state, new, done in rows:
            if state.request.id not in self._admitted:
                self._admit(state, done, now_ps)
            state.num_computed_tokens = done + new
            if done + new >= state.num_tokens:
                gives.append(state)
        slot = self._free_slots.pop(0)
        return RealStep(
            _batch(rows)._replace(images=tuple(images)), slot, number=number, life=self._life, rows=rows, gives=gives
        )

    def _admit(self, state: RequestState, hit: int, now_ps: int) -> None:
        self._admitted.add(state.request.id)
        self._prefilling.add(state.request.id)
        self.counts.admissions += 1
        self.counts.prefix_hit_tokens += hit
        if state.num_preemptions:
            self.counts.recomputed_tokens += state.num_tokens - hit
        else:
            state.num_cached_tokens, state.scheduled_ps = hit, now_ps

    def settle(self, step: Step) -> None:
        number, log = self._steps[step.slot], self._spec.first_log + step.slot
        self._steps[step.slot] += 1
        if not isinstance(step, RealStep) or step.life != self._life:
            return
        self._free_slots.append(step.slot)
        self._free_slots.sort()
        step.gives = [state for state in step.gives if not state.aborted]
        step.tokens = len(step.gives)
        step.first = [state for state in step.gives if not state.num_output_tokens]
        for state in step.gives:
            self._prefilling.discard(state.request.id)
            state.num_output_tokens += 1
            state.add_token_steps(log, number, number + 1)
        step.ended = [state for state in step.gives if not state.remaining]

    def finish(self, step: Step, delivered_ps: int) -> None:
        if not isinstance(step, RealStep) or step.life != self._life:  # it has failed since
            step.give_nothing()
            return
        step.first = [state for state in step.first if not state.aborted]
        step.ended = [state for state in step.ended if not state.aborted]
        tokens = {
            state.request.id: _tokens(state.request, state.num_tokens - 1, state.num_tokens)[0] for state in step.gives
        }
        _, ended, *self._state = self._ask("update", step.number, tokens)
        if sorted(state.request.id for state in step.ended) != ended:
            raise AssertionError(f"{self._spec.name}: vLLM ended {ended} with step {step.number}, not {step.ended}")
        for state in step.ended:
            del self._states[state.request.id]
            self._admitted.discard(state.request.id)
        step.deliver(delivered_ps)

    def abort(self, state: RequestState) -> None:
        state.aborted = True
        if state in self._arrived:
            self._arrived.remove(state)
        elif self._states.pop(state.request.id, None) is not None:
            self._state = self._ask("abort", state.request.id)

    def stop(self) -> list[RequestState]:
        lost = self.requests()
        self._life += 1
        self._begin()
        return lost

    def restart(self) -> None:
        """Its scheduler is new since it failed."""

    def finished_sending(self, state: RequestState) -> None:
        raise AssertionError("nothing is handed over")

    def finished_recving(self, state: RequestState) -> None:
        raise AssertionError("nothing comes from elsewhere")

    # Looked at from outside -----------------------------------------------------------------------

    @property
    def load(self) -> tuple[int, int]:
        _, _, waiting, running = self._state
        return len(waiting) + len(self._arrived), len(running)

    @property
    def queued_tokens(self) -> int:
        _, _, waiting, running = self._state
        states = [*(self._states[id] for id in waiting), *self._arrived]
        begun = [self._states[id] for id in running if id in self._prefilling]
        return sum(s.num_tokens for s in states) + sum(s.num_tokens - s.num_computed_tokens for s in begun)

    @property
    def used_blocks(self) -> int:
        return self.num_blocks - int(self._state[0])

    def cached_tokens(self, request: Request) -> int:
        if request.token_ids is None:
            return 0
        return int(self._ask("hit", list(request.token_ids[: request.input_tokens])))

    def steady(self, most: int) -> int:
        return 0  # it is not known ahead

    def requests(self) -> list[RequestState]:
        return [*self._arrived, *self._states.values()]

    def look(self, state: RequestState) -> RequestView:
        id = state.request.id
        where = "waiting"
        if id in self._state[3]:
            where = "prefill" if id in self._prefilling else "decode"
        blocks = self._ask("blocks", id) if where != "waiting" else 0
        waits = "" if where != "waiting" else "what vLLM's scheduler decides"
        return RequestView(id, where, state.num_computed_tokens, state.num_output_tokens, blocks, waits)

    def view(self) -> EngineView:
        free, cached, waiting, running = self._state
        waits = (*waiting, *(state.request.id for state in self._arrived))
        return EngineView(
            waiting=waits,
            running=tuple(running),
            prefilling=tuple(id for id in running if id in self._prefilling),
            handed=(),
            kv=KvView(self.num_blocks, free, self.used_blocks, cached),
            counts=replace(self.counts),
            config=self._flags,
            slots=tuple(
                {"step": step, "in_flight": slot not in self._free_slots} for slot, step in enumerate(self._steps)
            ),
            blocked="what vLLM's scheduler decides" if waits else "",
        )

    def configure(self, field: str, value: object) -> None:
        raise InputError("engine", field, value, "cannot be set: vLLM's own scheduler takes its flags when it starts")

    def internals(self) -> list[object]:
        return list(self._state)


def _tokens(request: Request, first: int, end: int) -> list[int]:
    known = [] if request.token_ids is None else list(request.token_ids[first:end])
    return known + [UNKNOWN * (request.id + 1) + place for place in range(first + len(known), end)]


def _batch(rows: list[tuple[RequestState, int, int]]) -> Batch:
    """Prompts with more than one new token; whoever has one is a query over its context."""
    prompts = tuple(count for _, new, done in rows if new > 1 for count in (new, done))
    contexts = [done for _, new, done in rows if new == 1]
    return Batch(prompts, len(contexts), sum(contexts), max(contexts, default=0), min(contexts, default=0))
