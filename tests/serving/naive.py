"""The scheduling rules written as plainly as possible: every sequence looked at in every step.

The second opinion on `metronome.orchestrator.serving.vllm.scheduler`, whose steps cost the same however many
sequences run.
"""

from __future__ import annotations

from collections import OrderedDict


class Naive:
    """``priority``: who waits is admitted, and who runs preempted, by priority and then by who came first."""

    def __init__(self, config, blocks, priority=False):
        self.c, self.size, self.priority = config, blocks, priority
        self.free = OrderedDict.fromkeys(range(blocks))
        self.refs, self.by_hash, self.hash_of = {}, {}, {}
        self.waiting, self.running = [], []
        self.preemptions = self.hits = self.recomputed = 0

    def add(self, request):
        tokens = list(request.token_ids) if request.token_ids is not None else None
        self.waiting.append(
            {
                "id": request.id,
                "key": (request.priority, request.id),
                "in": request.input_tokens,
                "out": request.output_tokens,
                "tokens": tokens,
                "produced": 0,
                "computed": 0,
                "air": 0,  # steps in flight that compute something of it
                "flying": 0,  # its output tokens that they give, with asynchronous scheduling
                "blocks": [],
                "named": 0,
                "lives": 0,
            }
        )
        self.order_waiting()

    def order_waiting(self):
        if self.priority:
            self.waiting.sort(key=lambda s: s["key"])

    def take(self, count):
        taken = []
        for _ in range(count):
            block, _ = self.free.popitem(last=False)
            name = self.hash_of.pop(block, None)
            if name is not None:
                self.by_hash[name].remove(block)
                if not self.by_hash[name]:
                    del self.by_hash[name]
            self.refs[block] = 1
            taken.append(block)
        return taken

    def give_back(self, s):
        for block in reversed(s["blocks"]):
            self.refs[block] -= 1
            if not self.refs[block]:
                del self.refs[block]
                self.free[block] = None
        s["blocks"] = []

    def name_of(self, s, block):
        end = (block + 1) * self.c.block_size
        return tuple(s["tokens"][:end]) if s["tokens"] is not None and end <= len(s["tokens"]) else None

    def remember(self, s, computed):
        if not self.c.enable_prefix_caching:
            return
        known = s["in"] + s["produced"]
        full = min(computed, known) // self.c.block_size
        for block in range(s["named"], full):  # each block once, when it becomes full
            name = self.name_of(s, block)
            if name is not None:
                self.by_hash.setdefault(name, []).append(s["blocks"][block])
                self.hash_of[s["blocks"][block]] = name
        s["named"] = max(s["named"], full)

    def want(self, s, budget):
        """Asynchronously tokens on their way are counted on, and nothing is computed beyond the last."""
        if s["flying"] and s["produced"] + s["flying"] == s["out"]:
            return 0
        n = s["in"] + s["produced"] + s["flying"] - s["computed"]
        if self.c.long_prefill_token_threshold:
            n = min(n, self.c.long_prefill_token_threshold)
        return min(n, budget)

    def schedule(self):
        bs, budget, batch, preempted = self.c.block_size, self.c.max_num_batched_tokens, [], False
        index = 0
        while index < len(self.running) and budget:
            s = self.running[index]
            n = self.want(s, budget)
            if not n:  # its token is on its way in another lane
                index += 1
                continue
            need = -(-(s["computed"] + n) // bs) - len(s["blocks"])
            while len(self.free) < need:
                victim = max(self.running, key=lambda s: s["key"]) if self.priority else self.running[-1]
                self.running.remove(victim)
                for given in [given for given in batch if given[0] is victim]:  # those after it move up
                    batch.remove(given)
                    self.take_back(victim)
                    budget += given[1]
                    index -= 1
                self.give_back(victim)
                victim["computed"] = victim["named"] = 0
                self.waiting.insert(0, victim)
                self.order_waiting()
                self.preemptions += 1
                preempted = True
                if victim is s:
                    break
            if s not in self.running:
                break
            s["blocks"] += self.take(need)
            batch.append((s, n, s["computed"]))
            self.send(s, n)
            budget -= n
            index += 1
        while not preempted and self.waiting and budget and len(self.running) < self.c.max_num_seqs:
            s = self.waiting[0]
            if s["air"]:  # preempted, and not all of its last life has landed
                break
            hit = []
            if self.c.enable_prefix_caching:
                for block in range((s["in"] + s["produced"] - 1) // bs):
                    name = self.name_of(s, block)
                    if name is None or name not in self.by_hash:
                        break
                    hit.append(self.by_hash[name][0])
            s["computed"], s["named"] = len(hit) * bs, len(hit)
            n = self.want(s, 10**9)
            if not self.c.enable_chunked_prefill and n > budget:
                break
            n = min(n, budget)
            idle = sum(block not in self.refs for block in hit)
            whole = s["in"] + s["produced"] if self.c.scheduler_reserve_full_isl else s["computed"] + n
            if -(-whole // bs) - len(hit) + idle > len(self.free):
                break
            self.waiting.pop(0)
            for block in hit:
                if block not in self.refs:
                    del self.free[block]
                self.refs[block] = self.refs.get(block, 0) + 1
            self.hits += s["computed"]
            s["lives"] += 1
            if s["lives"] > 1:
                self.recomputed += s["in"] + s["produced"] - s["computed"]
            s["blocks"] = hit + self.take(-(-(s["computed"] + n) // bs) - len(hit))
            self.running.append(s)
            batch.append((s, n, s["computed"]))
            self.send(s, n)
            budget -= n
        return batch

    def send(self, s, n):
        s["air"] += 1
        s["computed"] += n
        self.remember(s, s["computed"])
        if self.c.async_scheduling and s["computed"] == s["in"] + s["produced"] + s["flying"]:
            s["flying"] += 1

    def take_back(self, s):
        """It is not in the step that is being put together after all."""
        s["air"] -= 1
        s["flying"] = max(0, s["flying"] - 1)

    def complete(self, batch):
        """A token counts even if its sequence was preempted while it was on its way."""
        ended = []
        for s, n, cached in batch:
            s["air"] -= 1
            if cached + n == s["in"] + s["produced"]:
                s["produced"] += 1
                if self.c.async_scheduling:
                    s["flying"] -= 1
                    if s in self.running:
                        self.remember(s, s["computed"] - s["flying"])
                if s["produced"] == s["out"]:
                    ended.append(s)
        for s in ended:
            (self.running if s in self.running else self.waiting).remove(s)
            self.give_back(s)
        return [s["id"] for s in ended]


def shape(batch):
    """As `metronome.orchestrator.serving.batch.Batch`."""
    prompts = tuple(x for _, n, cached in batch if n > 1 for x in (n, cached))
    contexts = [cached for _, n, cached in batch if n == 1]
    return prompts, len(contexts), sum(contexts), max(contexts, default=0), min(contexts, default=0)
