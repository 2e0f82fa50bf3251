"""``make truth``: random workloads of every mode through vLLM's own scheduler and ours; writes docs/truth.md."""

from __future__ import annotations

import argparse
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache
from pathlib import Path

from metronome.adapters.tools import environment
from metronome.adapters.vllm import RealScheduler

from .play import differs, told
from .workloads import MODES, OTHERS, RANKS

PAGE = Path(__file__).parents[2] / "docs" / "truth.md"
CHUNK = 250
MARK = "<!-- written by make truth -->"


@cache
def _real(version: str) -> RealScheduler:
    """One a process: it takes seconds to start."""
    return RealScheduler(version)


def differing(version: str, mode: str, first: int, count: int) -> list[int]:
    """Seeds of the workloads that differ."""
    real = _real(version)
    return [seed for seed in range(first, first + count) if differs(real, mode, seed)]


def arguments() -> argparse.Namespace:
    """What is to be played; ``versions`` in order."""
    parser = argparse.ArgumentParser(prog="make truth", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="workloads a mode and version")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--version", help="of vLLM; default: all that are installed")
    parser.add_argument("--mode", choices=(*MODES, RANKS), help="default: all")
    parser.add_argument("--write", action="store_true", help="put what was played into the table of docs/truth.md")
    given = parser.parse_args()
    there = [name.partition("@")[2] for name in environment.BY_NAME if environment.installed(name)]
    given.versions = sorted((v for v in there if given.version in (None, v)), key=_parts)
    if not given.versions:
        parser.error(f"not installed: metronome tools install vllm@{given.version or '0.19.0'}")
    return given


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def seeds_that_differ(pool: Executor, version: str, mode: str, count: int) -> list[int]:
    firsts = range(0, count, CHUNK)
    sizes = [min(CHUNK, count - first) for first in firsts]
    found = pool.map(differing, [version] * len(sizes), [mode] * len(sizes), firsts, sizes)
    return [seed for chunk in found for seed in chunk]


def table(played: dict[tuple[str, str], str], page: str) -> str:
    """The page with the rows of what was played; the others stay as they are."""
    head, _, tail = page.partition(MARK)
    rows = {tuple(cell.strip() for cell in row.split("|")[1:3]): row for row in tail.strip().splitlines()[2:]}
    rows |= {key: f"| {' | '.join(key)} | {cells} |" for key, cells in played.items()}
    order = (*MODES, RANKS)
    ordered = sorted(rows.items(), key=lambda row: (_parts(row[0][0]), order.index(row[0][1])))
    lines = ["| vLLM | mode | workloads | differ |", "|---|---|---|---|", *(row for _, row in ordered)]
    return f"{head}{MARK}\n" + "\n".join(lines) + "\n"


def main() -> None:
    given = arguments()
    played: dict[tuple[str, str], str] = {}
    failed = []
    with ProcessPoolExecutor(given.workers) as pool:
        for version in given.versions:
            for mode in (*MODES, RANKS) if given.mode is None else (given.mode,):
                if mode in OTHERS.get(version, ()):
                    played[version, mode] = "0 | other rules"
                    continue
                began = time.monotonic()
                seeds = seeds_that_differ(pool, version, mode, given.count)
                played[version, mode] = f"{given.count:,} | {len(seeds):,}"
                print(f"{version}, {mode}: {played[version, mode]}, {time.monotonic() - began:.0f} s", flush=True)
                failed += [(version, mode, seeds[0])] if seeds else []
    for version, mode, seed in failed:
        print(f"\n{version}, {mode}, seed {seed}: {told(RealScheduler(version), mode, seed)}")
    if given.write:
        PAGE.write_text(table(played, PAGE.read_text()))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
