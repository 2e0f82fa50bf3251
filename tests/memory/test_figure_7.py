"""Prefix hits and device memory over time against a real run: vLLM on an A6000, six pulses of 50 requests.

The run's memory counts blocks that requests hold and blocks that are left behind and can still be found. Its rows are a
second apart and begin with the second of the first arrival, so each is the state at the end of its second.
"""

from __future__ import annotations

import csv
from bisect import bisect_right

import pytest
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

from ..accuracy.serving import old_import

CHANGES = {
    "cluster.nodes.0.accelerators": {"type": "rtx-a6000", "count": 1},
    "instances.0.engine": {"version": "vllm-0.11", "max_num_batched_tokens": 2048},
}
MIB = 2  # of a block


class Blocks:
    """After each step: when, blocks held or found, tokens hit, and prompt tokens of requests admitted by then."""

    def __init__(self):
        self.rows, self._asked, self._seen = [], 0, set()

    def scheduled(self, instance, number, replicas, steps, now_ps):
        for chunk in steps[0].prompt_chunks() if steps[0] else ():
            if chunk.state.request.id not in self._seen:
                self._seen.add(chunk.state.request.id)
                self._asked += chunk.state.request.input_tokens

    def engine_stepped(self, replica, step, energy_pj, now_ps, delivered_ps):
        pool = replica.engine.scheduler.pool
        kept = pool.used + len(pool._freed.keys() & pool._hash_of.keys())
        self.rows.append((now_ps / 1e12, kept, replica.engine.counts.prefix_hit_tokens, self._asked))


def test_hits_and_memory_over_time(shared, tmp_path):
    workload = "sharegpt_pulse_req50_n6_delay15_pc"
    path = old_import(shared, "figure_7/SD+PC", workload, tmp_path / "figure-7.yaml")
    scenario, folder = loading.load(str(path), CHANGES)
    seen = Blocks()
    with Simulation(scenario, folder, instruments=[seen]) as run:
        run.run()
    with (shared / "llmss_ispass26/refs/figure_7/SD+PC.tsv").open() as file:
        real = [tuple(map(float, row)) for row in list(csv.reader(file, delimiter="\t"))[1:]]
    weights = real[0][1]
    times = [row[0] for row in seen.rows]
    hits, memory = [], []
    for t, mib, percent in real:
        last = bisect_right(times, t + 1) - 1
        _, kept, hit, asked = seen.rows[last] if last >= 0 else (0, 0, 0, 1)
        hits.append(abs(100 * hit / asked - percent))
        memory.append(abs(weights + kept * MIB - mib) / mib)
    _, kept, hit, asked = seen.rows[-1]
    assert 100 * hit / asked == pytest.approx(real[-1][2], abs=0.1)
    assert sum(hits) / len(hits) < 0.5
    assert weights + kept * MIB == pytest.approx(real[-1][1], rel=0.005)
    assert sum(memory) / len(memory) < 0.0125
