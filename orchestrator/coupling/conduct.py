"""What the answers of a component with a clock must fit, from one to the next."""

from __future__ import annotations

from collections.abc import Sequence

from metronome.hwmodels.interface import Advanced, Completion, Operation

from ..errors import ComponentFailure
from .link import Link, advancing, checked

OWED = Operation(0, ())  # stands for one that nobody here has seen


class Conduct:
    """One session's: operations it owes, the time it has reached, what it has promised.

    ``open`` are the operations it has not completed, by id; ``asked`` its own requests, not answered. While it waits
    for an answer it may owe and promise nothing. How it asks is for those to judge who answer (`hwmodels.wiring`).
    ``restored``: it was put into another state, and what it owes from there only it knows.
    """

    def __init__(self, link: Link, restored: bool = False) -> None:
        self._link, self._restored = link, restored
        self._done: set[int] = set()  # since then
        self.open: dict[int, Operation] = {}
        self.asked: set[int] = set()
        self.reached_ps = 0
        self._promised: int | None = None
        self._grant_ps, self._asked_only = 0, False

    @property
    def idle(self) -> bool:
        return not self.open and not self.asked

    def sent(self, grant_ps: int, operations: Sequence[Operation], answered: Sequence[Completion] = ()) -> None:
        self.asked.difference_update(completion.op_id for completion in answered)
        self.open.update((operation.op_id, operation) for operation in operations)
        self._grant_ps, self._asked_only = grant_ps, not operations and not answered

    def check(self, answer: Advanced) -> None:
        """Take the answer to what was sent last. Raises ComponentFailure for one that cannot be."""
        if self._restored:
            now_done = {completion.op_id for completion in answer.completions} - self._done
            self.open = dict.fromkeys(now_done, OWED) | self.open
            self._done |= now_done
        checked(self._link, answer, self.open, self._grant_ps)
        if answer.reached_ps < self.reached_ps:
            raise self._lie(f"says it is at {answer.reached_ps} ps, and was at {self.reached_ps} ps before")
        if answer.requests:
            self.asked.update(request.op_id for request in answer.requests)
        promised, owed = answer.next_event_ps, len(self.open) - len(answer.completions)
        if promised is None and owed and not self.asked:
            done = {completion.op_id for completion in answer.completions}
            ids = ", ".join(str(op) for op in [op for op in self.open if op not in done][:5])
            raise self._lie(f"has not completed operation {ids} and promises nothing")
        if promised is not None and promised < answer.reached_ps:
            raise self._lie(f"promises to act at {promised} ps, and is at {answer.reached_ps} ps already")
        kept = answer.completions or answer.requests or promised != self._promised or promised is None
        if not kept and self._asked_only and promised is not None and self._grant_ps >= promised:
            # It would be asked for ever.
            raise self._lie(f"promised to act at {promised} ps and did not")
        for completion in answer.completions:
            del self.open[completion.op_id]
        self.reached_ps, self._promised = answer.reached_ps, promised

    def _lie(self, what: str) -> ComponentFailure:
        return ComponentFailure(self._link.name, what, advancing(self._grant_ps))
