"""Where tools lie that are not a part of us: Python environments of their own, and programs we build.

Everything is in ``$METRONOME_TOOLS``, or in ``metronome/tools`` of the user's data folder
(``$XDG_DATA_HOME``, else ``~/.local/share``), and is made by ``metronome tools install NAME``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metronome.hwmodels.interface import ConfigError

from .failure import there

HERE = Path(__file__).parent.parent
DONE = "installed"  # the file that says what a folder holds, once it is whole


@dataclass(frozen=True, slots=True)
class PythonTool:
    """A package whose pins conflict with ours, in an environment of its own."""

    what: str
    requirements: tuple[str, ...]
    needs: str = "Python's venv, and PyPI"

    @property
    def digest(self) -> str:
        return " ".join(self.requirements)

    def make(self, folder: Path) -> None:
        _run(*_environment(folder), *self.requirements)


@dataclass(frozen=True, slots=True)
class BuiltTool:
    """A program of ours around a library or a compiler; ``command`` makes it from ``sources``.

    ``headers``: what these include of ours. ``example``: of the sources, those in whose place others may stand.
    """

    what: str
    sources: tuple[Path, ...]
    command: tuple[str, ...]
    needs: str
    libraries: tuple[str, ...] = ()
    headers: tuple[Path, ...] = ()
    example: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        text = (
            b"".join(source.read_bytes() for source in (*self.sources, *self.headers, *self.example))
            + "\0".join((*self.command, *self.libraries)).encode()
        )
        return hashlib.sha256(text).hexdigest()

    def make(self, folder: Path) -> None:
        self._make(folder, self.example)

    def make_of(self, theirs: Sequence[Path], program: Path) -> None:
        """The program with sources of somebody else in place of the example; they may include our headers."""
        with tempfile.TemporaryDirectory(prefix="metronome-build-") as scratch:
            self._make(Path(scratch), theirs)
            shutil.move(Path(scratch) / self.example[0].parent.name, program)

    def _make(self, folder: Path, more: Sequence[Path]) -> None:
        command = [part.format(folder=folder) for part in self.command]
        include = [f"-I{one}" for one in sorted({header.parent for header in self.headers})]
        _run(*command, *include, *map(str, (*self.sources, *more)), *self.libraries)


#: The local version keeps pip from taking the build that brings gigabytes of CUDA along.
VLLM_BUILDS_WITH = ("torch==2.13.0+cpu", "numpy", "setuptools<81", "setuptools-scm", "wheel", "packaging", "jinja2")
#: What `vllm.v1.core.sched` imports, found by importing it; those whose own requirements are not needed come alone.
VLLM_IMPORTS = (
    "aiohttp",
    "blake3",
    "cachetools",
    "cbor2",
    "cloudpickle",
    "diskcache",
    "gguf",
    "llguidance",
    "msgspec",
    "openai",
    "openai-harmony",
    "pillow",
    "prometheus-client",
    "psutil",
    "py-cpuinfo",
    "pybase64",
    "pydantic",
    "pyzmq",
    "regex",
    "safetensors",
    "transformers<5",
    "uvloop",
)
VLLM_IMPORTS_ALONE = ("xgrammar", "apache-tvm-ffi")
#: Of 0.33.
VLLM_IMPORTS_OF_WHEEL = (
    *(name for name in VLLM_IMPORTS if name not in ("diskcache", "gguf", "transformers<5")),
    "fastapi",
    "partial-json-parser",
    "requests",
    "transformers>=5.16.1,<5.21",
)


@dataclass(frozen=True, slots=True)
class Vllm:
    """vLLM's Python code without its kernels, and what importing its scheduler needs: no CUDA package.

    From its source archive, built for no device (``VLLM_TARGET_DEVICE=empty``): a tenth of a wheel. From 0.20 or so the
    source needs a compiler of Rust (``setup.py``); of those the Python files come out of the wheel (``of_wheel``).
    """

    version: str
    of_wheel: bool = False
    imports: tuple[str, ...] = VLLM_IMPORTS
    needs: str = (
        "PyPI, and a CPU build of torch: where pip does not find one, "
        "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu"
    )

    @property
    def what(self) -> str:
        return f"vLLM {self.version}'s own scheduler, on a CPU (1.3 GB)"

    @property
    def digest(self) -> str:
        return " ".join((self.version, *VLLM_BUILDS_WITH, *self.imports, *VLLM_IMPORTS_ALONE))

    def make(self, folder: Path) -> None:
        pip = _environment(folder)
        _run(*pip, *VLLM_BUILDS_WITH)
        if self.of_wheel:
            self._unpack(folder)
        else:
            device = {"VLLM_TARGET_DEVICE": "empty", "VLLM_VERSION_OVERRIDE": self.version}
            _run(*pip, "--no-deps", "--no-build-isolation", "--no-binary", "vllm", f"vllm=={self.version}", **device)
        _run(*pip, *self.imports)
        _run(*pip, "--no-deps", *VLLM_IMPORTS_ALONE)

    def _unpack(self, folder: Path) -> None:
        """The Python files of the wheel; which machine it is for does not matter to them."""
        python = str(folder / "bin" / "python")
        with tempfile.TemporaryDirectory(prefix="metronome-wheel-") as scratch:
            fetch = (python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
            only = ("--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64")
            _run(*fetch, *only, "--dest", scratch, f"vllm=={self.version}")
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
                names = [name for name in wheel.namelist() if name.endswith(".py") or ".dist-info/" in name]
                wheel.extractall(next(folder.glob("lib/python*/site-packages")), names)


def _verilated(name: str, what: str, *sources: str) -> BuiltTool:
    """An array of 8 x 8; the first of ``sources`` is the top, the last a program in C++ that steps it."""
    command = ("verilator", "-O3", "--cc", "--exe", "--build", "--unroll-count", "4096", "-CFLAGS", "-DSIZE=8")
    return BuiltTool(
        what,
        tuple(HERE / "verilator" / source for source in sources),
        (*command, "--Mdir", "{folder}/build", "-o", f"{{folder}}/{name}"),
        "g++, make and Debian's verilator",
    )


TOOLS: Mapping[str, PythonTool | BuiltTool | Vllm] = {
    "scalesim": PythonTool(
        "SCALE-Sim 3.0.0, systolic arrays",
        ("scalesim==3.0.0", "numpy<2.4"),  # numpy 2.4 breaks it in both of its modes
    ),
    "aiconfigurator": PythonTool("NVIDIA's measured kernels and collectives", ("aiconfigurator-core==0.12.0",)),
    "fmi": PythonTool(
        "FMPy, which drives co-simulation units (FMUs), and PythonFMU, which makes them of Python",
        ("fmpy==0.3.32", "pythonfmu==0.7.0"),  # FMPy brings lxml, and CMake
    ),
    "ns3": BuiltTool(
        "ns-3, networks packet by packet",
        (HERE / "ns3" / "server.cc",),
        ("g++", "-std=c++17", "-O2", "-o", "{folder}/ns3"),
        "g++ and Debian's libns3-dev",
        ("-lns3-core", "-lns3-network", "-lns3-internet", "-lns3-point-to-point"),
    ),
    "systemc": BuiltTool(
        "TLM-2.0 targets in SystemC, and one to try",
        tuple(HERE / "systemc" / f"{name}.cc" for name in ("main", "target", "transfers", "loosely", "approximately")),
        ("g++", "-std=c++17", "-O2", "-DSC_INCLUDE_DYNAMIC_PROCESSES", "-o", "{folder}/systemc"),
        "g++ and Debian's libsystemc-dev",
        ("-lsystemc",),
        headers=tuple(HERE / "systemc" / name for name in ("metronome_tlm.h", "transfers.h")),
        example=(HERE / "systemc" / "banks.cc",),
    ),
    "dramsim3-library": BuiltTool(
        "steps the library of DRAMsim3, which you build",
        (HERE / "user_built" / "dramsim3_library.cc",),
        ("g++", "-std=c++17", "-O2", "-o", "{folder}/dramsim3-library"),
        "g++",
        ("-ldl",),
    ),
    "verilator": _verilated("verilator", "a systolic array in SystemVerilog", "tile.sv", "harness.cc"),
    "verilator-mem": _verilated(
        "verilator-mem", "the same, which reads and writes a memory", "fetcher.sv", "tile.sv", "bus.cc"
    ),
    **{f"vllm@{version}": Vllm(version) for version in ("0.12.0", "0.19.0")},
    "vllm@0.33.0": Vllm("0.33.0", of_wheel=True, imports=VLLM_IMPORTS_OF_WHEEL),
}


#: Made by their names alone, not with all that are missing: too large for who does not ask for them.
BY_NAME = frozenset(name for name, tool in TOOLS.items() if isinstance(tool, Vllm))


def folder() -> Path:
    """Where tools lie."""
    given = os.environ.get("METRONOME_TOOLS")
    if given:
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "metronome" / "tools"


def installed(name: str) -> bool:
    """Whether what is there is whole and of this release."""
    done = folder() / name / DONE
    return done.is_file() and done.read_text() == TOOLS[name].digest


def install(name: str) -> Path:
    """Make the tool anew; returns its folder. Raises OSError, or CalledProcessError with what was printed."""
    target = folder() / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    TOOLS[name].make(target)
    (target / DONE).write_text(TOOLS[name].digest)
    return target


def build(name: str, sources: Sequence[Path], program: Path) -> None:
    """A program of somebody's sources and ours. Raises ConfigError, OSError, CalledProcessError."""
    tool = TOOLS[name]
    if not isinstance(tool, BuiltTool) or not tool.example:
        able = [one for one, found in TOOLS.items() if isinstance(found, BuiltTool) and found.example]
        raise ConfigError("NAME", name, f"is not built of sources of yours; {', '.join(able)} is")
    tool.make_of(sources, program)


def python(name: str, given: str | None) -> str:
    """The interpreter that has a Python tool: the one given, or that of its environment. Raises ConfigError."""
    return there("python", given) if given else str(_whole(name, "python", "an interpreter that has it") / "bin/python")


def program(name: str, given: str | None) -> str:
    """The program that was built: the one given, or ours. A path is whole, for a tool has a folder of its own.

    Raises ConfigError.
    """
    if not given:
        return str(_whole(name, "program", "the path of one") / name)
    found = there("program", given)
    return str(Path(found).resolve()) if os.sep in found else found


def _whole(name: str, field: str, other: str) -> Path:
    if not installed(name):
        raise ConfigError(field, None, f"{name} is not installed: `metronome tools install {name}`, or give {other}")
    return folder() / name


def _environment(folder: Path) -> tuple[str, ...]:
    """Makes a Python environment; returns the command that installs packages into it."""
    _run(sys.executable, "-m", "venv", str(folder))
    return (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def _run(*command: str, **environment: str) -> None:
    everything = {**os.environ, **environment}
    subprocess.run(command, check=True, env=everything, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
