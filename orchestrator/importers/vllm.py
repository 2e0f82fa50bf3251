"""`vllm serve`, `python -m vllm.entrypoints.openai.api_server`: what its flags mean that are no plain field."""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..scenario.yaml import read_mapping
from .tool import Server, Tool, put
from .vllm_kv import kv_transfer, tier

#: fields of vLLM 0.19's CompilationConfig that choose kernels, or how they are compiled
KERNELS = (
    "debug_dump_path",
    "cache_dir",
    "compile_cache_save_format",
    "backend",
    "custom_ops",
    "splitting_ops",
    "compile_mm_encoder",
    "cudagraph_mm_encoder",
    "encoder_cudagraph_token_budgets",
    "encoder_cudagraph_max_images_per_batch",
    "compile_sizes",
    "compile_ranges_endpoints",
    "inductor_compile_config",
    "inductor_passes",
    "cudagraph_num_of_warmups",
    "cudagraph_copy_inputs",
    "cudagraph_specialize_lora",
    "use_inductor_graph_partition",
    "pass_config",
    "dynamic_shapes_config",
    "local_cache_dir",
    "fast_moe_cold_start",
    "use_inductor",  # of older versions
)
#: formats of files of weights that config.json describes
PLAIN = (
    *("auto", "hf", "safetensors", "pt", "npcache", "dummy", "mistral", "tensorizer", "sharded_state"),
    *("runai_streamer", "fastsafetensors"),
)
TOKENS = "which tokens come out, not how many or when"
#: what is read of a generation config beside penalties: whether a value can be, and what can
SAMPLING: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda value: value >= 0, "must be a number of 0 or more"),
    "top_p": (lambda value: 0 < value <= 1, "must be above 0 and at most 1"),
    "top_k": (lambda value: value >= -1 and value % 1 == 0, "must be a whole number, 0 or -1 for all"),
}
PENALTIES = ("min_p", "repetition_penalty")
UNFILTERED = {"top_p": 1, "top_k": 0}  # as without it; top_k -1, too
GREEDY = 1e-5  # below such a temperature vLLM takes the likeliest token (_SAMPLING_EPS)
INTERNAL = "internal-lb"  # what its front end does where it has data-parallel ranks
EAGER = "steps would run without full CUDA graphs, and what that takes has not been measured for any engine here"
#: what another cudagraph_mode than FULL_AND_PIECEWISE would do (CUDAGraphMode of vllm/config/compilation.py)
MODES = {
    "NONE": EAGER,
    "PIECEWISE": EAGER,
    "FULL": "steps with prompts would be one graph, too, which has not been measured; decodes are",
    "FULL_DECODE_ONLY": "steps with prompts would run without graphs, which has not been measured; decodes have theirs",
}


def _model(server: Server, value: Any) -> None:
    server.model = server.model or value  # the word without dashes wins


def _nodes(server: Server, value: Any) -> None:
    server.nodes = value


def _local_ranks(server: Server, value: Any) -> None:
    server.local_ranks = value


def _headless(server: Server, value: Any) -> None:
    server.part = bool(value)


def _cpu_offload(server: Server, value: Any) -> None:
    """--cpu-offload-gb: weights in host memory, if any."""
    if value:
        put(server.instance, "engine.cpu_offload_gb", value)
    else:
        server.notes["--cpu-offload-gb"] = "is what is simulated anyway"


def _load_format(server: Server, value: Any) -> None:
    """--load-format: of bitsandbytes it is a quantisation (vllm/engine/arg_utils.py has each set the other)."""
    spot = "--load-format"
    if value not in (*PLAIN, "bitsandbytes"):
        raise InputError(
            server.where, spot, value, "is refused: weights would be of another format than config.json says"
        )
    if value == "bitsandbytes":
        put(server.instance, "quantization", value)
    server.notes[spot] = "is quantization bitsandbytes" if value == "bitsandbytes" else "is what is simulated anyway"


def _generation(server: Server, value: Any) -> None:
    """--override-generation-config: how tokens are chosen where requests do not say (vllm/config/model.py,
    ``get_diff_sampling_param``; vllm/sampling_params.py). `max_new_tokens` is a limit of the whole server."""
    spot = "--override-generation-config"
    if not isinstance(value, dict):
        raise InputError(server.where, spot, value, 'must be a mapping, {"top_p": 0.9}')
    given = {key: one for key, one in value.items() if one is not None}
    for key, (holds, allowed) in SAMPLING.items():
        if key in given and not (type(given[key]) in (int, float) and holds(given[key])):
            raise InputError(server.where, f"{spot}.{key}", given[key], allowed)
    if "max_new_tokens" in given:
        allowed = (
            "is refused: the server would end every answer there; answers are as long as the workload says: "
            "give --workload with such lengths"
        )
        raise InputError(server.where, f"{spot}.max_new_tokens", given["max_new_tokens"], allowed)
    if not value:
        server.notes[spot] = "says nothing"
    for key in value:
        read = key in (*SAMPLING, *PENALTIES, "max_new_tokens")
        kernels = "; what its kernels take is not counted" if key in PENALTIES and key in given else ""
        server.notes[f"{spot}.{key}"] = f"{TOKENS}{kernels}" if read else "vLLM reads no such key there"
    greedy = given.get("temperature", 1.0) < GREEDY
    filters = [key for key in ("top_p", "top_k") if given.get(key, UNFILTERED[key]) not in (UNFILTERED[key], -1)]
    if greedy:
        _sampled(server, "greedy", [f"{spot}.temperature"], "the likeliest token")
        server.notes |= {f"{spot}.{key}": "temperature 0 takes the likeliest token" for key in filters}
    elif filters:
        sorted_ = "the vocabulary is sorted for every sequence, which vLLM 0.19 does for fewer than 8"
        _sampled(server, "top-p", [f"{spot}.{key}" for key in filters], sorted_)


def _sampled(server: Server, how: str, by: list[str], means: str) -> None:
    """How all requests choose their tokens, which these flags say."""
    put(server.instance, "engine.sampling", how)
    server.assumed.append(f"engine.sampling {how} for all requests, by {' and '.join(by)}: {means}")
    for key in by:
        server.notes.pop(key)


def _compilation(server: Server, value: Any) -> None:
    """--compilation-config: capture sizes are the engine's; what is compiled to what is the device model's."""
    spot = "--compilation-config"
    fields = value if isinstance(value, dict) else {"mode": value}
    for key, given in fields.items():
        if key in ("cudagraph_capture_sizes", "max_cudagraph_capture_size"):
            put(server.instance, f"engine.{key}", given)
        elif key in ("mode", "level"):
            _only(server, f"{spot}.{key}", given, (3, "VLLM_COMPILE", None))
        elif key == "cudagraph_mode":
            _only(server, f"{spot}.{key}", given, ("FULL_AND_PIECEWISE", None), MODES.get(str(given), EAGER))
        elif key == "full_cuda_graph":  # of older versions: FULL
            _only(server, f"{spot}.{key}", given, (False,), MODES["FULL"])
        elif key == "use_cudagraph":  # of older versions
            _only(server, f"{spot}.{key}", given, (True,))
        elif key in KERNELS:
            server.notes[f"{spot}.{key}"] = "which kernels do the work is the device model's to say"
        else:
            near = get_close_matches(key, [*KERNELS, "cudagraph_mode", "cudagraph_capture_sizes", "mode"], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(server.where, f"{spot}.{key}", given, f"is no field of vLLM's CompilationConfig{hint}")


def _only(server: Server, field: str, value: Any, harmless: tuple[Any, ...], wrong: str = EAGER) -> None:
    if value not in harmless:
        raise InputError(server.where, field, value, f"is refused: {wrong}; can be {harmless[0]}")
    server.notes[field] = "is what is simulated anyway"


def _expand(where: str, words: list[str], folder: Path) -> list[str]:
    """``--config FILE``: its flags come before those of the command line, which win, as in vLLM."""
    rest: list[str] = []
    files: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--config" or word.startswith("--config="):
            files.append(word.partition("=")[2] or next(left, ""))
        else:
            rest.append(word)
    if not files:
        return words
    if len(files) > 1 or not files[0]:
        raise InputError(where, "--config", None, "must name one file")
    return [*_of_file(folder / files[0]), *rest]


def _of_file(path: Path) -> list[str]:
    """The words that a file of flags stands for."""
    words: list[str] = []
    for key, value in read_mapping(path).items():
        if value is True:
            words.append(f"--{key}")
        elif isinstance(value, list):
            words += [f"--{key}", *map(str, value)]
        elif value is not False:
            words += [f"--{key}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return words


def _finish(server: Server) -> None:
    """What `vllm serve` does where a flag is not given (vllm/entrypoints/cli/serve.py)."""
    tier(server)
    engine = server.instance["engine"]
    if engine.get("max_model_len") == "-1":
        engine["max_model_len"] = "auto"
    engine.setdefault("api_server_count", server.instance.get("data_parallel_size", 1))
    if server.instance.get("data_parallel_size", 1) > 1:
        server.router = INTERNAL


TOOL = Tool(
    name="vllm",
    table="vllm",
    version="vllm-0.19",
    readers={
        "model": _model,
        "nodes": _nodes,
        "local_ranks": _local_ranks,
        "headless": _headless,
        "kv_transfer": kv_transfer,
        "compilation": _compilation,
        "cpu_offload": _cpu_offload,
        "generation": _generation,
        "load_format": _load_format,
    },
    expand=_expand,
    finish=_finish,
    versions=("vllm-0.11", "vllm-0.19", "vllm-0.33"),
    variables={"VLLM_ALL2ALL_BACKEND": ("--all2all-backend", (0, 16))},  # vllm-project/vllm, pull request 33535
)
