import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.engines import costs_of
from metronome.orchestrator.serving.kv.capacity import Kept, num_blocks
from metronome.orchestrator.serving.kv.groups import KvGroup, in_groups
from metronome.orchestrator.serving.kv.profile_run import Demand

GB = 10**9


def test_blocks_are_what_is_left():
    assert num_blocks("here", "m", 100 * GB, 0.9, 50 * GB, 10 * GB, Kept(1000), 16) == 30 * GB // 16000


def test_what_does_not_fit_is_refused_with_the_sums():
    with pytest.raises(InputError, match=r"46\.57 GiB for weights, 41\.91 GiB to work in .* = 83\.82 GiB"):
        num_blocks("here", "m", 100 * GB, 0.9, 50 * GB, 45 * GB, Kept(1000), 16)


def test_what_windows_hold_is_set_aside_for_those_who_run():
    """A window of 128 touches 127 tokens, on up to 9 blocks of 16."""
    kept = Kept(1000, windows=((500, 128),))
    assert kept.sequence(16) == (500 * 9 * 16, 9 * 16)
    found = num_blocks("here", "m", 100 * GB, 0.9, 50 * GB, 10 * GB, kept, 16, sequences=100)
    assert found == (30 * GB - 100 * 500 * 9 * 16) // 16000


def test_states_are_set_aside_for_as_many_as_fit():
    kept = Kept(1000, state=GB)
    assert num_blocks("here", "m", 100 * GB, 0.9, 50 * GB, 10 * GB, kept, 16, sequences=1000) == (30 - 29) * GB // 16000


def test_the_hybrid_managers_blocks_of_a_published_run():
    """gpt-oss-120b on 4 A100 at 0.8 of the memory: vLLM's log has 330,018 blocks (dennislee22/vLLM-benchmarking)."""
    page = 2 * 2 * 64 * 2 * 16  # K and V of 2 heads of 64 in bf16, of 16 tokens
    of = Demand(2048, 256, 2880, 201088, 2, layer=0, scratch=0)
    working = costs_of("vllm-0.11", cold=False).profile_run.working_bytes(of, ranks=4)
    left = int(79.25 * 2**30 * 0.8) - 65_248_815_744 // 4 - working
    groups = in_groups([KvGroup(window=128), KvGroup()] * 18)
    assert [(kind.window, len(layers)) for kind, layers in groups] == [(128, 18), (0, 18)]
    assert left // (page * 18) == pytest.approx(330_018, rel=0.05)


@pytest.mark.parametrize(
    ("full", "windowed", "groups", "size"), [(10, 50, 6, 10), (24, 26, 2, 26), (32, 0, 1, 32), (10, 15, 3, 8)]
)
def test_groups_of_layers(full, windowed, groups, size):
    found = in_groups([KvGroup()] * full + [KvGroup(window=128)] * windowed)
    assert len(found) == groups
    assert max(len(layers) for _, layers in found) == (10 if (full, windowed) == (10, 15) else size)
    assert sorted(layer for _, layers in found for layer in layers) == list(range(full + windowed))
