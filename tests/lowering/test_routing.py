import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.lowering.quantity import expert_tokens
from metronome.orchestrator.lowering.routing import Routing, routing
from metronome.orchestrator.serving.batch import Batch


def of(operands, tokens):
    return operands.of(Batch((), tokens, 0, 0, 0))


@given(st.sampled_from(["balanced", "uniform", "zipf"]), st.integers(2, 64), st.data())
def test_shares_add_up_and_no_expert_is_picked_twice_by_a_token(model, experts, data):
    top_k = data.draw(st.integers(1, experts))
    made = routing(model, experts, top_k, data.draw(st.floats(0, 4)))
    assert sum(made.shares) == pytest.approx(top_k)
    assert max(made.shares) <= 1 + 1e-12


def test_dealt_out_picks_hit_more_experts_than_drawn_ones_and_skewed_ones_fewer():
    hit = {model: of(expert_tokens(routing(model, 64, 4, 1.2), 4), 12)[1] for model in ("balanced", "uniform", "zipf")}
    assert hit["balanced"] == 48 > hit["uniform"] > hit["zipf"]


def test_the_busiest_rank_sets_the_pace():
    even, skewed = (expert_tokens(routing(m, 8, 2), 2, ranks=4) for m in ("uniform", "zipf"))
    assert of(even, 400)[0] == 100
    assert of(skewed, 400)[0] > 200


def test_a_recorded_histogram_is_taken_as_it_is():
    counts = [70, 10, 10, 10]
    made = routing("histogram", 4, 1, histogram=counts)
    assert made.shares == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert of(expert_tokens(made, 1, ranks=2), 100)[0] == 80


def test_shares_add_up_alike_on_every_python():
    """sum() of ten tenths is 0.9999999999999999 up to Python 3.11, and 1.0 from 3.12 on."""
    even = Routing("a", (0.1,) * 10, spread=True)
    assert even.hit(even.shares, 1) == 1.0 and even.hit_formula(0, 10, "t") == "min(10, 1.0 * t)"
