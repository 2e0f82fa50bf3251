"""What every serving engine keeps, whatever it decides: to engines what conformance is to components.

Another package's engine is held to it by a test of its own:

    from tests.engine_contract import EngineContract

    class TestMine(EngineContract):
        def make(self, blocks, block_size=4, **flags):
            return MyEngine(EngineSpec(...))
"""

from __future__ import annotations

from array import array
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.interface import Caching
from metronome.orchestrator.workload.request import Request


@st.composite
def workloads(draw):
    """(step of arrival, request): short and long prompts, some of which begin alike."""
    found = []
    for number in range(draw(st.integers(1, 10))):
        inputs, outputs = draw(st.integers(1, 60)), draw(st.integers(1, 12))
        shared = min(inputs, draw(st.sampled_from([0, 0, 8, 40])))
        ids = [draw(st.integers(0, 1))] * shared + [1000 * (number + 1) + i for i in range(inputs - shared + outputs)]
        known = draw(st.booleans()) or shared
        request = Request(
            number, 0, inputs, outputs, array("q", ids) if known else None, priority=draw(st.integers(0, 2))
        )
        found.append((draw(st.integers(0, 15)), request))
    return found


def play(engine, workload, overlapped, until=None, seen=lambda engine, step: None):
    """Serve a workload step by step; returns what every step computed, and the records of the requests.

    ``overlapped``: the next step is scheduled before this one's tokens are out, as with asynchronous scheduling.
    """
    states, steps, ahead, now = {}, [], None, 0
    while len([s for s in states.values() if s.end_ps >= 0 or s.aborted]) < len(workload):
        for when, request in workload:
            if when == now:
                states[request.id] = engine.new_request(request)
                engine.check(request)
                engine.submit(states[request.id])
        step = ahead or engine.schedule(now)
        ahead = None
        if step is not None:
            members = [state.request.id for state in step.members()]
            steps.append((step.batch, members))
            if overlapped:
                engine.settle(step)
                ahead = engine.schedule(now)
            else:
                engine.settle(step)
            seen(engine, step)
            engine.finish(step, now)
        now += 1
        if until is not None and now >= until:
            break
        assert now < 20_000, "it does not end"
    if ahead is not None and until is None:  # computed for nothing: all have ended meanwhile
        engine.settle(ahead)
        engine.finish(ahead, now)
    return steps, states, ahead


def shape(steps):
    return [(tuple(batch), members) for batch, members in steps]


class EngineContract:
    """``make(blocks, block_size, **flags)`` gives an engine that takes requests of up to 1000 tokens."""

    #: whether an empty pool of exactly the blocks that a request fills is enough for it
    slack = 0

    def make(self, blocks, block_size=4, **flags):
        raise NotImplementedError

    def blocks_for(self, workload, block_size=4):
        most = max(r.input_tokens + r.output_tokens for _, r in workload)
        return -(-most // block_size) + 1 + self.slack

    @pytest.mark.parametrize("overlapped", [False, True])
    def test_every_request_gets_its_tokens_and_nothing_is_lost(self, overlapped):
        @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
        @given(workloads(), st.integers(0, 40))
        def check(workload, spare):
            engine = self.make(self.blocks_for(workload) + spare)
            tokens = []
            _, states, _ = play(engine, workload, overlapped, seen=lambda e, step: tokens.append(step))
            for _, request in workload:
                state = states[request.id]
                assert state.num_output_tokens == request.output_tokens
                assert sum(end - first for _, first, end in state.token_steps) == request.output_tokens
                assert 0 <= state.queued_ps <= state.scheduled_ps <= state.first_token_ps <= state.end_ps
                assert state.num_cached_tokens < request.input_tokens or request.input_tokens == 0
            assert sum(step.tokens for step in tokens) == sum(r.output_tokens for _, r in workload)
            assert engine.used_blocks == 0 and engine.load == (0, 0) and not engine.requests()

        check()

    def test_tokens_come_one_a_step_in_order(self):
        @settings(max_examples=60, deadline=None)
        @given(workloads())
        def check(workload):
            engine = self.make(self.blocks_for(workload) + 5)
            _, states, _ = play(engine, workload, overlapped=True)
            for state in states.values():
                rows = [row for _, first, end in state.token_steps for row in range(first, end)]
                assert rows == sorted(set(rows))

        check()

    def test_a_prefix_is_hit_only_after_it_was_computed(self):
        ids = array("q", range(64))
        engine = self.make(100)
        first, second = (Request(i, 0, 40, 3, ids[:43]) for i in range(2))
        assert engine.cached_tokens(second) == 0
        play(engine, [(0, first)], overlapped=False)
        found = engine.cached_tokens(second)
        assert 0 < found <= 40
        _, states, _ = play(engine, [(0, second)], overlapped=False)
        assert (
            0 < states[1].num_cached_tokens <= found and engine.counts.prefix_hit_tokens == states[1].num_cached_tokens
        )

    @pytest.mark.parametrize("overlapped", [False, True])
    def test_an_aborted_request_frees_what_it_held_wherever_it_is(self, overlapped):
        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        @given(workloads(), st.integers(0, 25), st.integers(0, 9))
        def check(workload, when, who):
            engine = self.make(self.blocks_for(workload) + 3)
            looked = [0]

            def seen(engine, step):
                looked[0] += 1
                present = engine.requests()
                if looked[0] == when and present:
                    victim = sorted(present, key=lambda s: s.request.id)[who % len(present)]
                    had = victim.num_output_tokens
                    engine.abort(victim)
                    assert victim.aborted and victim not in engine.requests()
                    gone.append((victim, had))

            gone = []
            _, states, _ = play(engine, workload, overlapped, seen=seen)
            for victim, _ in gone:
                assert victim.end_ps == -1
            for state in states.values():
                assert state.aborted or state.num_output_tokens == state.request.output_tokens
            assert engine.used_blocks == 0 and engine.load == (0, 0)

        check()

    @pytest.mark.parametrize("overlapped", [False, True])
    def test_a_failed_engine_returns_all_it_had_and_serves_again(self, overlapped):
        workload = [(i, Request(i, 0, 20, 5)) for i in range(6)]
        engine = self.make(60)
        _, states, ahead = play(engine, workload, overlapped, until=6)
        alive = {s.request.id for s in states.values() if s.end_ps < 0}
        assert {state.request.id for state in engine.stop()} == alive and alive
        if ahead is not None:
            engine.settle(ahead)
            engine.finish(ahead, 99)
            assert ahead.tokens == 0 and not ahead.ended
        engine.restart()
        assert engine.used_blocks == 0 and engine.load == (0, 0) and engine.cached_tokens(workload[0][1]) == 0
        _, again, _ = play(engine, [(0, Request(50, 0, 20, 5))], overlapped)
        assert again[50].num_output_tokens == 5

    def test_a_view_agrees_with_what_it_shows(self):
        @settings(max_examples=60, deadline=None)
        @given(workloads())
        def check(workload):
            engine = self.make(self.blocks_for(workload) + 2)

            def seen(engine, step):
                view, present = engine.view(), engine.requests()
                ids = {state.request.id for state in present}
                assert set(view.waiting) | set(view.running) == ids and not set(view.waiting) & set(view.running)
                assert set(view.prefilling) <= set(view.running)
                assert engine.load == (len(view.waiting), len(view.running))
                assert view.kv.used + view.kv.free == view.kv.size == engine.num_blocks
                assert view.kv.used == engine.used_blocks
                if isinstance(engine, Caching):
                    assert 0 <= engine.cached_blocks <= view.kv.free
                for state in present:
                    looked = engine.look(state)
                    assert looked.id == state.request.id and looked.state in ("waiting", "prefill", "decode")
                    assert (looked.state == "waiting") == (state.request.id in view.waiting)
                    assert 0 <= looked.num_output_tokens <= state.request.output_tokens
                if view.waiting:
                    assert view.blocked

            play(engine, workload, overlapped=False, seen=seen)

        check()

    @pytest.mark.parametrize("overlapped", [False, True])
    def test_a_copy_goes_on_as_the_original_does(self, overlapped):
        @settings(max_examples=40, deadline=None)
        @given(workloads(), st.integers(1, 20))
        def check(workload, when):
            whole, _, _ = play(self.make(self.blocks_for(workload) + 2), workload, overlapped)
            engine, copies = self.make(self.blocks_for(workload) + 2), []

            def seen(engine, step):
                if len(copies) < when:
                    copies.append(deepcopy((engine, step)))

            again, _, _ = play(engine, workload, overlapped, seen=seen)
            assert shape(again) == shape(whole)
            copied, step = copies[-1]
            before = copied.internals()
            assert engine.used_blocks == 0
            assert copied.internals() == before  # the original's going on has not touched it
            copied.finish(step, 0)

        check()

    def test_what_can_never_be_served_is_refused_before_it_waits(self):
        engine = self.make(5)
        with pytest.raises(InputError, match="request 7"):
            engine.check(Request(7, 0, 500, 10))
        with pytest.raises(InputError, match="max_model_len"):
            engine.check(Request(7, 0, 2000, 10))

    def test_a_flag_that_is_none_is_refused(self):
        engine = self.make(50)
        with pytest.raises(InputError):
            engine.configure("no_such_flag", 3)
        with pytest.raises(InputError):
            engine.configure("max_num_seqs", 0)
        engine.configure("max_num_seqs", 1)
        for number in range(3):
            engine.submit(engine.new_request(Request(number, 0, 4, 3)))
        assert len(engine.schedule(0).members()) == 1
