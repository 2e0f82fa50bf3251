import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.workload.formats.synthetic import SharedPrefix, Synthetic
from metronome.orchestrator.workload.formats.synthetic import generate as generate_with
from metronome.orchestrator.workload.randomness import Lengths
from metronome.orchestrator.workload.registry import Reading


def generate(spec, seed):
    return generate_with(spec, Reading(lambda name: None, seed))


def spec(**changes):
    return Synthetic(
        **{
            "num_requests": 2000,
            "request_rate": 10,
            "input_tokens": Lengths(mean=100),
            "output_tokens": Lengths(mean=50),
            **changes,
        }
    )


def test_the_seed_decides():
    assert list(generate(spec(), 1)) == list(generate(spec(), 1))
    assert list(generate(spec(), 1)) != list(generate(spec(), 2))


@pytest.mark.parametrize("burstiness", [0.5, 1.0, 4.0])
def test_gaps_have_the_asked_rate_and_burstiness(burstiness):
    arrivals = np.array([r.arrival_ps for r in generate(spec(burstiness=burstiness), 1)]) / 1e12
    gaps = np.diff(arrivals)
    assert gaps.mean() == pytest.approx(0.1, rel=0.1)
    assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.15)


def test_lengths_have_the_asked_mean():
    lengths = [r.input_tokens for r in generate(spec(), 1)]
    assert np.mean(lengths) == pytest.approx(100, rel=0.1)
    assert {r.output_tokens for r in generate(spec(output_tokens=Lengths(distribution="fixed", mean=7)), 1)} == {7}


def test_changing_the_answers_does_not_move_the_prompts():
    one, two = (list(generate(spec(output_tokens=Lengths(mean=m)), 1)) for m in (10, 300))
    assert [(r.arrival_ps, r.input_tokens) for r in one] == [(r.arrival_ps, r.input_tokens) for r in two]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 200))
def test_prefixes_are_shared_and_nothing_else(groups, tokens):
    requests = list(generate(spec(num_requests=30, shared_prefix=SharedPrefix(groups=groups, tokens=tokens)), 1))
    heads = {tuple(r.token_ids[: min(tokens, r.input_tokens)]) for r in requests if r.input_tokens >= tokens}
    assert len(heads) <= groups
    tails = [t for r in requests for t in r.token_ids[min(tokens, r.input_tokens) :]]
    assert len(tails) == len(set(tails))
    assert all(len(r.token_ids) == r.input_tokens + r.output_tokens for r in requests)
