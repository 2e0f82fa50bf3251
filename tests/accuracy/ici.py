"""Collectives of TPUs over ICI that were published, as cases: what `ici-v5e` and `ici-v7` were derived from, and more."""

from __future__ import annotations

#: kind, ranks, bytes, us: a `collectives.Case`
Row = tuple[str, str, int, float]
MIB = 2**20
#: All-gathers of TPU7x on 2x2x1 and 2x2x2 (elements of f32[*,8,128] a core, GB/s on each), both cores of a chip at
#: once among four: AI-Hypercomputer/accelerator-microbenchmarks, Ironwood/guides/collectives/all_gather.md. Its bytes
#: are those that a chip receives.
GATHERED = (
    (64, 71.7703034, 69.53210305),
    (256, 129.1869148, 127.3945462),
    (1024, 161.9040742, 162.0864029),
    (4096, 174.765465, 174.6652133),
    (16384, 178.7714158, 178.7592252),
)
V7 = {"groups": [{"name": "n0", "count": 4}], "type": "ici-v7", "topology": "torus"}
#: All-reduces among the 32 cores of a 2x2x4 slice of TPU7x (bytes, us, p50), of its issue 71, which calls them slow.
SLICE = {"groups": [{"name": "n0", "count": 16}], "type": "ici-v7", "topology": "torus"}
REDUCED = ((2 * MIB, 123.76), (4 * MIB, 129.91), (8 * MIB, 162.32))
#: How to Scale Your Model, sharding chapter: all-gathers along one axis of TPU v5e (layout, ranks, bytes a chip, us):
#: a ring of 16 at about 95 % of 45 GB/s a link, a line of four of 8 MiB and of 32 KiB a chip.
RING = {"groups": [{"name": "n0", "count": 128}], "type": "ici-v5e", "topology": "torus", "dims": [8, 16]}
LINE = {"groups": [{"name": "n0", "count": 32}], "type": "ici-v5e", "topology": "torus", "dims": [8, 4]}
LINKED = ((RING, 16, 625_000, 10e6 / 2 / (0.95 * 45e9) * 1e6), (LINE, 4, 8 * MIB, 680.0), (LINE, 4, 32 * 1024, 8.0))
#: The all-reduce of 17408 x 17408 in bf16 among 256 TPU v6e: AI-Hypercomputer/tpu-recipes,
#: microbenchmarks/trillium/collectives; 2 (p-1)/p of its bytes at 235.76 GB/s.
POD = {"groups": [{"name": "n0", "count": 256}], "type": "ici-v6e", "topology": "torus", "dims": [16, 16]}
SUMMED = 17408 * 17408 * 2


def everyone(count: int) -> str:
    return ",".join(f"n0.{i}" for i in range(count))


def v7_cases() -> list[Row]:
    """Two gathers at once of a core's share are one of a chip's."""
    found = []
    for elements, *rates in GATHERED:
        share = elements * 8 * 128 * 4 * 2
        found += [("all_gather", everyone(4), share, 3 * share / rate / 1e3) for rate in rates]
    return found


def v5e_cases() -> list[tuple[dict, Row]]:
    return [(layout, ("all_gather", everyone(ranks), size, us)) for layout, ranks, size, us in LINKED]


def pod_case() -> Row:
    return "all_reduce", everyone(256), SUMMED, 2 * 255 / 256 * SUMMED / 235.7595345 / 1e3
