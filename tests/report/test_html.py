"""report.html in a real browser: draws what it should, fetches nothing, runs nothing of a scenario, is accessible."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path

import metronome
import numpy as np
import pytest
from metronome.orchestrator.report.html import Run, figures, read, render
from metronome.orchestrator.report.html.goodput import goodput
from metronome.orchestrator.report.result import Result, Table
from metronome.orchestrator.scenario import loading

HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\"'&{{ 7 * 7 }}</script>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of three runs: a split one, and the quick start under two policies."""
    from metronome.orchestrator import api

    folder = tmp_path_factory.mktemp("runs")
    few = {"workload.num_requests": 60}
    api.run("prefill-decode-two-nodes", folder / "split", overrides=few)
    api.run("quickstart", folder / "a", overrides=few)
    api.run("quickstart", folder / "b", overrides=few | {"router.policy": "round-robin"})
    return folder


class Page:
    """An open page, and what it said and asked for."""

    def __init__(self, browser, path: Path, **context) -> None:
        self.context = browser.new_context(**context)
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.do = self.page.evaluate

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def axe(self) -> list[str]:
        """Violations, everything unfolded; of a table's rows, which are alike, it looks at three."""
        import axe_playwright_python

        self.do("document.querySelectorAll('details').forEach((part) => (part.open = true))")
        self.do((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
        self.do(
            "document.querySelectorAll('tbody').forEach((t) => [...t.rows].slice(3).forEach((row) => row.remove()))"
        )
        found = self.do("axe.run(document, {resultTypes: ['violations']})")
        return [f"{v['id']}: {[node['target'] for node in v['nodes']]}" for v in found["violations"]]


#: of each chart: its id, and how many pixels of its canvas are neither empty nor a grid's: a line's
INK = """() => [...document.querySelectorAll('.plot')].map((plot) => {
  const canvas = plot.querySelector('canvas');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let ink = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const [r, g, b, a] = pixels.slice(i, i + 4);
    if (a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) ink++;
  }
  return [plot.dataset.chart, ink];
})"""
CHARTS = ["cdf-ttft", "cdf-tpot", "cdf-e2el", "arrival", "goodput", "throughput", "requests", "kv", "power"]


def page_of(folder, name, *names):
    path = folder / f"{name}.html"
    path.write_text(render(read([folder / each for each in names])), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("names", "scheme", "width"),
    [(("a",), "light", 1280), (("a",), "dark", 390), (("split",), "dark", 1280), (("a", "b"), "light", 390)],
    ids=str,
)
def test_the_page_draws_fetches_nothing_and_is_accessible(runs, browser, names, scheme, width):
    path = page_of(runs, "page", *names)
    viewport = {"width": width, "height": 900}
    with Page(browser, path, color_scheme=scheme, viewport=viewport) as page:
        drawn = dict(page.do(INK))
        assert list(drawn) == CHARTS
        assert all(ink > 150 for ink in drawn.values()), drawn
        assert page.do("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"
        assert page.axe() == []
        assert page.said == [] and page.asked == [path.as_uri()]


def test_an_empty_canvas_would_be_noticed(runs, browser):
    with Page(browser, page_of(runs, "page", "a")) as page:
        page.do("document.querySelectorAll('canvas').forEach((c) => (c.width = c.width))")
        assert {ink for _, ink in page.do(INK)} == {0}


def test_a_run_leaves_the_page_and_it_can_be_written_again(runs, cli):
    left = (runs / "a" / "report.html").read_bytes()
    (runs / "a" / "report.html").unlink()
    done = cli("report", runs / "a")
    assert done.exit_code == 0, done.output
    assert (runs / "a" / "report.html").read_bytes() == left


def test_figures_on_the_page_are_those_of_result_json(runs, browser):
    result = json.loads((runs / "a" / "result.json").read_text())
    with Page(browser, runs / "a" / "report.html") as page:
        cards = page.do("[...document.querySelectorAll('.cards li')].map((card) => card.innerText)")
        table = page.do("[...document.querySelectorAll('.comparison tr')].map((row) => row.textContent)")
    assert f"{result['mean_e2el_ms']:,.0f} ms" in next(card for card in cards if "E2EL" in card)
    low, high = result["metronome"]["error_bars"]["mean_e2el_ms"]
    assert f"{low:,.0f} to {high:,.0f} ms" in next(card for card in cards if "E2EL" in card)
    assert any("E2EL P99" in row and f"{result['p99_e2el_ms']:,.0f}" in row for row in table)


def test_curves_are_those_of_requests_csv(runs):
    with (runs / "a" / "requests.csv").open() as file:
        ttft = np.array([int(row["ttft"]) / 1e6 for row in csv.DictReader(file)])
    from metronome.orchestrator.report.html.charts import distributions

    chart = distributions(read([runs / "a"]))[0]
    for x, y in zip(chart.x, chart.series[0].values, strict=True):
        near = {100 * np.mean(ttft <= x * (1 + error)) for error in (-1e-4, 0, 1e-4)}
        assert min(near) - 0.01 <= y <= max(near) + 0.01
    assert chart.series[0].values[-1] == 100


@pytest.fixture(scope="module")
def tiered(tmp_path_factory):
    from ..memory.small import TIERED

    folder = tmp_path_factory.mktemp("tiered")
    metronome.run(TIERED, folder / "tiered")
    return folder


def test_tiers_are_drawn_as_timeseries_csv_has_them(tiered, browser):
    from metronome.orchestrator.report.html.charts import over_time

    charts = {chart.id: chart for chart in over_time(read([tiered / "tiered"]))}
    with (tiered / "tiered" / "timeseries.csv").open() as file:
        rows = list(csv.DictReader(file))
    drawn = {line.label: line.values for name in ("tiers", "tier-copies") for line in charts[name].series}
    for label, column, scale in (
        ("host", "tier_host_used", 100),
        ("host, stored", "tier_host_in_gb", 1),
        ("host, recalled", "tier_host_out_gb", 1),
    ):
        assert drawn[label] == pytest.approx([scale * float(row[column]) for row in rows], rel=1e-4)
    with Page(browser, page_of(tiered, "page", "tiered")) as page:
        assert {"tiers", "tier-copies"} < dict(page.do(INK)).keys()
        assert page.axe() == [] and page.said == []


def test_phases_add_up_to_the_latency(runs):
    for run in read([runs / "a", runs / "split"]):
        assert (min(phase.min() for phase in run.phases)) >= 0
        assert np.allclose(sum(run.phases), run.column("e2el") / 1e6, atol=1e-5)


def test_the_slowest_come_first_and_their_bars_are_to_scale(runs):
    from metronome.orchestrator.report.html.phases import slowest

    (run,) = read([runs / "a"])
    for name in ("ttft", "e2el"):
        rows = slowest(run, name)
        lengths = [sum(segment.width for segment in row.segments) for row in rows]
        assert lengths == sorted(lengths, reverse=True) and lengths[0] == pytest.approx(100, abs=0.01)
        values = np.sort(run.column(name))[::-1]
        assert lengths == pytest.approx((values[: len(rows)] / values[0] * 100).tolist(), abs=0.01)


def test_two_runs_differ_where_they_do(runs, browser):
    with Page(browser, page_of(runs, "two", "a", "b")) as page:
        text = page.do("document.querySelector('#figures').innerText")
        lines = page.do("[...document.querySelectorAll('#cdf-ttft .legend > span')].map((s) => s.textContent.trim())")
    assert "router.policy" in text and "round-robin" in text and "least-loaded" in text
    assert "max_num_seqs" not in text, "what is the same is no difference"
    assert lines[:2] == ["a", "b"]
    rows = {row.name: row for row in _rows(runs, "a", "b")}
    first, second = (read([runs / name])[0].result["p99_ttft_ms"] for name in "ab")
    change = (second - first) / first
    cell = rows["TTFT P99"].cells[1]
    assert cell.change == (f"{change:+.1%}" if abs(change) >= 0.0005 else "same")
    assert cell.verdict == ("" if abs(change) < 0.01 else "worse" if change > 0 else "better")


def _rows(runs, *names):
    from metronome.orchestrator.report.html.figures import latency_rows, total_rows

    found = read([runs / name for name in names])
    return [*latency_rows(found), *total_rows(found)]


def test_a_run_is_the_same_as_itself(runs):
    assert {row.cells[1].change for row in _rows(runs, "a", "a")} <= {"same", ""}


def test_the_values_of_a_chart_are_read_by_keyboard(runs, browser):
    with Page(browser, runs / "a" / "report.html") as page:
        page.page.focus("[data-chart=throughput]")
        page.page.keyboard.press("End")
        page.page.keyboard.press("ArrowLeft")
        spoken = page.do("document.querySelector('[data-chart=throughput]').ariaValueText")
        last = len(read([runs / "a"])[0].result.series)
    assert spoken.startswith(f"{last - 1:.1f} simulated s: prompt ") and "generation" in spoken


def test_colours_follow_the_scheme_and_paper_is_white(runs, browser):
    with Page(browser, runs / "a" / "report.html", color_scheme="dark") as page:
        before = page.do("getComputedStyle(document.body).backgroundColor")
        line = page.do("document.querySelector('.legend i.line').style.borderTop")
        page.page.emulate_media(color_scheme="light")
        page.page.wait_for_timeout(50)
        assert page.do("getComputedStyle(document.body).backgroundColor") != before
        assert page.do("document.querySelector('.legend i.line').style.borderTop") != line
        page.page.emulate_media(media="print", color_scheme="dark")
        assert page.do("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.do("getComputedStyle(document.body).color") == "rgb(23, 32, 43)"
        assert len(page.page.pdf()) > 20_000


def hostile(part):
    """The same with every text replaced, keys of free choice too."""
    if isinstance(part, dict):
        return {key: hostile(value) for key, value in part.items()}
    if isinstance(part, list):
        return [hostile(value) for value in part]
    return HOSTILE if isinstance(part, str) else part


def test_no_text_of_a_run_becomes_code(runs, browser):
    (run,) = read([runs / "split"])
    metrics = hostile(run.result.metrics)
    metrics["metronome"]["components"] = {HOSTILE: metrics["metronome"]["components"]["net"]}
    rows = [tuple(hostile(list(row))) for row in run.result.requests.rows]
    result = Result(metrics, Table(run.result.requests.columns, rows), run.result.series)
    path = runs / "hostile.html"
    path.write_text(render([Run(HOSTILE, result, hostile(run.scenario)), Run("b", result, None)]), encoding="utf-8")
    with Page(browser, path) as page:
        assert page.do("window.hacked") is None
        assert page.do("document.querySelectorAll('script').length") == 3 and page.do("document.images.length") == 0
        assert HOSTILE in page.do("document.querySelector('h1').textContent")
        assert page.said == [] and page.asked == [path.as_uri()]


def test_what_got_past_the_escaping_would_still_not_run(runs, browser):
    path = runs / "injected.html"
    text = (runs / "a" / "report.html").read_text(encoding="utf-8")
    path.write_text(text.replace("<h1>", "<h1><script>window.hacked = 1</script>", 1), encoding="utf-8")
    with Page(browser, path) as page:
        assert page.do("window.hacked") is None and dict(page.do(INK))["kv"] > 150


def test_secrets_of_containers_stay_out(runs):
    (run,) = read([runs / "a"])
    scenario = run.scenario | {"components": {"n0": {"container": {"environment": {"TOKEN": "hunter2"}}}}}
    for others in ([], [run]):
        text = render([Run("b", run.result, scenario), *others])
        assert "TOKEN" in text and "hunter2" not in text


def test_ten_thousand_requests_are_fast_and_small(runs, tmp_path):
    (run,) = read([runs / "a"])
    random = np.random.default_rng(1)
    template = run.result.requests.rows[0]
    place = {name: i for i, name in enumerate(run.result.requests.columns)}
    rows = []
    for i, gaps in enumerate((random.lognormal(0, 1, (10_000, 5)) * 1e9).astype(int).tolist()):
        row = list(template)
        stamps = np.cumsum(gaps).tolist()
        for name, value in zip(("arrival", "queued", "scheduled", "first_token", "end"), stamps, strict=True):
            row[place[name]] = value
        row[place["id"]], row[place["ttft"]], row[place["e2el"]] = i, stamps[3] - stamps[0], stamps[4] - stamps[0]
        row[place["tpot"]] = (stamps[4] - stamps[3]) // 100
        rows.append(tuple(row))
    series = Table(run.result.series.columns, [(i, *run.result.series.rows[0][1:]) for i in range(1, 3601)])
    Result(run.result.metrics, Table(run.result.requests.columns, rows), series).write(tmp_path)
    shutil.copy(runs / "a" / "scenario.yaml", tmp_path)
    started = time.process_time()
    text = render(read([tmp_path]))
    assert time.process_time() - started < 2
    assert len(text.encode()) < 6e6


@pytest.mark.parametrize("name", loading.bundled())
def test_scenario_yaml_is_the_scenario(name, tmp_path):
    scenario, _ = loading.load(name)
    (tmp_path / "scenario.yaml").write_text(loading.as_yaml(scenario))
    again, _ = loading.load(str(tmp_path / "scenario.yaml"))
    assert again == scenario and loading.digest(again) == loading.digest(scenario)


def test_a_run_that_finished_nothing_has_a_page(runs, browser, tmp_path):
    (run,) = read([runs / "a"])
    empty = {key: None if key.endswith("_ms") else value for key, value in run.result.metrics.items()}
    empty["metronome"] = run.own | {"status": "failed", "error": "n0.dram died", "error_bars": None, "energy_j": None}
    result = Result(empty, Table(run.result.requests.columns, []), Table(run.result.series.columns, []))
    path = tmp_path / "empty.html"
    path.write_text(render([Run("a", result, None)]), encoding="utf-8")
    with Page(browser, path) as page:
        assert "n0.dram died" in page.do("document.querySelector('.warning').innerText")
        assert page.axe() == [] and page.said == []


def test_every_key_of_result_json_is_explained(runs):
    from metronome.orchestrator.report.html.keys import MEANINGS

    for folder in ("a", "split"):
        metrics = json.loads((runs / folder / "result.json").read_text())
        own = [f"metronome.{key}" for key in metrics.pop("metronome")]
        missing = [
            key for key in [*metrics, *own] if key not in MEANINGS and f"*_{key.partition('_')[2]}" not in MEANINGS
        ]
        assert missing == []


def _swap(path, old, new):
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "result.json").unlink(), "result.json: is missing: not the folder of a run"),
        (lambda folder: (folder / "result.json").write_text("{"), "result.json: cannot be read"),
        (
            lambda folder: (folder / "result.json").write_text("{}"),
            "result.json: is no run's: metronome: Field required",
        ),
        (lambda folder: (folder / "scenario.yaml").write_text("a: ["), "scenario.yaml:2: YAML: is malformed"),
        (lambda folder: (folder / "scenario.yaml").write_text("a: 1"), "scenario.yaml"),
        (
            lambda folder: (folder / "timeseries.csv").write_text("t\n1\n"),
            "timeseries.csv: prompt_throughput, generation_throughput, ",
        ),
        (lambda folder: _swap(folder / "requests.csv", "chat-0,", "chat-0,x"), "input: must be numbers"),
        (lambda folder: _swap(folder / "result.json", '"seed"', '"sead"'), "metronome.seed: is missing"),
        (lambda folder: (folder / "requests.csv").unlink(), "requests.csv: table: cannot be read"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(runs, cli, tmp_path, spoil, says):
    folder = tmp_path / "run"
    shutil.copytree(runs / "a", folder)
    spoil(folder)
    done = cli("report", folder)
    assert done.exit_code == 2 and says in done.output and "Traceback" not in done.output


def test_folders_of_one_name_are_told_apart():
    from metronome.orchestrator.report.html.run import _labels

    assert _labels([Path("x/a"), Path("x/b")]) == ["a", "b"]
    assert _labels([Path("x/a"), Path("y/a")]) == ["x/a", "y/a"]
    assert _labels([Path("x/a"), Path("x/a")]) == ["a (1)", "a (2)"]


def test_goodput_is_not_drawn_where_classes_have_their_own_slo(small, tmp_path):
    load = small["workload"]
    mixed = small | {
        "slo": {"ttft_ms": 50},
        "workload": {"format": "mixture", "classes": [{"name": "a", "workload": load}]},
    }
    metronome.run(mixed, tmp_path / "one")
    assert goodput(read([tmp_path / "one"])) is not None
    mixed["workload"]["classes"][0]["slo"] = {"ttft_ms": 500}
    metronome.run(mixed, tmp_path / "own")
    assert goodput(read([tmp_path / "own"])) is None


def test_a_run_without_an_slo_has_no_requests_within_it(small, tmp_path):
    metronome.run(small | {"slo": {"ttft_ms": 50}}, tmp_path / "promised")
    metronome.run(small, tmp_path / "free")
    chart = goodput(read([tmp_path / "promised", tmp_path / "free"]))
    assert [line.label for line in chart.series] == ["promised, sent", "promised, within the SLO", "free, sent"]
    assert len(chart.head) == len(chart.rows[0]) == 4 and "free states no SLO" in chart.about


def test_counts_are_whole_numbers(small, tmp_path):
    metronome.run(small, tmp_path / "a", overrides={"workload.num_requests": 6})
    (done,) = (card for card in figures.cards(read([tmp_path / "a"])[0]) if card.name == "Completed")
    assert done.text == "6" and done.notes[0].endswith("; 0 not done")
    rows = {row.name: row.cells[0].text for row in figures.total_rows(read([tmp_path / "a"]))}
    assert rows["Requests completed"] == "6"
