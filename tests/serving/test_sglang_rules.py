"""SGLang's scheduler against its rules written plainly (`naive_sglang`), step by step."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metronome.orchestrator.serving.sglang.engine import SglangEngine
from metronome.orchestrator.serving.sglang.options import SglangOptions
from metronome.orchestrator.serving.spec import EngineSpec
from metronome.orchestrator.workload.request import Request

from .naive_sglang import NaiveSglang, SglangFails


@st.composite
def workloads(draw):
    """Requests with when (in steps) they come; some begin alike, of some not all tokens are known, or none."""
    requests = []
    for number in range(draw(st.integers(1, 14))):
        inputs, outputs = draw(st.integers(1, 60)), draw(st.integers(1, 30))
        shared = min(inputs + outputs, draw(st.sampled_from([0, 5, 12, 33, 40, 60, 80])))
        group, own = draw(st.integers(0, 1)), draw(st.integers(0, number))  # two of one number are alike to the end
        ids = array("q", [group] * shared + [1000 * (own + 1) + i for i in range(inputs + outputs - shared)])
        known = draw(st.sampled_from([ids, ids, ids[:inputs], None]))
        requests.append((draw(st.integers(0, 15)), Request(number, 0, inputs, outputs, known)))
    return requests


@st.composite
def options(draw):
    page = draw(st.sampled_from([1, 1, 2, 4, 16]))
    chunk = draw(st.sampled_from([None, 1, 2, 5, 16]))
    return SglangOptions.model_construct(
        block_size=page,
        max_num_seqs=draw(st.integers(1, 12)),
        chunked_prefill_size=chunk and chunk * page,
        max_prefill_tokens=draw(st.sampled_from([20, 64, 16384])),
        schedule_policy=draw(st.sampled_from(["fcfs", "lpm", "lpm", "lof"])),
        schedule_conservativeness=draw(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])),
        enable_prefix_caching=draw(st.sampled_from([True, True, True, False])),
    )


def composition(batch):
    """A batch of the plain rules as `Batch` and `Step.members` have it."""
    if batch is None:
        return None
    _, members, _ = batch
    prompts = tuple(x for _, new, cached in members if new != 1 for x in (new, cached))
    contexts = [cached for _, new, cached in members if new == 1]
    shape = (prompts, len(contexts), sum(contexts), max(contexts, default=0), min(contexts, default=0))
    return shape, [req.id for req, _, _ in members]


class Both:
    """The engine and the plain rules, told the same and compared in every step, until SGLang itself would fail."""

    def __init__(self, requests, flags, blocks, overlap):
        self.requests, self.overlap, self.agreed = requests, overlap, 0
        self.fast = SglangEngine(EngineSpec("e", flags, blocks, 1000, async_scheduling=overlap))
        self.plain = NaiveSglang(flags, blocks, overlap)
        self.failed, self.ended = False, []

    def arrive(self, step):
        for when, request in self.requests:
            if when == step:
                self.fast.submit(self.fast.new_request(request))
                self.plain.add(request)

    def schedule(self, step, in_flight=False):
        scheduled = self.fast.schedule(step)
        expected = None if self.failed else self.expect(in_flight)
        if not self.failed:
            found = scheduled and (tuple(scheduled.batch[:5]), [state.request.id for state in scheduled.members()])
            assert found == composition(expected), f"step {step}"
            self.agreed += 1
        return (scheduled, expected) if scheduled else None

    def expect(self, in_flight):
        """SGLang's loop turns again at once where it finds nothing to compute; ours is asked once."""
        try:
            return self.plain.schedule() or (None if in_flight else self.plain.schedule())
        except SglangFails:
            self.failed = True

    def complete(self, flying, step):
        scheduled, expected = flying
        self.fast.finish(scheduled, step)
        self.ended += [state.request.id for state in scheduled.ended]
        if self.failed:
            return
        due = self.plain.complete(expected)
        assert [state.request.id for state in scheduled.ended] == due
        self.compare()
        if not self.plain.has_work():  # it is idle before anything can arrive
            assert self.fast.schedule(step) is self.plain.schedule() is None

    def compare(self):
        fast, plain, view = self.fast, self.plain, self.fast.view()
        assert view.waiting == tuple(req.id for req in plain.waiting)
        assert view.kv.used * plain.page == view.kv.size * plain.page - plain.available() - plain.evictable()
        assert view.kv.cached * plain.page == sum(len(node.key) for node in plain.tree.nodes())
        assert (fast.counts.preemptions, fast.counts.prefix_hit_tokens) == (plain.retractions, plain.hits)
        assert fast.scheduler.new_token_ratio == plain.ratio

    def run(self):
        """One step in flight, and with overlap the next one scheduled before its tokens are known."""
        step, flying = 0, None
        while len(self.ended) < len(self.requests):
            self.arrive(step)
            flying = flying or self.schedule(step)
            if flying:
                self.fast.settle(flying[0])
                ahead = self.schedule(step, in_flight=True) if self.overlap else None
                self.complete(flying, step)
                flying = ahead
            step += 1
            assert step < 3000, "does not end"
        return self


def room(requests, page):
    """The fewest pages with which `Engine.check` takes every request."""
    return max(-(-(r.input_tokens + r.output_tokens + 1) // page) for _, r in requests) + 2


@pytest.mark.parametrize("overlap", [False, True])
def test_agrees_with_the_rules_written_plainly(overlap):
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(workloads(), options(), st.sampled_from([0, 1, 3, 6, 12, 25, 60]))
    def check(requests, flags, spare):
        Both(requests, flags, room(requests, flags.block_size) + spare, overlap).run()

    check()
