"""The pages, one of a session and one of a run that is going on elsewhere.

One file each, its scripts and its style inside, nothing loaded from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

#: in the order they are loaded; all of them share one script
SCRIPTS = {
    "view": ("core.js", "timeline.js", "pointer.js", "panels.js", "requests.js", "cluster.js", "futures.js", "main.js"),
    "watch": ("core.js", "watch.js"),
}


@cache
def html(name: str) -> str:
    """The page, the same for everybody: what it shows it asks for. ``name``: view or watch."""
    environment = Environment(
        loader=PackageLoader("metronome.orchestrator.view", "assets"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(f"{name}.html.j2").render(style=_style(), script=_script(name))


@cache
def policy(name: str) -> str:
    """Content-Security-Policy: this script, this style, questions to this server, and nothing else."""
    parts = [
        "default-src 'none'",
        f"script-src '{_digest(_script(name))}'",
        f"style-src '{_digest(_style())}'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return "; ".join(parts)


@cache
def _script(name: str) -> str:
    return "'use strict';\n" + "\n".join(_asset(script) for script in SCRIPTS[name])


@cache
def _style() -> str:
    return _asset("view.css")


def _asset(name: str) -> str:
    return files("metronome.orchestrator.view").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
