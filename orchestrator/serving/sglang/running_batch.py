"""Requests that decode, moved on together.

All of them are in every decode batch, each with one token. So what a request has is told by the numbers of the last
decode that was put together and of the last that has ended; who ends with which is known when he joins. A request is
brought up to date when somebody asks or it leaves, and a decode costs what changes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from ..batch import Batch
from .request_state import SglangRequestState


class RunningBatch:
    """``states`` in SGLang's order; who has ended stays until `drop_ended`.

    ``scheduled`` and ``finished`` count decodes put together and ended; step log ``log`` has their tokens.
    """

    def __init__(self, log: int, page_size: int) -> None:
        self.states: list[SglangRequestState] = []
        self.scheduled = self.finished = 0
        self._log = log
        self._ends: dict[int, list[SglangRequestState]] = {}  # the decode that gives somebody's last token -> who
        self._any_ended = False
        self._begins = [0] * page_size  # how many begin a page in decode 0, -1, ..., and again page_size later
        self._shape: tuple[int, int, int, int] | None = None  # of `states`, with contexts as before the first decode
        # Decodes whose rows of the step log follow one another: the first of each such stretch, and its row.
        self._firsts, self._rows = array("q"), array("q")

    def __bool__(self) -> bool:
        return bool(self.states)

    def __len__(self) -> int:
        return len(self.states)

    def join(self, state: SglangRequestState, token_on_its_way: bool) -> None:
        """It is in every decode from the next one on; its prompt's token may still be on its way."""
        state.joined = state.kv_until = state.tokens_until = self.scheduled
        self.states.append(state)
        self._begins[(state.kv_len - state.kv_until) % len(self._begins)] += 1
        left = state.remaining - token_on_its_way
        state.last_decode = self.scheduled + left
        if left:
            self._ends.setdefault(state.last_decode, []).append(state)
        self._shape = None

    def update(self, state: SglangRequestState) -> None:
        """Bring its counts up to date."""
        if state.joined < 0:
            return
        state.kv_len += self.scheduled - state.kv_until
        state.kv_until = self.scheduled
        state.num_computed_tokens = state.kv_len
        if self.finished > state.tokens_until:
            state.num_output_tokens += self.finished - state.tokens_until
            state.tokens_until = self.finished

    def update_all(self) -> None:
        for state in self.states:
            self.update(state)

    def remaining(self) -> list[int]:
        """Tokens that each of ``states`` is still to be given; none for those that have ended."""
        now = self.finished
        return [s.last_decode - now if 0 <= s.joined < now else s.remaining for s in self.states]

    def leave(self, state: SglangRequestState) -> None:
        """It is counted no more, and what it has got is written down; it stays among ``states``."""
        if state.joined < 0:
            return
        self.update(state)
        self._write_down(state)
        self._begins[(state.kv_len - state.kv_until) % len(self._begins)] -= 1
        state.joined = -1
        self._any_ended = True
        if state.last_decode in self._ends:
            self._ends[state.last_decode].remove(state)

    def drop_ended(self) -> None:
        """Only those stay that have not left."""
        if self._any_ended:
            self.states = [state for state in self.states if state.joined >= 0]
            self._any_ended, self._shape = False, None

    def reorder(self, states: list[SglangRequestState]) -> None:
        """These stay, in this order."""
        self.states, self._shape = states, None

    @property
    def pages_begun(self) -> int:
        """How many of those that have not left need a page for their next token."""
        return self._begins[-self.scheduled % len(self._begins)]

    def decode(self, row: int) -> Batch:
        """The next decode of all ``states``, in that row of the step log; none of them has ended."""
        if self._shape is None:
            starts = [state.kv_len - state.kv_until for state in self.states]
            self._shape = (len(starts), sum(starts), max(starts), min(starts))
        count, total, most, least = self._shape
        before = self.scheduled
        if not self._rows or row - self._rows[-1] != before - self._firsts[-1]:
            self._firsts.append(before)
            self._rows.append(row)
        self.scheduled += 1
        return Batch((), count, total + count * before, most + before, least + before)

    def finish(self, members: Sequence[SglangRequestState]) -> list[SglangRequestState]:
        """The oldest decode in flight has ended; returns those of its members whose last token it gave, in order."""
        self.finished += 1
        ended = self._ends.pop(self.finished, [])
        if len(ended) < 2:
            return ended
        which = {state.request.id for state in ended}
        return [state for state in members if state.request.id in which]

    def _write_down(self, state: SglangRequestState) -> None:
        """In which rows of the step log it has decoded."""
        first, end = state.joined, self.finished
        place = bisect_right(self._firsts, first) - 1
        while first < end:
            until = self._firsts[place + 1] if place + 1 < len(self._firsts) else end
            row = self._rows[place] + first - self._firsts[place]
            state.add_token_steps(self._log, row, row + min(until, end) - first)
            first, place = min(until, end), place + 1
