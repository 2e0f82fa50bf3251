"""The highest load that keeps a promise, and the cheapest cluster for a load."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import load, of_mapping
from metronome.orchestrator.sweep import costs
from metronome.orchestrator.sweep.capacity import MOST_RUNS, WIDTH, Capacity, check, longer, search
from metronome.orchestrator.sweep.clusters import Shape, cluster
from metronome.orchestrator.sweep.places import for_points
from metronome.orchestrator.sweep.planner import Planner
from metronome.orchestrator.sweep.runs import Runs
from metronome.orchestrator.sweep.slo import Promise, promise

PROMISE = Promise({"ttft": 100.0})


def rows(latency):
    """An evaluation in which a load has that TTFT."""
    return lambda loads: [
        {"status": "complete", "figures": {"completed": 10, "failed": 0, "p99_ttft_ms": latency(load)}}
        for load in loads
    ]


@given(st.floats(0.01, 1000), st.floats(0.1, 100))
def test_the_interval_holds_the_limit(limit, start):
    found = search("rate", start, False, PROMISE, rows(lambda load: 0 if load <= limit else 200))
    assert len(found.runs) <= MOST_RUNS and found.monotone
    assert found.kept <= limit and (found.broken is None or found.broken > limit)
    assert (
        found.broken is None
        or not found.kept
        or found.broken - found.kept <= WIDTH * found.kept
        or (len(found.runs) == MOST_RUNS)
    )


@given(st.integers(1, 5000), st.integers(1, 100))
def test_a_whole_limit_is_found_exactly(limit, start):
    found = search("seats", start, True, PROMISE, rows(lambda load: 0 if load <= limit else 200))
    assert len(found.runs) <= MOST_RUNS and all(load == int(load) for load, _ in found.runs)
    if len(found.runs) < MOST_RUNS:
        assert (found.kept, found.broken) == (limit, limit + 1)


def test_never_and_always_are_said():
    never = search("rate", 1, False, PROMISE, rows(lambda load: 200))
    assert not never.kept and "broken at every load" in str(never)
    always = search("rate", 1, False, PROMISE, rows(lambda load: 0))
    assert always.broken is None and "kept at every load" in str(always)
    islands = search("rate", 1, False, PROMISE, rows(lambda load: 200 if 1.5 < load < 3 else 0))
    assert islands.kept <= 1.5


def test_a_lower_load_that_breaks_it_is_looked_for_and_is_the_limit():
    """Of a short workload luck decides: a search by halves steps over it."""
    evaluate = rows(lambda load: 200 if 8 < load < 8.5 or load > 9.6 else 0)
    found = search("rate", 4, False, PROMISE, evaluate)
    assert found.kept > 9.4 and found.monotone
    check(found, False, PROMISE, evaluate)
    assert found.kept <= 8 < found.broken < 8.5 and len(found.runs) <= MOST_RUNS
    assert found.again > 9.4 and "up to 9." in str(found) and found.figures["completed"] == 10
    seats = search("seats", 10, True, PROMISE, rows(lambda load: 200 if load in (37, 38, 39) or load > 45 else 0))
    check(seats, True, PROMISE, rows(lambda load: 200 if load in (37, 38, 39) or load > 45 else 0))
    assert seats.kept < 37 <= seats.broken <= 39 and seats.again == 45


@pytest.mark.parametrize(
    ("overrides", "path", "slo"),
    [
        ({"workload.num_requests": 80}, "workload.request_rate", "ttft=2000,tpot=50"),
        (
            {"workload.num_requests": 100, "workload.request_rate": "inf", "workload.max_concurrency": 32},
            "workload.max_concurrency",
            "ttft=2000,tpot=45",
        ),
    ],
    ids=["open", "closed"],
)
def test_a_bundled_scenario_agrees_with_a_scan(overrides, path, slo, cli):
    sets = [word for field, value in overrides.items() for word in ("--set", f"{field}={value}")]
    done = cli("capacity", "quickstart", "--slo", slo, "--workers", 2, "--json", *sets)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert len(found["runs"]) <= MOST_RUNS and 0 < found["kept"] < found["broken"]
    whole = path.endswith("concurrency")
    loads = [found["kept"] * (1 + step / 40) for step in range(-8, 5)]
    loads = sorted({int(load) if whole else load for load in loads} | {found["broken"]})
    promised = promise(slo)
    with for_points(2) as pool:
        scan = Runs("quickstart", pool, {}).rows([{**overrides, path: load} for load in loads])
    broken = [load for load, row in zip(loads, scan, strict=True) if not promised.kept(row)]
    assert found["kept"] < broken[0] <= found["broken"]


def test_no_load_is_tried_below_one_that_requests_break_alone():
    """Of 2 s each: at 0.05 a second a tenth of one is there on average."""
    tried = []

    def evaluate(loads):
        tried.extend(loads)
        given = {"completed": 10, "failed": 0, "p99_ttft_ms": 200.0, "mean_e2el_ms": 2000.0}
        return [{"status": "complete", "figures": given | {"request_throughput": load}} for load in loads]

    found = search("rate", 64, False, PROMISE, evaluate)
    assert not found.kept and 0.01 < min(tried) < 0.05 and len(tried) < 16


@pytest.mark.parametrize(("failed", "kept"), [(0, True), (1, True), (2, False)])
def test_who_is_not_served_counts(failed, kept):
    figures = {"completed": 100 - failed, "failed": failed, "p99_ttft_ms": 1.0}
    assert PROMISE.kept({"status": "complete", "figures": figures}) == kept


@pytest.mark.parametrize("text", ["", "ttft", "ttft=", "ttft=-1", "latency=5", "ttft=1,tpot=nan"])
def test_bad_promises(text):
    with pytest.raises(InputError):
        promise(text)


def test_it_agrees_with_a_scan(small, tmp_path, cli):
    small["workload"] |= {"num_requests": 25}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(small))
    options = ("--slo", "ttft=60,tpot=9", "--percentile", 90, "--workers", 1)
    done = cli("capacity", path, *options, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert len(found["runs"]) <= MOST_RUNS and 0 < found["kept"] < found["broken"]
    promised = promise("ttft=60,tpot=9", 90)
    loads = [found["kept"] * (1 + step / 10) for step in (-5, -2, 0)]
    beyond = [found["broken"] * (1 + step / 10) for step in (0, 2, 6)]
    with for_points(1) as pool:
        scan = Runs(str(path), pool, {}).rows([{"workload.request_rate": load} for load in loads + beyond])
    assert [promised.kept(row) for row in scan] == [True] * len(loads) + [False] * len(beyond)
    assert "requests" not in found["figures"] and found["figures"]["request_throughput"]


@pytest.fixture
def alone(small, tmp_path):
    """The small scenario with one of its instances, as a file."""
    small["workload"] |= {"num_requests": 20}
    small["instances"] = small["instances"][:1]
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


def planned(path, kinds, rate, promised):
    prices = {"h100-sxm": 3.0}
    with for_points(2) as pool:
        runs = Runs(str(path), pool, prices)
        return Planner(load(str(path))[0], {}, promised, runs, prices).plan(rate, kinds)


def test_a_plan_names_the_cheapest(alone):
    sizes = [("h100-sxm", 1), ("h100-sxm", 2), ("t4", 1), ("mi355x", 2), ("h100-sxm", 16)]
    kinds = [(device, Shape(size)) for device, size in sizes]
    options = planned(alone, kinds, 60.0, promise("ttft=500,tpot=30", 90))
    assert [bool(o.counts) for o in options] == sorted((bool(o.counts) for o in options), reverse=True)
    priced = [o.usd_per_hour for o in options if o.usd_per_hour is not None]
    assert priced == sorted(priced) and all(o.usd_per_hour == 3.0 * o.accelerators for o in options if o.usd_per_hour)
    assert len(priced) == 2 and all(bool(o.counts) != bool(o.why) for o in options)
    why = {(o.device, o.shape.size): o.why for o in options}
    assert "does not fit" in why["t4", 1] and "not known" in why["mi355x", 2] and "at most 8" in why["h100-sxm", 16]


OWN = {"tflops": {"bf16": 400}, "memory_bandwidth_gb_s": 2000, "memory_gib": 64, "usd_per_hour": 1.5}


def test_a_device_of_ones_own_says_its_price_and_how_it_is_joined(alone, cli):
    """The price before the estimates, and after the user's."""
    data = yaml.safe_load(alone.read_text())
    data["devices"] = {"mine": {**OWN, "interconnect": "nvlink3"}, "h100-sxm": OWN}
    alone.write_text(yaml.safe_dump(data))
    asked = ("plan", alone, "--rate", 5, "--slo", "ttft=9000", "--workers", 1, "--device", "mine")
    done = cli(*asked, "--tp", 2)
    assert "cheapest: 1 of 2 mine, USD 3 an hour (the scenario's price)" in done.output
    prices = alone.parent / "prices.yaml"
    prices.write_text("mine: 9")
    assert (
        f"cheapest: 1 of 1 mine, USD 9 an hour (prices: {prices})" in cli(*asked, "--tp", 1, "--prices", prices).output
    )
    unjoined = cli(*asked, "--tp", 2, "--set", "devices.mine.interconnect=null")
    assert unjoined.exit_code == 2 and "not known; devices.mine.interconnect says it" in " ".join(
        unjoined.output.split()
    )
    h200 = {"cluster.nodes.0.accelerators.type": "NVIDIA H200"}
    for usual, change, expected in (({}, {}, 3.0), ({"h100-sxm": 2}, {}, 4.0), ({"h200": 5}, h200, 10.0)):
        with for_points(1) as pool:
            (row,) = Runs(str(alone), pool, usual).rows([change])
        assert row["figures"]["usd_per_hour"] == expected


def test_pipelines_and_ranks_are_planned_too(alone, cli):
    asked = ("plan", alone, "--rate", 20, "--slo", "ttft=500,tpot=30", "--tp", 1, "--pp", "1,2", "--workers", 1)
    options = json.loads(cli(*asked, "--dp", "1,2", "--json", "--quiet").stdout)
    found = {tuple(o[f"{name}_parallel_size"] for name in ("tensor", "pipeline", "data")): o for o in options}
    assert sorted(found) == [(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2)]
    for (_, pp, dp), option in found.items():
        assert option["accelerators"] == sum(option["replicas"].values()) * pp * dp
    # One stage after the other, with a transfer between them.
    assert found[1, 2, 1]["figures"]["mean_tpot_ms"] > found[1, 1, 1]["figures"]["mean_tpot_ms"]
    table = cli(*asked).output
    assert re.search(r"device +TP +PP ", table) and re.search(r"cheapest: \d of \d h100-sxm \(TP 1(, PP 2)?\)", table)


def test_a_split_plan_has_none_too_many_of_either(alone):
    data = yaml.safe_load(alone.read_text())
    (one,) = data["instances"]
    data["instances"] = [
        {**one, "name": "p", "role": "prefill", "accelerators": "n0[0:1]"},
        {**one, "name": "d", "role": "decode", "accelerators": "n0[1:2]"},
    ]
    data["router"] = {"policy": "pd-aware"}
    data["workload"] |= {"num_requests": 60}
    alone.write_text(yaml.safe_dump(data))
    rate, promised = 80.0, promise("ttft=60,tpot=9", 90)
    (option,) = planned(alone, [("h100-sxm", Shape(1))], rate, promised)
    assert option.counts["prefill"] + option.counts["decode"] > 2 and option.usd_per_hour == 3.0 * option.accelerators
    loaded = load(str(alone))[0]
    fewer = [{**option.counts, role: count - 1} for role, count in option.counts.items() if count > 1]
    with for_points(2) as pool:
        again = Runs(str(alone), pool, {}).rows(
            [cluster(loaded, "h100-sxm", Shape(1), counts) | {"workload.request_rate": rate} for counts in fewer]
        )
    assert fewer and not any(promised.kept(row) for row in again)


def test_what_a_plan_leaves_out_is_said(alone, cli):
    data = yaml.safe_load(alone.read_text())
    data["components"] = {"nvlink0": {"model": "fabric"}}
    data["instances"][0] |= {"accelerators": "n0[0:2]", "data_parallel_size": 2}
    alone.write_text(yaml.safe_dump(data))
    done = cli("plan", alone, "--rate", 10, "--slo", "ttft=500", "--tp", 1, "--workers", 1)
    assert done.exit_code == 0 and "not used: components (nvlink0)" in done.output
    assert "data_parallel_size: --dp says which are tried" in done.output
    assert "memory and power of nodes" in done.output and "cheapest: 1 of 1 h100-sxm, USD 3 an hour" in done.output


def test_a_run_too_short_to_show_an_overload_is_said_so_in_the_plan(alone, cli):
    few = ("--set", "workload.num_requests=6")
    asked = ("plan", alone, "--rate", 1, "--slo", "ttft=60000", "--tp", 1, "--workers", 1, *few)
    done = cli(*asked)
    assert done.exit_code == 0 and "> more load made no difference there: the run is too short" in done.output
    said = cli(*asked, "--json").output
    (option,) = json.loads(said[said.index("[\n") :])
    assert option["too_short"] is True and f">{option['requests_per_s_of_one']:g}" in done.output


def test_prices(tmp_path):
    assert costs.built_in()["h100-sxm"] > 0
    path = tmp_path / "prices.yaml"
    path.write_text("h100-sxm: -1\n")
    with pytest.raises(InputError, match="USD per hour"):
        costs.read(path)
    assert costs.per_million(3.6, 1000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("capacity", "quickstart", "--slo", "ttft"), "must be NAME=MS"),
        (("plan", "quickstart", "--slo", "ttft=1", "--rate", "1", "--tp", "x"), "whole numbers"),
        (("plan", "attention-ffn", "--slo", "ttft=1", "--rate", "1"), "devices of their own cannot be planned"),
        (
            ("plan", "quickstart", "--slo", "ttft=1", "--rate", "1", "--set", "instances.0.gemv=pim"),
            "devices of their own cannot be planned",
        ),
        (("plan", "quickstart", "--slo", "ttft=1", "--rate", "1", "--pp", "0"), "--pp: sizes"),
        (
            ("capacity", "quickstart", "--slo", "ttft=1", "--set", "cluster.nodes.0.accelerators.type=t4"),
            "does not fit",
        ),
    ],
)
def test_bad_questions_are_one_message(cli, arguments, message):
    done = cli(*arguments)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("completed", "percentile", "rests_on"), [(60, 99, 1), (400, 99, 4), (499, 99, 4), (500, 99, 5), (60, 50, 30)]
)
def test_few_requests_beyond_a_percentile_are_said(completed, percentile, rests_on):
    found = Capacity("workload.request_rate", 4.0, {"completed": completed, "request_throughput": 3.9})
    promised = Promise({"ttft": 100.0}, percentile)
    assert found.rests_on(promised) == rests_on
    more = longer(load("quickstart")[0])
    told = f"{completed} requests: the {percentile}th percentile is of {rests_on} of them; give more"
    expected = [f"{told} (--set workload.num_requests=...)"] if rests_on < 5 else []
    assert found.doubts(promised, more) == expected


def test_a_run_of_ramp_up_and_drain_is_said_to_be_one():
    figures = {"completed": 600, "request_throughput": 4.2}
    (told,) = Capacity("workload.request_rate", 7.8, figures).doubts(PROMISE)
    assert told.startswith("at a load of 7.8/s only 4.2/s are served: the run is mostly ramp up and drain")
    assert not Capacity("workload.max_concurrency", 64, figures).doubts(PROMISE)
    assert not Capacity("workload.request_rate").doubts(PROMISE)


def test_capacity_and_plan_say_what_they_rest_on(alone, cli):
    asked = ("--slo", "ttft=500,tpot=30", "--workers", 1)
    told = "> 20 requests: the 99th percentile is of 1 of them; give more (--set workload.num_requests=...)"
    assert told in cli("capacity", alone, *asked).output
    found = json.loads(cli("capacity", alone, *asked, "--json").stdout)
    assert found["percentile_rests_on"] == 1 and f"> {found['doubts'][0]}" == told
    plan = ("plan", alone, "--rate", 20, "--tp", 1, "--device", "h100", *asked)
    assert " ".join(cli(*plan).output.split()).count(told) == 1  # wrapped at 80 columns
    (option,) = json.loads(cli(*plan, "--json").stdout)
    assert option["percentile_rests_on"] == 1 and option["device"] == "h100-sxm"
    assert option["usd_per_million_output_tokens"] and "usd_per_million_output_tokens" not in option["figures"]


def test_no_cluster_is_an_answer_and_nothing_to_try_is_bad_input(alone, cli):
    asked = ("plan", alone, "--rate", 20, "--tp", 1, "--workers", 1)
    none = cli(*asked, "--slo", "ttft=0.01")
    assert none.exit_code == 0 and "none of these holds 20 requests/s, p99 TTFT <= 0.01 ms" in none.output
    for form in ((), ("--json",)):
        refused = cli(*asked[:4], "--tp", 2, "--slo", "ttft=500", "--device", "mi355x", *form)
        assert refused.exit_code == 2 and "how such accelerators are joined is not known" in refused.output


def test_a_device_whose_links_are_not_known_has_a_near_name(small):
    small["devices"] = {"h100-sxmm": {"tflops": {"bf16": 1}, "memory_bandwidth_gb_s": 1, "memory_gib": 1}}
    with pytest.raises(InputError, match="not known; .*did you mean 'h100-sxm'"):
        cluster(of_mapping(small | {"instances": small["instances"][:1]}), "h100-sxmm", Shape(2), {"both": 1})
