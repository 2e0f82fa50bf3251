"""`why` of a run with memory beside the devices: what moves took alone, and behind whom they waited."""

from __future__ import annotations

import copy
import json

import metronome
import pytest

from .small import TIERED
from .test_seen import write
from .test_weights import STREAMED

WEIGHTS = "weights over net"


def together(tmp_path, **offloading):
    """Two instances recall one prompt at once from one expander."""
    prompts = {"A": list(range(3200)), "B": list(range(10**6, 10**6 + 3200))}
    lines = [
        {"input_toks": 3200, "output_toks": 2, "arrival_time_ns": at * 10**9, "input_tok_ids": prompts[which]}
        for at, which in ((0, "A"), (5, "B"), (10, "A"))
        for _ in range(2)
    ]
    (tmp_path / "w.jsonl").write_text("\n".join(map(json.dumps, lines)))
    changed = json.loads(json.dumps(TIERED))
    changed["workload"] = {"format": "llmservingsim", "path": "w.jsonl"}
    changed["instances"][0]["engine"]["num_gpu_blocks_override"] = 203
    changed["kv_offloading"] = {"tiers": [{"name": "cxl", "memory": "cxl", "size_gib": 8}], **offloading}
    return write(tmp_path, changed)


def test_why_names_the_recall_and_behind_whom_it_was_slower(tmp_path):
    answer = metronome.why(together(tmp_path), 5)
    words = {who: took / 1e9 for (what, who), took in answer.before.items() if what == "memory"}
    recall = next(who for who in words if who.startswith("recall of ") and who.endswith(" tokens from cxl"))
    tokens = int(recall.split()[2].replace(",", ""))
    alone = tokens * 131072 / 17.8e9 * 1e3
    assert words[recall] == pytest.approx(alone, rel=0.01)
    assert answer.recalled == {"cxl": tokens} and answer.cached >= tokens
    assert words["recall from cxl behind a-0's recall"] == pytest.approx(alone, rel=0.02)
    assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps


@pytest.mark.parametrize("recall", ["blocking", "layer"])
def test_why_of_a_step_that_waits(tmp_path, recall):
    answer = metronome.why(together(tmp_path, recall=recall), 5)
    words = {who: took / 1e9 for (what, who), took in answer.before.items() if what == "memory"}
    own = next(who for who in words if who.startswith("recall of ") and who.endswith(" tokens from cxl"))
    alone = int(own.split()[2].replace(",", "")) * 131072 / 17.8e9 * 1e3
    assert words["recall from cxl behind a-0's recall"] == pytest.approx(alone, rel=0.02)
    assert words[own] == pytest.approx(alone, rel=0.02) if recall == "blocking" else 0 < words[own] < alone
    assert not any(what == "waiting" for what, _ in answer.before)
    assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps


def test_why_names_copies_that_a_step_waits_for(tmp_path):
    """What the devices let go with `write: back`, of two engines at once."""
    path = together(tmp_path)
    changed = json.loads(path.read_text())
    changed["kv_offloading"]["tiers"][0]["write"] = "back"
    answer = metronome.why(write(tmp_path, changed), 3)
    words = {who: took for (what, who), took in answer.before.items() if what == "memory"}
    own = "copies to cxl that the step waits for"
    assert words["copies to cxl behind a-0's store"] == pytest.approx(words[own], rel=0.02)
    assert not any(what == "waiting" for what, _ in answer.before)
    assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps


def test_what_waited_behind_several_is_shared_among_them(tmp_path):
    path = together(tmp_path)
    changed = json.loads(path.read_text())
    changed["cluster"]["nodes"][0]["accelerators"]["count"] = 3
    changed["instances"][0] |= {"accelerators": ["n0[0]", "n0[1]", "n0[2]"], "replicas": 3}
    lines = (tmp_path / "w.jsonl").read_text().splitlines()
    (tmp_path / "w.jsonl").write_text("\n".join(line for line in lines[::2] for _ in range(3)))
    answer = metronome.why(write(tmp_path, changed), 8)
    words = {who: took for (what, who), took in answer.before.items() if who.startswith("recall from cxl behind")}
    assert set(words) == {"recall from cxl behind a-0's recall", "recall from cxl behind a-1's recall"}
    assert max(words.values()) == pytest.approx(min(words.values()), rel=0.01)


def streamed(**changes):
    content = copy.deepcopy(STREAMED) | changes
    content["instances"][0] |= {"replicas": 2, "accelerators": ["n0[0]", "n0[1]"]}
    content["workload"] |= {"num_requests": 2, "request_rate": 1e6}
    return content


def test_why_names_whose_weights_a_step_waits_behind():
    answer = metronome.why(streamed(), 1)
    words = {who: took for (what, who), took in answer.after.items() if what == "network"}
    assert set(words) == {WEIGHTS, f"{WEIGHTS} behind a-0's weights"}
    assert words[f"{WEIGHTS} behind a-0's weights"] == pytest.approx(words[WEIGHTS], rel=0.05)
    assert sum(answer.before.values()) + sum(answer.after.values()) == answer.total_ps


def test_a_session_answers_one_why_after_another_alike(tmp_path, cli):
    """What components are asked for an answer is not kept: the next one asks them anew."""
    (tmp_path / "s").write_text("continue\nwhy 0\nwhy 1\nwhy 0\n")
    shown = cli("debug", write(tmp_path, streamed()), "-x", tmp_path / "s", "--batch").output
    rows = [line for line in shown.splitlines() if WEIGHTS in line]
    assert len(rows) == 6 and rows[:2] == rows[4:]
