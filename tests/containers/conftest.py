"""The container engine, and the adapter image on it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
import requests

from ..conftest import missing
from .image import build


@pytest.fixture(scope="session")
def engine():
    """A client of the engine: skips where none answers."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        missing(f"a container engine, and none answers (.ci/engine starts one): {error}")
    return client


@contextmanager
def alone():
    """Of all test processes on this machine: things are counted before and after."""
    with (Path(tempfile.gettempdir()) / "metronome-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def image(engine):
    """The adapter image, of the sources as they are; built once a test run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    name = f"metronome-adapter:{run or 'test'}"
    with alone():
        if run is None or not engine.images.list(name):
            build(name)
    return name


@pytest.fixture(autouse=True)
def one_at_a_time(request):
    """After the image, which is built under the same lock."""
    if "image" in request.fixturenames:
        request.getfixturevalue("image")
    with alone():
        yield
