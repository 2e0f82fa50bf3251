"""Bad input: one clear message with file, field, value and what is allowed; exit 2; no traceback."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ..conftest import ROOT
from ..hwmodels import bundles


def edit(data, path, value):
    *parents, last = path.split("/")
    for key in parents:
        data = data[int(key) if key.isdigit() else key]
    if value is DROP:
        del data[last]
    else:
        data[int(last) if last.isdigit() else last] = value


DROP = object()

CASES = {
    "unknown key": (
        "instances/0/tensor_paralel_size",
        2,
        "unknown key 'tensor_paralel_size'; did you mean 'tensor_parallel_size'",
    ),
    "unknown engine flag": ("instances/0/engine/max_num_seq", 2, "instances.0.engine.*did you mean 'max_num_seqs'"),
    "missing part": ("cluster", DROP, "cluster: Field required"),
    "wrong type": ("instances/0/engine/max_num_seqs", "many", "max_num_seqs = 'many'.*valid integer"),
    "negative": ("instances/0/engine/max_num_seqs", -1, "max_num_seqs = -1.*greater than or equal to 1"),
    "nan": ("cluster/networks/0/bandwidth_gb_s", float("nan"), "bandwidth_gb_s = nan.*(finite|greater than)"),
    "no rate": ("workload/request_rate", float("nan"), "request_rate = nan.*a number above 0, or inf"),
    "duplicate instance": ("instances/1/name", "a", "instance name 'a' is used twice"),
    "duplicate network": (
        "cluster/networks",
        [{"name": "x", "connects": ["n0.accelerators"], "bandwidth_gb_s": 1, "latency_ns": 1}] * 2,
        "network name 'x' is used twice",
    ),
    "device used twice": ("instances/1/accelerators", "n0[1:3]", "already serves instance 'a'"),
    "device out of range": ("instances/1/accelerators", "n0[2:9]", "has accelerators 0 to 3"),
    "no such node": ("instances/1/accelerators", "n7[0:2]", "no node 'n7'; there are n0"),
    "bad selection": ("instances/1/accelerators", "n0", r"must be NODE\[FIRST:END\]"),
    "tp that does not match": (
        "instances/1/tensor_parallel_size",
        4,
        "needs tensor x pipeline x data parallel = 4 x 1 x 1 = 4 accelerators, it has 2",
    ),
    "no network": ("cluster/networks", [], "tensor_parallel_size = 2: needs a network that connects n0.accelerators"),
    "network to nowhere": (
        "cluster/networks/0/connects",
        ["n5.accelerators"],
        "connects 'n5.accelerators'; did you mean 'n0.accelerators'.*there are n0",
    ),
    "unknown model": ("instances/0/model", "gpt-9", "model = 'gpt-9': a bundled model .*Qwen/Qwen3-32B"),
    "unknown device": ("cluster/nodes/0/accelerators/type", "h900", "h900.*h100-sxm"),
    "unknown component": (
        "components",
        {"n0.accelerator": {"run": "process"}},
        "components.n0.accelerator: no such hardware; there is n0.accelerators, n0.dram, nvlink0",
    ),
    "unknown component model": ("components", {"nvlink0": {"model": "ns9"}}, "model = 'ns9': one of aiconfigurator"),
    "component model of another kind": (
        "components",
        {"nvlink0": {"model": "roofline"}},
        "models a piece of accelerator, not of network",
    ),
    "unknown component field": (
        "components",
        {"nvlink0": {"latency": 3}},
        "component nvlink0: latency = 3: unknown key; did you mean 'latency_ns'",
    ),
    "does not fit": (
        "instances/0/model",
        "meta-llama/Llama-3.1-70B",
        "does not fit: each device needs 65.*GiB for weights",
    ),
    "pp that does not divide": (
        "instances/1/pipeline_parallel_size",
        3,
        "tensor_parallel_size = 1: needs tensor x pipeline x data parallel = 1 x 3 x 1 = 3",
    ),
    "more stages than layers": (
        "instances/0",
        {
            "name": "a",
            "model": "mine.json",
            "accelerators": "n0[0:2]",
            "tensor_parallel_size": 1,
            "pipeline_parallel_size": 2,
        },
        "pipeline_parallel_size = 2: the model has 1 layers",
    ),
    "experts of a dense model": (
        "instances/0/enable_expert_parallel",
        True,
        "enable_expert_parallel = True: .* has no experts",
    ),
    "prefill without decode": ("instances/0/role", "prefill", "there is a prefill instance but no decode instance"),
    "layers by pull": ("kv_transfer", {"mode": "pull", "granularity": "layer"}, "granularity layer needs mode push"),
    "unknown interconnect": ("cluster/networks/0/type", "nvlink9", "type 'nvlink9' is not in the catalog: .*nvlink4"),
    "links without figures": ("cluster/networks/0/latency_ns", DROP, "give a type, or bandwidth_gb_s and latency_ns"),
    "two kinds of link with alpha-beta": (
        "cluster/networks/0",
        {
            "name": "nvlink0",
            "connects": ["n0.accelerators"],
            "bandwidth_gb_s": 9,
            "latency_ns": 9,
            "scale_out": {"type": "infiniband-ndr"},
        },
        "knows one kind of link",
    ),
    "router": ("router", {"policy": "fastest"}, "router.policy = 'fastest'.*round-robin"),
    "format": ("workload/format", "synthetc", "no format 'synthetc'; did you mean 'synthetic'"),
    "a length that is neither": (
        "instances/0/engine/max_model_len",
        "atuo",
        r"instances\.0\.engine\.max_model_len = 'atuo': Input should be a valid integer.* or Input should be 'auto'",
    ),
}


@pytest.mark.parametrize(("path", "value", "message"), CASES.values(), ids=CASES)
def test_a_wrong_scenario(small, cli, tmp_path, path, value, message):
    if message.startswith("does not fit"):
        small["cluster"]["nodes"][0]["accelerators"]["memory_gib"] = 40
    edit(small, path, value)
    if "alpha-beta" in str(small.get("components")) or message.startswith("knows one"):
        small["components"] = {"nvlink0": {"model": "alpha-beta"}}
    (tmp_path / "mine.json").write_text(
        json.dumps(
            {
                "model_type": "llama",
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "vocab_size": 100,
                "max_position_embeddings": 512,
            }
        )
    )
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(small))
    refused(cli("run", file, "-o", tmp_path / "out"), message)
    refused(cli("validate", file), message)
    assert not (tmp_path / "out/result.json").exists()


def refused(done, message):
    import re

    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    assert re.search(message, done.output.replace("\n", " ")), done.output
    assert done.output.startswith(("metronome: ", "Usage: ")), done.output


def test_the_line_of_the_field_is_given(small, cli, tmp_path):
    file = tmp_path / "s.yaml"
    text = yaml.safe_dump(small, sort_keys=False)
    file.write_text(text.replace("max_num_seqs: 16", "max_num_seqs: 0", 1))
    line = 1 + text[: text.index("max_num_seqs")].count("\n")
    refused(cli("run", file), f"s.yaml:{line}: instances.0.engine.max_num_seqs = 0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", r"s\.yaml:2: YAML: is malformed"),
        ("a: b: c", r"s\.yaml:1: YAML: is malformed"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("!!python/object:os.system {}", "is malformed"),
    ],
)
def test_malformed_yaml(cli, tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    refused(cli("run", tmp_path / "s.yaml"), message)


def test_a_scenario_that_is_not_there(cli):
    refused(cli("run", "absent.yaml"), "absent.yaml: scenario: no such file; bundled scenarios: .*quickstart")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("instances.7.name=x", "must be an index from 0 to 1"),
        ("nonsense", "must be path.to.field=value"),
        ("name.x.y=3", "unknown key|mapping|valid string"),
        ("instances.0.engine.block_size=0", "block_size = 0"),
        ("instances.0.engine.block_size=[", "must be a YAML value"),
        ("cluster=5", "cluster = 5: must be a mapping with nodes, networks, "),
        ("cluster.nodes=3", "cluster.nodes = 3: must be a list"),
        ("workload.input_tokens=10", "workload.input_tokens = 10: must be a mapping with distribution, mean, "),
        ("instances.0.engine=4", "instances.0.engine = 4: must be a mapping with .* more"),
    ],
)
def test_wrong_overrides(cli, override, message):
    refused(cli("run", "quickstart", "--set", override), message)


def test_overrides_reach_lists_and_components(cli):
    done = cli(
        "validate",
        "quickstart",
        "--set",
        "instances.0.engine.num_gpu_blocks_override=77",
        "--set",
        "components.n0.accelerators.launch_overhead_ns=1",
    )
    assert done.exit_code == 0, done.output
    assert "chat-0: meta-llama/Llama-3.1-70B, 77 KV blocks" in done.output


REQUEST = {"input_toks": 30, "output_toks": 4, "arrival_time_ns": 5}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"w\.jsonl: workload: is empty"),
        (["{"], r"w\.jsonl:1: line: is not JSON"),
        (
            [json.dumps({**REQUEST, "input_tok_ids": [1]})],
            r"w\.jsonl:1: input_tok_ids = 1: must be a list of 30 token ids",
        ),
        (
            [json.dumps(REQUEST), json.dumps({**REQUEST, "arrival_time_ns": 1})],
            r"w\.jsonl: arrival of request 1 .*sorted",
        ),
        (
            [json.dumps({**REQUEST, "input_toks": 10**6})],
            "request 0: input . output tokens = 1000004: instance . takes at most",
        ),
        (
            [json.dumps({**REQUEST, "input_toks": 20000})],
            "request 0: KV blocks = 1251: instance . has 399 blocks of 16",
        ),
    ],
)
def test_a_wrong_workload(small, cli, tmp_path, lines, message):
    (tmp_path / "w.jsonl").write_text("\n".join(lines))
    small["workload"] = {"format": "llmservingsim", "path": "w.jsonl"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--strict")
    assert done.exit_code == 2 and "Traceback" not in done.output
    refused(_without_note(done), message)


def _without_note(done):
    class Bare:
        exit_code = done.exit_code
        output = "\n".join(line for line in done.output.splitlines() if "partial results" not in line)

    return Bare


def test_a_missing_workload_file(small, cli, tmp_path):
    small["workload"] = {"format": "llmservingsim", "path": "absent.jsonl"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    refused(cli("run", tmp_path / "s.yaml"), "absent.jsonl: workload: cannot be read: No such file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bundle": "absent"}, "component n0.accelerators: bundle = .*absent.*no such folder"),
        ({"bundle": "perf", "extra": 1}, "extra = 1: unknown key; known: bundle"),
        ({}, "component n0.accelerators: bundle: is needed, and not given"),
        ({"bundle": "perf"}, "no tensor-parallel degree 2; it has .1."),
    ],
)
def test_a_wrong_profile(small, cli, tmp_path, change, message):
    bundles.write(tmp_path / "perf")
    small["components"] = {"n0.accelerators": {"model": "profiled", **change}}
    small["instances"] = small["instances"][:1]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    refused(cli("run", tmp_path / "s.yaml"), message)
    small["components"]["n0.accelerators"]["run"] = "process"
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    refused(cli("run", tmp_path / "s.yaml"), message)


CLUSTER = {
    "num_nodes": 1,
    "link_bw": 16,
    "link_latency": 20000,
    "nodes": [
        {
            "num_instances": 1,
            "cpu_mem": {"mem_size": 512, "mem_bw": 256, "mem_latency": 0},
            "instances": [
                {
                    "model_name": "x/y",
                    "hardware": "RTXPRO6000",
                    "num_npus": 1,
                    "npu_mem": {"mem_size": 96, "mem_bw": 1597, "mem_latency": 0},
                }
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nodes", DROP, "nodes: Field required"),
        ("cxl_mem", {}, "cxl_mem.mem_size: Field required"),
        ("nodes/0/instances/0/pd_type", "prefill", "a prefill instance but no decode instance"),
        ("nodes/0/instances/0/tp_size", 2, "num_npus = 1: must equal tp_size x pp_size"),
        ("nodes/0/instances/0/model_name", "q/r", "model_name = 'q/r'"),
        ("nodes/0/cpu_mem", DROP, "cpu_mem: needs mem_bw"),
        ("link_bw", "fast", "link_bw = 'fast': Input should be a valid number"),
        ("nodes/0/instances/0/enable_attn_offloading", True, "enable_attn_offloading is refused"),
        ("nodes/0/instances/0/hardware", "RTXPRO600", "hardware = 'RTXPRO600': did you mean 'RTXPRO6000'.* has RTX"),
    ],
)
def test_a_set_up_that_cannot_be_imported(cli, tmp_path, path, value, message):
    cluster = json.loads(json.dumps(CLUSTER))
    edit(cluster, path, value)
    (tmp_path / "c.json").write_text(json.dumps(cluster))
    (tmp_path / "m/x").mkdir(parents=True)
    (tmp_path / "m/x/y.json").write_text("{}")
    (tmp_path / "perf/RTXPRO6000").mkdir(parents=True)
    done = cli(
        "import",
        "llmservingsim",
        tmp_path / "c.json",
        "--profiles",
        tmp_path / "perf",
        "--models",
        tmp_path / "m",
        "--workload",
        tmp_path / "w.jsonl",
        "-o",
        tmp_path / "s.yaml",
    )
    refused(done, message)
    assert not (tmp_path / "s.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("serve-component", "nothing"), "NAME = 'nothing': one of aiconfigurator"),
        (("serve-component", "roofline", "--listen", "127.0.0.1:5000"), "open to whoever reaches it"),
        (("compare", "absent", "absent"), "no such file or folder"),
        (("run", "--seed", "-1"), "Invalid value for '--seed'"),
        (("fly",), "No such command 'fly'"),
    ],
)
def test_wrong_commands(cli, arguments, message):
    refused(cli(*arguments), message)


def test_what_only_the_hardware_shows_names_file_and_line_too(cli, tmp_path):
    lines = (ROOT / "scenarios/prefill-decode.yaml").read_text().splitlines()
    model = next(i for i, line in enumerate(lines) if "name: decode" in line)
    lines[model] = lines[model].replace("[4:8]", "[4]").replace("tensor_parallel_size: 4", "tensor_parallel_size: 1")
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines))
    for command in (("validate", path), ("run", path, "-o", tmp_path / "out"), ("debug", path)):
        done = cli(*command)
        assert (done.exit_code, f"mine.yaml:{model + 1}: instances.1.model = " in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("workload.request_rate=-1", "metronome: --set: workload.request_rate = -1"),
        ("instances.a.engine.max_num_seqs=0", "metronome: --set: instances.0.engine.max_num_seqs = 0"),
        ("instances.a.engine={max_num_seqs: 0}", "metronome: --set: instances.0.engine.max_num_seqs = 0"),
        ("instances.a.engine={max_model_len: 9999999}", "--set: instances.0.engine.max_model_len = 9999999"),
        ("seed=-1", "metronome: --set: seed = -1"),
    ],
)
def test_a_value_of_an_override_is_not_said_to_be_the_file_s(small, tmp_path, cli, override, where):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("validate", tmp_path / "s.yaml", "--set", override)
    assert done.exit_code == 2 and where in done.output, done.output


def test_beside_an_override_the_file_has_its_line(small, tmp_path, cli):
    small["workload"]["request_rate"] = -1
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("validate", tmp_path / "s.yaml", "--set", "workload.num_requests=3")
    assert done.exit_code == 2 and re.search(r"s.yaml:\d+: workload.request_rate = -1", done.output)
