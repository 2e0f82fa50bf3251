"""``make truth``: random workloads of every mode through vLLM's own scheduler and ours; writes docs/truth.md."""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
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


def main() -> None:
    parser = argparse.ArgumentParser(prog="make truth", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="workloads a mode and version")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="replace the table of docs/truth.md")
    given = parser.parse_args()
    versions = [name.partition("@")[2] for name in environment.BY_NAME if environment.installed(name)]
    if not versions:
        parser.error("no version of vLLM is installed: metronome tools install vllm@0.19.0")
    rows = ["| vLLM | mode | workloads | differ |", "|---|---|---|---|"]
    failed = []
    with ProcessPoolExecutor(given.workers) as pool:
        for version in sorted(versions, key=lambda text: [int(part) for part in text.split(".")]):
            for mode in (*MODES, RANKS):
                if mode in OTHERS.get(version, ()):
                    rows.append(f"| {version} | {mode} | 0 | other rules |")
                    continue
                began, firsts = time.monotonic(), range(0, given.count, CHUNK)
                sizes = [min(CHUNK, given.count - first) for first in firsts]
                found = pool.map(differing, [version] * len(sizes), [mode] * len(sizes), firsts, sizes)
                seeds = [seed for chunk in found for seed in chunk]
                rows.append(f"| {version} | {mode} | {given.count:,} | {len(seeds):,} |")
                print(rows[-1], f"{time.monotonic() - began:.0f} s", flush=True)
                failed += [(version, mode, seeds[0])] if seeds else []
    for version, mode, seed in failed:
        print(f"\n{version}, {mode}, seed {seed}: {told(RealScheduler(version), mode, seed)}")
    if given.write:
        text = PAGE.read_text()
        PAGE.write_text(f"{text[: text.index(MARK)]}{MARK}\n" + "\n".join(rows) + "\n")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
