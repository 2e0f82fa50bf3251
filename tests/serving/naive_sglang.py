"""SGLang's scheduling rules written as plainly as possible: every request, page and tree node looked at in every step.

The second opinion on `metronome.orchestrator.serving.sglang`, stated from the published source of version 0.5.5 alone
(`managers/scheduler.py`, `schedule_policy.py`, `schedule_batch.py`, `scheduler_output_processor_mixin.py`,
`mem_cache/radix_cache.py`, `common.py`, `allocator.py`); names are those of that source.
"""

from __future__ import annotations

from itertools import count

from .naive_radix import Tree, order

CLIP_MAX_NEW_TOKENS = 4096
RETRACT_DECODE_STEPS = 20
INIT_NEW_TOKEN_RATIO, MIN_NEW_TOKEN_RATIO_FACTOR, NEW_TOKEN_RATIO_DECAY_STEPS = 0.7, 0.14, 600


class SglangFails(Exception):
    """SGLang 0.5.5 goes no further: it raises RuntimeError for lack of memory, or computes batches of nothing."""


class Req:
    def __init__(self, request):
        self.id, self.input, self.max_new = request.id, request.input_tokens, request.output_tokens
        known = list(request.token_ids)[: self.input + self.max_new] if request.token_ids is not None else []
        # What is not known is like nothing else.
        self.tokens = known + [(self.id, i) for i in range(len(known), self.input + self.max_new)]
        self.out = 0
        self.slots, self.prefix, self.fill, self.extend = [], 0, 0, 0
        self.last_node = None
        self.is_chunked, self.is_retracted = 0, False

    @property
    def seqlen(self):
        return self.input + self.out

    @property
    def finished(self):
        return self.out >= self.max_new


class Running:
    """`ScheduleBatch`, as far as it decides anything."""

    def __init__(self, reqs, extend=False, chunked=None, new_slots=()):
        self.reqs, self.extend, self.chunked, self.full = reqs, extend, chunked, False
        self.new_slots = list(new_slots)
        self.shape = [(req, req.extend, req.prefix) for req in reqs]


class NaiveSglang:
    """``options`` resolved; ``overlap``: `event_loop_overlap`, in which `complete` follows the next `schedule`."""

    def __init__(self, options, pages, overlap):
        self.o, self.page, self.overlap = options, options.block_size, overlap
        self.caching = options.enable_prefix_caching
        self.tree = Tree(self.page, count())
        self.free_pages = list(range(pages))
        self.waiting, self.running, self.last, self.chunked = [], Running([]), None, None
        self.ratio = self.init_ratio = min(INIT_NEW_TOKEN_RATIO * options.schedule_conservativeness, 1.0)
        self.min_ratio = min(self.init_ratio * MIN_NEW_TOKEN_RATIO_FACTOR, 1.0)
        self.decay = (self.init_ratio - self.min_ratio) / NEW_TOKEN_RATIO_DECAY_STEPS
        self.retractions = self.hits = 0

    def add(self, request):
        self.waiting.append(Req(request))

    # Memory: `allocator.py`, `common.py`

    def available(self):
        return len(self.free_pages) * self.page

    def evictable(self):
        return self.tree.evictable() if self.caching else 0

    def free(self, slots):
        pages = {slot // self.page for slot in slots}
        assert not pages & set(self.free_pages), "freed twice"
        self.free_pages += sorted(pages)

    def evict(self, tokens):
        if self.caching and self.available() < tokens:
            self.tree.evict(tokens, self.free)

    def alloc(self, req, end):
        """Slots up to ``end``: first what is left of the last page."""
        while len(req.slots) < end:
            if len(req.slots) % self.page:
                req.slots.append(req.slots[-1] + 1)
                continue
            if not self.free_pages:
                raise SglangFails
            req.slots.append(self.free_pages.pop(0) * self.page)

    # The tree and requests: `radix_cache.py`

    def cache_unfinished(self, req):
        if not self.caching:
            req.prefix = req.fill
            return
        whole = req.fill // self.page * self.page
        there = self.tree.insert(req.tokens[:whole], req.slots[:whole])
        self.free(req.slots[req.prefix : there])
        slots, node = self.tree.match(req.tokens[:whole])
        req.slots[:whole] = slots
        self.tree.lock(req.last_node, -1)
        self.tree.lock(node, 1)
        req.prefix, req.last_node = req.fill, node

    def cache_finished(self, req, insert=True):
        end = req.input + max(req.out - 1, 0)
        whole = end // self.page * self.page
        if not self.caching:
            self.free(req.slots[:end])
            return
        there = self.tree.insert(req.tokens[:whole], req.slots[:whole]) if insert else whole
        self.free(req.slots[req.prefix : there])
        self.free(req.slots[whole:end])
        self.tree.lock(req.last_node, -1)

    # Prompts: `get_new_batch_prefill`, `PrefillAdder`

    def prefill(self):
        if (self.running.full or not self.waiting) and self.chunked is None:
            return None
        places = self.o.max_num_seqs - len(self.running.reqs)
        if places <= 0 and self.chunked is None:
            self.running.full = True
            return None
        policy = self.o.schedule_policy
        order(self.waiting, "fcfs" if policy == "lpm" and not self.caching else policy, self.tree)
        self.promised = sum(min(req.max_new - req.out, CLIP_MAX_NEW_TOKENS) * self.ratio for req in self.running.reqs)
        self.taken = 0  # cur_rem_token_offset
        self.rem_input, self.rem_chunk = self.o.max_prefill_tokens, self.o.chunked_prefill_size
        self.can_run, self.req_states, new_chunked = [], None, None
        if self.chunked is not None:
            self.chunked = self.add_chunked(self.chunked)
        for req in self.waiting:
            if len(self.can_run) >= places:
                self.running.full = True
            if self.running.full:
                break
            self.init_next_round(req)
            add = self.add_one if self.caching else self.add_one_ignore_eos
            result = add(req)
            if self.can_run and self.can_run[-1] is req and req.prefix + req.extend < req.fill:
                new_chunked = req
                req.fill = req.prefix + req.extend
            if result != "continue":
                if result == "no token":
                    self.running.full = True
                break
        if not self.can_run:
            return None
        self.waiting = [req for req in self.waiting if req not in self.can_run]
        if new_chunked is not None:
            assert self.chunked is None
            self.chunked = new_chunked
        if self.chunked is not None:
            self.chunked.is_chunked += 1
        return self.prepare_for_extend()

    def init_next_round(self, req):
        req.fill = req.seqlen
        slots, req.last_node = self.tree.match(req.tokens[: req.fill - 1]) if self.caching else ([], None)
        req.slots, req.prefix = list(slots), len(slots)
        req.extend = req.fill - req.prefix

    def rem_total(self):
        return self.available() + self.evictable() - self.promised

    def rem_now(self):
        return self.available() + self.evictable() - self.taken

    def ceil(self, tokens):
        return -(-tokens // self.page) * self.page

    def spend(self, tokens, max_new):
        tokens = self.ceil(tokens)
        self.promised += tokens + max_new
        self.taken += tokens
        self.rem_input -= tokens
        if self.rem_chunk is not None:
            self.rem_chunk -= tokens

    def budget_state(self):
        if self.rem_total() <= 0 or self.rem_now() <= 0:
            return "no token"
        if self.rem_input <= 0 or (self.rem_chunk is not None and self.rem_chunk <= 0):
            return "other"
        return "continue"

    def add_chunked(self, req):
        req.fill = req.seqlen
        req.extend = req.fill - req.prefix
        room = min(self.rem_chunk, int(self.rem_total()))
        if room <= 0:
            raise SglangFails
        truncated = req.extend > room
        req.extend = min(req.extend, room)
        req.fill = req.prefix + req.extend
        self.can_run.append(req)
        self.spend(req.extend, 0 if truncated else min(req.max_new, CLIP_MAX_NEW_TOKENS))
        return req if truncated else None

    def add_one(self, req):
        total = req.extend + min(max(req.max_new - req.out, 0), CLIP_MAX_NEW_TOKENS)
        if total >= self.rem_total():
            return "no token"
        tokens = self.ceil(req.extend)
        if tokens >= self.rem_input and self.can_run:
            return "other"
        self.tree.lock(req.last_node, 1)
        if total >= self.rem_total():
            self.tree.lock(req.last_node, -1)
            return "no token"
        if self.rem_chunk is None or tokens <= self.rem_chunk:
            self.admit(req)
            self.spend(tokens, min(req.max_new, CLIP_MAX_NEW_TOKENS))
            return self.budget_state()
        cut = self.rem_chunk // self.page * self.page
        if cut <= 0:
            self.tree.lock(req.last_node, -1)
            return "other"
        req.extend = cut
        self.admit(req)
        self.spend(cut, 0)
        return self.budget_state()

    def admit(self, req):
        self.can_run.append(req)
        self.hits += req.prefix

    def add_one_ignore_eos(self, req):
        tokens = self.ceil(req.extend)
        if tokens > min(self.rem_now(), self.rem_total()):
            return "no token"
        self.add_req_states(req)
        now, freed = self.rem_now() - tokens, 0
        for index, (left, occupied) in enumerate(self.req_states):
            others = len(self.req_states) - index
            if now + freed - left * others <= others:
                return "no token"
            freed += occupied
        if self.rem_chunk is None or req.extend <= self.rem_chunk:
            self.admit(req)
            self.spend(req.extend, min(req.max_new, CLIP_MAX_NEW_TOKENS))
            return self.budget_state()
        if self.rem_chunk == 0:
            return "other"
        req.extend = self.rem_chunk
        self.admit(req)
        self.spend(req.extend, 0)
        return self.budget_state()

    def add_req_states(self, req):
        """(tokens left, tokens occupied), by what is left; the first time those that run are gathered, too."""
        state = (req.max_new - req.out, req.seqlen)
        if self.req_states is None:
            everyone = [req, *self.running.reqs, *self.can_run]
            self.req_states = [(r.max_new - r.out, r.seqlen) for r in everyone if r.max_new > r.out]
            self.req_states.sort(key=lambda state: state[0])
        elif state[0] > 0:
            place = 0
            for place in range(len(self.req_states)):  # ends on the last where none is larger, as there
                if state[0] <= self.req_states[place][0]:
                    break
            self.req_states.insert(place, state)

    def prepare_for_extend(self):
        tokens = sum(req.extend for req in self.can_run)
        self.evict(tokens if self.page == 1 else tokens + len(self.can_run) * self.page)
        for req in self.can_run:
            self.alloc(req, req.fill)
            req.is_retracted = False
        return Running(self.can_run, extend=True, chunked=self.chunked)

    # Decodes: `update_running_batch`, `retract_decode`

    def decode(self):
        before = len(self.running.reqs)
        self.running.reqs = [req for req in self.running.reqs if not req.finished]
        if not self.running.reqs:
            self.running.full = False
            return
        if self.memory_for(self.running.reqs):
            self.ratio = max(self.ratio - self.decay, self.min_ratio)
        else:
            self.retract()
        if len(self.running.reqs) < before:
            self.running.full = False
        reqs = self.running.reqs
        self.evict(len(reqs) * self.page)
        self.running.shape = []
        self.running.new_slots = []
        for req in reqs:
            self.running.shape.append((req, 1, len(req.slots)))
            self.alloc(req, len(req.slots) + 1)
            self.running.new_slots.append(req.slots[-1])
        self.running.extend = False
        self.running.chunked = None

    def memory_for(self, reqs):
        edge = 0 if self.overlap else 1
        pages = sum((req.seqlen - edge) % self.page == 0 for req in reqs) if self.page > 1 else len(reqs)
        self.evict(pages * self.page)
        return self.available() >= pages * self.page

    def retract(self):
        kept = sorted(self.running.reqs, key=lambda req: (req.out, -req.input), reverse=True)
        first = True
        while first or not self.memory_for(kept):
            if len(kept) == 1:
                if not self.free_pages:
                    raise SglangFails
                break
            first = False
            req = kept.pop()
            self.cache_finished(req, insert=False)
            self.evict(len(kept) * RETRACT_DECODE_STEPS)
            req.prefix, req.last_node, req.extend, req.is_retracted, req.is_chunked = 0, None, 0, True, 0
            self.retractions += 1
            self.waiting.append(req)
        if len(kept) < len(self.running.reqs):
            self.running.reqs = kept
        decoded = sum(req.out for req in self.running.reqs) + RETRACT_DECODE_STEPS * len(self.running.reqs)
        self.ratio = min(1.0, decoded / (sum(req.max_new for req in self.running.reqs) + 1))

    def has_work(self):
        return bool(self.waiting or self.chunked or self.last or [req for req in self.running.reqs if not req.finished])

    # `get_next_batch_to_run`, `process_batch_result`

    def schedule(self):
        """The next batch as (request, new tokens, cached tokens) of each member; empty where there is none."""
        excluded = [self.chunked]
        if self.chunked is not None:
            self.cache_unfinished(self.chunked)
        if self.last is not None and self.last.extend:
            excluded.append(self.last.chunked)
            before = len(self.last.reqs)
            self.last.reqs = [req for req in self.last.reqs if not req.finished and req not in excluded]
            if len(self.last.reqs) < before:
                self.running.full = False
            if self.last.reqs:
                if self.running.reqs:
                    self.running.reqs = self.running.reqs + self.last.reqs
                else:
                    self.running = self.last
        batch = self.prefill()
        if batch is None and self.running.reqs:
            self.decode()
            batch = self.running if self.running.reqs else None
        if batch is None and (self.last is None or not self.overlap):
            self.ratio = self.init_ratio  # `self_check_during_idle`
        self.last = batch
        return (batch.extend, list(batch.shape), list(batch.new_slots)) if batch else None

    def complete(self, result):
        """Tokens of a batch are out; returns who ended."""
        extend, shape, new_slots = result
        ended = []
        for place, (req, _, _) in enumerate(shape):
            if extend:
                if self.overlap and req.is_retracted and req.out:
                    self.free_last(req, req.slots[req.seqlen - 1])
                if req.is_retracted:
                    continue
                if req.is_chunked > 0:
                    req.is_chunked -= 1
                    continue
            elif self.overlap and (req.finished or req.is_retracted):
                self.free_last(req, new_slots[place])
                continue
            req.out += 1
            if req.finished:
                self.cache_finished(req)
                ended.append(req.id)
            elif extend:
                self.cache_unfinished(req)
        return ended

    def free_last(self, req, slot):
        """A token computed for nothing; its page only where it is the first in it.

        In a page that it shares SGLang frees a retracted prompt's last token, too, and so its page twice.
        """
        if (req.seqlen - 1) % self.page == 0:
            self.free([slot])
