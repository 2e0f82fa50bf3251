"""The Compose file runs end to end."""

from __future__ import annotations

import os
import shutil
import subprocess

from ..conftest import missing
from ..coupling.test_placement import files


def test_a_scenario_runs_under_compose(image, engine, cli, tmp_path):
    compose = shutil.which("docker-compose")
    if compose is None:
        missing("docker-compose")
    name = f"metronome-test-{os.getpid()}"
    command = [compose, "-p", name, "-f", tmp_path / "deployed" / "docker-compose.yaml"]
    engine.images.get(image).tag("metronome-adapter", "latest")
    assert cli("deploy", "compose", "prefill-decode", "-o", tmp_path / "deployed", "--image", image).exit_code == 0
    try:
        done = subprocess.run(
            [*command, "up", "--exit-code-from", "orchestrator"], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    finally:
        subprocess.run([*command, "down", "-v", "-t", "5"], capture_output=True, timeout=120)
    assert cli("run", "prefill-decode", "-o", tmp_path / "here", "--quiet").exit_code == 0
    assert files(tmp_path / "deployed" / "out") == files(tmp_path / "here")
    assert not engine.containers.list(all=True, filters={"label": f"com.docker.compose.project={name}"})
