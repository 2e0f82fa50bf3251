"""vLLM's own scheduler, driven on a CPU: runs in the interpreter that has vLLM, and knows nothing of Metronome.

A line of JSON in, a line ``= JSON`` (or ``! why``) out, as `metronome.adapters.tools.lines` expects. Each is a list:
the number of a scheduler, a verb and its arguments.

- ``["open", {flags}]``: it is made anew. Flags: those of `FLAGS`, by vLLM's names.
- ``["add", id, prompt ids, output tokens, priority, remote, images]``: a request comes. ``remote``: the K and V of its
  prompt come from elsewhere, as with a KV connector that loads asynchronously, or, where the role is ``recall``, of how
  many tokens, and how often the connector asks to be asked again; ``images``: (start, tokens, picture).
- ``["schedule"]``: the next step. Answers its number, ``[id, new tokens, computed tokens]`` of everybody in it, who
  was preempted, ``[id, tokens]`` of whose K and V are to be loaded now, tokens of each image encoded, then the state:
  free blocks, names that can be found, and the orders of the waiting and of the running.
- ``["stored"]``: with ``offload``, ``[id, chunks]`` of what the last step computes and is to be stored, and how many
  chunks have a place beside the device.
- ``["update", number, {id: token}, [ids whose K and V have arrived], [ids whose K and V have left]]``: a step's tokens
  are out. Answers who got a token, who ended, and the state.
- ``["abort", id]``. Answers the state.
- ``["hit", prompt ids]``: how many tokens of a prompt are in its cache; ``["blocks", id]``: how many a request holds.
- ``["groups", block size, [[KV heads, head size, window] of each layer]]``: tokens of a block and layers of each of its
  KV cache groups, in bf16.
- ``["close"]``: it is not asked any more.
- ``["balance", ranks, servers, lockstep, told, requests]``: data-parallel ranks, see `front_end.balance`.

The scheduler, the KV cache manager and their configuration are vLLM's; made up are only the model's facts that they
read (its length, how many tokens of images fit into a step) and the tokens.
"""

import hashlib
import json
import os
import sys
import traceback
from dataclasses import MISSING, fields
from types import SimpleNamespace

os.environ.update(VLLM_TARGET_DEVICE="cpu", VLLM_LOGGING_LEVEL="ERROR", VLLM_NO_USAGE_STATS="1")

import torch
from connectors import Kept, Offloading, Remote  # beside this file
from pydantic.fields import FieldInfo
from vllm.config import CacheConfig, ObservabilityConfig, ParallelConfig, SchedulerConfig, VllmConfig
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.sampling_params import SamplingParams
from vllm.v1.core.encoder_cache_manager import EncoderCacheManager
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import (
    ChunkedLocalAttentionSpec,
    FullAttentionSpec,
    KVCacheConfig,
    KVCacheGroupSpec,
    MambaSpec,
    SlidingWindowSpec,
)
from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

try:
    from vllm.v1.core.kv_cache_planning import get_kv_cache_groups
    from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes

    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "1"  # the one that devices have by default
except ImportError:  # before 0.33 or so
    from vllm.v1.core.kv_cache_utils import get_kv_cache_groups

    resolve_kv_cache_block_sizes = None

FLAGS = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "long_prefill_token_threshold": 0,
    "enable_chunked_prefill": True,
    "scheduler_reserve_full_isl": True,
    "policy": "fcfs",
    "async_scheduling": False,
    "pipeline_parallel_size": 1,
    "block_size": 16,
    "num_gpu_blocks": 1000,
    "enable_prefix_caching": True,
    "max_model_len": 1 << 20,
    "role": "both",  # ours: prefill or decode, of K and V that move; recall, of K and V kept beside the device
    "encoder_tokens": 0,  # of images, in a step and in the cache
    "offload": None,  # [chunks, blocks a chunk, threshold] beside the device, by vLLM's offloading connector
    "kv_groups": [[0, 0]],  # (window, chunk[, states[, ratio]]) of each group of layers; zeros keep all
}


class Absent(SimpleNamespace):
    """What the scheduler reads of a model or a configuration; what is not listed is absent, hence false."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None


class Driver:
    """One scheduler."""

    def open(self, flags):
        f = {**FLAGS, **flags}
        whole, absent = _configured(f)
        groups = [
            KVCacheGroupSpec([f"layer.{number}"], _spec(f["block_size"], f["max_model_len"], *kind))
            for number, kind in enumerate(f["kv_groups"])
        ]
        kept = KVCacheConfig(f["num_gpu_blocks"], [], groups)
        sizes, hashed = {"block_size": f["block_size"]}, f["block_size"]
        if resolve_kv_cache_block_sizes is not None:
            whole_size, hashed = resolve_kv_cache_block_sizes(kept, whole)
            sizes = {"block_size": whole_size, "hash_block_size": hashed}
        kind = AsyncScheduler if f["async_scheduling"] else Scheduler
        self.scheduler = kind(
            vllm_config=whole,
            kv_cache_config=kept,
            structured_output_manager=SimpleNamespace(
                should_advance=lambda request: False, accept_tokens=lambda request, tokens: True
            ),
            **sizes,
        )
        self.scheduler.max_num_encoder_input_tokens = f["encoder_tokens"]
        self.scheduler.encoder_cache_manager = EncoderCacheManager(f["encoder_tokens"])
        self._connect(f, getattr(whole, "max_concurrent_batches", 1) > 1)
        self.hasher = get_request_block_hasher(hashed, _hash) if f["enable_prefix_caching"] else None
        self.steps, self.number, self.prompts, self.arrivals = {}, 0, {}, 0
        return absent

    def _connect(self, f, several):
        """With a connector, where K and V move; ``several``: steps may be in flight."""
        self.remote = Kept() if f["role"] == "recall" else Remote(f["role"] == "prefill")
        if f["role"] != "both":
            self.scheduler.connector = self.remote
            # NIXL's side is kv_both, hence a consumer: as the constructor says.
            self.scheduler.defer_block_free = several
        if f["offload"]:
            kind = f["block_size"], f["enable_prefix_caching"]
            self.remote = self.scheduler.connector = Offloading(*f["offload"], *kind)

    def add(self, name, prompt, outputs, priority=0, remote=False, images=()):
        params = SamplingParams(max_tokens=outputs, ignore_eos=True)
        self.arrivals += 1
        request = _request(str(name), prompt, params, float(self.arrivals), priority, self.hasher, images)
        self.remote.mark(str(name), remote)
        self.scheduler.add_request(request)

    def schedule(self):
        scheduler = self.scheduler
        flying = {r: getattr(r, "num_output_placeholders", 0) for r in scheduler.requests.values()}
        before = {r: r.num_preemptions for r in flying}
        out = scheduler.schedule()
        preempted = sorted(int(r.request_id) for r in flying if r.num_preemptions > before[r])
        self.number += 1
        cached = {r.req_id: r.num_computed_tokens for r in out.scheduled_new_reqs}
        cached.update(
            zip(out.scheduled_cached_reqs.req_ids, out.scheduled_cached_reqs.num_computed_tokens, strict=True)
        )
        batch = [[int(name), tokens, cached[name]] for name, tokens in out.num_scheduled_tokens.items()]
        whole = set()  # who samples a token: its last known one, or one on its way, is computed
        for name, tokens in out.num_scheduled_tokens.items():
            request = scheduler.requests[name]
            if cached[name] + tokens >= request.num_tokens + flying[request]:
                whole.add(name)
        self.steps[self.number] = out, whole
        loading, self.remote.loading = self.remote.loading, []
        images = [
            scheduler.requests[name].mm_features[i].mm_position.length
            for name, inputs in out.scheduled_encoder_inputs.items()
            for i in inputs
        ]
        return [self.number, batch, preempted, loading, images, *self._state()]

    def update(self, number, tokens, arrived=(), left=()):
        out, whole = self.steps.pop(number)
        names = list(out.num_scheduled_tokens)
        sampled = [[tokens[name]] if name in whole else [] for name in names]
        result = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: i for i, name in enumerate(names)},
            sampled_token_ids=sampled,
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )
        if arrived or left:
            # Dictionaries, for vLLM's sets have no order of their own, and blocks are freed in it.
            ways = (dict.fromkeys(map(str, ids)) for ids in (left, arrived))
            result.kv_connector_output = KVConnectorOutput(*ways)
        outputs = self.scheduler.update_from_output(out, result)
        ended = [int(o.request_id) for group in outputs.values() for o in group.outputs if o.finish_reason is not None]
        gave = [int(o.request_id) for group in outputs.values() for o in group.outputs if o.new_token_ids]
        return [sorted(gave), sorted(ended), *self._state()]

    def stored(self):
        return [sorted(self.remote.storing), self.remote.used()]

    def abort(self, name):
        self.scheduler.finish_requests(str(name), RequestStatus.FINISHED_ABORTED)
        return self._state()

    def hit(self, prompt):
        request = _request("hit", prompt, SamplingParams(max_tokens=1), 0.0, 0, self.hasher)
        coordinator = self.scheduler.kv_cache_manager.coordinator
        return coordinator.find_longest_cache_hit(request.block_hashes, len(prompt))[1] if self.hasher else 0

    def blocks(self, name):
        manager = self.scheduler.kv_cache_manager
        return sum(not block.is_null for group in manager.get_blocks(str(name)).blocks for block in group)

    def groups(self, block_size, layers):
        whole = SimpleNamespace(scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False))
        specs = {}
        for number, (heads, size, window) in enumerate(layers):
            shape = {"block_size": block_size, "num_kv_heads": heads, "head_size": size, "dtype": torch.bfloat16}
            kept = SlidingWindowSpec(sliding_window=window, **shape) if window else FullAttentionSpec(**shape)
            specs[str(number)] = kept
        found = get_kv_cache_groups(whole, specs)
        return [[group.kv_cache_spec.block_size, [int(name) for name in group.layer_names]] for group in found]

    def balance(self, *given):
        from front_end import balance  # beside this file; it takes a second to import

        return balance(*given)

    def _state(self):
        """Free blocks, names that can be found, the waiting and the running."""
        pool = self.scheduler.kv_cache_manager.block_pool
        found = pool.cached_block_hash_to_block
        running = [int(request.request_id) for request in self.scheduler.running]
        return [pool.get_num_free_blocks(), len(getattr(found, "_cache", found)), self._waiting(), running]

    def _waiting(self):
        scheduler = self.scheduler
        first = getattr(scheduler, "kv_holding_waiting", None) or getattr(scheduler, "skipped_waiting", ())
        return [int(r.request_id) for r in (*first, *scheduler.waiting)]


def _configured(f):
    """vLLM's whole configuration with these flags, and names of those that this version has not."""
    scheduling = {
        "max_num_seqs": f["max_num_seqs"],
        "max_num_batched_tokens": f["max_num_batched_tokens"],
        "long_prefill_token_threshold": f["long_prefill_token_threshold"],
        "enable_chunked_prefill": f["enable_chunked_prefill"],
        "policy": f["policy"],
        "max_model_len": f["max_model_len"],
        "async_scheduling": f["async_scheduling"],
        "is_encoder_decoder": False,
        "scheduler_reserve_full_isl": f["scheduler_reserve_full_isl"],
    }
    known = {name: value for name, value in scheduling.items() if name in SchedulerConfig.__dataclass_fields__}
    cache = {
        "block_size": f["block_size"],
        "enable_prefix_caching": f["enable_prefix_caching"],
        "num_gpu_blocks": f["num_gpu_blocks"],
    }
    whole = _config(
        VllmConfig,
        scheduler_config=_config(SchedulerConfig, **known),
        cache_config=_config(CacheConfig, **cache),
        parallel_config=_config(ParallelConfig, pipeline_parallel_size=f["pipeline_parallel_size"]),
        observability_config=_config(ObservabilityConfig),
        model_config=Absent(max_model_len=f["max_model_len"]),
        attention_config=Absent(),
        aux_output_config=Absent(),
        ec_manager_config=Absent(get_encoder_cache_manager_obj=lambda: None),
    )
    return whole, sorted(set(scheduling) - set(known))


def _spec(block_size, longest, window, chunk, states=0, ratio=1):
    """What one group keeps; states without prefix caching are blocks of ``longest`` tokens."""
    block_size *= ratio
    if states:
        return MambaSpec(block_size=longest, shapes=((block_size, 2),), dtypes=(torch.float32,))
    shape = {"block_size": block_size, "num_kv_heads": 1, "head_size": 1, "dtype": torch.float32}
    if window:
        return SlidingWindowSpec(sliding_window=window, **shape)
    return ChunkedLocalAttentionSpec(attention_chunk_size=chunk, **shape) if chunk else FullAttentionSpec(**shape)


def _config(kind, **values):
    """A configuration of any values: vLLM's checks forbid small ones (a budget below max_num_seqs) that its scheduler
    takes. Fields not given have their defaults, whole configurations are absent."""
    made = object.__new__(kind)
    for field in fields(kind):
        value = field.default
        if isinstance(value, FieldInfo):
            value = None if value.is_required() else value.get_default()
        object.__setattr__(made, field.name, None if value is MISSING else value)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _hash(value):
    return hashlib.sha256(repr(value).encode()).digest()


def _request(name, prompt, params, arrival, priority, hasher, images=()):
    features = [
        MultiModalFeatureSpec(None, "image", f"picture-{picture}", PlaceholderRange(start, tokens))
        for start, tokens, picture in images
    ]
    given = {
        "mm_features": features or None,
        "request_id": name,
        "prompt_token_ids": prompt,
        "sampling_params": params,
        "pooling_params": None,
        "arrival_time": arrival,
        "priority": priority,
        "block_hasher": hasher,
    }
    try:
        return Request(**given)
    except TypeError:  # before 0.13 or so, end of sequence was the request's
        return Request(eos_token_id=None, **given)


def main():
    init_none_hash(_hash)
    drivers = {}
    for line in sys.stdin:
        key, verb, *arguments = json.loads(line)
        try:
            if verb == "close":
                answer = drivers.pop(key, None) and None
            else:
                answer = getattr(drivers.setdefault(key, Driver()), verb)(*arguments)
        except Exception as error:
            traceback.print_exc()
            print(f"! {verb}: {type(error).__name__}: {error}", flush=True)
            continue
        print("= " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
