"""Prefill on one engine, decode on another: who waits for whom, and when the K and V move.

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

from ..engine import Engine
from ..loop import LayerHook
from ..request_state import RequestState
from ..vllm.lanes import Chunk


class Mover(Protocol):
    """Moves K and V between two engines' devices."""

    def move(self, source: int, target: int, tokens: int, layers: range | None, done: Callable[[], None]) -> None:
        """K and V of that many tokens (of some layers, or of all) over the network; ``done`` at the end."""
        ...


class TransferOnlooker(Protocol):
    """Is told when K and V of a request begin to move between two engines, and when nothing of it moves any more."""

    def moving(self, request: int, source: int, target: int) -> None: ...

    def moved(self, request: int) -> None: ...


@dataclass(slots=True)
class Transfer:
    """One request on its way from the engine ``source`` to ``target``.

    ``sent`` tokens (of those the target lacks) are on their way or there; ``moving`` transfers are
    not done.
    """

    source: RequestState
    target: RequestState
    missing: int = -1  # tokens the target lacks; -1 until it has reserved blocks
    sent: int = 0
    moving: int = 0
    prompt_done: bool = False


class Handoff:
    """``push``/``by_layer`` as in the scenario's ``kv_transfer``."""

    def __init__(
        self,
        engines: Sequence[Engine],
        mover: Mover,
        choose: Callable[[RequestState], Engine],
        push: bool,
        by_layer: bool,
    ) -> None:
        self._engines, self._mover, self._choose = engines, mover, choose
        self._push, self._by_layer = push, by_layer
        self.open: dict[int, Transfer] = {}
        self.transfers = self.tokens = 0
        self.onlooker: TransferOnlooker | None = None
        for engine in engines:
            engine.scheduler.inbound.on_reserved = self._reserved

    def arrived(self, source: RequestState, engine: Engine) -> None:
        """A request has come for the prefill ``engine``."""
        if self._push:
            self._expect(source)
        else:
            engine.submit(source)

    def _expect(self, source: RequestState) -> Transfer:
        target = RequestState(source.request)
        target.remote, target.origin = True, source
        transfer = self.open[source.request.id] = Transfer(source, target)
        self._choose(source).submit(target)
        return transfer

    def prompt_ended(self, source: RequestState) -> None:
        """The first token is out."""
        transfer = self.open.get(source.request.id) or self._expect(source)
        transfer.prompt_done = True
        self._send_rest(transfer)

    def _reserved(self, target: RequestState, missing: int) -> None:
        transfer = self.open[target.request.id]
        transfer.missing = missing
        if transfer.prompt_done:
            self._send_rest(transfer)
        else:
            self._engines[transfer.source.place].submit(transfer.source)

    def _send_rest(self, transfer: Transfer) -> None:
        """What has not gone layer by layer goes whole."""
        if transfer.missing < 0:
            return
        rest = transfer.missing - transfer.sent
        if rest:
            self._send(transfer, rest, None)
        elif not transfer.moving:
            self._arrived(transfer)

    def _send(self, transfer: Transfer, tokens: int, layers: range | None) -> None:
        if self.onlooker and not transfer.moving:
            self.onlooker.moving(transfer.source.request.id, transfer.source.place, transfer.target.place)
        transfer.moving += 1
        if layers is None:
            transfer.sent += tokens
        self._mover.move(transfer.source.place, transfer.target.place, tokens, layers, partial(self._moved, transfer))

    def _moved(self, transfer: Transfer) -> None:
        transfer.moving -= 1
        if self.onlooker and not transfer.moving:
            self.onlooker.moved(transfer.source.request.id)
        if transfer.prompt_done and not transfer.moving and transfer.sent == transfer.missing:
            self._arrived(transfer)

    def _arrived(self, transfer: Transfer) -> None:
        """All K and V are there: the source's blocks are free, the target decodes."""
        self.transfers += 1
        self.tokens += transfer.missing
        del self.open[transfer.source.request.id]
        source, target = self._engines[transfer.source.place], self._engines[transfer.target.place]
        source.scheduler.release(transfer.source)
        transfer.target.take_over(transfer.source)
        target.scheduler.inbound.loaded(transfer.target)
        source.wake()
        target.wake()

    def layer_hook(self, chunks: Sequence[Chunk]) -> LayerHook | None:
        """For a step of a prefill engine: its chunks' K and V leave layer by layer, if they can."""
        if not self._by_layer:
            return None
        leaving: list[tuple[Transfer, int]] = []
        for chunk in chunks:
            transfer = self.open.get(chunk.sequence.request.id)
            if (
                transfer is None
                or transfer.missing < 0
                or transfer.sent != self._held(transfer, chunk.end - chunk.tokens)
            ):
                continue
            tokens = self._held(transfer, chunk.end) - transfer.sent
            if tokens:
                transfer.sent += tokens
                leaving.append((transfer, tokens))
        return _Leaving(self, leaving).through if leaving else None

    def send_layers(self, leaving: Sequence[tuple[Transfer, int]], layers: range) -> None:
        """K and V of those layers of so many tokens each are computed: send them."""
        for transfer, tokens in leaving:
            self._send(transfer, tokens, layers)

    def _held(self, transfer: Transfer, computed: int) -> int:
        """Of ``computed`` tokens at the prompt's beginning, those the target lacks."""
        have = transfer.target.request.input_tokens - transfer.missing
        return max(0, min(computed, transfer.target.request.input_tokens) - have)


@dataclass(slots=True)
class _Leaving:
    """The tokens of one step that leave layer by layer; ``done`` layers have left."""

    handoff: Handoff
    tokens: list[tuple[Transfer, int]]
    done: int = 0

    def through(self, layers: int) -> None:
        self.handoff.send_layers(self.tokens, range(self.done, layers))
        self.done = layers
