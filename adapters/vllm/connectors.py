"""Scheduler sides of KV connectors, over no workers: run where vLLM is; who drives the scheduler says when K and V have
moved."""

from types import SimpleNamespace

from vllm.v1.request import RequestStatus


class Silent:
    """Whatever else a connector is told, or asked, has no answer."""

    def __getattr__(self, name):
        if name.startswith("__") or name == "bind_gpu_block_pool":
            raise AttributeError(name)
        return lambda *args, **kwargs: None

    def get_loaded_kv_cache_group_ids(self, request):
        return ()


class Remote(Silent):
    """A KV connector's scheduler side, as vLLM's for NIXL: prompts marked remote are loaded whole, asynchronously,
    once; on a ``prefill`` engine blocks stay until K and V have left (`NixlConnectorScheduler`)."""

    def __init__(self, prefill):
        self.prefill, self.remote, self.loading = prefill, set(), []

    def mark(self, name, remote):
        if remote:
            self.remote.add(name)

    def get_num_new_matched_tokens(self, request, computed):
        missing = request.num_prompt_tokens - computed if request.request_id in self.remote else 0
        return missing, missing > 0

    def update_state_after_alloc(self, request, blocks, tokens):
        if request.request_id in self.remote:
            self.remote.discard(request.request_id)
            self.loading.append([int(request.request_id), tokens])

    def request_finished(self, request, block_ids):
        return self.prefill and request.status == RequestStatus.FINISHED_LENGTH_CAPPED and bool(block_ids), None


class Kept(Silent):
    """A scheduler side that has the first tokens of prompts, whole blocks of them, and loads what the prefix cache
    lacks asynchronously, as often as it is asked; the first few times it asks to be asked again."""

    def __init__(self):
        self.kept, self.later, self.loading = {}, {}, []

    def mark(self, name, remote):
        self.kept[name], self.later[name] = remote

    def get_num_new_matched_tokens(self, request, computed):
        if self.later[request.request_id]:
            self.later[request.request_id] -= 1
            return None, False
        more = max(0, self.kept[request.request_id] - computed)
        return more, more > 0

    def update_state_after_alloc(self, request, blocks, tokens):
        if tokens:
            self.loading.append([int(request.request_id), tokens])

    def request_finished(self, request, block_ids):
        return False, None


class Offloading(Silent):
    """The scheduler side of vLLM's offloading connector, with its manager; there are no workers, so that who drives
    this says when copies are done."""

    def __init__(self, chunks, factor, threshold, block_size, prefix_caching):
        from vllm.distributed.kv_transfer.kv_connector.v1.offloading.scheduler import OffloadingConnectorScheduler
        from vllm.v1.kv_offload.cpu.manager import CPUOffloadingManager
        from vllm.v1.kv_offload.reuse_manager import FilterReusedOffloadingManager

        manager = self._counted = CPUOffloadingManager(block_size * factor, chunks, "lru")
        if threshold >= 2:
            manager = FilterReusedOffloadingManager(manager, threshold)
        self._side = OffloadingConnectorScheduler(
            SimpleNamespace(
                gpu_block_size=(block_size,),
                block_size_factor=factor,
                get_manager=lambda: manager,
                vllm_config=SimpleNamespace(cache_config=SimpleNamespace(enable_prefix_caching=prefix_caching)),
            )
        )
        self.loading, self.storing = [], []

    def get_num_new_matched_tokens(self, request, computed):
        return self._side.get_num_new_matched_tokens(request, computed)

    def update_state_after_alloc(self, request, blocks, tokens):
        self._side.update_state_after_alloc(request, blocks, tokens)
        if tokens:
            self.loading.append([int(request.request_id), tokens])

    def build_connector_meta(self, output):
        meta = self._side.build_connector_meta(output)
        self.storing = [[int(name), len(target.block_ids)] for name, (_, target) in meta.reqs_to_store.items()]
        return meta

    def update_connector_output(self, output):
        self._side.update_connector_output(output)

    def request_finished(self, request, block_ids):
        return self._side.request_finished(request, block_ids)

    def used(self):
        return len(self._counted._policy.blocks)
