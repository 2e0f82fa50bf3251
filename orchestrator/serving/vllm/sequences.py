"""What one engine of vLLM's has: who waits, runs and leaves, and what becomes of them when a step has been computed."""

from __future__ import annotations

from collections.abc import Sequence

from ..interface import AdmissionPolicy, EngineCounts, VictimPolicy
from ..kv.groups import KvGroup
from ..kv.hybrid import kv_cache
from ..kv.nameless_first import NamelessFirstPool
from ..kv.pool import BlockPool
from .config import SchedulerConfig
from .decoders import Decoders
from .encoder_cache import EncoderCache
from .fences import Fences
from .kept_images import KeptImages
from .lanes import Lane, VllmStep
from .request_state import VllmRequestState
from .rules import V19, Rules
from .waiting_for_remote_kvs import WaitingForRemoteKvs
from .waiting_queue import ByKey, FirstCome, WaitingQueue


class Sequences:
    """Waiting queue, running list and KV pool of one engine.

    ``hand_over``: requests leave with their first token, for another engine to decode; their blocks stay until
    :meth:`release`. ``admission`` orders the waiting (default: first come first served), ``victims`` chooses who is
    preempted (default: the last admitted), ``groups`` are the layers', ``encoder_tokens`` of images fit into a step,
    ``rules`` are a release's.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        num_blocks: int,
        lanes: int = 1,
        first_log: int = 0,
        hand_over: bool = False,
        admission: AdmissionPolicy | None = None,
        victims: VictimPolicy | None = None,
        groups: Sequence[KvGroup] = (),
        encoder_tokens: int = 0,
        rules: Rules = V19,
    ) -> None:
        self.config = config
        self.rules = rules
        pool = NamelessFirstPool if rules.nameless_first else BlockPool
        self.cache = kv_cache(num_blocks, config.block_size, config.enable_prefix_caching, groups, pool)
        self.pool = self.cache.pool
        keeps = rules.keeps_images and encoder_tokens
        self.encoder = KeptImages(encoder_tokens) if keeps else EncoderCache(encoder_tokens)
        self.counts = EngineCounts()
        self.waiting: WaitingQueue = FirstCome() if admission is None else ByKey(admission)
        self._victims = victims
        self.running: dict[int, VllmRequestState] = {}  # by order, hence in order
        self.lanes = [Lane(Decoders(self.cache, first_log + i)) for i in range(lanes)]
        self.remote_kvs = WaitingForRemoteKvs(self.cache)
        self.staggered = rules.staggers and config.async_scheduling and lanes > 1
        several = lanes > 1 or config.async_scheduling  # steps in flight
        self.fences = Fences(self.cache, self.lanes, self.remote_kvs) if rules.fences and several else None
        self.handed: dict[int, VllmRequestState] = {}  # by order: prompt computed, blocks still held
        self._hand_over = hand_over
        self.prefilling: dict[int, VllmRequestState] = {}  # running, prompt not yet whole
        self.skipped: list[VllmRequestState] = []  # decoders without budget in an earlier step
        self._lane = self.lanes[0]
        self._order = 0
        self._leaving: set[int] = set()  # running, by order, whose prompt is computed for another engine
        self._filled: list[tuple[VllmRequestState, int, int]] = []  # of the step being put together
        self._known: set[int] = set()  # decoders, by order, whose last token is out though steps are in flight

    @property
    def load(self) -> tuple[int, int]:
        """(waiting, running) sequences."""
        return len(self.waiting) + len(self.remote_kvs), len(self.running)

    @property
    def unfinished_tokens(self) -> int:
        """Tokens of running sequences' prompts that no step computes yet."""
        return sum(sequence.num_tokens - sequence.num_computed_tokens for sequence in self.prefilling.values())

    def steady(self, most: int) -> int:
        """For how many steps after the one just scheduled its sequences stay the same, if nobody joins."""
        return self._lane.decoders.steady(most)

    def settle(self, done: VllmStep) -> None:
        """Count on the tokens of a step, which may still be in flight, so that the next can be scheduled."""
        self._lane = current = done.lane
        decoders = current.decoders
        step, ended = decoders.step, decoders.ending()
        current.in_flight = False
        done.stale += current.landing
        whole = current.first_tokens(done.stale, self.staggered)
        done.tokens = decoders.count + len(whole) + len(current.landing)
        done.first = [*whole, *current.landing] if current.landing else whole
        decoders.step += 1
        handed: list[VllmRequestState] = []
        for sequence in ended:
            if self.fences is not None:
                self.fences.left(sequence)
            decoders.leave(sequence)
        for sequence in whole:
            del self.prefilling[sequence.order]
            self._produce(sequence, step)
            if self._hand_over and (sequence.remaining or self.remote_kvs.first_token_here):
                handed.append(sequence)
            elif not sequence.remaining:
                ended.append(sequence)
            else:
                decoders.join(sequence)
        for sequence in current.landing:
            self._produce(sequence, step)
            if not sequence.remaining:
                ended.append(sequence)
        current.landing.clear()
        ended.sort(key=lambda sequence: sequence.order)
        self._leaving.update(sequence.order for sequence in handed)
        done.ended, done.handed = ended, handed

    def finish(self, done: VllmStep) -> None:
        """A settled step's tokens are out: who ended gives its blocks back, whose prompt is whole is handed over."""
        if self.fences is not None:
            self.fences.ended()
        done.out = True
        if isinstance(self.encoder, KeptImages):
            self._let_images_go(self.encoder, done)
        for sequence in done.stale:
            sequence.num_in_flight -= 1
        for sequence, computed, life in done.filled:
            if sequence.num_preemptions == life and not sequence.aborted:
                self.cache.cache_blocks(sequence, computed)
        for sequence in done.handed:
            self._leaving.discard(sequence.order)
            del self.running[sequence.order]
            self.handed[sequence.order] = sequence
        for sequence in done.ended:
            if self.running.pop(sequence.order, None) is None and sequence in self.waiting:
                self.waiting.remove(sequence)  # preempted with its last token on its way
            self._free_ended(sequence)
            sequence.block_hashes = []

    def _let_images_go(self, images: KeptImages, done: VllmStep) -> None:
        for sequence, most in done.pictured:
            images.computed(sequence, min(sequence.num_computed_tokens, most))
            if sequence in done.ended or sequence in done.handed:
                images.release(sequence)

    def _free_ended(self, sequence: VllmRequestState) -> None:
        self.cache.free(sequence)

    def _produce(self, sequence: VllmRequestState, step: int) -> None:
        sequence.num_output_tokens += 1
        sequence.add_token_steps(self._lane.decoders.log, step, step + 1)

    def abort(self, sequence: VllmRequestState) -> None:
        """Drop one that waits, runs, or whose K and V come from or go to another engine."""
        sequence.aborted = True
        for lane in self.lanes:
            if sequence in lane.landing:
                lane.landing.remove(sequence)
        if self.remote_kvs.has(sequence):
            self.remote_kvs.drop(sequence)
        elif self.running.get(sequence.order) is sequence:
            self._leaving.discard(sequence.order)
            self._stop_running(sequence)
        elif sequence in self.waiting:
            self.encoder.release(sequence)
            self.waiting.remove(sequence)

    def _stop_running(self, sequence: VllmRequestState) -> Lane | None:
        """Take it from the running, its blocks back; returns the lane it was decoding in, if it was."""
        decoding = None
        if self.fences is not None:
            self.fences.left(sequence)
        self.encoder.release(sequence)
        if sequence.order in self.prefilling:
            del self.prefilling[sequence.order]
            if not self._lane.in_flight:  # a chunk that is in flight is computed, and counts for nobody
                self._lane.drop_chunks(sequence)
        elif sequence in self.skipped:
            self.skipped.remove(sequence)
        else:
            decoding = next((lane for lane in self.lanes if sequence in lane.decoders), None)
            if decoding is not None:
                decoding.decoders.leave(sequence)
        del self.running[sequence.order]
        if self.fences is not None:
            self.fences.free(sequence)
        else:
            self.cache.free(sequence)
        return decoding

    def release(self, sequence: VllmRequestState) -> None:
        """The K and V of a handed-over request have left: its blocks are free (and can still be hit)."""
        if self.handed.get(sequence.order) is sequence:  # else the engine has failed since
            self.cache.free(self.handed.pop(sequence.order))
