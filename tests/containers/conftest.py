"""The container engine, and the adapter image on it."""

from __future__ import annotations

import os

import docker
import pytest
import requests

from .image import build


@pytest.fixture(scope="session")
def engine():
    """A client of the engine: skips where none answers, fails in CI."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no container engine answers although CI=true (.ci/engine starts one): {error}")
        pytest.skip("needs a container engine, and none answers")
    return client


@pytest.fixture(scope="session")
def image(engine):
    """The adapter image, of the sources as they are."""
    build("metronome-adapter:test")
    return "metronome-adapter:test"
