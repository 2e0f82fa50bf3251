"""Command lines as instances: what is taken, listed, refused, and where it is put."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.importers.manifests import lines
from metronome.orchestrator.importers.servers import TOOLS, Beside, convert, line
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.serving import host_costs

MODEL = "meta-llama/Llama-3.1-8B"


def imported(tool, text, tmp_path=Path(), **beside):
    return convert([line(tool, text.split())], Beside(tmp_path / "s.yaml", **beside), tmp_path)


def instance(text, tool="vllm", **beside):
    return imported(tool, f"serve {MODEL} {text}" if tool == "vllm" else text, **beside).scenario["instances"][0]


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("-tp 4", "tensor_parallel_size", 4),
        ("--tensor-parallel 4", "tensor_parallel_size", 4),
        ("--gpu-memory-util=0.8", "engine.gpu_memory_utilization", 0.8),
        ("--tensor_parallel_size=4", "tensor_parallel_size", 4),
        ("-dp 2 -ep", "enable_expert_parallel", True),
        ("--dtype half", "dtype", "half"),
        ("--quantization fp8", "quantization", "fp8"),
        ("--max-model-len 16k", "engine.max_model_len", 16000),
        ("--max-model-len 16K", "engine.max_model_len", 16384),
        ("--max-model-len -1", "engine.max_model_len", "auto"),
        ("--max-model-len auto", "engine.max_model_len", "auto"),
        ("--max-num-batched-tokens 2.5k", "engine.max_num_batched_tokens", 2500),
        ("--no-enable-prefix-caching", "engine.enable_prefix_caching", False),
        ("--async-scheduling", "engine.async_scheduling", True),
        ("--no-async-scheduling", "engine.async_scheduling", False),
        ("--scheduling-policy priority", "engine.scheduling_policy", "priority"),
        ("--all2all-backend deepep_high_throughput", "engine.all2all_backend", "deepep_high_throughput"),
        ("--cudagraph-capture-sizes 1 2 4", "engine.cudagraph_capture_sizes", [1, 2, 4]),
        ("-cc.cudagraph_capture_sizes [1,2]", "engine.cudagraph_capture_sizes", [1, 2]),
        ('--compilation-config {"max_cudagraph_capture_size":16}', "engine.max_cudagraph_capture_size", 16),
        ("--load-format bitsandbytes", "quantization", "bitsandbytes"),
        ('--override-generation-config {"top_p":0.9}', "engine.sampling", "top-p"),
        ("--override-generation-config.top_k 20", "engine.sampling", "top-p"),
        ('--override-generation-config {"temperature":0,"top_p":0.9}', "engine.sampling", "greedy"),
        ("--max-num-seqs 8 --max-num-seqs 9", "engine.max_num_seqs", 9),
        ("", "engine.api_server_count", 1),
        ("-dp 4", "engine.api_server_count", 4),
        ("--api-server-count 2 -dp 4", "engine.api_server_count", 2),
        ('--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_producer"}', "role", "prefill"),
    ],
)
def test_what_a_flag_sets(flags, field, value):
    found = instance(flags)
    for part in field.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    "flags",
    [
        "--host 0.0.0.0 --port 8000",
        "--tool-call-parser hermes --enable-auto-tool-choice",
        "--seed 42",
        '--override-generation-config {"temperature":0.5,"max_new_tokens":null}',
        '--override-generation-config {"top_p":1.0,"top_k":-1,"min_p":0.1,"do_sample":true}',
        '--override-generation-config {"top_p":null,"top_k":0}',
        "--override-generation-config {}",
        "-O3",
        "-O 2",
        "--compilation-config 3",
        '--compilation-config {"use_inductor":false,"use_cudagraph":true,"full_cuda_graph":false}',
        "--load-format safetensors",
        "--attention-backend FLASHINFER",
        "-cc.pass_config.fuse_allreduce_rms true",
        "--speculative-config null",
        "--no-enforce-eager",
        "--cpu-offload-gb 0",
        "--stream-interval 1",
        "--limit-mm-per-prompt.video 0",
        "--disable-log-requests",
        "--max-seq-len-to-capture 8192",
        "--collect-detailed-traces model worker",
    ],
)
def test_what_has_no_effect_is_listed_and_changes_nothing(flags):
    plain, given = imported("vllm", f"serve {MODEL}"), imported("vllm", f"serve {MODEL} {flags}")
    assert given.scenario == plain.scenario
    harmless = "--no-enforce-eager"
    listed = given.notes["command line"]
    assert listed and all(listed.values()) and (flags != harmless or list(listed) == ["--enforce-eager"])


def test_how_all_requests_choose_their_tokens_is_said():
    given = imported("vllm", f'serve {MODEL} --override-generation-config {{"top_p":0.9,"top_k":20,"temperature":0.7}}')
    by = [text for text in given.assumed if "engine.sampling" in text]
    assert len(by) == 1 and "config.top_p and --override-generation-config.top_k: the vocabulary is sorted" in by[0]
    assert list(given.notes["command line"]) == ["--override-generation-config.temperature"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--enforce-eager", "--enforce-eager: is refused: every kernel would be launched by the host"),
        ('--speculative-config {"method":"mtp"}', "a step would give several tokens of a draft"),
        ("--speculative-config.method mtp --speculative-config.num_speculative_tokens 3", "several tokens of a draft"),
        ("--all2all-backend deepep_low_latency", "can be allgather_reducescatter, deepep_high_throughput"),
        ("--kv-cache-dtype fp8_ds_mla", "can be auto, bfloat16"),
        (
            '--override-generation-config {"max_new_tokens":10}',
            "--override-generation-config.max_new_tokens = 10: is refused: the server would end every answer there",
        ),
        ("--override-generation-config.max_new_tokens 10", "end every answer there"),
        ("--override-generation-config.top_p 0", "top_p = 0: must be above 0 and at most 1"),
        ('--override-generation-config {"top_k":1.5}', "top_k = 1.5: must be a whole number, 0 or -1 for all"),
        ('--override-generation-config {"temperature":"hot"}', "temperature = 'hot': must be a number of 0 or more"),
        ("--override-generation-config [1]", "must be a mapping"),
        ("--enable-lora", "adapters take memory"),
        ("--cpu-offload-params experts", "is refused: some weights of every layer would lie in host memory"),
        ("--offload-group-size 8", "is refused: weights in host memory would come over PCIe"),
        ("--decode-context-parallel-size 2", "share out the contexts"),
        ("--optimization-level 0", "without full CUDA graphs"),
        ('--compilation-config {"cudagraph_mode":"PIECEWISE"}', "cudagraph_mode = 'PIECEWISE': is refused"),
        ('--compilation-config {"cudagraph_mode":"FULL_DECODE_ONLY"}', "steps with prompts would run without graphs"),
        ('--compilation-config {"full_cuda_graph":true}', "steps with prompts would be one graph, too"),
        ('--compilation-config {"use_cudagraph":false}', "use_cudagraph = False: is refused: steps would run without"),
        ('--compilation-config {"cudagraph_mod":"NONE"}', "did you mean cudagraph_mode"),
        ("--load-format gguf", "of another format than config.json says"),
        ('--kv-transfer-config {"kv_connector":"MultiConnector","kv_role":"kv_both"}', "where its K and V go is not"),
        ('--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_both"}', "kv_role = 'kv_both'"),
        (
            '--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_buffer_device":"cpu"}',
            "through host memory",
        ),
        ("--max-model-len 1.5K", "must be a number such as 8192"),
        ("--tensor-paralel-size 2", "is no flag of vLLM 0.19.0; did you mean --tensor-parallel-size?"),
        ("--max-num 2", "it may stand for --max-num-batched-tokens, --max-num-partial-prefills, --max-num-seqs"),
        ("--speculative-model m", "several tokens of a draft"),
        ("--max-num-seqs", "needs a value"),
        ("--max-num-seqs many", "must be a whole number"),
        ("--enforce-eager=1", "takes no value"),
        ("--hf-overrides {", "must be JSON"),
        ("another/model", "is a second model beside"),
        ("--headless", "is a part of a server"),
        ("--config nowhere.yaml", "cannot be read"),
        ("--max-num-seqs.x 3", "takes no keys"),
        ("--nnodes 3 -tp 4", "does not divide its 4 devices"),
    ],
)
def test_what_is_refused(flags, message):
    with pytest.raises(InputError) as caught:
        instance(flags)
    assert message in str(caught.value)


def test_a_file_of_flags_yields_to_the_command_line(tmp_path):
    text = {"max-num-seqs": 5, "no-enable-prefix-caching": True, "kv-cache-dtype": "fp8", "async-scheduling": False}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**text, "compilation-config": {"pass_config": {"x": 1}}}))
    found = imported("vllm", f"serve {MODEL} --config c.yaml --max-num-seqs 7", tmp_path)
    engine = found.scenario["instances"][0]["engine"]
    assert (engine["max_num_seqs"], engine["enable_prefix_caching"], engine["kv_cache_dtype"]) == (7, False, "fp8")
    assert "async_scheduling" not in engine
    assert list(found.notes["command line"]) == ["--compilation-config.pass_config"]


@pytest.mark.parametrize(
    ("flags", "beside", "places", "nodes"),
    [
        ("", {}, "n0[0:1]", [1]),
        ("-tp 2 -pp 2 -dp 2", {}, "n0[0:8]", [8]),
        ("-tp 8 -pp 2", {}, ["n0[0:8]", "n1[0:8]"], [8, 8]),
        ("-tp 8 -pp 2", {"per_node": 4}, ["n0[0:4]", "n1[0:4]", "n2[0:4]", "n3[0:4]"], [4, 4, 4, 4]),
        ("-tp 8 --nnodes 2", {}, ["n0[0:4]", "n1[0:4]"], [4, 4]),
        ("-dp 8 -dpl 4", {}, ["n0[0:4]", "n1[0:4]"], [4, 4]),
    ],
)
def test_where_it_is_put(flags, beside, places, nodes):
    scenario = imported("vllm", f"serve {MODEL} {flags}", **beside).scenario
    assert scenario["instances"][0]["accelerators"] == places
    assert [node["accelerators"]["count"] for node in scenario["cluster"]["nodes"]] == nodes
    assert ("scale_out" in str(scenario["cluster"])) == (len(nodes) > 1)


def test_what_is_assumed_is_said():
    said = imported("vllm", f"serve {MODEL} -tp 8 -pp 2").assumed
    for option in ("--device", "--workload", "--interconnect", "--scale-out", "--devices-per-node"):
        assert any(option in text for text in said), option
    beside = {"device": "h200", "per_node": 8, "interconnect": "nvlink4", "scale_out": "ethernet-400g", "workload": {}}
    assert imported("vllm", f"serve {MODEL} -tp 8 -pp 2", **beside).assumed == [
        "engine vllm-0.19, the newest here: no image says another"
    ]


def test_devices_that_are_joined_in_several_ways_are_asked_about():
    for device in ("h100-nvl", "mi355x"):
        network = imported("vllm", f"serve {MODEL} -tp 2", device=device).scenario["cluster"]["networks"][0]
        assert network == {
            "name": "fabric",
            "connects": ["n0.accelerators"],
        }  # which a run refuses, and says how to mend
    board = imported("vllm", f"serve {MODEL} -tp 2", device="l40s").scenario["cluster"]["networks"][0]
    assert (board["type"], board["topology"]) == ("pcie4-x16", "pcie")
    with pytest.raises(InputError, match="h2000"):
        instance("-tp 2", device="h2000")


@pytest.mark.parametrize(
    ("written", "by"), [("org/m.json", "org/m"), ("m/config.json", "m"), ("data/org/m.json", "data/org/m")]
)
def test_a_path_of_another_machine_is_looked_for_by_its_last_parts(tmp_path, written, by):
    place = tmp_path / "models" / written
    place.parent.mkdir(parents=True)
    place.write_text("{}")
    found = imported("vllm", "serve /data/org/m/", tmp_path, models=tmp_path / "models")
    model = found.scenario["instances"][0]["model"]
    assert model == f"models/{written.removesuffix('/config.json')}"
    assert f"model {by} of --models for /data/org/m/" in found.assumed
    assert not any("of --models" in text for text in imported("vllm", f"serve {MODEL}").assumed)


def test_a_model_without_a_config_is_asked_for():
    with pytest.raises(InputError, match="give that with --models"):
        imported("vllm", "serve nobody/nothing")


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve {}",
        "python3 -m vllm.entrypoints.openai.api_server --model {}",
        "serve {}",
        "sudo docker run --gpus all vllm/vllm-openai:v0.10 --model {}",
        "docker run --name vllm-openai --gpus all vllm/vllm-openai:v0.11.0 --model {}",
    ],
)
def test_ways_to_start_vllm(text):
    assert imported("vllm", text.format(MODEL)).scenario["instances"][0]["model"] == MODEL


def test_sglang_by_its_own_names():
    flags = "--tp-size 2 --mem-fraction-static 0.8 --page-size 16 --disable-radix-cache --ep 2 --context-length 8192"
    found = instance(f"python -m sglang.launch_server --model-path {MODEL} {flags} --host ::", "sglang")
    assert found["tensor_parallel_size"] == 2 and found["enable_expert_parallel"] is True
    assert found["engine"] == {
        "version": "sglang-0.5.5",
        "mem_fraction_static": 0.8,
        "page_size": 16,
        "disable_radix_cache": True,
        "max_model_len": 8192,
    }
    graphs = instance(f"serve --model {MODEL} --cuda-graph-max-bs 8 --disable-cuda-graph-padding", "sglang")["engine"]
    assert (graphs["cuda_graph_max_bs"], graphs["disable_cuda_graph_padding"]) == (8, True)
    both = imported("sglang", f"serve --model {MODEL} --cuda-graph-bs 1 8 --cuda-graph-max-bs 16")
    assert both.scenario["instances"][0]["engine"] == {"version": "sglang-0.5.5", "cuda_graph_bs": [1, 8]}
    assert both.notes["command line"]["--cuda-graph-max-bs"] == "--cuda-graph-bs is given, too, and wins"
    ranks = imported("sglang", f"serve --model {MODEL} --dp 2")
    assert ranks.scenario["router"] == {"policy": "round-robin"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--pp-size 2", "pipeline stages of SGLang's engine"),
        ("--speculative-algorithm EAGLE", "several tokens of a draft"),
        ("--disaggregation-mode prefill", "prefill and decode apart"),
        ("--enable-dp-attention", "data parallel within"),
        ("--schedule-policy dfs-weight", "can be fcfs, lpm"),
        ("--disable-cuda-graph", "is refused: every kernel would be launched by the host"),
        ("--tp 4 --ep-size 2", "can be 1 or 4"),
        ("--load-balance-method shortest_queue", "can be round_robin"),
    ],
)
def test_sglang_refuses(flags, message):
    with pytest.raises(InputError) as caught:
        instance(f"serve --model-path {MODEL} {flags}".replace("--tp ", "--tp-size "), "sglang")
    assert message in str(caught.value)


def test_tensorrt_llm_says_who_stands_in():
    found = imported("trtllm", f"trtllm-serve {MODEL} --tp_size 2 --max_batch_size 64 --gpus_per_node 1 --ep_size 2")
    (made,) = found.scenario["instances"]
    assert made["accelerators"] == ["n0[0:1]", "n1[0:1]"] and made["engine"]["max_num_seqs"] == 64
    assert any("TensorRT-LLM's own are not modelled" in text for text in found.assumed)
    with pytest.raises(InputError, match="share of what weights leave free"):
        imported("trtllm", f"serve {MODEL} --kv_cache_free_gpu_memory_fraction 0.8")


@pytest.mark.parametrize(
    ("tag", "version", "says"),
    [
        (":v0.11.0", "vllm-0.11", ""),
        (":v0.19.1-cu129", "vllm-0.19", ""),
        (":v0.15.1", "vllm-0.19", "engine vllm-0.19: the image vllm-openai is v0.15.1"),
        (":latest", "vllm-0.19", "engine vllm-0.19: the image vllm-openai is latest"),
        ("", "vllm-0.19", "engine vllm-0.19: the image vllm-openai is latest"),
    ],
)
def test_the_engine_is_that_of_the_image(tag, version, says, tmp_path):
    run = f"docker run --gpus all --name sglang -v data/sglang:/m vllm/vllm-openai{tag} --model {MODEL}"
    (tmp_path / "compose.yaml").write_text(
        f"services: {{a: {{image: 'x.io:5000/vllm/vllm-openai{tag}', command: --model {MODEL}}}}}"
    )
    for given in ([line("vllm", run.split())], lines(tmp_path / "compose.yaml")):
        found = convert(given, Beside(tmp_path / "s.yaml"), tmp_path)
        assert found.scenario["instances"][0]["engine"]["version"] == version
        assert [text for text in found.assumed if text.startswith("engine")] == (
            [f"{says}, of which there is none here"] if says else []
        )


def test_tags_of_images_are_of_every_engine_there_is():
    for tool in ("vllm", "sglang"):
        assert list(TOOLS[tool].versions) == [name for name in host_costs.names() if name.startswith(f"{tool}-")]


def test_ranks_of_one_instance_are_chosen_as_by_the_front_end_of_vllm(tmp_path):
    one = imported("vllm", f"serve {MODEL} -dp 2")
    assert one.scenario["router"] == {"policy": "internal-lb"} and any("internal-lb" in text for text in one.assumed)
    validate(one.scenario, "one")
    lines_ = [line("vllm", f"serve {MODEL} -dp 2".split())] * 2
    assert "router" not in convert(lines_, Beside(tmp_path / "s.yaml"), tmp_path).scenario
    assert "router" not in imported("vllm", f"serve {MODEL} -tp 2").scenario


def test_the_name_that_clients_use_is_called_so():
    for tool, text in (("vllm", f"serve {MODEL}"), ("sglang", f"serve --model-path {MODEL}")):
        notes = imported(tool, f"{text} --served-model-name x").notes["command line"]
        assert notes["--served-model-name"] == "what clients call the model"
