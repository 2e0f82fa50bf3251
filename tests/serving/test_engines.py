"""Engine versions: their parameters, padding to captured graphs, and asynchronous scheduling."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from metronome.orchestrator.kernel.instrument import Instruments
from metronome.orchestrator.kernel.loop import Kernel
from metronome.orchestrator.kernel.queue import Priority
from metronome.orchestrator.serving.batch import Batch
from metronome.orchestrator.serving.hooks import ServingHooks
from metronome.orchestrator.serving.host_costs import host_costs, names, releases
from metronome.orchestrator.serving.loop import StepLoop
from metronome.orchestrator.serving.replica import Replica
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.workload.request import Request

from .engines import vllm

MS = 10**9
STEP = 10 * MS


def test_every_version_can_be_read():
    assert {"ideal", "vllm-0.11", "vllm-0.19"} <= set(names())
    for name in names():
        assert host_costs(name).name == name


@pytest.mark.parametrize(
    ("decodes", "tokens"), [(1, 1), (3, 4), (5, 8), (129, 136), (257, 272), (512, 512), (513, 513)]
)
def test_a_decode_step_is_padded_to_a_captured_graph(decodes, tokens):
    model = host_costs("vllm-0.19")
    assert model.padded(Batch((), decodes, decodes, 1, 1)).tokens == tokens
    with_prompt = Batch((33, 0), decodes, decodes, 1, 1)
    assert model.padded(with_prompt) == with_prompt


class Fixed:
    """Every step takes as long."""

    def __init__(self, kernel):
        self.kernel, self.batches = kernel, []

    def run(self, number, batches, done, layer_done, upcoming):
        self.batches.append((self.kernel.now_ps, batches[0]))
        self.kernel.at(self.kernel.now_ps + STEP, Priority.COMPLETION, 0, "compute", number, lambda: done(0))


class Ends:
    """In place of a dispatcher."""

    connector = None

    def __init__(self):
        self.ended = {}

    def request_ended(self, state):
        self.ended[state.request.id] = state

    def counted(self, *_):
        """Nobody balances."""


def serve(version, requests, **config):
    kernel, ends = Kernel(), Ends()
    engine = Replica("e", 0, vllm(SchedulerConfig(block_size=4, **config)))
    loop = StepLoop(kernel, 0, "e", [engine], 1, ends, host_costs(version), ServingHooks(Instruments()))
    loop.runner = Fixed(kernel)
    for request in requests:
        submit = partial(engine.submit, engine.new_request(request))
        kernel.at(request.arrival_ps, Priority.ARRIVAL, 0, "arrival", request.id, submit)
    kernel.run()
    return ends.ended, loop.runner.batches


FIRST, SECOND = Request(0, 1, 8, 20), Request(1, 1 + 3 * STEP // 2, 8, 2)


def test_one_step_at_a_time_a_request_is_in_the_next_step():
    ended, _ = serve("ideal", [FIRST, SECOND])
    assert ended[1].scheduled_ps == ended[1].queued_ps == 1 + 2 * STEP
    assert ended[1].first_token_ps == 1 + 3 * STEP


def test_asynchronously_it_is_in_the_step_after_next():
    """It comes in the middle of step 2; step 3 is scheduled already; 4 is scheduled when 3 starts."""
    model = host_costs("vllm-0.19")
    ended, batches = serve("vllm-0.19", [FIRST, SECOND])
    starts = [start for start, _ in batches]
    assert ended[1].queued_ps == ended[1].scheduled_ps == starts[2]
    assert batches[3][1].prompts == (8, 0)
    assert ended[1].first_token_ps == starts[3] + STEP
    assert starts[0] == 1 + model.prompt_step_ps
    assert starts[1] == starts[0] + STEP + model.step_gap_ps
    assert starts[3] == starts[2] + STEP + model.step_gap_ps + model.prompt_step_ps


def test_one_step_at_a_time_the_device_waits_for_the_host():
    """Whose work grows with the sequences of the step; asynchronously the same work is done beside the next step."""
    model = host_costs("vllm-0.11")
    ended, batches = serve("vllm-0.11", [FIRST, Request(1, STEP, 8, 2)])
    starts = [start for start, _ in batches]
    host = model.host_step_ps + model.host_sequence_ps
    assert starts[0] == 1 + model.prompt_step_ps
    assert starts[1] == ended[1].queued_ps + model.prompt_step_ps == starts[0] + STEP + host + model.prompt_step_ps
    assert starts[2] == starts[1] + STEP + host + model.host_sequence_ps
    beside = host_costs("vllm-0.19")
    assert beside.host_sequence_ps < model.host_sequence_ps
    long_step = starts[1] + 100 * MS
    for told_to in (beside, replace(model, asynchronous=True)):
        assert told_to.next_start(long_step, starts[1], 128) == long_step + beside.step_gap_ps
    assert model.next_start(long_step, starts[1], 128) == long_step + model.host_step_ps + 128 * model.host_sequence_ps


def test_a_cold_engine_warms_up_in_its_first_step():
    warm, cold = (host_costs("vllm-0.19", cold) for cold in (False, True))
    batch = [Batch((8, 0), 0, 0, 0, 0)]
    assert cold.inputs_ps(batch, first=True) == warm.inputs_ps(batch, first=True) + 70 * MS
    assert cold.inputs_ps(batch, first=False) == warm.inputs_ps(batch, first=True) == warm.prompt_step_ps


def test_asynchronously_what_ends_makes_room_only_in_the_step_after_next():
    """Two may run; the second ends with step 3, and the third waits for its place."""
    three = [Request(0, 1, 8, 20), Request(1, 1, 8, 3), Request(2, 1, 8, 2)]
    first_step = {}
    for version in ("ideal", "vllm-0.19"):
        ended, batches = serve(version, three, max_num_seqs=2)
        first_step[version] = next(i for i, (start, _) in enumerate(batches) if start + STEP == ended[2].first_token_ps)
    assert first_step == {"ideal": 3, "vllm-0.19": 4}


def test_every_token_comes_once_whatever_the_scheduling():
    requests = [Request(i, 1 + i * STEP // 3, 5 + i, 1 + i % 7) for i in range(12)]
    for version in names():
        ended, _ = serve(version, requests, max_num_seqs=4, max_num_batched_tokens=16)
        assert len(ended) == 12
        for sequence in ended.values():
            assert sum(end - first for _, first, end in sequence.token_steps) == sequence.request.output_tokens


@pytest.mark.parametrize(
    ("version", "batches", "tokens"),
    [
        ("vllm-0.19", [Batch((), 3, 30, 10, 10), Batch((), 30, 30, 1, 1)], [32, 32]),
        ("vllm-0.19", [Batch((), 3, 30, 10, 10), Batch((400, 0), 0, 0, 0, 0)], [400, 400]),  # piecewise graphs
        ("vllm-0.19", [Batch((), 3, 30, 10, 10), Batch((513, 0), 0, 0, 0, 0)], [4, 513]),
        ("vllm-0.11", [Batch((), 3, 30, 10, 10), Batch((513, 0), 0, 0, 0, 0)], [513, 513]),
    ],
)
def test_ranks_that_step_together_are_padded_only_where_all_run_a_graph(version, batches, tokens):
    assert [batch.tokens for batch in host_costs(version).together(batches)] == tokens


def test_a_version_that_nobody_measured_says_so(cli, tmp_path):
    """Its own are the rules; with pipeline stages these lie side by side, and 0.19's follow one another."""
    costs = host_costs("vllm-0.33")
    assert replace(
        costs, name="vllm-0.19", unmeasured="", stages_overlap=False, server=host_costs("vllm-0.19").server
    ) == (host_costs("vllm-0.19"))
    assert releases()["vllm@0.33.0"] == "vllm-0.33" and host_costs("vllm-0.19").unmeasured == ""
    spans = {}
    for version in ("vllm-0.33", "vllm-0.19"):
        flags = ("--set", f"instances.0.engine.version={version}", "--set", "workload.num_requests=20")
        ran = cli("run", "tensor-pipeline-parallel", "-o", tmp_path / version, *flags)
        assert ran.exit_code == 0 and ("were not measured" in ran.output) is (version == "vllm-0.33")
        spans[version] = json.loads((tmp_path / version / "result.json").read_text())["duration"]
    assert spans["vllm-0.33"] < spans["vllm-0.19"]
