"""The page: one file, its scripts and its style inside, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

#: in the order they are loaded; all of them share one script
SCRIPTS = ("core.js", "timeline.js", "pointer.js", "panels.js", "requests.js", "cluster.js", "futures.js", "main.js")


@cache
def html() -> str:
    """The page, the same for everybody: what it shows it asks for."""
    environment = Environment(
        loader=PackageLoader("metronome.orchestrator.view", "assets"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("view.html.j2").render(style=_style(), script=_script())


@cache
def policy() -> str:
    """Content-Security-Policy: this script, this style, questions to this server, and nothing else."""
    parts = [
        "default-src 'none'",
        f"script-src '{_digest(_script())}'",
        f"style-src '{_digest(_style())}'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return "; ".join(parts)


@cache
def _script() -> str:
    return "'use strict';\n" + "\n".join(_asset(name) for name in SCRIPTS)


@cache
def _style() -> str:
    return _asset("view.css")


def _asset(name: str) -> str:
    return files("metronome.orchestrator.view").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
