"""What a serving engine adds to the time of its operations, by engine version, as data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ...units import PS_PER_US
from ..api_server import ServerModel
from ..batch import Batch
from ..kv.profile_run import ProfileRun


@dataclass(frozen=True, slots=True)
class HostCosts:
    """Host work and launches of one engine version (docs/engines.md).

    Attributes:
        asynchronous: the next step is scheduled when one starts, not when it has ended.
        step_gap_ps: how long the device idles between two steps.
        prompt_step_ps: what a step with prompts in it takes before its operations.
        warm_up_ps: what the first step takes before its operations, in an engine that starts cold.
        graph_sizes: tokens for which a graph of a decode step is captured, ascending; empty = no graphs.
        host_step_ps: the host's work on a step: schedule it, prepare its inputs, deal with its tokens.
        host_sequence_ps: what each of its sequences adds to that; with what choosing its token takes on the device.
        host_alone_ps: the same without that, for where it is counted there.
        prompt_alone_ps: of ``prompt_step_ps`` what the host was measured to take.
        server: its API server.
        reserved_blocks: KV blocks that no request gets (vLLM's null block).
        sequence_sizes: of an engine that compiles every step, of prompts too: sequences for which there is a program,
            ascending; graph_sizes are then those of tokens. Empty = no such engine.
        pads_in_graphs_only: data-parallel ranks that step together are padded to the largest only if all run a graph.
        profile_run: what it finds that it works in beside weights, K and V.
        stages_overlap: with asynchronous scheduling and pipeline stages a request is in every so many-th step alone, so
            that stages work side by side; else all are in every step, and steps follow one another.
        unmeasured: what the user should know of figures that are not this version's own.
        seeks_from: of how many sequences on top-p is a kernel that seeks where to cut; None: the vocabulary is sorted.
    """

    name: str
    asynchronous: bool
    step_gap_ps: int
    prompt_step_ps: int
    host_step_ps: int
    host_sequence_ps: int
    warm_up_ps: int
    graph_sizes: tuple[int, ...]
    server: ServerModel
    reserved_blocks: int = 0
    sequence_sizes: tuple[int, ...] = ()
    pads_in_graphs_only: bool = False
    profile_run: ProfileRun = field(default_factory=ProfileRun)
    host_alone_ps: int | None = None
    prompt_alone_ps: int | None = None
    seeks_from: int | None = None
    stages_overlap: bool = False
    unmeasured: str = ""

    def chooses(self, how: str) -> dict[str, str | int | float | bool]:
        """Attributes of a sampler of an engine that is said to choose tokens so; none but for top-p."""
        if how != "top-p":
            return {}
        return {"sorts": True} if self.seeks_from is None else {"sorts": True, "seeks_from": self.seeks_from}

    def sampling(self, how: str) -> HostCosts:
        """The same of an engine that is said to choose tokens so; "": nothing is said."""
        if not how or self.host_alone_ps is None or self.prompt_alone_ps is None:
            return self
        return replace(self, host_sequence_ps=self.host_alone_ps, prompt_step_ps=self.prompt_alone_ps)

    def warm(self) -> HostCosts:
        """The same of an engine that has served before."""
        return replace(self, warm_up_ps=0)

    def times(self, host: float, api_server: float) -> HostCosts:
        """The same with the engine's work on a step, and its API server's, so many times as long."""
        names = ("step_gap_ps", "prompt_step_ps", "host_step_ps", "host_sequence_ps")
        return replace(
            self, server=self.server.times(api_server), **{name: round(getattr(self, name) * host) for name in names}
        )

    def next_start(self, now_ps: int, last_end_ps: int, sequences: int) -> int:
        """When another step can start after one that ends ``now_ps`` and the one before it ended ``last_end_ps``.

        Asynchronously the host has dealt with that one's tokens during this step, or is still at it;
        else the device waits for the host after every step.
        """
        return self.in_a_row(now_ps, last_end_ps, (0,), sequences)[1][0]

    def in_a_row(
        self, starts_ps: int, last_end_ps: int, durations_ps: Sequence[int], sequences: int
    ) -> tuple[list[int], list[int]]:
        """Of steps that follow one another, the first of which starts then, when each ends, and when one after it can
        start (`next_start`)."""
        host, gap, apart = self.host_step_ps + sequences * self.host_sequence_ps, self.step_gap_ps, self.asynchronous
        ends, starts = list[int](), list[int]()
        start, before = starts_ps, last_end_ps
        for duration in durations_ps:
            end = start + duration
            start = max(end + gap, (before if apart else end) + host)
            ends.append(end)
            starts.append(start)
            before = end
        return ends, starts

    def inputs_ps(self, batches: Sequence[Batch], first: bool) -> int:
        """From the launch of a step of these members to its first operation."""
        inputs = self.prompt_step_ps if any(batch.prompts for batch in batches) else 0
        return inputs + (self.warm_up_ps if first else 0)

    def padded(self, batch: Batch) -> Batch:
        """A step of decodes alone is one captured graph, of the next size there is; or any step one program."""
        place = bisect_left(self.graph_sizes, batch.tokens)
        if self.sequence_sizes:
            rows = self.sequence_sizes[bisect_left(self.sequence_sizes, batch.asked)]
            return batch.padded_to(self.graph_sizes[place])._replace(rows=rows)
        if batch.prompts or place == len(self.graph_sizes):
            return batch
        return batch.padded_to(self.graph_sizes[place])

    def together(self, batches: Sequence[Batch]) -> list[Batch]:
        """The same of data-parallel ranks that step together, as many tokens on each where the engine pads them."""
        full = [self.padded(batch) for batch in batches]
        most = max(batch.tokens for batch in full)
        if len(full) == 1 or (self.pads_in_graphs_only and not (self.graph_sizes and most <= self.graph_sizes[-1])):
            return full
        return [batch.padded_to(most) for batch in full]


@cache
def names() -> list[str]:
    """Versions with a file here."""
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))


@cache
def releases() -> dict[str, str]:
    """Releases of engines, ``vllm@0.19.0``, and the version here that they are of."""
    return {release: name for name in names() for release in _facts(name).get("releases", ())}


@cache
def scheduler(name: str) -> str:
    """The kind of engine whose rules that version follows; KeyError if there is none of that name."""
    kind: str = _facts(name)["scheduler"]
    return kind


@cache
def _facts(name: str) -> dict[str, Any]:
    if name not in names():
        raise KeyError(name)
    facts: dict[str, Any] = yaml.safe_load(files(__name__).joinpath(f"{name}.yaml").read_text())
    return {**_facts(facts["like"]), **facts} if "like" in facts else facts


@cache
def host_costs(name: str, cold: bool = False) -> HostCosts:
    """The engine of that name, warm unless it starts ``cold``; KeyError if there is none."""
    facts = _facts(name)
    times, server = _times(facts), _times(facts["api_server"])
    sizes = tuple(size for first, end, step in facts["graph_sizes"] for size in range(first, end + 1, step))
    costs = HostCosts(
        name,
        facts["async_scheduling"],
        **times,
        graph_sizes=sizes,
        sequence_sizes=(),
        server=ServerModel(**server, counts_in_flight=facts.get("counts_in_flight", False)),
        reserved_blocks=facts.get("reserved_blocks", 0),
        pads_in_graphs_only=facts.get("pads_in_graphs_only", False),
        profile_run=_profile_run(facts["profile_run"]) if "profile_run" in facts else ProfileRun(),
        seeks_from=facts.get("seeks_from"),
        stages_overlap=facts.get("stages_overlap", False),
        unmeasured=facts.get("unmeasured", ""),
    )
    return costs if cold else costs.warm()


def _profile_run(facts: dict[str, Any]) -> ProfileRun:
    outside = {key[:-3] + "bytes": mib * 2**20 for key, mib in facts.items() if key.endswith("_mib")}
    return ProfileRun(**outside, **{key: value for key, value in facts.items() if not key.endswith("_mib")})


def _times(facts: dict[str, Any]) -> dict[str, int]:
    """What a file gives in us, in ps."""
    return {key[:-2] + "ps": round(us * PS_PER_US) for key, us in facts.items() if key.endswith("_us")}
