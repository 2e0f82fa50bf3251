"""An engine of somebody else's: one request at a time, its prompt in one step, in order of arrival."""

from dataclasses import dataclass, replace

from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.batch import Batch
from metronome.orchestrator.serving.host_costs import host_costs
from metronome.orchestrator.serving.interface import EngineCounts, EngineView, KvView, PromptChunk, RequestView, Step
from metronome.orchestrator.serving.options import EngineOptions
from metronome.orchestrator.serving.request_state import RequestState
from metronome.orchestrator.serving.spec import EngineKind


@dataclass(slots=True)
class SoloStep(Step):
    state: RequestState | None = None
    row: int = 0

    def members(self):
        return [self.state]

    def prompt_chunks(self):
        tokens = self.state.request.input_tokens
        return [] if self.batch.decodes else [PromptChunk(self.state, tokens, tokens)]


class Solo:
    connector = None

    def __init__(self, spec):
        self.role, self.block_size, self.num_blocks = spec.role, spec.options.block_size, spec.num_blocks
        self.counts, self._spec, self._queue, self._rows = EngineCounts(), spec, [], 0

    def new_request(self, request):
        return RequestState(request)

    def check(self, request):
        tokens = request.input_tokens + request.output_tokens
        if tokens > min(self._spec.max_model_len, self.num_blocks * self.block_size):
            raise InputError(
                f"request {request.id}", "input + output tokens", tokens, "fewer: max_model_len, KV blocks"
            )

    def submit(self, state):
        self._queue.append(state)

    def schedule(self, now_ps):
        for state in self._queue:
            state.look_at(now_ps)
        if not self._queue:
            return None
        state = self._queue[0]
        cached, tokens = state.num_computed_tokens, state.num_tokens - state.num_computed_tokens
        state.num_computed_tokens = state.num_tokens
        if state.scheduled_ps < 0:
            state.scheduled_ps = now_ps
            self.counts.admissions += 1
        batch = Batch((tokens, cached), 0, 0, 0, 0) if tokens > 1 else Batch((), 1, cached, cached, cached)
        self._rows += 1
        return SoloStep(batch, state=state, row=self._rows - 1)

    def settle(self, step):
        state = step.state
        step.tokens, step.first = 1, [state] if not state.num_output_tokens else []
        state.add_token_steps(self._spec.first_log, step.row, step.row + 1)
        state.num_output_tokens += 1
        step.ended = [] if state.remaining else [state]

    def finish(self, step, delivered_ps):
        step.deliver(delivered_ps)
        for state in step.ended:
            self._queue.remove(state)

    def abort(self, state):
        self._queue.remove(state)
        state.aborted = True

    def stop(self):
        lost, self._queue = self._queue, []
        return lost

    def restart(self):
        pass

    @property
    def load(self):
        running = bool(self._queue and self._queue[0].num_computed_tokens)
        return len(self._queue) - running, int(running)

    @property
    def queued_tokens(self):
        return sum(state.num_tokens - state.num_computed_tokens for state in self._queue)

    @property
    def used_blocks(self):
        return sum(-(-state.num_computed_tokens // self.block_size) for state in self._queue)

    def cached_tokens(self, request):
        return 0

    def steady(self, most):
        return 0

    def requests(self):
        return list(self._queue)

    def look(self, state):
        where = ("decode" if state.num_output_tokens else "prefill") if state is self._queue[0] else "waiting"
        blocks = -(-state.num_computed_tokens // self.block_size)
        return RequestView(state.request.id, where, state.num_computed_tokens, state.num_output_tokens, blocks)

    def view(self):
        ids, used = tuple(state.request.id for state in self._queue), self.used_blocks
        kv = KvView(self.num_blocks, self.num_blocks - used, used, 0)
        return EngineView(ids[1:], ids[:1], (), (), kv, replace(self.counts), {}, (), "the request before it")

    def configure(self, field, value):
        raise InputError("engine", field, value, "nothing can be set")

    def internals(self):
        return []


KIND = EngineKind(EngineOptions, Solo, costs=replace(host_costs("ideal"), name="solo-1.0"))
