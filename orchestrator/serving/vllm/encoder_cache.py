"""Which images are encoded in which step, and how long their embeddings are kept: vLLM's encoder budget and cache.

`v1/core/sched/scheduler.py` (_try_schedule_encoder_inputs, _free_encoder_inputs) and `v1/core/encoder_cache_manager.py`
of 0.19. An image is encoded whole, in the step in which the first of its tokens is computed; where it does not fit the
step's budget or the cache, the prompt is computed up to it. Embeddings stay, once no request needs them, until room is
needed; who was not needed for longest goes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...workload.request import Image
from ..batch import Batch
from .request_state import VllmRequestState


class EncoderCache:
    """Of one engine; ``size`` tokens are encoded in a step at most, and as many kept."""

    def __init__(self, size: int) -> None:
        self.size = self._free = self._available = size
        self._users: dict[int, set[int]] = {}  # picture -> requests that need it
        self._unused: dict[int, int] = {}  # picture nobody needs -> its tokens, longest not needed first
        self._budget = size
        self._chosen: list[Image] = []  # by the latest `reach`, of that request; not taken yet
        self._chooser = -1
        self._taken: dict[int, list[Image]] = {}  # request -> what is encoded for it in the step being put together

    def begin(self) -> None:
        """A step is put together."""
        self._budget = self.size
        self._taken.clear()

    def end(self, batch: Batch, states: Sequence[VllmRequestState]) -> Batch:
        """The step is put together, with parts of these prompts; returns it with what is encoded in it.

        Images whose tokens are all computed are in the KV cache from then on.
        """
        for state in states:
            for image in state.request.images:
                if image.end <= state.num_computed_tokens:
                    self._leave(state, image)
        images = tuple(image.tokens for images in self._taken.values() for image in images)
        return batch._replace(images=images) if images else batch

    def reach(self, state: VllmRequestState, tokens: int) -> int:
        """How many of ``tokens`` more can be computed; images among them are chosen to be encoded, or needed."""
        self._chosen, self._chooser = [], state.request.id
        if not tokens:
            return 0
        computed, room = state.num_computed_tokens, 0
        for image in state.request.images:
            if image.start >= computed + tokens:
                break
            if image.end <= computed or self._again(image):
                continue
            if self._has(state, image):
                continue
            if not self._can_allocate(image.tokens, self._budget - room, room):
                return max(image.start - computed, 0)
            room += image.tokens
            self._chosen.append(image)
        return tokens

    def take(self, state: VllmRequestState) -> None:
        """What was chosen for it is encoded in this step."""
        if not self._chosen or self._chooser != state.request.id:
            return
        for image in self._chosen:
            self._users.setdefault(image.picture, set()).add(state.request.id)
            self._free -= image.tokens
            self._available -= image.tokens
            self._budget -= image.tokens
        self._taken[state.request.id] = self._chosen
        self._chosen = []

    def release(self, state: VllmRequestState) -> None:
        """It needs none of its images, for now or for good; what this step was to encode for it is not encoded."""
        self._budget += sum(image.tokens for image in self._taken.pop(state.request.id, ()))
        for image in state.request.images:
            self._leave(state, image)

    def _again(self, image: Image) -> bool:
        """Whether one with that picture is chosen already."""
        return any(image.picture == one.picture for one in self._chosen)

    def _has(self, state: VllmRequestState, image: Image) -> bool:
        users = self._users.get(image.picture)
        if users is None:
            return False
        if not users:
            self._available -= self._unused.pop(image.picture)
        users.add(state.request.id)
        return True

    def _can_allocate(self, tokens: int, budget: int, chosen: int) -> bool:
        if tokens > budget or tokens + chosen > self._available:
            return False
        while tokens + chosen > self._free:
            picture = next(iter(self._unused))
            self._free += self._unused.pop(picture)
            del self._users[picture]
        return True

    def _leave(self, state: VllmRequestState, image: Image) -> None:
        users = self._users.get(image.picture)
        if not users:
            return
        users.discard(state.request.id)
        if not users:
            self._unused[image.picture] = image.tokens
            self._available += image.tokens
