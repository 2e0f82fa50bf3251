"""Sessions between two turns: what is pinned for them meanwhile, and where a turn that comes back finds its past."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..request_state import RequestState
from .pool import Chunk


@dataclass(frozen=True, slots=True)
class _Away:
    """A session whose next turn is to come: tokens that it has by now, and chunks that are pinned for it."""

    tokens: int
    pinned: list[Chunk]


@dataclass(slots=True)
class Sessions:
    """All of a run, whichever engines their turns go to.

    Attributes:
        turns: those that came back.
        past_tokens: prompt tokens of these that an earlier turn had.
        found_tokens: of their prompts, by where: a tier, or "device".
    """

    turns: int = 0
    past_tokens: int = 0
    found_tokens: dict[str, int] = field(default_factory=dict)
    _away: dict[str, _Away] = field(default_factory=dict)
    _recalled: dict[int, dict[str, int]] = field(default_factory=dict)  # tokens of a request by tier

    def recalled(self, state: RequestState, tier: str, tokens: int) -> None:
        """So much of its prompt comes from there, for its first admission."""
        if state.request.session is not None and not state.num_preemptions:
            by_tier = self._recalled.setdefault(state.request.id, {})
            by_tier[tier] = by_tier.get(tier, 0) + tokens

    def lost(self, requests: Iterable[int]) -> None:
        """The replica that had them is no more: they are admitted again, elsewhere."""
        for request in requests:
            self._recalled.pop(request, None)

    def turn_ended(self, state: RequestState, pinned: Sequence[Chunk]) -> None:
        """What was pinned for it is so no more; ``pinned`` is until its next turn has ended, if there is one."""
        request = state.request
        by_tier = self._recalled.pop(request.id, {})
        if request.session is None:
            return
        away = self._away.pop(request.session, None)
        if away is not None:
            for chunk in away.pinned:
                chunk.pins -= 1
            if not state.aborted:
                self._came_back(state, away.tokens, by_tier)
        if request.next_turn is not None and not state.aborted:
            for chunk in pinned:
                chunk.pins += 1
            self._away[request.session] = _Away(request.input_tokens + request.output_tokens, list(pinned))

    def _came_back(self, state: RequestState, had: int, by_tier: dict[str, int]) -> None:
        self.turns += 1
        self.past_tokens += min(had, state.request.input_tokens)
        device = max(0, state.num_cached_tokens - sum(by_tier.values()))
        for where, tokens in (("device", device), *by_tier.items()):
            self.found_tokens[where] = self.found_tokens.get(where, 0) + tokens
