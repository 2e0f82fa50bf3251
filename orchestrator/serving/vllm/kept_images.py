"""Images in vLLM 0.33: kept until the steps that needed them have ended, and as long as a prompt that repeats one."""

from __future__ import annotations

from collections.abc import Sequence

from ...workload.request import Image
from ..batch import Batch
from .encoder_cache import EncoderCache
from .request_state import VllmRequestState


class KeptImages(EncoderCache):
    """As `EncoderCache`; but an image is let go when a step has ended, by what its prompt has computed by then
    (`v1/core/sched/scheduler.py`, update_from_output and _free_encoder_inputs), and one that a prompt has several times
    when the last of those that were looked at is (`v1/core/encoder_cache_manager.py`, free_encoder_input)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._repeated: list[Image] = []  # by the latest `reach`, beside those chosen
        self._needs: dict[int, tuple[VllmRequestState, dict[int, int]]] = {}  # request -> start of one -> its picture

    def end(self, batch: Batch, states: Sequence[VllmRequestState]) -> Batch:
        return super().end(batch, ())

    def holders(self) -> list[VllmRequestState]:
        """Who needs an image."""
        return [state for state, _ in self._needs.values()]

    def computed(self, state: VllmRequestState, tokens: int) -> None:
        """A step has ended, and so many tokens of that prompt are computed for good."""
        for image in state.request.images:
            if image.end <= tokens:
                self._leave(state, image)

    def reach(self, state: VllmRequestState, tokens: int) -> int:
        self._repeated = []
        return super().reach(state, tokens)

    def take(self, state: VllmRequestState) -> None:
        if self._chooser == state.request.id:
            for image in (*self._chosen, *self._repeated):
                self._need(state, image)
        super().take(state)

    def _again(self, image: Image) -> bool:
        if again := super()._again(image):
            self._repeated.append(image)
        return again

    def _has(self, state: VllmRequestState, image: Image) -> bool:
        if has := super()._has(state, image):
            self._need(state, image)
        return has

    def _need(self, state: VllmRequestState, image: Image) -> None:
        self._needs.setdefault(state.request.id, (state, {}))[1][image.start] = image.picture

    def _leave(self, state: VllmRequestState, image: Image) -> None:
        _, needs = self._needs.get(state.request.id, (state, {}))
        if needs.pop(image.start, None) is None or image.picture in needs.values():
            return
        if not needs:
            del self._needs[state.request.id]
        super()._leave(state, image)
