"""One operation at numbers that grow evenly: a quicker way to the very answers of `advance`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.accelerator.profiled.model import Profiled
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import MAX_PS, Operation, Progressions, Template, in_progression

from . import bundles

SHAPE = {"heads": 32, "kv_heads": 8, "head_size": 128, "dtype": "bf16", "kv_dtype": "bf16"}
SHAPE |= {"model": "meta-llama/Llama-3.1-8B", "tp": 1}
ATTENTION = Template(0, "attention", "attention", SHAPE)
KINDS = {
    "by family": {"device": "h100-sxm"},
    "without insides": {"device": "tpu-v5e"},
    "held to a cap": {"device": "h100-sxm", "power_cap_w": 400},
    "another generation": {"device": "rtx-pro-6000"},
}


def one_by_one(model, operation, more, count):
    """What `advance` says of each."""
    numbers = in_progression(operation.values, more, count)
    asked = [Operation(operation.template, values, place) for place, values in enumerate(numbers)]
    done = model.advance(MAX_PS, asked).completions
    return [(one.finish_ps - one.start_ps, one.provenance, one.energy_pj) for one in done]


def at_once(model, operation, more, count):
    """The same of `progression`."""
    durations, provenances, energies = model.progression(operation, more, count)
    return list(zip(durations, provenances, energies or [None] * count, strict=True))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    bundles.write(folder)
    found = {name: Roofline(config) for name, config in KINDS.items()}
    found["profiled"] = Profiled({"bundle": folder, "idle_w": 50, "active_w": 300})
    found["without energies"] = Profiled({"bundle": folder})
    for model in found.values():
        model.declare([ATTENTION])
    return found


@given(
    decodes=st.integers(1, 300),
    mean=st.integers(1, 9000),
    spread=st.integers(0, 500),
    count=st.integers(1, 70),
    kind=st.sampled_from([*KINDS, "profiled", "without energies"]),
)
def test_it_says_what_each_question_would(models, decodes, mean, spread, count, kind):
    values = decodes, decodes * mean, mean + spread, max(0, mean - spread)
    operation, more = Operation(0, values), (0, decodes, 1, 1)
    assert isinstance(models[kind], Progressions)
    assert at_once(models[kind], operation, more, count) == one_by_one(models[kind], operation, more, count)


@pytest.mark.parametrize("values, more", [((3, 90, 40, 20, 7, 0), (0, 3, 1, 1, 0, 0)), ((1, 5, 5, 5), (1, 5, 0, 0))])
def test_others_are_answered_too(models, values, more):
    for model in models.values():
        operation = Operation(0, values)
        assert at_once(model, operation, more, 5) == one_by_one(model, operation, more, 5)
