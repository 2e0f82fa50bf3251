"""``replicas: N``: an instance written out N times."""

import pytest
from metronome.orchestrator.api import load, run
from metronome.orchestrator.errors import InputError

TWO = {"instances": [{"name": "chat", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0:4]", "replicas": 2}]}
LIMITS = {"max_num_seqs": 64, "max_num_batched_tokens": 2048}


def scenario(**instance):
    one = {**TWO["instances"][0], "engine": LIMITS, **instance}
    workload = {"format": "synthetic", "num_requests": 30, "request_rate": 20}
    lengths = {"input_tokens": {"mean": 200}, "output_tokens": {"mean": 20}}
    cluster = {
        "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 4}}],
        "networks": [{"name": "nvlink", "type": "nvlink4", "connects": ["n0.accelerators"]}],
    }
    return {"workload": {**workload, **lengths}, "cluster": cluster, "instances": [one]}


def test_replicas_are_the_instances_written_out():
    short = load(scenario())
    assert [(one.name, one.devices) for one in short.instances] == [
        ("chat-0", [("n0", 0), ("n0", 1)]),
        ("chat-1", [("n0", 2), ("n0", 3)]),
    ]
    long = scenario()
    long["instances"] = [
        {**long["instances"][0], "replicas": 1, "name": f"chat-{i}", "accelerators": f"n0[{2 * i}:{2 * i + 2}]"}
        for i in range(2)
    ]
    one, other = run(short), run(load(long))
    assert one.requests.rows == other.requests.rows and len(one.requests) == 30


def test_accelerators_that_cannot_be_shared_evenly():
    with pytest.raises(InputError, match="chat: 3 replicas cannot share 4 accelerators evenly"):
        load(scenario(replicas=3))
