"""What steps compute, as shapes: of each the batches, and what is left of them without a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..coupling.executor import Executor
from ..serving.batch import DUMMY, Batch
from ..serving.interface import Step
from ..serving.replica import Replica
from ..simulation import Simulation


class Shape(NamedTuple):
    """A member's part of a step. ``chunks``: (new, cached) tokens of a prompt by request; ``contexts``: tokens that
    each of its requests had cached."""

    batch: Batch
    chunks: Mapping[int, tuple[int, int]]
    contexts: Mapping[int, int]

    def without(self, request: int) -> Batch:
        """The batch if that request were not in it; the longest and shortest context of the others are taken to be
        what they were."""
        batch = self.batch
        if request not in self.contexts:
            return batch
        new, cached = self.chunks.get(request, (1, self.contexts[request]))
        if new > 1:
            numbers = list(batch.prompts)
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
            if (new, cached) in pairs:  # else an engine that shapes its batches otherwise: nothing is known of its part
                place = 2 * pairs.index((new, cached))
                del numbers[place : place + 2]
            return batch._replace(prompts=tuple(numbers))
        left = batch.decodes - 1
        if not left:
            return batch._replace(decodes=0, context_sum=0, context_max=0, context_min=0)
        total = min(max(batch.context_sum - cached, left * batch.context_min), left * batch.context_max)
        return batch._replace(decodes=left, context_sum=total)


NOBODY = Shape(DUMMY, {}, {})


class Shapes:
    """The instrument that notes them, by instance and number of the step."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, int], list[Shape]] = {}

    def scheduled(
        self, instance: str, number: int, replicas: Sequence[Replica], steps: Sequence[Step | None], now_ps: int
    ) -> None:
        pairs = zip(replicas, steps, strict=True)
        self.of[instance, number] = [_shape(replica, step) if step else NOBODY for replica, step in pairs]


def _shape(replica: Replica, step: Step) -> Shape:
    chunks = {c.state.request.id: (c.tokens, c.end - c.tokens) for c in step.prompt_chunks()}
    look = replica.engine.look
    return Shape(step.batch, chunks, {s.request.id: look(s).num_computed_tokens for s in step.members()})


class Pricer:
    """What a step takes alone, ps: by the components of a simulation that runs nothing else."""

    def __init__(self, simulation: Simulation) -> None:
        self._kernel = simulation.kernel
        loops = zip(simulation.loops, simulation.executors, strict=True)
        self._executors: dict[str, Executor] = {loop.name: executor for loop, executor in loops}
        self._known: dict[tuple[str, tuple[Batch, ...]], int] = {}

    def takes(self, instance: str, batches: Sequence[Batch]) -> int:
        """0 for a step of nobody. Raises ComponentFailure."""
        if not any(batch.tokens for batch in batches if batch is not DUMMY):
            return 0
        asked = instance, tuple(batches)
        if asked not in self._known:
            ends: list[int] = []
            start = self._kernel.now_ps
            self._executors[instance].run(0, batches, lambda energy_pj: ends.append(self._kernel.now_ps))
            self._kernel.run()
            self._known[asked] = ends[0] - start
        return self._known[asked]

    def marginal(self, instance: str, shapes: Sequence[Shape], request: int) -> int:
        """How much longer the step takes because of that request."""
        full = self.takes(instance, [shape.batch for shape in shapes])
        return full - self.takes(instance, [shape.without(request) for shape in shapes])
