"""Where a latency came from: nothing is left over, and nothing counted twice, at whichever moment it is asked."""

from __future__ import annotations

import pytest
from metronome.orchestrator.debug import state
from metronome.orchestrator.debug.why import UNDER_WAY, why, why_all
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import load, validate

from .test_session import opened


@pytest.mark.parametrize("name", ["quickstart", "prefill-decode", "tensor-pipeline-parallel", "attention-ffn"])
def test_why_adds_up_to_the_latency(name):
    scenario, folder = load(
        name, ("workload.num_requests=4" if name == "attention-ffn" else "workload.num_requests=12",)
    )
    with opened(scenario, folder) as session:
        session.run()
        for sequence in session.simulation.recorder.done:
            answer = why(session, sequence.request.id)
            assert sum(answer.before.values()) == sequence.first_token_ps - sequence.request.arrival_ps
            assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
            assert answer.total_ps == sequence.end_ps - sequence.request.arrival_ps
            assert min(answer.before.values()) >= 0 and answer.done
            for step in answer.steps:
                assert sum(part.took_ps for part in step.path()) == step.end_ps - step.start_ps


@pytest.mark.parametrize("name", ["quickstart", "tensor-pipeline-parallel"])
def test_why_of_one_that_is_in_a_step_adds_up_and_blames_no_host_for_it(name):
    with opened(*load(name, ("workload.num_requests=12",))) as session:
        session.run()
        least = {answer.request: answer.total_ps for answer in why_all(session)}
        seen = 0
        for event in range(5, session.position - 1, 97):
            session.seek(event)
            for answer in why_all(session):
                spent = answer.before + answer.after
                assert sum(spent.values()) == answer.total_ps <= least[answer.request]
                seen += UNDER_WAY in spent
                assert answer.done is False or UNDER_WAY not in spent
        assert seen > 3


def test_why_counts_the_longer_of_what_is_done_at_the_same_time():
    """Prompts' attention beside that in memory, half batches that take turns: nothing is left over, nothing twice."""
    changes = ("workload.num_requests=50", "workload.request_rate=200", "workload.input_tokens.mean=15000")
    changes += ("workload.output_tokens.mean=60",)
    known, ended = {"host", "n0.accelerators", "n0.dram", "n0.pim", "nvlink"}, []
    for way in ("false", "true"):
        with opened(*load("pim-attention", (*changes, f"instances.0.sub_batch_interleaving={way}"))) as session:
            session.run()
            ended.append(session.simulation.kernel.now_ps)
            for answer in why_all(session):
                assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
                for step in answer.steps:
                    assert sum(part.took_ps for part in step.path()) == step.end_ps - step.start_ps
                    assert {part.component for part in step.path()} <= known
    assert ended[1] < ended[0]


def test_why_in_the_middle_of_a_request(small, tmp_path):
    with opened(validate(small, "test"), tmp_path) as session:
        session.seek(150)
        for number in state.request_ids(session.simulation):
            answer = why(session, number)
            assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps
        assert session.position == 150
        with pytest.raises(InputError, match="has not arrived"):
            why(session, 39)
