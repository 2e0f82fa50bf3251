"""Keeping K and V in tiers and bringing them back: as `offloading.RecallingConnector`, of one replica.

The rules are those of vLLM 0.19's offloading connector (`kv_connector/v1/offloading/scheduler.py`): a block is stored
once the step that computes it is done; a hit is an unbroken run of chunks after what the device has; while one
request's chunks are on their way, another that begins with them waits. With ``native`` rules what a request has stored
is found when the request has ended or was preempted, and its blocks stay until it is copied; else as soon as it is
copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ...workload.request import Request
from ..hooks import ServingHooks
from ..interface import KvTransfer, LayerHook, Step
from ..kv.cache import PagedState
from ..kv.hashing import hash_blocks
from ..replica import Replica
from ..request_state import RequestState
from .copier import Copier, Load, Store, Timer
from .eviction import Owner
from .moves import Moves
from .pool import TierPool
from .sessions import Sessions


@dataclass(frozen=True, slots=True)
class Tier:
    """A pool as one replica uses it, when it writes there, whether sessions pin what they have there, and whether it is
    gone with the replica."""

    name: str
    pool: TierPool
    write_back: bool = False
    pins: bool = False
    own: bool = False


@dataclass(slots=True)
class Writing:
    """What one request writes: ``moving`` copies not done; ``hidden`` chunks are there and cannot be found yet."""

    state: RequestState
    life: int
    moving: int = 0
    hidden: list[tuple[Tier, list[bytes]]] = field(default_factory=list)
    ended: bool = False
    waiters: list[Callable[[], None]] = field(default_factory=list)  # told when nothing moves any more


@dataclass(frozen=True, slots=True)
class Rules:
    """``chunk_blocks`` KV blocks are a chunk; ``way``: async, blocking or layer; ``layers`` of the model."""

    chunk_blocks: int
    way: str
    native: bool
    layers: int


class OffloadingConnector:
    """Between one replica and its tiers, nearest first."""

    decode_gives_first_token = False

    def __init__(
        self,
        replica: Replica,
        tiers: Sequence[Tier],
        transfer: KvTransfer,
        rules: Rules,
        timer: Timer,
        hooks: ServingHooks,
        sessions: Sessions,
    ) -> None:
        self._sessions = sessions
        self._replica, self._tiers, self._rules = replica, tiers, rules
        self.life = 0  # how often the replica has been lost: what was on its way then arrives for nobody
        self.asynchronous = rules.way == "async"
        self.watches_evictions = any(tier.write_back for tier in tiers)
        self.keeps_computed = not all(tier.write_back for tier in tiers)
        self._tokens = rules.chunk_blocks * replica.engine.block_size  # of a chunk
        self._copier = Copier(replica.name, transfer, timer, hooks, self._tokens, rules.layers)
        self._begin()

    def _begin(self) -> None:
        """Nothing is known of anybody."""
        self._stored: dict[int, list[int]] = {}  # by request: chunks that each tier has taken so far
        self._refused: dict[tuple[int, int], int] = {}  # by request and tier: those up to which it has been refused
        self._writing: dict[int, Writing] = {}
        self._ending: list[Writing] = []  # with this step, and nothing is on its way
        self._left: list[Writing] = []  # with the step before
        self._loading: set[bytes] = set()
        self._moves = self._new_moves()
        self._let_go: list[bytes] = []  # by the device, for the step being put together
        self._given: list[Moves] = []  # those of steps that have not ended
        self._names: dict[int, list[bytes]] = {}  # by request
        self._hidden: dict[str, dict[bytes, None]] = {tier.name: {} for tier in self._tiers}  # not to be found yet

    def stopped(self) -> None:
        """Its replica is lost, and starts anew: what it was writing is not whole, what lies elsewhere stays."""
        self.life += 1
        for moves in (*self._given, self._moves):
            moves.drop()
        for tier in self._tiers:
            tier.pool.lose(None if tier.own else list(self._hidden[tier.name]))
        self._sessions.lost(self._names)
        self._begin()

    def _new_moves(self) -> Moves:
        return Moves(self._copier, self._rules.way == "layer", self._rules.layers)

    # What it has --------------------------------------------------------------------------------

    def _chunks(self, state: RequestState) -> list[bytes]:
        """Names of all chunks of its tokens: that of a chunk's last block."""
        request = state.request
        known = self._names.get(request.id)
        if known is None:
            tokens = request.input_tokens + request.output_tokens
            blocks = state.block_hashes if isinstance(state, PagedState) else []
            known = self._names[request.id] = self._named(request, tokens, blocks)
        return known

    def _named(self, request: Request, tokens: int, blocks: Sequence[bytes] = ()) -> list[bytes]:
        """``blocks``: names of its blocks, where they are known."""
        size = self._replica.engine.block_size
        if blocks:
            names = list(blocks)
        elif request.token_ids is not None:
            names = hash_blocks(request.token_ids[:tokens], size)
        else:  # nobody else has its content
            names = [b"%d/%d" % (request.id, i) for i in range(tokens // size)]
        every = self._rules.chunk_blocks
        return names[every - 1 :: every]

    def _holders(self, names: Sequence[bytes]) -> list[Tier]:
        """Of the first of these, as far as there is one for each: the nearest tier that has it."""
        if len(self._tiers) == 1:
            return [self._tiers[0]] * self._tiers[0].pool.leading(names)
        found: list[Tier] = []
        for name in names:
            holder = next((tier for tier in self._tiers if tier.pool.has(name)), None)
            if holder is None:
                break
            found.append(holder)
        return found

    def matched(self, state: RequestState, tokens: int) -> int | None:
        if all(tier.pool.indifferent for tier in self._tiers):
            return 0
        count, first = state.num_tokens // self._tokens, tokens // self._tokens
        names = self._chunks(state)[:count]
        for tier in self._tiers:
            tier.pool.touch(names)
        if count * self._tokens - tokens < self._tokens:
            return 0
        for tier in self._tiers:
            tier.pool.asked(names[first:])
        hits = len(self._holders(names[first:]))
        more = (first + hits) * self._tokens - tokens
        if more < self._tokens:
            return 0
        if self._loading and not self._loading.isdisjoint(names[first : first + hits]):
            return None
        return more

    def cached_tokens(self, request: Request) -> int:
        return len(self._holders(self._named(request, request.input_tokens))) * self._tokens

    # Bringing back --------------------------------------------------------------------------------

    def recall(self, state: RequestState, tokens: int, more: int) -> None:
        first, end = tokens // self._tokens, -(-(tokens + more) // self._tokens)
        names = self._chunks(state)[first:end]
        parts: dict[str, tuple[Tier, list[bytes]]] = {}
        for name, tier in zip(names, self._holders(names), strict=True):
            parts.setdefault(tier.name, (tier, []))[1].append(name)
        self._stored[state.request.id] = [(tokens + more) // self._tokens] * len(self._tiers)
        sizes = dict.fromkeys(names, self._tokens)
        sizes[names[0]] -= tokens - first * self._tokens
        sizes[names[-1]] -= end * self._tokens - tokens - more
        loads = []
        for tier, some in parts.values():
            moved = sum(sizes[name] for name in some)
            chunks = self._copier.found(tier.name, tier.pool, some)
            loads.append(Load(state.request.id, tier.name, tier.pool, chunks, moved))
            self._sessions.recalled(state, tier.name, moved)
        if not self.asynchronous:
            self._moves.loads += loads
            return
        self._loading.update(names)
        arriving = _Arriving(self, state, names, len(loads), self._copier.timer.now_ps, self.life)
        for load in loads:
            self._copier.recall(load, None, partial(arriving.one, load))

    def arrived_whole(self, state: RequestState, names: Sequence[bytes], last: Load, began_ps: int) -> None:
        """All that was recalled for it is on the device, ``last`` that."""
        self._copier.waited(last, self._copier.timer.now_ps - began_ps)
        self._loading.difference_update(names)
        self._replica.engine.finished_recving(state)
        self._replica.wake()

    # Keeping --------------------------------------------------------------------------------------

    def computed(self, state: RequestState, tokens: int) -> bool:
        whole = True
        end = tokens // self._tokens
        stored = self._stored.setdefault(state.request.id, [0] * len(self._tiers))
        for place, tier in enumerate(self._tiers):
            if tier.write_back or end <= stored[place]:
                continue
            names = self._chunks(state)
            known = self._refused.get((state.request.id, place), 0)
            new = tier.pool.prepare(names[stored[place] : end], self._owner(state), max(0, known - stored[place]))
            if new is None:  # no room: offered again
                whole, self._refused[state.request.id, place] = False, max(known, end)
                continue
            stored[place] = end
            if new:
                tier.pool.touch(names[:end])
                writing = self._writing.setdefault(state.request.id, Writing(state, self.life))
                writing.moving += 1
                self._hidden[tier.name].update(dict.fromkeys(new))
                done = partial(self._written, writing, tier, new)
                self._moves.stores.append(Store(state.request.id, tier.name, tier.pool, len(new) * self._tokens, done))
        return whole

    def _owner(self, state: RequestState) -> Owner:
        request = state.request
        return Owner(request.id, request.session or f"#{request.id}", request.priority)

    def _written(self, writing: Writing, tier: Tier, names: list[bytes]) -> None:
        writing.moving -= 1
        if writing.life != self.life:
            for waiter in writing.waiters if not writing.moving else ():
                waiter()
            return
        writing.hidden.append((tier, names))
        if not self._rules.native or (not writing.moving and (writing.ended or writing.waiters)):
            self._publish(writing)
        if writing.moving:
            return
        for waiter in writing.waiters:
            waiter()
        if writing.ended:
            self._replica.engine.finished_sending(writing.state)
            self._replica.wake()

    def _publish(self, writing: Writing) -> None:
        """What it has written can be found."""
        for tier, names in writing.hidden:
            self._found(self.life, tier, names)
        writing.hidden.clear()

    def _found(self, life: int, tier: Tier, names: list[bytes]) -> None:
        if life == self.life:
            tier.pool.written(names)
            for name in names:
                del self._hidden[tier.name][name]

    def evicted(self, name: bytes) -> None:
        self._let_go.append(name)

    def _write_back(self, name: bytes) -> None:
        for tier in self._tiers:
            if tier.write_back:
                new = tier.pool.prepare([name], Owner(-1, "", 0))
                if new:
                    self._hidden[tier.name].update(dict.fromkeys(new))
                    done = partial(self._found, self.life, tier, new)
                    self._moves.backs.append(Store(-1, tier.name, tier.pool, self._tokens, done))

    def preempted(self, state: RequestState) -> None:
        """As vLLM's flush: the step to come waits until its copies are out of blocks that others may take."""
        writing = self._writing.get(state.request.id)
        if writing is None:
            return
        self._writing[state.request.id] = Writing(state, self.life)
        if writing.moving:
            writing.waiters.append(self._moves.flushed)
            self._moves.flushes += 1
        else:
            self._publish(writing)

    def ended(self, state: RequestState) -> bool:
        self._stored.pop(state.request.id, None)
        for place in range(len(self._tiers)):
            self._refused.pop((state.request.id, place), None)
        pinned = [chunk for tier in self._tiers if tier.pins for chunk in tier.pool.pinnable(self._chunks(state))]
        self._sessions.turn_ended(state, pinned)
        self._names.pop(state.request.id, None)
        writing = self._writing.pop(state.request.id, None)
        if writing is None:
            return False
        writing.ended = True
        if not writing.moving:
            self._ending.append(writing)
        return True

    def step_ended(self) -> None:
        """As vLLM's workers, who tell with the step after it that a request's copies are done."""
        left, self._left, self._ending = self._left, self._ending, []
        for writing in left:
            self._publish(writing)
            self._replica.engine.finished_sending(writing.state)

    def moves(self) -> Moves | None:
        for name in self._let_go:  # now that all that is recalled for the step is being read, and stays
            self._write_back(name)
        self._let_go.clear()
        moves = self._moves
        if not moves:
            return None
        self._moves = self._new_moves()
        self._given = [*(one for one in self._given if not one.over), moves]
        return moves

    # Of `KvConnector`, where two engines share a request -------------------------------------------

    def arrived(self, state: RequestState) -> None:
        raise AssertionError("no other engine shares its requests")

    def reserved(self, state: RequestState, tokens: int) -> None:
        raise AssertionError("no other engine shares its requests")

    def prompt_computed(self, state: RequestState) -> None:
        raise AssertionError("no other engine shares its requests")

    def aborted(self, request: int) -> None:
        """The engine has told it: `ended`."""

    def layer_hook(self, step: Step) -> LayerHook | None:
        return None


@dataclass(slots=True)
class _Arriving:
    """A recall of which ``left`` parts are on their way."""

    connector: OffloadingConnector
    state: RequestState
    names: list[bytes]
    left: int
    began_ps: int
    life: int

    def one(self, load: Load) -> None:
        load.pool.done_reading(load.chunks)
        self.left -= 1
        if not self.left and self.life == self.connector.life:
            self.connector.arrived_whole(self.state, self.names, load, self.began_ps)
