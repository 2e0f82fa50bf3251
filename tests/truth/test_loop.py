"""vLLM's own scheduler inside the simulation: an engine like any other, and the same results as ours."""

from __future__ import annotations

from array import array
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from metronome.adapters.tools import environment
from metronome.adapters.vllm import RealScheduler
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.serving.engines import kind_of
from metronome.orchestrator.serving.spec import EngineSpec
from metronome.orchestrator.workload.request import Request

from ..engine_contract import play, workloads

RELEASE = "vllm@0.19.0"
REAL = {"version": RELEASE, "scheduler": "real"}


def needs(release):
    why = f"needs vLLM's scheduler: metronome tools install {release}"
    return pytest.param(release, marks=pytest.mark.skipif(not environment.installed(release), reason=why))


of_every_release = pytest.mark.parametrize("release", [needs(release) for release in (RELEASE, "vllm@0.33.0")])
#: Of workloads whose tokens are known: where they are not, ours finds no prefix, and vLLM what a request left itself.
TIGHT = {
    "instances.0.engine.num_gpu_blocks_override": 300,
    "workload.shared_prefix": "{groups: 3, tokens: 64}",
    "workload.num_requests": 60,
}


@pytest.fixture(scope="module", autouse=True)
def process():
    """vLLM's takes seconds to start, and ends with its last scheduler: one for all tests."""
    versions = (release for release in (RELEASE, "vllm@0.33.0") if environment.installed(release))
    return [RealScheduler(release.partition("@")[2]) for release in versions]


def engine(release, scheduler, overlapped, blocks):
    kind = kind_of(release)
    flags = {"block_size": 4, "max_num_seqs": 6, "max_num_batched_tokens": 24}
    options = kind.options(version=release, scheduler=scheduler, **flags)
    return kind.make(EngineSpec("e", options, blocks, 1000, async_scheduling=overlapped))


@of_every_release
@pytest.mark.parametrize("overlapped", [False, True])
def test_it_is_an_engine_like_ours_step_by_step(release, overlapped):
    def told(engine, step):
        view = engine.view()
        return view.waiting, view.running, view.prefilling, view.kv, engine.load, engine.queued_tokens

    @settings(
        max_examples=6,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(workloads(), st.integers(0, 12))
    def check(workload, spare):
        known = [(when, replace(r, token_ids=r.token_ids or array("q", _ids(r)))) for when, r in workload]
        blocks = max(-(-(r.input_tokens + r.output_tokens) // 4) for _, r in known) + 1 + spare
        found = []
        for scheduler in ("model", "real"):
            made, seen = engine(release, scheduler, overlapped, blocks), []
            steps, states, _ = play(made, known, overlapped, seen=lambda e, s, seen=seen: seen.append(told(e, s)))
            rows = [(s.num_cached_tokens, s.num_preemptions, s.token_steps, s.end_ps) for s in states.values()]
            found.append(([tuple(batch) for batch, _ in steps], seen, rows, made.counts))
            assert made.used_blocks == 0 and not made.requests()
        for ours, theirs in zip(*found, strict=True):
            assert ours == theirs

    check()


def _ids(request):
    return range(10_000 * (request.id + 1), 10_000 * (request.id + 1) + request.input_tokens + request.output_tokens)


@of_every_release
def test_it_is_copied_fails_and_drops_requests_like_any_other(release):
    made = engine(release, "real", False, 60)
    workload = [(i, Request(i, 0, 20, 5)) for i in range(6)]
    play(made, workload, False, until=6)
    copied = deepcopy(made)
    assert [copied.look(state).blocks for state in copied.requests()] == [6, 6, 6, 5]
    assert copied.view() == made.view() and copied.cached_tokens(workload[0][1]) == 0
    victim = next(state for state in copied.requests() if state.request.id == 3)
    copied.abort(victim)
    while step := copied.schedule(9):
        copied.settle(step)
        copied.finish(step, 9)
    assert copied.load == (0, 0) and copied.used_blocks == 0 and victim.end_ps == -1
    assert len(made.stop()) == 4 and made.load == (0, 0)
    _, again, _ = play(made, [(0, Request(50, 0, 20, 5))], False)
    assert again[50].num_output_tokens == 5
    with pytest.raises(InputError, match="when it starts"):
        made.configure("max_num_seqs", 3)
    with pytest.raises(InputError, match="max_model_len"):
        made.check(Request(7, 0, 2000, 10))


def results(cli, folder, release, scenario, changes):
    changed = {**changes, "instances.0.engine.version": release}
    found = []
    for scheduler in ("model", "real"):
        flags = {**changed, "instances.0.engine.scheduler": scheduler}
        sets = [part for key, value in flags.items() for part in ("--set", f"{key}={value}")]
        ran = cli("run", scenario, "-o", folder / scheduler, "--quiet", *sets)
        assert ran.exit_code == 0, ran.output
        found.append((folder / scheduler / "requests.csv").read_text())
    return found


@of_every_release
@pytest.mark.parametrize(
    ("scenario", "changes"),
    [
        ("quickstart", {"workload.num_requests": 60}),
        ("quickstart", TIGHT),
        ("data-parallel", {"workload.num_requests": 60}),
        ("tensor-pipeline-parallel", {"workload.num_requests": 60}),
        ("tensor-pipeline-parallel", {**TIGHT, "instances.0.engine.async_scheduling": "false"}),
    ],
)
def test_a_run_with_vllms_own_scheduler_is_the_same_run(cli, tmp_path, release, scenario, changes):
    ours, theirs = results(cli, tmp_path, release, scenario, changes)
    assert ours == theirs and len(ours.splitlines()) == 61


def test_without_the_tool_it_is_refused_by_name(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("METRONOME_TOOLS", str(tmp_path / "none"))
    flags = [part for key, value in REAL.items() for part in ("--set", f"instances.0.engine.{key}={value}")]
    refused = cli("run", "quickstart", "-o", tmp_path / "out", "--quiet", *flags)
    assert refused.exit_code == 2 and f"metronome tools install {RELEASE}" in refused.output


def test_what_vllm_has_not_is_refused(cli, tmp_path):
    flags = {**REAL, "scheduling_policy": "shortest-job-first"}
    sets = [part for key, value in flags.items() for part in ("--set", f"instances.0.engine.{key}={value}")]
    refused = cli("run", "quickstart", "-o", tmp_path / "out", "--quiet", *sets)
    assert refused.exit_code == 2 and "fcfs or priority" in refused.output
