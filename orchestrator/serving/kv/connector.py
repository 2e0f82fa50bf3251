"""Prefill on one engine, decode on another: who waits for whom, and when K and V move.

*pull*: the decode engine is chosen when the prompt is computed; it reserves blocks and then fetches
(vLLM's NIXL connector). The prefill engine holds the prompt's blocks until then, so that when the
decode side is full it, too, soon admits no more. *push*: the decode engine is chosen on arrival, and
the prompt is computed once it has reserved blocks (NVIDIA Dynamo's order; reserving later could
deadlock, each side holding what the other needs); K and V follow each layer as it is computed, or
the whole prompt at its end. Either way requests wait and none is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..hooks import ServingHooks
from ..interface import KvTransfer, LayerHook, Step
from ..replica import Replica
from ..request_state import RequestState
from .connectors import KvConnectorRule


class Clock(Protocol):
    """Whoever knows the time."""

    now_ps: int


@dataclass(slots=True)
class Handover:
    """One request on its way from the replica of ``source`` to that of ``target``.

    ``sent`` tokens (of those the target lacks) are on their way or there; ``moving`` transfers are
    not done.
    """

    source: RequestState
    target: RequestState
    missing: int = -1  # tokens the target lacks; -1 until it has reserved blocks
    sent: int = 0
    moving: int = 0
    prompt_done: bool = False
    aborted: bool = False


class PrefillDecodeConnector:
    """As `interface.KvConnector`, between prefill and decode replicas.

    ``push``/``by_layer`` and ``rule`` (of its ``connector``) as in the scenario's ``kv_transfer``; ``choose`` names
    the replica that decodes.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        transfer: KvTransfer,
        choose: Callable[[RequestState], Replica],
        push: bool,
        by_layer: bool,
        rule: KvConnectorRule,
        hooks: ServingHooks,
        clock: Clock,
    ) -> None:
        self._hooks, self._clock = hooks, clock
        self._replicas, self._transfer, self._choose = replicas, transfer, choose
        self._push, self._by_layer = push, by_layer
        self.decode_gives_first_token = rule.decode_gives_first_token
        self.open: dict[int, Handover] = {}
        self.transfers = self.tokens = 0
        for replica in replicas:
            replica.engine.connector = self

    def arrived(self, state: RequestState) -> None:
        if self._push:
            self._expect(state)
        else:
            self._at(state).submit(state)

    def _at(self, state: RequestState) -> Replica:
        return self._replicas[state.place]

    def _expect(self, source: RequestState) -> Handover:
        replica = self._choose(source)
        target = replica.new_request(source.request)
        target.remote, target.origin = True, source
        handover = self.open[source.request.id] = Handover(source, target)
        replica.submit(target)
        return handover

    def prompt_computed(self, state: RequestState) -> None:
        handover = self.open.get(state.request.id) or self._expect(state)
        handover.prompt_done = True
        self._send_rest(handover)

    def reserved(self, state: RequestState, tokens: int) -> None:
        handover = self.open[state.request.id]
        handover.missing = tokens
        if handover.prompt_done:
            self._send_rest(handover)
        else:
            self._at(handover.source).submit(handover.source)

    def aborted(self, request: int) -> None:
        handover = self.open.pop(request, None)  # the request may be sent again before nothing moves any more
        if handover is not None:
            handover.aborted = True
            if not handover.moving:
                self._drop(handover)

    def _drop(self, handover: Handover) -> None:
        """Nothing of it moves any more: blocks that only the hand-over held are free on both sides."""
        source, target = self._at(handover.source), self._at(handover.target)
        if handover.prompt_done:
            source.engine.finished_sending(handover.source)
        if handover.missing >= 0:
            target.engine.finished_recving(handover.target)
        source.wake()
        target.wake()

    def _send_rest(self, handover: Handover) -> None:
        """What has not gone layer by layer goes whole."""
        if handover.missing < 0:
            return
        rest = handover.missing - handover.sent
        if rest:
            self._send(handover, rest, None)
        elif not handover.moving:
            self._complete(handover)

    def _send(self, handover: Handover, tokens: int, layers: range | None) -> None:
        source, target = self._at(handover.source), self._at(handover.target)
        if not handover.moving:
            self._hooks.transfer_began(handover.source.request.id, source.name, target.name, self._clock.now_ps)
        handover.moving += 1
        if layers is None:
            handover.sent += tokens
        self._transfer.move(source.name, target.name, tokens, layers, partial(self._moved, handover))

    def _moved(self, handover: Handover) -> None:
        handover.moving -= 1
        if not handover.moving:
            self._hooks.transfer_ended(handover.source.request.id, self._clock.now_ps)
        if handover.aborted:
            if not handover.moving:
                self._drop(handover)
            return
        if handover.prompt_done and not handover.moving and handover.sent == handover.missing:
            self._complete(handover)

    def _complete(self, handover: Handover) -> None:
        """All K and V are there: the source's blocks are free, the target decodes."""
        self.transfers += 1
        self.tokens += handover.missing
        del self.open[handover.source.request.id]
        source, target = self._at(handover.source), self._at(handover.target)
        source.engine.finished_sending(handover.source)
        handover.target.take_over(handover.source, tokens=not self.decode_gives_first_token)
        target.engine.finished_recving(handover.target)
        source.wake()
        target.wake()

    def layer_hook(self, step: Step) -> LayerHook | None:
        """For a step of a prefill engine: its chunks' K and V leave layer by layer, if they can."""
        if not self._by_layer:
            return None
        leaving: list[tuple[Handover, int]] = []
        for chunk in step.prompt_chunks():
            handover = self.open.get(chunk.state.request.id)
            if (
                handover is None
                or handover.source is not chunk.state
                or handover.missing < 0
                or handover.sent != self._held(handover, chunk.end - chunk.tokens)
            ):
                continue
            tokens = self._held(handover, chunk.end) - handover.sent
            if tokens:
                handover.sent += tokens
                leaving.append((handover, tokens))
        return _Leaving(self, leaving).through if leaving else None

    def send_layers(self, leaving: Sequence[tuple[Handover, int]], layers: range) -> None:
        """K and V of those layers of so many tokens each are computed: send them."""
        for handover, tokens in leaving:
            if not handover.aborted:
                self._send(handover, tokens, layers)

    def _held(self, handover: Handover, computed: int) -> int:
        """Of ``computed`` tokens at the prompt's beginning, those the target lacks."""
        have = handover.target.request.input_tokens - handover.missing
        return max(0, min(computed, handover.target.request.input_tokens) - have)


@dataclass(slots=True)
class _Leaving:
    """The tokens of one step that leave layer by layer; ``done`` layers have left."""

    connector: PrefillDecodeConnector
    tokens: list[tuple[Handover, int]]
    done: int = 0

    def through(self, layers: int) -> None:
        self.connector.send_layers(self.tokens, range(self.done, layers))
        self.done = layers
