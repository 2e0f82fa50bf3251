"""How vLLM's own scheduler is installed where its source needs a compiler: of the wheel the Python files alone."""

from __future__ import annotations

import zipfile
from pathlib import Path

from metronome.adapters.tools import environment


def test_of_a_wheel_only_python_files_are_unpacked(tmp_path, monkeypatch):
    """Fetched for one kind of machine, whatever this one is."""
    (site := tmp_path / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    ran = []

    def fetch(*command, **_):
        ran.append(command)
        if "download" in command:
            with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "vllm-0.33.0.whl", "w") as wheel:
                for name in ("vllm/__init__.py", "vllm/_C.so", "vllm/data.json", "vllm-0.33.0.dist-info/METADATA"):
                    wheel.writestr(name, "x")

    monkeypatch.setattr(environment, "_run", fetch)
    environment.TOOLS["vllm@0.33.0"].make(tmp_path)
    assert sorted(str(path.relative_to(site)) for path in site.rglob("*.*") if path.is_file()) == ["vllm/__init__.py"]
    assert (site / "vllm-0.33.0.dist-info" / "METADATA").is_file()
    (fetched,) = (command for command in ran if "download" in command)
    assert "manylinux_2_28_x86_64" in fetched and "vllm==0.33.0" in fetched
    assert not any("--no-binary" in command for command in ran)


def test_what_was_made_of_the_source_stays_valid():
    """An environment of 0.12 or 0.19 that is there is not made anew."""
    for version in ("0.12.0", "0.19.0"):
        assert "transformers<5" in environment.TOOLS[f"vllm@{version}"].digest
