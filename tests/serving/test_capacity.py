import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.kv.capacity import num_blocks, working_bytes

GB = 10**9


def test_working_memory_of_an_8b_model_is_what_was_seen_on_a_24_gb_card():
    """2048 tokens a batch, 256 sequences: about 1.2 GB beside weights and KV."""
    found = working_bytes(2048, 256, 4096, 14336, 128256, 2)
    assert found == pytest.approx(1.2 * GB, rel=0.1)


def test_blocks_are_what_is_left():
    assert num_blocks("here", "m", 100 * GB, 0.9, 50 * GB, 10 * GB, 1000, 16) == 30 * GB // 16000


def test_what_does_not_fit_is_refused_with_the_sums():
    with pytest.raises(InputError, match=r"46\.57 GiB for weights, 41\.91 GiB to work in .* = 83\.82 GiB"):
        num_blocks("here", "m", 100 * GB, 0.9, 50 * GB, 45 * GB, 1000, 16)
