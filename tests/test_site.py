"""The site of the documentation builds, asks nobody else for anything, and its reference says all there is."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from metronome.hwmodels.catalog import device_names
from metronome.orchestrator.cli.main import COMMANDS
from metronome.orchestrator.coupling import registry
from metronome.orchestrator.scenario.schema import Scenario

from .conftest import ROOT, missing

SITE = ROOT / "docs/site"
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=\"(?:https?:)?//[^>]*>")
NAMED = re.compile(r'<code class="docutils literal notranslate"><span class="pre">(.*?)</span></code>')


def build(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", f"import sys; from pathlib import Path; import build; {code}", *map(str, arguments)],
        cwd=SITE,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not (find_spec("sphinx") and find_spec("myst_parser") and find_spec("furo")):
        missing("the extra docs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = build("sys.exit(build.main(Path(sys.argv[1])))", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there_and_needs_no_other_host(site):
    pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    written = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written | {"index", "contributing", "changelog"} <= pages
    for path in site.rglob("*.html"):
        assert not ELSEWHERE.findall(path.read_text(encoding="utf-8")), path
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8")), path


def test_every_field_of_a_scenario_has_its_row(site):
    named = NAMED.findall((site / "reference/fields.html").read_text(encoding="utf-8"))
    schema = Scenario.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        fields = list(part.get("properties", {}))
        assert set(fields) <= set(named), set(fields) - set(named)
    rows = sum(len(part.get("properties", {})) for part in (schema, *schema["$defs"].values()))
    table = (site / "reference/fields.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<tr class=\"row-(?:even|odd)\"><td>", table)) == rows


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("cli", [f"metronome {name}" for name in COMMANDS]),
        ("catalog", device_names()),
        ("components", registry.names()),
        ("wire", ["SimulateRequest", "CloseRequest", "ComponentService"]),
    ],
)
def test_the_reference_has_a_section_of_each(site, page, said):
    text = (site / f"reference/{page}.html").read_text(encoding="utf-8")
    titles = re.findall(r"<h[123]>(.*?)<a", text)
    assert set(said) <= set(titles)


def test_units_are_those_of_the_names(site):
    rows = re.findall(r"<tr class=\"row-\w+\">(.*?)</tr>", (site / "reference/fields.html").read_text(), re.S)
    units = {
        tuple(re.sub("<.*?>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.S))[:3:2] for row in rows
    }
    assert {("latency_ns", "ns"), ("ttft_ms", "ms"), ("memory_gib", "GiB (2³⁰ bytes)"), ("name", "")} <= units


def test_examples_are_those_of_the_bundled_scenarios(site):
    text = re.sub("<.*?>", "", (site / "reference/fields.html").read_text(encoding="utf-8"))
    for said in ("e.g. h100-sxm", "e.g. lognormal", "e.g. synthetic"):
        assert said in text
    assert text.count("e.g. synthetic") == 1  # a format is an example of itself alone


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](#nowhere)", "![x](nowhere.svg)"])
def test_a_link_that_leads_nowhere_fails_the_build(site, tmp_path, link):
    (tmp_path / "index.md").write_text(f"# A page\n\n{link}\n")
    done = build("sys.exit(build.make(Path(sys.argv[1]), Path(sys.argv[1]) / 'made'))", tmp_path)
    assert done.returncode != 0 and "nowhere" in done.stderr
