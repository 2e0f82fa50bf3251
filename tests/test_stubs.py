"""The committed stubs are what the contract generates."""

from __future__ import annotations

import subprocess
import sys

from .conftest import ROOT


def test_stubs_have_not_drifted(tmp_path):
    proto = "metronome/component/v1/component.proto"
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT / 'proto'}",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
        f"--grpc_python_out={tmp_path}",
        proto,
    ]
    subprocess.run(command, check=True)
    for path in (tmp_path / "metronome/component/v1").iterdir():
        assert path.read_text() == (ROOT / "proto/metronome/component/v1" / path.name).read_text(), path.name
