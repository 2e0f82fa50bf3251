"""Random workloads for two schedulers: what they are told, and who comes and goes when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

MODES: dict[str, dict[str, Any]] = {
    "synchronous": {"steps": 1, "async_scheduling": False},
    "asynchronous": {"steps": 2, "async_scheduling": True},
    "pipeline, synchronous": {"steps": 2, "async_scheduling": False, "pipeline_parallel_size": 2},
    "pipeline, asynchronous": {"steps": 2, "async_scheduling": True, "pipeline_parallel_size": 2},
    "remote K and V, decode": {"steps": 1, "async_scheduling": False, "role": "decode"},
    "remote K and V, decode, asynchronous": {"steps": 2, "async_scheduling": True, "role": "decode"},
    "remote K and V, prefill": {"steps": 1, "async_scheduling": False, "role": "prefill"},
    "remote K and V, prefill, asynchronous": {"steps": 2, "async_scheduling": True, "role": "prefill"},
    "K and V recalled": {"steps": 1, "async_scheduling": False, "role": "recall"},
    "K and V recalled, asynchronous": {"steps": 2, "async_scheduling": True, "role": "recall"},
    "windows, synchronous": {"steps": 1, "async_scheduling": False, "windows": True},
    "windows, asynchronous": {"steps": 2, "async_scheduling": True, "windows": True},
    "blocks of several sizes": {"steps": 1, "async_scheduling": False, "windows": True, "ratios": True},
    "images, synchronous": {"steps": 1, "async_scheduling": False, "images": True},
    "images, asynchronous": {"steps": 2, "async_scheduling": True, "images": True},
    "states, synchronous": {"steps": 1, "async_scheduling": False, "states": True},
    "states, asynchronous": {"steps": 2, "async_scheduling": True, "states": True},
}

#: Modes whose rules in a version are known to be others than ours (docs/truth.md).
OTHERS = {
    "0.12.0": (
        "remote K and V, decode",
        "remote K and V, decode, asynchronous",
        "K and V recalled",
        "K and V recalled, asynchronous",
        "windows, synchronous",
        "windows, asynchronous",
        "blocks of several sizes",
        "images, synchronous",
        "images, asynchronous",
    ),
    "0.33.0": ("windows, synchronous", "windows, asynchronous", "blocks of several sizes"),
}
RANKS = "data-parallel ranks"  # not one scheduler's: what is known of several, and who gets a request


@dataclass(frozen=True)
class Balance:
    """Data-parallel ranks behind a coordinator, and API servers that choose among them.

    ``told``: (ms, rank, step, waiting, running, share of KV blocks held), what ranks say after their steps; ``requests``:
    (ms, server, ms at which it ends); ``lockstep``: ranks step together. Shares, ends and steps apart mean nothing
    before 0.33.
    """

    ranks: int
    servers: int
    told: list[tuple[int, int, int, int, int, float]]
    requests: list[tuple[int, int, int]]
    lockstep: bool


def draw_balance(seed: int) -> Balance:
    """That of a seed: steps of 1 to 60 ms, all ranks' messages within some ms of a step's end; pauses; requests any
    time."""
    random = Random(f"balance {seed}")
    ranks, servers, took = random.randint(2, 8), random.randint(1, 4), random.choice((1, 8, 30, 60, 200))
    told, now = [], random.randint(1, 300)
    for step in range(random.randint(1, 60)):
        spread = random.choice((0, 0, 3))
        for rank in random.sample(range(ranks), random.randint(0, ranks)):
            told.append((now + random.randint(0, spread), rank, step, random.randint(0, 9), random.randint(0, 40)))
        now += spread + 1 + random.randint(0, took) + (random.randint(0, 12_000) if random.random() < 0.05 else 0)
    told.sort(key=lambda message: (message[0], message[2]))
    requests = [(random.randint(1, now + 500), random.randrange(servers)) for _ in range(random.randint(1, 80))]
    full, lasts = random.random(), random.choice((20, 300, 5000))
    shares = [min(1.0, full + random.random() / 2) for _ in told]
    ends = [(when, server, when + random.randint(0, lasts)) for when, server in sorted(requests)]
    lockstep = random.random() < 0.5
    return Balance(ranks, servers, [(*row, share) for row, share in zip(told, shares, strict=True)], ends, lockstep)


@dataclass(frozen=True)
class Job:
    """A request: it comes before round ``comes`` and is aborted before round ``goes`` if that is not negative.

    ``images``: (start, tokens, picture) in its prompt. ``moves``: rounds that its K and V take to another engine, or
    from one, or from beside the device; 0 if it is served by this engine alone. ``kept``: tokens of its prompt that are
    beside the device, and how often their connector asks to be asked again.
    """

    id: int
    comes: int
    inputs: int
    outputs: int
    ids: list[int]
    priority: int = 0
    goes: int = -1
    moves: int = 0
    kept: tuple[int, int] = (0, 0)
    images: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class Workload:
    """``steps`` may be in flight. ``flags``: vLLM's; ``num_gpu_blocks`` counts its null block. ``role``: ``both``, or
    ``prefill`` or ``decode`` where K and V of some or all requests go to or come from another engine, or ``recall``
    where they come from beside the device."""

    mode: str
    seed: int
    steps: int
    role: str
    flags: dict[str, Any]
    jobs: list[Job] = field(default_factory=list)

    def least_blocks(self) -> int:
        return max((-(-(job.inputs + job.outputs) // self.flags["block_size"]) for job in self.jobs), default=1)


def draw(mode: str, seed: int) -> Workload:
    """The workload of that seed."""
    random = Random(f"{mode} {seed}")
    facts = MODES[mode]
    wide = random.random() < 0.2
    longest, most = (200, 60) if wide else (40, 20)
    priorities = random.random() < 0.25
    jobs = [_job(random, number, longest, most, priorities) for number in range(random.randint(1, 30 if wide else 14))]
    block_size = random.choice((1, 2, 3, 4, 5, 6, 16))
    flags = {
        "async_scheduling": facts["async_scheduling"],
        "pipeline_parallel_size": facts.get("pipeline_parallel_size", 1),
        "policy": "priority" if priorities else "fcfs",
        "max_num_seqs": random.choice((1, 2, 3, 4, 6, 8, 10, 16, 1024)),
        "max_num_batched_tokens": random.choice((random.randint(4, 50), random.randint(50, 600))),
        "long_prefill_token_threshold": random.choice((0, 0, 0, 3, 8, 30)),
        "enable_prefix_caching": random.random() < 0.8,
        "scheduler_reserve_full_isl": random.random() < 0.8,
        "block_size": block_size,
    }
    role = facts.get("role", "both")
    if role != "both":
        jobs = [replace(job, moves=random.randint(1, 12) if random.random() < 0.8 else 0) for job in jobs]
    if role == "recall":
        jobs = [replace(job, kept=_kept(random, job, block_size)) for job in jobs]
    if role == "prefill":  # no prompt is ever preempted: see docs/truth.md
        jobs = [replace(job, outputs=1, ids=job.ids[: job.inputs + 1], moves=job.moves or 1) for job in jobs]
        flags |= {"long_prefill_token_threshold": 0, "scheduler_reserve_full_isl": True, "policy": "fcfs"}
    if facts.get("images"):
        jobs = [_with_images(random, job) for job in jobs]
        largest = max((tokens for job in jobs for _, tokens, _ in job.images), default=1)
        flags["encoder_tokens"] = largest + random.choice((0, random.randint(0, 20), 300))
    made = Workload(mode, seed, facts["steps"], role, flags, jobs)
    spare = random.choice((random.randint(0, 6), random.randint(0, 30), 500))
    flags["kv_groups"] = _groups(random, block_size) if facts.get("windows") else [[0, 0]]
    if facts.get("ratios"):  # layers that keep all take half or a quarter of a window's bytes, or the other way round
        which, ratio = random.random() < 0.7, random.choice((2, 2, 3, 4))  # not with chunks: vLLM asserts
        windows = [[window or chunk, 0] for window, chunk in flags["kv_groups"]]
        flags["kv_groups"] = [
            [window, 0, 0, ratio if len(windows) > 1 and (not window) == which else 1] for window, _ in windows
        ]
    flags["num_gpu_blocks"] = 1 + made.least_blocks() * len(flags["kv_groups"]) + spare
    if facts.get("states"):
        groups = [[0, 0, 1]] * random.randint(1, 4)
        flags["kv_groups"] = [*groups, [0, 0, 0]] if random.random() < 0.5 else [[0, 0, 0], *groups]
        flags |= {"enable_prefix_caching": False, "num_gpu_blocks": 1 + made.least_blocks() + len(groups) + spare}
    return made


def _groups(random: Random, block_size: int) -> list[list[int]]:
    """(window, chunk) of each group of layers: one kind with a window or chunks, mostly beside one that keeps all."""
    partial = [random.randint(1, 40), 0] if random.random() < 0.8 else [0, block_size * random.randint(1, 4)]
    if random.random() < 0.2:
        return [partial]
    groups = [partial] * random.randint(1, 3) + [[0, 0]]
    return groups if random.random() < 0.5 else groups[::-1]


def _job(random: Random, number: int, longest: int, most: int, priorities: bool) -> Job:
    inputs, outputs = random.randint(1, longest), random.randint(1, most)
    shared = random.randint(0, inputs + outputs) if random.random() < 0.5 else 0
    ids = [random.randint(0, 1)] * shared + [1000 * (number + 1) + i for i in range(inputs + outputs - shared)]
    goes, comes = -1, random.randint(0, 12)
    if random.random() < 0.12:
        goes = comes + random.randint(1, 25)
    return Job(number, comes, inputs, outputs, ids, random.randint(0, 3) if priorities else 0, goes)


def _kept(random: Random, job: Job, block_size: int) -> tuple[int, int]:
    """Not of a prompt of one token: vLLM would recall that again and again."""
    blocks = random.randint(0, job.inputs // block_size) if job.moves and job.inputs > 1 else 0
    return blocks * block_size, random.choice((0, 0, 0, random.randint(1, 5)))


def _with_images(random: Random, job: Job) -> Job:
    """With up to three images of a few pictures in its prompt; a picture always has as many tokens."""
    images, at, ids = [], random.randint(0, 3), list(job.ids)
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        picture = random.randint(0, 5)
        tokens = 1 + picture * 5 % 17
        if at + tokens > job.inputs:
            break
        images.append((at, tokens, picture))
        ids[at : at + tokens] = [10 * (picture + 1)] * tokens  # one placeholder a token, as in real prompts
        at += tokens + random.randint(0, 4)
    return replace(job, images=tuple(images), ids=ids)


def smaller(workload: Workload) -> list[Workload]:
    """Simpler workloads to try in its place when it fails."""
    jobs, found = workload.jobs, []
    for i in range(len(jobs)):
        found.append(replace(workload, jobs=jobs[:i] + jobs[i + 1 :]))
    for i, job in enumerate(jobs):
        changes = [replace(job, goes=-1)] if job.goes >= 0 else []
        if job.images:
            changes.append(replace(job, images=job.images[:-1]))
        if job.outputs > 1:
            changes.append(replace(job, outputs=job.outputs - 1, ids=job.ids[:-1]))
        if job.comes:
            changes.append(replace(job, comes=0))
        found += [replace(workload, jobs=[*jobs[:i], change, *jobs[i + 1 :]]) for change in changes]
    return [one for one in found if one.jobs]
