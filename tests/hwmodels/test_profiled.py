import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.accelerator.profiled import Profiled
from metronome.hwmodels.accelerator.profiled.mixed import Prompts
from metronome.hwmodels.accelerator.profiled.tables import AttentionTable, Curve, bracket
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Provenance, Template, UnsupportedOperation

from . import bundles

US = 10**6
COMMON = {"model": "meta-llama/Llama-3.1-8B", "tp": 1, "dtype": "bf16"}
ATTENTION = Template(
    1, "attention", "attention", {**COMMON, "heads": 32, "kv_heads": 8, "head_size": 128, "kv_dtype": "bf16"}
)
QKV = Template(2, "gemm", "qkv_proj", {**COMMON, "n": 6144, "k": 4096})


@pytest.fixture
def profiled(tmp_path):
    bundles.write(tmp_path)
    model = Profiled({"bundle": str(tmp_path)})
    model.declare([ATTENTION, QKV])
    return model


@pytest.mark.parametrize(
    ("tokens", "us", "how"),
    [
        (8, 2.08, Provenance.MEASURED),
        (36, 2.36, Provenance.INTERPOLATED),
        (4096, 42.96, Provenance.EXTRAPOLATED),
        (1, 2.01, Provenance.MEASURED),
    ],
)
def test_a_layer_says_how_its_time_was_come_by(profiled, tokens, us, how):
    estimate = profiled.estimate(QKV, (tokens,))
    assert (estimate.duration_ps, estimate.provenance) == (pytest.approx(us * US, abs=2), how)


def test_below_the_first_point_is_clamped():
    assert Curve({4: 7.0, 8: 9.0})(2) == (7.0, Provenance.CLAMPED)


@given(st.integers(0, 2048), st.integers(0, 4096), st.integers(0, 128), st.integers(16, 8192))
def test_attention_between_points_is_multilinear(chunk, cached, decodes, context):
    """A function linear in each axis is met exactly everywhere inside the grid."""

    def true(c, k, n, x):
        return 3 + c * (1 + k) + n * (2 + x)

    points = {}
    for c in (0, 100, 2048):
        for n in (0, 10, 128):
            if c or n:
                points[c, n] = {
                    (k, x): true(c, k, n, x)
                    for k in ((0, 500, 4096) if c else (0,))
                    for x in ((16, 700, 8192) if n else (0,))
                }
    points[0, 0] = {(0, 0): 3.0}
    value, _ = AttentionTable(points)(chunk, cached, decodes, context)
    expected = true(chunk, cached if chunk >= 100 else 0, decodes, context if decodes >= 10 else 0)
    if chunk >= 100 and decodes >= 10:
        assert value == pytest.approx(expected, rel=1e-9)
    else:  # towards an absent side its context no longer counts: between the two corners
        assert value <= true(chunk, cached, decodes, context) * (1 + 1e-9)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8, unique=True).map(sorted), st.integers(-5, 120))
def test_bracket_holds_the_point_between_its_neighbours(axis, x):
    low, high, weight, how = bracket(axis, x)
    if how is Provenance.MEASURED:
        assert axis[low] == x == axis[high]
    elif how is Provenance.INTERPOLATED:
        assert axis[low] < x < axis[high] and high == low + 1
        assert axis[low] + weight * (axis[high] - axis[low]) == pytest.approx(x)
    else:
        assert x < axis[0] if how is Provenance.CLAMPED else x > axis[-1]


def test_several_prompts_keep_their_tokens_and_their_pairs():
    prompts = Prompts.of((512, 0, 512, 1024, 512, 0))
    assert prompts.tokens == 1536
    pairs = 3 * 512 * 256 + 512 * 1024
    assert prompts.tokens * (prompts.cached + prompts.tokens / 2) == pytest.approx(pairs)
    assert Prompts.of((100, 7)) == Prompts(100, 7, 100)


def test_several_prompts_cost_less_than_one_long_and_no_less_than_the_longest(profiled):
    four = profiled.estimate(ATTENTION, (0, 0, 0, 0, *(512, 0) * 4)).duration_ps
    one = profiled.estimate(ATTENTION, (0, 0, 0, 0, 2048, 0)).duration_ps
    longest = profiled.estimate(ATTENTION, (0, 0, 0, 0, 512, 0)).duration_ps
    assert longest < four < one
    # The profile is linear, so the stand-in prompt is exact: 5 us + tokens + pairs.
    assert four == pytest.approx((5 + 0.02 * 2048 + 1e-6 * 4 * 512 * 256) * US, rel=1e-3)


def test_uneven_decodes_lean_towards_the_longest_by_alpha(profiled):
    even = profiled.estimate(ATTENTION, (8, 8 * 512, 512, 512)).duration_ps
    longest = profiled.estimate(ATTENTION, (8, 8 * 1000, 1000, 1000)).duration_ps
    uneven = profiled.estimate(ATTENTION, (8, 8 * 512, 1000, 100)).duration_ps
    assert uneven == pytest.approx(even + 0.5 * (longest - even), rel=1e-6)  # its bucket holds 0.5
    many = profiled.estimate(ATTENTION, (64, 64 * 512, 1000, 100)).duration_ps
    flat = profiled.estimate(ATTENTION, (64, 64 * 512, 512, 512)).duration_ps
    top = profiled.estimate(ATTENTION, (64, 64 * 1000, 1000, 1000)).duration_ps
    assert many == pytest.approx(flat + 0.25 * (top - flat), rel=1e-6)  # no bucket: the default


def test_a_profile_that_disables_skew_is_believed(tmp_path):
    bundles.write(tmp_path, skew=False)
    model = Profiled({"bundle": str(tmp_path)})
    model.declare([ATTENTION])
    assert model.estimate(ATTENTION, (8, 4096, 1000, 100)) == model.estimate(ATTENTION, (8, 4096, 512, 512))


def test_a_bundle_itself_may_be_named(tmp_path):
    Profiled({"bundle": str(bundles.write(tmp_path))}).declare([QKV])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tp": 2}, r"no tensor-parallel degree 2; it has \[1\]"),
        ({"model": "x/y"}, r"no profile of x/y; it has \['meta-llama/Llama-3.1-8B'\]"),
        ({"dtype": "fp8"}, r"no variant 'fp8'; it has \['bf16'\]"),
    ],
)
def test_what_a_profile_lacks_is_said_before_time_0(tmp_path, change, message):
    bundles.write(tmp_path)
    with pytest.raises(ConfigError, match=message):
        Profiled({"bundle": str(tmp_path)}).declare([Template(1, "gemm", "qkv_proj", {**QKV.attributes, **change})])


def test_a_layer_that_was_not_measured_is_refused(profiled):
    with pytest.raises(UnsupportedOperation, match="no rows for layer 'qk_norm'"):
        profiled.declare([Template(9, "norm", "qk_norm", {**COMMON, "width": 8})])


def test_beyond_the_longest_chunk_a_prompt_takes_in_proportion_to_its_pairs(profiled):
    """Twice the tokens, fresh, are four times the pairs; decodes beside it take what they took."""
    table = AttentionTable(
        {(c, n): {(0, 16 * (n > 0)): 10.0 * c * c + 7.0 * n} for c in (0, 8, 16) for n in (0, 1) if c + n}
    )
    assert table(16, 0, 1, 16) == (2567.0, Provenance.MEASURED)
    assert table(32, 0, 1, 16) == (4 * 2560 + 7, Provenance.EXTRAPOLATED)
    assert table(32, 0, 0, 0) == (4 * 2560, Provenance.EXTRAPOLATED)


def test_beyond_a_curve_the_line_goes_through_half_its_length():
    """Not through the last two points, whose noise it would carry far."""
    curve = Curve({1: 1.0, 500: 500.0, 1000: 1000.0, 1001: 900.0})
    assert curve(2001) == (pytest.approx(500 + 1501 * 400 / 501), Provenance.EXTRAPOLATED)


def test_a_slice_of_experts_starts_as_whole_ones_do(tmp_path):
    """Whole experts were measured: of two slices each takes half of what is beyond the start."""
    bundles.write(tmp_path)
    bundles.write(tmp_path, tp=2)
    took = []
    for tp in (1, 2):
        model = Profiled({"bundle": str(tmp_path)})
        moe = {**COMMON, "tp": tp, "hidden": 8, "intermediate": 8 // tp, "experts": 8, "top_k": 2, "expert_ranks": 1}
        model.declare([Template(0, "moe", "moe", moe)])
        done = model.advance(MAX_PS, [Operation(0, (16, 4), 0)]).completions[0]
        took.append((done.finish_ps - done.start_ps, done.provenance))
    start = min(took[0][0], 30 * 10**6)
    assert took[1] == (pytest.approx(start + (took[0][0] - start) / 2, abs=1), Provenance.MODELLED)


def test_experts_cut_by_tensor_parallelism_were_not_measured(tmp_path):
    bundles.write(tmp_path, tp=2)
    moe = {**COMMON, "tp": 2, "hidden": 8, "intermediate": 8, "experts": 8, "top_k": 2}
    with pytest.raises(UnsupportedOperation, match=r"no moe\.csv"):
        Profiled({"bundle": str(tmp_path)}).declare([Template(1, "moe", "moe", moe)])


@pytest.mark.parametrize("bad", ["0,0,1,16,nan", "0,0,1,16,-3", "0,0,1,16,abc"])
def test_a_damaged_table_is_refused_with_its_name(tmp_path, bad):
    folder = bundles.write(tmp_path)
    (folder / "tp1/attention.csv").open("a").write(bad + "\n")
    with pytest.raises(ConfigError, match=r"attention\.csv"):
        Profiled({"bundle": str(tmp_path)}).declare([ATTENTION])
