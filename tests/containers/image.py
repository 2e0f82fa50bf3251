"""The adapter image, built without a registry: a base made of this very Python, then deploy/adapter.Dockerfile.

python -m tests.containers.image [NAME]     # builds it (default: metronome-adapter) with the engine of DOCKER_HOST
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import docker

from ..conftest import ROOT

BASE = "metronome-base:local"
SKIP = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|ensurepip|__pycache__|config-\d.*)(/|$)|\.(a|pyc)$")


def libraries(paths):
    """The shared libraries that these files need, and the loader."""
    found = set()
    for path in paths:
        text = subprocess.run(["ldd", str(path)], capture_output=True, text=True).stdout
        found.update(re.findall(r"(?:=> )?(/\S+) \(0x", text))
    return sorted(found)


def base(client):
    """An image with this Python under /usr/local, the libraries it needs, and busybox for a shell."""
    # Of a virtual environment: the Python that it was made with.
    prefix = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary = prefix / "bin" / version
    library = prefix / "lib" / version
    extensions = [p for p in (library / "lib-dynload").glob("*.so") if "tkinter" not in p.name]
    wheels = [p for p in Path(sysconfig.get_path("purelib")).rglob("*.so*") if p.is_file()]
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in ("tmp", "run", "run/metronome", "etc", "root", "usr/local/bin"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name, text in (
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\nnonroot:x:65532:65532::/tmp:/bin/sh\n"),
            ("etc/group", "root:x:0:\nnonroot:x:65532:\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
        tar.add(shutil.which("busybox"), "bin/busybox")
        for name in ("bin/sh", "bin/sleep", "bin/cat", "bin/ls"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/bin/busybox"
            tar.addfile(entry)
        tar.add(binary, f"usr/local/bin/{version}")
        for name in ("python3", "python"):
            entry = tarfile.TarInfo(f"usr/local/bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, version
            tar.addfile(entry)

        def wanted(entry):
            if "site-packages" in entry.name and not re.search(r"site-packages(/pip.*)?$", entry.name):
                return None
            return None if SKIP.search(f"/{entry.name}") else entry

        tar.add(library, f"usr/local/lib/{version}", filter=wanted)
        needed = libraries([binary, *extensions, *wheels])
        # Where the loader looks without a cache: beside libc.
        beside = Path(next(path for path in needed if path.endswith("/libc.so.6"))).parent
        for path in needed:
            if "site-packages" not in path:  # what wheels bring along comes with them
                ours = prefix in Path(path).parents
                tar.add(Path(path).resolve(), str(beside / Path(path).name).lstrip("/") if ours else path.lstrip("/"))
    repository, _, tag = BASE.partition(":")
    client.api.import_image_from_data(data.getvalue(), repository=repository, tag=tag)


def build(name="metronome-adapter", dockerfile="adapter"):
    """Build that image; needs an engine, and the index that pip here uses."""
    client = docker.from_env(timeout=300)
    base(client)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for tracked in filter(None, names.decode().split("\0")):
            if (ROOT / tracked).is_file():
                (context / tracked).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / tracked, context / tracked)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "--quiet",
                "--wheel-dir",
                str(context / "wheels"),
                str(context),
                "setuptools>=77",
            ],
            check=True,
        )
        shutil.rmtree(context / "build", ignore_errors=True)
        client.images.build(
            path=str(context),
            dockerfile=f"deploy/{dockerfile}.Dockerfile",
            tag=name,
            rm=True,
            buildargs={"BASE": BASE, "PIP_ARGS": "--no-index --find-links /src/wheels"},
        )


if __name__ == "__main__":
    build(*sys.argv[1:])
