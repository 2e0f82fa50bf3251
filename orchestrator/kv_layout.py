"""What the layers of a model keep of tokens and sequences, as pages of KV blocks: groups of layers, block size.

Rules of vLLM 0.19: `v1/core/kv_cache_utils.py` (get_kv_cache_groups), `model_executor/models/config.py`
(HybridAttentionMambaModelConfig).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .lowering.architecture import Architecture
from .lowering.models.parts import Attention, Compressed, Latent, State
from .serving.kv.capacity import Kept
from .serving.kv.groups import KvGroup, in_groups

#: tokens that a block of a model with states is a multiple of, by what its attention keeps
ALIGNED, ALIGNED_LATENT = 16, 64


@dataclass(frozen=True)
class KvLayout:
    """One engine's layers on one of ``tp`` devices.

    ``grouped`` is false where an engine keeps all its layers in one table, whatever they need.
    """

    arch: Architecture
    tp: int
    kv_dtype: str
    grouped: bool

    @cached_property
    def _pages(self) -> dict[int, int]:
        """Bytes of a token in every layer that keeps any."""
        pages = {layer: self.arch.kept(layer, self.tp, self.kv_dtype) for layer in range(self.arch.layers)}
        return {layer: page for layer, page in pages.items() if page}

    @cached_property
    def _states(self) -> dict[int, int]:
        """Bytes of a sequence in every layer with a state."""
        blocks = enumerate(self.arch.blocks)
        return {i: b.mixer.state_bytes(self.tp, self.arch.dtype) for i, b in blocks if isinstance(b.mixer, State)}

    @cached_property
    def groups(self) -> list[tuple[KvGroup, list[int]]]:
        """Groups of layers that keep different things, with the layers of each; none where all keep the same, where
        there is one table, or where pages cannot be made equal: vLLM's unify_kv_cache_spec_page_size lets blocks of
        layers whose token takes less hold more tokens, by a whole number."""
        mixers = {layer: self.arch.blocks[layer].mixer for layer in sorted([*self._pages, *self._states])}
        largest = max(self._pages.values(), default=0)
        kinds = [_kind(mixer, largest // self._pages.get(layer, largest)) for layer, mixer in mixers.items()]
        found = [kind for kind in kinds if kind is not None]
        whole = not any(largest % page for page in self._pages.values()) and len(set(self._states.values())) <= 1
        unequal = len(set(self._pages.values())) > 1
        if unequal and (self._states or any(kind.chunk for kind in found)):  # vLLM asserts that there are no chunks
            whole = False
        if not self.grouped or len(found) < len(mixers) or not whole or all(kind.keeps_all for kind in found):
            return []
        layers = list(mixers)
        return [(kind, [layers[number] for number in numbers]) for kind, numbers in in_groups(found)]

    @property
    def has_states(self) -> bool:
        """Whether there are layers with states, in an engine of groups."""
        return self.grouped and bool(self._states)

    def block_size(self, given: int) -> int:
        """Tokens of a block: with states among the groups at least so many that a state fits into its page."""
        if not self.groups or not self._states:
            return given
        page, state = next(iter(self._pages.values())), next(iter(self._states.values()))
        latent = any(isinstance(self.arch.blocks[layer].mixer, Latent) for layer in self._pages)
        step = ALIGNED_LATENT if latent else ALIGNED
        return max(given, -(-state // (step * page)) * step)

    def longest(self, length: int, batched: int, block_size: int) -> int:
        """KV blocks that vLLM wants room for: those of a request of ``length`` tokens, ``batched`` at once."""
        if not self.groups:
            return -(-length // block_size)
        pages = sum(group.most_blocks(length, batched, block_size) * len(layers) for group, layers in self.groups)
        return -(-pages // max(len(layers) for _, layers in self.groups))

    def fitting(self, length: int, batched: int, block_size: int, blocks: int) -> int:
        """The longest sequence of up to ``length`` tokens, and at least one, that so many blocks have room for: vLLM's
        ``_estimate_max_model_len_from_groups``."""
        least, most = 1, length
        while least < most:
            middle = (least + most + 1) // 2
            if self.longest(middle, batched, block_size) <= blocks:
                least = middle
            else:
                most = middle - 1
        return least

    def kept(self, layers: range, length: int, windows_let_go: bool) -> Kept:
        """What these layers keep, of sequences of up to ``length`` tokens.

        With groups of layers a block is a page in each layer of the largest. Else what windows let go of
        (``windows_let_go``), beside layers that keep all, is set aside by sequence, and so are states.
        """
        arch = self.arch
        if self.groups:
            most = max(len([layer for layer in group if layer in layers]) for _, group in self.groups)
            return Kept(most * max(self._pages.values()))
        windows: dict[int, int] = {}
        token = 0
        for layer in layers:
            size, mixer = self._pages.get(layer, 0), arch.blocks[layer].mixer
            window = mixer.window if isinstance(mixer, Attention) and windows_let_go else 0
            if window and window < length:
                windows[window] = windows.get(window, 0) + size
            else:
                token += size
            if isinstance(mixer, Compressed):
                windows[mixer.window] = windows.get(mixer.window, 0) + mixer.window_bytes(self.kv_dtype)
        if not token and windows:  # one group of blocks: they are counted as if they kept all
            token, windows = sum(windows.values()), {}
        state = sum(size for layer, size in self._states.items() if layer in layers)
        return Kept(token, tuple((size, window) for window, size in sorted(windows.items())), state)


def _kind(mixer: object, ratio: int) -> KvGroup | None:
    """What a layer keeps, as a group; None where blocks of equal pages cannot hold it."""
    if isinstance(mixer, State):
        return KvGroup(state=True)
    if isinstance(mixer, Latent):
        return KvGroup(ratio=ratio)
    return KvGroup(mixer.window, mixer.chunk, ratio=ratio) if isinstance(mixer, Attention) else None
