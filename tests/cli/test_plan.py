"""`metronome validate --plan`: the operations of a step, readable."""

from __future__ import annotations

import json

import pytest

from ..conftest import ROOT


def plan_of(cli, *arguments):
    done = cli("validate", *arguments, "--plan", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_what_the_docs_show_is_what_is_printed(cli):
    printed = cli("validate", "tensor-parallel", "--plan").output.splitlines()
    page = (ROOT / "docs" / "scenario.md").read_text()
    shown = page.split("$ metronome validate tensor-parallel --plan\n")[1].split("```")[0].splitlines()
    assert len(shown) > 4
    assert [line for line in shown if line != "..." and line not in printed] == []


def test_sections_operations_and_formulas(cli):
    plans = plan_of(cli, "quickstart")
    assert list(plans) == ["chat-0", "chat-1"]
    prologue, block, epilogue = plans["chat-0"]
    assert [(s["section"], s["times"], s["stage"]) for s in (prologue, block, epilogue)] == [
        ("prologue", 1, "stage0"),
        ("block", 80, "stage0"),
        ("epilogue", 1, "stage0"),
    ]
    reduce = next(operation for operation in block["operations"] if operation["kind"] == "all_reduce")
    assert (reduce["components"], reduce["numbers"]) == (["nvlink0"], {"bytes": "tokens * 16384"})
    assert reduce["shape"]["ranks"] == "n0.0,n0.1"
    head = next(operation for operation in epilogue["operations"] if operation["layer"] == "lm_head")
    assert head["numbers"] == {"m": "sequences"}


def test_layers_that_alternate_between_devices_are_told_once(cli):
    sections = plan_of(cli, "attention-ffn")["chat"]
    assert [s["section"] for s in sections] == [
        "prologue",
        "attention",
        "to experts",
        "experts",
        "from experts",
        "epilogue",
    ]
    assert {(s["cycle"], s["times"]) for s in sections[1:5]} == {(1, 32)}
    assert "  to experts x 32, in turn\n" in cli("validate", "attention-ffn", "--plan").output


@pytest.mark.parametrize(("name", "chained"), [("shared-uplink", True), ("tensor-parallel", False)])
def test_collectives_that_are_one_operation_are_said_to_be(cli, name, chained):
    for sections in plan_of(cli, name).values():
        assert [s["chained"] for s in sections] == [False, chained, False]


def test_members_and_what_they_do_together(cli):
    (sections,) = plan_of(cli, "expert-parallel").values()
    block = sections[1]["operations"]
    assert [o["kind"] for o in block if o["joint"]] == ["all_gather", "moe", "reduce_scatter"]
    assert {o["members"] for o in block} == {1, 4}


def test_what_is_checked_as_json(cli):
    """The same as the text says."""
    text = cli("validate", "prefill-decode", "--set", "instances.0.engine.max_num_seqs=7").output
    found = json.loads(cli("validate", "prefill-decode", "--set", "instances.0.engine.max_num_seqs=7", "--json").stdout)
    first = found["replicas"][0]
    assert first["role"] == "prefill"
    assert f"{first['name']} (prefill): {first['model']}, {first['kv_blocks']} KV blocks ({first['kv_tokens']} " in text
    engine = found["engines"][first["name"]]
    assert engine["flags"]["max_num_seqs"] == {"value": 7, "from": "given"}
    assert {flag["from"] for flag in engine["flags"].values()} <= {
        "given",
        "by model",
        "by version and device",
        "default",
    }
    for one in found["components"]:
        assert f"  {one['name']}: {one['model']}, {one['run']}, {one['mode']}\n" in text
    assert found["workload"]["cannot_be_served"] == [] and found["workload"]["all_of_them"]
    assert f"workload: {found['workload']['requests']} requests, 0 of them" in text
    short = cli("validate", "kv-pools", "--set", "instances.0.engine.max_model_len=5200", "--json", "--strict")
    assert short.exit_code == 2 and "max_model_len" in json.loads(short.stdout)["workload"]["cannot_be_served"][0]


def test_what_two_components_may_do_names_both(cli):
    changes = ("--set", "instances.0.gemv=pim")
    prologue, block, epilogue = plan_of(cli, "pim-attention", *changes)["chat"]
    both = [operation["layer"] for operation in block["operations"] if operation.get("instead") == ["n0.pim"]]
    assert both == ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    assert not any("instead" in operation for part in (prologue, epilogue) for operation in part["operations"])
    assert "n0.accelerators or n0.pim  gemm" in cli("validate", "pim-attention", *changes, "--plan").output
    assert "instead" not in json.dumps(plan_of(cli, "pim-attention"))
