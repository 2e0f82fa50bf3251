"""Record `unreleased/` anew: python -m tests.recordings

For a change of results that is meant to be one. Recordings of a release are never made anew: a version that cannot
replay them says why in CHANGELOG.md, and its release note names the last version that can.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).parent.resolve()
#: What each is of, and how its scenario differs from the bundled one: few requests, so that all are small.
RUNS = {
    "quickstart": ("quickstart", ["workload.num_requests=15"]),
    "prefill-decode-two-nodes": ("prefill-decode-two-nodes", ["workload.num_requests=4"]),
    "prefill-decode-layerwise": ("prefill-decode-layerwise", ["workload.num_requests=4"]),
    "tensor-pipeline-parallel": ("tensor-pipeline-parallel", ["workload.num_requests=6"]),
    "expert-parallel": ("expert-parallel", ["workload.num_requests=10"]),
    "pim-attention": ("pim-attention", ["workload.num_requests=10"]),
    "api-servers-and-preemption": (
        "quickstart",
        [
            "workload.num_requests=20",
            "workload.request_rate=200",
            "instances.0.engine.api_server_count=2",
            "instances.0.engine.scheduling_policy=priority",
            "instances.0.engine.num_gpu_blocks_override=500",
            "instances.1.engine.num_gpu_blocks_override=500",
            "instances.1.engine.version=vllm-0.11",
        ],
    ),
}


def record(name: str, target: Path) -> None:
    """One run into ``target``; from a folder that is anybody's, because a journal names it."""
    scenario, overrides = RUNS[name]
    with TemporaryDirectory() as made:
        command = [sys.executable, "-m", "metronome", "run", scenario, "--record", "--quiet", "-o", made]
        subprocess.run([*command, *(word for one in overrides for word in ("--set", one))], cwd="/", check=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy(Path(made) / "recording" / "journal", target)
        shutil.copy(Path(made) / "requests.csv", target)


if __name__ == "__main__":
    for each in RUNS:
        record(each, FOLDER / "unreleased" / each)
    sizes = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".py")
    print(f"{len(RUNS)} recordings; {sizes / 1000:.0f} kB in {FOLDER}")
