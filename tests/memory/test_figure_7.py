"""Prefix hits and device memory over time against a real run: vLLM on an A6000, six pulses of 50 requests.

The server was asked for its counters about every 1.026 s, and ``kv_metrics_sd.csv`` says when. ``SD+PC.tsv`` is the
same samples from the first that has blocks in use, numbered from 0: 14.9889 GiB of weights, and of 27.04 GiB for
13,843 blocks those that requests hold or that can still be found. A number is no second of the run (row 124 is
127.4 s after row 0), and row 0 has 42 blocks already: who reads it as seconds, and row 0 as the weights, finds the
run 1.1 % off.

How many requests had been admitted by each sample says when the client sent them: each a gap early. It sends, then
waits, so that the first comes at once and the 51st with the first pulse.
"""

from __future__ import annotations

import csv
import json
from bisect import bisect_right
from datetime import datetime
from itertools import accumulate

import pytest
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

from ..accuracy.serving import old_import

CHANGES = {
    "cluster.nodes.0.accelerators": {"type": "rtx-a6000", "count": 1},
    "instances.0.engine": {"version": "vllm-0.11", "max_num_batched_tokens": 2048},
}
BLOCKS = 13_843
WEIGHTS_MIB, KV_MIB = 14.9889 * 1024, 27.04 * 1024  # as vLLM logs them for this model and device
PULSE = 50


class Blocks:
    """After each step: when, blocks held or found, tokens hit, and prompt tokens of requests admitted by then."""

    def __init__(self):
        self.rows, self._asked, self._seen = [(0.0, 0, 0, 0)], 0, set()

    def scheduled(self, instance, number, replicas, steps, now_ps):
        for chunk in steps[0].prompt_chunks() if steps[0] else ():
            if chunk.state.request.id not in self._seen:
                self._seen.add(chunk.state.request.id)
                self._asked += chunk.state.request.input_tokens

    def engine_stepped(self, replica, step, energy_pj, now_ps, delivered_ps):
        pool = replica.engine.scheduler.pool
        kept = pool.used + pool.idle_cached
        self.rows.append((now_ps / 1e12, kept, replica.engine.counts.prefix_hit_tokens, self._asked))

    def at(self, time_s):
        return self.rows[bisect_right(self.rows, (time_s, BLOCKS + 1)) - 1][1:]


def samples(folder):
    """What the server answered: when, blocks, tokens hit, tokens asked for."""
    with (folder / "kv_metrics_sd.csv").open() as file:
        for row in csv.DictReader(file):
            yield (
                datetime.fromisoformat(row["timestamp"]).timestamp(),
                round(float(row["vllm:kv_cache_usage_perc"]) * BLOCKS),
                int(float(row["vllm:prefix_cache_hits_total"])),
                int(float(row["vllm:prefix_cache_queries_total"])),
            )


def start(real, requests):
    """When the client sent its first request: what samples in the first pulse allow, in the middle of that."""
    asked = list(accumulate(request["input_toks"] for request in requests))
    earliest, latest = 0.0, float("inf")
    for time_s, _, _, queries in real:
        if queries and queries < asked[PULSE]:
            admitted = asked.index(queries) + 1
            latest = min(latest, time_s - requests[admitted - 1]["arrival_time_ns"] / 1e9)
            earliest = max(earliest, time_s - requests[admitted]["arrival_time_ns"] / 1e9)
    assert 0 < latest - earliest < 0.1
    return (earliest + latest) / 2


def test_hits_and_memory_over_time(shared, tmp_path):
    workload, sent = "sharegpt_pulse_req50_n6_delay15_pc", tmp_path / "sent.jsonl"
    path = old_import(shared, "figure_7/SD+PC", workload, tmp_path / "figure-7.yaml")
    requests = list(map(json.loads, (shared / f"llmss_ispass26/dataset/{workload}.jsonl").read_text().splitlines()))
    gaps_end = [0, *(request["arrival_time_ns"] for request in requests)]
    for request, moment in zip(requests, gaps_end[:-1], strict=True):
        request["arrival_time_ns"] = moment
    sent.write_text("".join(json.dumps(request) + "\n" for request in requests))
    scenario, folder = loading.load(str(path), {**CHANGES, "workload.path": str(sent)})
    seen = Blocks()
    with Simulation(scenario, folder, instruments=[seen]) as run:
        run.run()
    real = list(samples(shared / "llmss_ispass26/refs/figure_7"))
    began = start(real, requests)
    hits, memory = [], []
    for time_s, blocks, found, asked in real:
        if asked:
            kept, hit, queries = seen.at(time_s - began)
            hits.append(abs(100 * hit / queries - 100 * found / asked))
            mib = WEIGHTS_MIB + KV_MIB * blocks / BLOCKS
            memory.append(abs(KV_MIB * (kept - blocks) / BLOCKS) / mib)
    assert seen.rows[-1][1:] == real[-1][1:]
    assert sum(hits) / len(hits) < 0.1
    assert sum(memory) / len(memory) < 0.002


def test_the_published_rows_are_the_server_s_samples(shared):
    real = [row for row in samples(shared / "llmss_ispass26/refs/figure_7") if row[1]]
    with (shared / "llmss_ispass26/refs/figure_7/SD+PC.tsv").open() as file:
        published = [float(row["gpu_mem_mb"]) for row in csv.DictReader(file, delimiter="\t")]
    assert [WEIGHTS_MIB + KV_MIB * row[1] / BLOCKS for row in real[: len(published)]] == pytest.approx(published)
