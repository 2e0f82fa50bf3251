"""A vLLM executor whose model sleeps: every step takes STEP_MS, every token is made up.

Everything else is vLLM's own: HTTP, tokenizer, scheduler, detokenizer, streams.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from vllm.v1.executor.abstract import Executor
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import ModelRunnerOutput

STEP_S = float(os.environ["STEP_MS"]) / 1000
LOG = Path(os.environ["STEP_LOG"])  # a line a step: when it began and ended, and the requests new in it


class SleepExecutor(Executor):
    supported_tasks = ("generate",)

    def _init_executor(self) -> None:
        self.known: dict[str, list[int]] = {}  # prompt tokens, and those computed
        self.log = LOG.open("w", buffering=1)

    def get_kv_cache_specs(self) -> list[dict[str, Any]]:
        spec = FullAttentionSpec(
            block_size=self.cache_config.block_size, num_kv_heads=8, head_size=128, dtype=torch.float16
        )
        return [{f"layer{i}": spec for i in range(32)}]

    def determine_available_memory(self) -> list[int]:
        return [30 << 30]

    def initialize_from_config(self, kv_cache_configs: Any) -> None: ...

    def collective_rpc(self, method: Any, timeout: Any = None, args: Any = (), kwargs: Any = None, **_: Any) -> Any:
        return [None]

    def check_health(self) -> None: ...

    def execute_model(self, scheduled: Any, non_block: bool = False) -> Any:
        begun = time.perf_counter()
        for new in scheduled.scheduled_new_reqs:
            self.known[new.req_id] = [len(new.prompt_token_ids), new.num_computed_tokens]
        cached = scheduled.scheduled_cached_reqs
        for name, computed in zip(cached.req_ids, cached.num_computed_tokens, strict=True):
            self.known[name][1] = computed
        tokens = []
        for name, count in scheduled.num_scheduled_tokens.items():
            prompt, computed = self.known[name]
            tokens.append([100 + (hash(name) + computed) % 20_000] if computed + count >= prompt else [])
        names = list(scheduled.num_scheduled_tokens)
        if names:
            time.sleep(max(0.0, STEP_S - (time.perf_counter() - begun)))
            fresh = ",".join(new.req_id for new in scheduled.scheduled_new_reqs)
            self.log.write(f"{begun:.6f} {time.perf_counter():.6f} {len(names)} {fresh}\n")
        out = ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: i for i, name in enumerate(names)},
            sampled_token_ids=tokens,
            logprobs=None,
            prompt_logprobs_dict={},
            pooler_output=[],
        )
        if not non_block:
            return out
        future: Future[Any] = Future()
        future.set_result(out)
        return future
