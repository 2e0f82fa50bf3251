"""Measure what vLLM's engine does on the host between two steps, on a CPU:

    python runner.py > measured.csv

Runs in an environment of ``metronome tools install vllm@0.12.0``; with the Python files of version 0.11.0's wheel (and
the packages they miss) on PYTHONPATH it measures those. vLLM's own scheduler and GPUModelRunner play steps on the
device "cpu"; the model and the sampler are left out, so what is timed is the rest. Of CUDA there is nothing: a copy to
the device is a copy in memory, events and streams are empty, neither FlashAttention 3's metadata kernel nor a CUDA
graph is launched.

Columns: what the step is (`decode`, `prompt`: one prompt of 400 tokens with the decodes, `after`: the step after it, in
which that sequence has left), sequences that decode, the part, how often it was timed, and in us the median CPU time of
the thread, its lower and upper quartile, and the median time that passed. Parts of execute_model and sample_tokens are
timed in steps of their own: `copies`, those to the device, are in `prepare_inputs`; `attention_calls`, of 32 layers,
are in no whole, for a step of decodes makes none (it is one CUDA graph). `pickle_in` and `pickle_out` are what a
tensor-parallel group's executor packs and its workers unpack, and back.
"""

# ruff: noqa: E402 (before they are imported modules must be stood in for)

from __future__ import annotations

import importlib.machinery
import inspect
import json
import os
import random
import statistics
import sys
import tempfile
import time
import types
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

os.environ.update(OMP_NUM_THREADS="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1", HF_HUB_OFFLINE="1")

COUNTS = (1, 8, 16, 32, 64, 128, 256)
STEPS, PROMPTS, PROMPT = 400, 100, 400
LAYERS = 32
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


class Absent(types.ModuleType):
    """A module that is imported and not used."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


for absent in ("numba",):
    sys.modules[absent] = Absent(absent)
    sys.modules[absent].__spec__ = importlib.machinery.ModuleSpec(absent, None)

import torch
import vllm.platforms
from vllm.platforms.interface import Platform, PlatformEnum


class Cpu(Platform):
    _enum, device_type, device_name = PlatformEnum.UNSPECIFIED, "cpu", "cpu"
    is_pin_memory_available = classmethod(lambda cls: False)
    support_static_graph_mode = classmethod(lambda cls: True)


vllm.platforms._current_platform = Cpu()

from vllm.config import CUDAGraphMode, VllmConfig, set_current_vllm_config
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import SamplingParams
from vllm.v1.attention.backends import flash_attn
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import SamplerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.serial_utils import MsgpackEncoder
from vllm.v1.utils import CpuGpuBuffer
from vllm.v1.worker import gpu_model_runner
from vllm.v1.worker.cpu_model_runner import _torch_cuda_wrapper
from vllm.v1.worker.utils import AttentionGroup

#: Parts of execute_model and sample_tokens, none in another but the copies.
PARTS = ("_update_states", "_prepare_inputs", "_build_attention_metadata", "_preprocess", "_bookkeeping_sync")


class Clock:
    """Times what it wraps, where it is told to."""

    def __init__(self) -> None:
        self.on, self.taken = False, defaultdict[str, list[int]](lambda: [0, 0])

    def wrap(self, owner: Any, name: str, part: str) -> None:
        inner = getattr(owner, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            return self.time(part, lambda: inner(*args, **kwargs)) if self.on else inner(*args, **kwargs)

        setattr(owner, name, outer)

    def time(self, part: str, what: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        result = what()
        cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        taken = self.taken[part]
        taken[0] += cpu
        taken[1] += wall
        return result


def schedule_attention(metadata: torch.Tensor) -> Callable[..., torch.Tensor]:
    """In place of FlashAttention 3's kernel that plans its own work, which gives a word a sequence and one more."""
    return lambda batch_size, **_: metadata[: batch_size + 1]


class Model:
    """Nothing is computed. Where it `attends`, and parts are timed, each layer's attention is called, as between the CUDA
    graphs of a step with a prompt: vLLM's Python around kernels that do nothing."""

    def __init__(self, config: VllmConfig, names: list[str], clock: Clock) -> None:
        self.names, self.clock, self.attends, self.hidden = names, clock, False, torch.zeros(8192, 8)
        self.q, self.kv = torch.zeros(8192, 32, 128), torch.zeros(8192, 8, 128)
        one = torch.ones(1)
        flash_attn.reshape_and_cache_flash = flash_attn.flash_attn_varlen_func = lambda *_, **__: None
        with set_current_vllm_config(config):
            impl = flash_attn.FlashAttentionImpl(32, 128, 128**-0.5, 8, None, None, "auto")
        impl.dcp_world_size = 1
        layer = SimpleNamespace(
            impl=impl, kv_cache=[torch.zeros(2, 1, 16, 8, 128)], _q_scale=one, _k_scale=one, _v_scale=one
        )
        config.compilation_config.static_forward_context.update(dict.fromkeys(names, layer))

    def __call__(self, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        if self.clock.on and self.attends:
            self.clock.time("attention_calls", lambda: self.attend(len(input_ids)))
        return self.hidden[: len(input_ids)]

    def attend(self, tokens: int) -> None:
        q, kv = self.q[:tokens], self.kv[:tokens]
        for name in self.names:
            torch.ops.vllm.unified_attention_with_output(q, kv, kv, q, name)

    def compute_logits(self, states: torch.Tensor, *_: Any) -> torch.Tensor:
        return states


class Engine:
    """A scheduler and a worker in one process, as with vLLM's executor for one device."""

    def __init__(self, folder: str) -> None:
        (Path(folder) / "config.json").write_text(json.dumps(MODEL))
        config = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            max_num_seqs=512,
            max_num_batched_tokens=8192,
            block_size=16,
            enable_prefix_caching=False,
            async_scheduling=False,
        ).create_engine_config()
        config.cache_config.num_gpu_blocks = 40_000
        flash_attn.get_flash_attn_version = lambda *_: 3
        flash_attn.get_scheduler_metadata = schedule_attention(torch.zeros(1024, dtype=torch.int32))
        flash_attn._get_sliding_window_configs = lambda _: {None}
        alone = SimpleNamespace(is_first_rank=True, is_last_rank=True, ranks=[0], world_size=1, rank_in_group=0)
        gpu_model_runner.get_pp_group = lambda: alone
        gpu_model_runner.GPUModelRunner._init_device_properties = lambda _: None
        with _torch_cuda_wrapper():
            self.runner = runner = gpu_model_runner.GPUModelRunner(config, torch.device("cpu"))
        names = [f"model.layers.{layer}.self_attn.attn" for layer in range(LAYERS)]
        spec = FullAttentionSpec(block_size=16, num_kv_heads=8, head_size=128, dtype=torch.bfloat16)
        cache = KVCacheConfig(config.cache_config.num_gpu_blocks, [], [KVCacheGroupSpec(names, spec)])
        runner.kv_cache_config = cache
        if hasattr(AttentionGroup, "create_with_metadata_builders"):  # 0.11
            made = AttentionGroup.create_with_metadata_builders
            group = made(flash_attn.FlashAttentionBackend, names, spec, config, runner.device)
        else:
            group = AttentionGroup(flash_attn.FlashAttentionBackend, names, spec, 0)
            group.create_metadata_builders(config, runner.device, None)
        runner.attn_groups = [[group]]
        self.mode = config.compilation_config.cudagraph_mode
        assert self.mode == CUDAGraphMode.FULL_AND_PIECEWISE, self.mode
        runner.cudagraph_dispatcher.initialize_cudagraph_keys(self.mode, 1)
        self.encoder, self.clock, self.inner, self.sent = MsgpackEncoder(), Clock(), Clock(), 0
        runner.model = Model(config, names, self.inner)
        tokens = torch.randint(100, 100_000, (1024, 1))
        runner._sample = lambda logits, _: SamplerOutput(tokens[: len(logits)], None)
        asked = inspect.signature(Scheduler).parameters
        self.scheduler = Scheduler(
            vllm_config=config,
            kv_cache_config=cache,
            structured_output_manager=SimpleNamespace(should_advance=lambda request: False),
            log_stats=True,
            **({"block_size": 16} if "block_size" in asked else {}),
        )
        for part in (each for each in PARTS if hasattr(runner, each)):
            self.inner.wrap(runner, part, part.strip("_"))
        self.inner.wrap(CpuGpuBuffer, "copy_to_gpu", "copies")

    def add(self, prompt: int, outputs: int) -> str:
        self.sent += 1
        name = f"cmpl-{random.getrandbits(128):032x}-0"
        params = SamplingParams(max_tokens=outputs, ignore_eos=True, temperature=0.6, top_p=0.9)  # the model's own
        ids = [random.randrange(100, 100_000) for _ in range(prompt)]
        self.scheduler.add_request(Request(name, ids, params, None, eos_token_id=None))
        return name

    def step(self) -> int:
        """As EngineCore.step; what crosses process boundaries is also packed and unpacked."""
        clock = self.clock
        scheduled = clock.time("schedule", self.scheduler.schedule)
        clock.time("pickle_in", lambda: hand(("execute_model", (scheduled,), {}, 0)))
        out = clock.time("execute_model", lambda: self.runner.execute_model(scheduled))
        if out is None:  # in 0.11 it has sampled
            out = clock.time("sample_tokens", lambda: self.runner.sample_tokens(None))
        clock.time("pickle_out", lambda: hand(("SUCCESS", out)))
        done = clock.time("update_from_output", lambda: self.scheduler.update_from_output(scheduled, out))
        clock.time("msgpack", lambda: [self.encoder.encode(each) for each in done.values()])
        return scheduled.total_num_scheduled_tokens


def hand(message: Any) -> Any:
    """As vLLM's shared-memory broadcast does, one reader; none of these has a buffer so large that it goes beside."""
    return ForkingPickler.loads(ForkingPickler.dumps(message))


def measure(engine: Engine, count: int) -> None:
    rows: dict[tuple[str, str], list[list[int]]] = defaultdict(list)

    def step(what: str | None, inside: bool) -> int:
        engine.clock.taken.clear()
        engine.inner.taken.clear()
        engine.inner.on, engine.runner.model.attends = inside, what == "prompt"
        tokens = engine.step()
        if what:
            for part, taken in (engine.inner if inside else engine.clock).taken.items():
                rows[what, part].append(list(taken))
        return tokens

    names = [engine.add(random.randrange(200, 600), 4000) for _ in range(count)]
    while step(None, False) != count:
        pass
    for _ in range(20):
        step(None, False)
    for number in range(STEPS):
        assert step("decode", bool(number % 2)) == count
    for number in range(PROMPTS):
        engine.add(PROMPT, 1)
        assert step("prompt", bool(number % 2)) == count + PROMPT
        assert step("after", bool(number % 2)) == count
        for _ in range(3):
            step(None, False)
    engine.scheduler.finish_requests(names, RequestStatus.FINISHED_ABORTED)
    engine.runner.execute_model(engine.scheduler.schedule())  # nobody is left: it only learns who has gone
    for (what, part), taken in rows.items():
        cpu, wall = zip(*taken, strict=True)
        low, middle, high = statistics.quantiles(cpu, n=4)
        cells = what, count, part, len(cpu), *(f"{v / 1e3:.1f}" for v in (middle, low, high, statistics.median(wall)))
        print(*cells, sep=",", flush=True)


def main() -> None:
    random.seed(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(folder)
    print("what,sequences,part,steps,cpu,cpu_low,cpu_high,wall")
    for count in COUNTS:
        measure(engine, count)


if __name__ == "__main__":
    main()
