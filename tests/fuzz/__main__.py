"""The long form: ``make fuzz`` (20,000 inputs over all readers). Exit code 1 if anything was found.

``python -m tests.fuzz [COUNT] [SEED] [READER]``
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from .good import SCENARIO
from .readers import Readers


def main(count: int = 20_000, seed: int = 0, only: str = "") -> int:
    found: Counter[str] = Counter()
    shown: dict[str, tuple[str, str]] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        readers = Readers(Path(folder), SCENARIO)
        names = [only] if only else list(readers.all)
        for i in range(count):
            name = names[i % len(names)]
            problem = readers.all[name](Random(f"{seed} {name} {i}"))
            if problem:
                lines = problem.strip().splitlines()
                where = next((line.strip() for line in reversed(lines) if line.strip().startswith("File ")), "")
                key = f"{name}: {where}: {lines[-1][:160]}"
                place = f"{name}: {where}"
                found[place] += 1
                shown.setdefault(place, (key, f"seed {seed}, input {i}"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for place, times in found.most_common():
        print(f"{times:6} x {shown[place][0]} ({shown[place][1]})")
    print(f"{count} inputs, {len(found)} places, {time.monotonic() - started:.0f} s, {memory:.2f} GiB at most")
    return 1 if found or memory > 2 else 0


if __name__ == "__main__":
    sys.exit(main(*[int(word) if word.isdigit() else word for word in sys.argv[1:]]))
