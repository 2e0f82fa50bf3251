"""The page in a real browser: a session by clicks, what it draws, whom it asks, who can use it, how soon it answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .served import Served

PATIENCE = 30_000  # ms, of a slow machine


class Page:
    """An open page, and what it said and asked for."""

    def __init__(self, browser, served: Served, **context) -> None:
        self.context = browser.new_context(**context)
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(served.address)
        self.page.wait_for_selector("body[data-ready]")
        self.do, self.click, self.origin = self.page.evaluate, self.page.click, f"http://127.0.0.1:{served.port}/"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        said, strangers = self.said, [url for url in self.asked if not url.startswith(self.origin)]
        self.context.close()
        if kind is None:
            assert (said, strangers) == ([], []), "no error, and nobody else is asked"

    def move(self, name: str) -> str:
        """Click a move and wait until the session rests; what it says then."""
        self.click(f"[data-move={name}]")
        return self.rest()

    def rest(self) -> str:
        """Until nothing is under way: neither a run nor a question."""
        self.page.wait_for_selector("body:not([data-busy])")
        self.page.wait_for_selector("#panel:not([aria-busy])")
        return self.text("#where")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def event(self) -> int:
        found = re.match(r"event (\d+) at", self.text("#where")) or re.search(
            r"after ([\d,]+) events", self.text("#where")
        )
        return int(found[1].replace(",", ""))

    def axe(self) -> list[str]:
        """Violations; of a long list it looks at the first of its kind."""
        import axe_playwright_python

        self.do((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
        self.do(
            "document.querySelectorAll('tbody').forEach((t) => [...t.rows].slice(3).forEach((row) => row.remove()))"
        )
        self.do(
            "document.querySelectorAll('#events, #chain').forEach((l) => [...l.children].slice(4).forEach((i) => i.remove()))"
        )
        found = self.do("axe.run(document, {resultTypes: ['violations']})")
        return [f"{v['id']}: {[node['target'] for node in v['nodes']]}" for v in found["violations"]]


#: pixels of the time line that are neither empty nor grey
INK = """() => {
  const canvas = document.querySelector('#plot');
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let ink = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    const [r, g, b, a] = pixels.slice(i, i + 4);
    if (a > 100 && Math.max(r, g, b) - Math.min(r, g, b) > 60) ink++;
  }
  return ink;
}"""


@pytest.fixture(scope="module")
def served():
    with Served("slow-link") as served:
        served.move("end")
        yield served


def where(transcript: str) -> list[int]:
    """Numbers of the events that the console's prompts name."""
    return [int(number) for number in re.findall(r"^\[(\d+) ", transcript, re.M)]


def test_a_session_by_clicks_ends_where_the_console_s_does(browser, cli, tmp_path):
    script = tmp_path / "script"
    script.write_text(
        "continue\nbreak uplink-1\nreverse-continue\nreverse-continue\nstep\nreverse-step\nwhy 3\n"
        "seek 474\nset router/policy round-robin\ndelete 1\ncontinue\nwhen\n"
    )
    done = cli("debug", "slow-link", "-x", script, "--batch")
    assert done.exit_code == 0, done.output
    _, end, _, hit, before, after, back, *_, last = where(done.output)
    with Served("slow-link") as served, Page(browser, served) as page:
        page.move("continue")
        assert page.event() == end - 1 and "end of the run" in page.text("#where")
        page.click("#names button:has-text('uplink-1')")
        page.click("#picked button:has-text('Stop at every event')")
        page.page.wait_for_selector("#stops:has-text('break uplink-1')")
        page.move("reverse-continue")
        assert page.event() == hit
        page.move("reverse-continue")
        assert page.event() == before
        page.move("step")
        assert page.event() == after
        page.move("back")
        assert page.event() == back
        page.click("#tab-requests")
        page.page.fill("#why-id", "3")
        page.click("#panel form button")
        page.page.wait_for_selector("#why")
        words = done.output.split("why 3\n")[1].split("\n[")[0]
        page.click("#why summary")
        assert page.text("#why pre").strip() == words.strip(), "the words are the console's"
        assert "the whole, to the picosecond" in page.text("#why")
        page.page.fill("#go-to", "474")
        page.page.press("#go-to", "Enter")
        page.page.wait_for_selector("#where:has-text('event 474')")
        page.click("#tab-futures")
        page.page.wait_for_selector("#fork-since:has-text('event 474')")
        page.page.fill("#fork-path", "router/policy")
        page.page.fill("#fork-value", "round-robin")
        page.click("#panel button:has-text('Fork')")
        page.page.wait_for_selector("#sessions button[aria-current]")
        page.rest()
        assert page.event() == 474
        assert "As it was" in page.text("#sessions") and page.page.locator("#both").count() == 1
        page.move("continue")
        assert page.event() == last - 1, "both have as many events"
        assert "They part at event" in page.text("#panel") and "mean latency" in page.text("#panel")
        page.page.wait_for_selector("#names:has-text('decode, as it was')")
        page.click("#sessions button:has-text('As it was')")
        page.page.wait_for_selector("#sessions span:first-child button[aria-current]")
        page.rest()
        assert page.event() == 474, "the run as it was rests where it did"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)], ids=str)
def test_every_look_is_accessible_and_fits(browser, served, scheme, width, tmp_path):
    with Page(browser, served, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        page.page.wait_for_function(f"({INK})() > 300")  # the time line is drawn, wherever the session rests
        page.do("move('seek', '474')")
        page.page.wait_for_selector("#where:has-text('event 474')")
        page.do("whyOf(3)")
        page.page.wait_for_selector("#why")
        page.click("#names button:has-text('decode')")
        for name in ("requests", "engines", "cluster", "messages", "state", "futures"):
            page.click(f"#tab-{name}")
            page.page.wait_for_selector("#panel:not([aria-busy])")
            assert page.do("document.documentElement.scrollWidth") <= width, f"{name}: the page never scrolls sideways"
            assert page.axe() == [], name
        page.click("#help")
        assert page.axe() == [], "keys"


def test_an_empty_time_line_would_be_noticed(browser, served):
    with Page(browser, served) as page:
        assert page.do(f"() => {{ document.querySelector('#plot').width = 300; return ({INK})(); }}") == 0


def test_looks_that_come_before_the_first_time_line_wait_for_it(browser, served):
    with Page(browser, served) as page:
        assert page.do("() => { line.parts = []; line.known = ''; follow(); follow(); return line.parts.length; }") == 0
        page.page.wait_for_function("() => line.parts.length > 0")


def test_it_goes_by_keyboard_alone(browser, served):
    there = served.move("seek", "2500ms")["position"]
    with Page(browser, served) as page:
        key = page.page.keyboard.press
        page.do("move('seek', '1000')")
        page.page.wait_for_selector("#where:has-text('event 1000')")
        key("s")
        page.page.wait_for_selector("#where:has-text('event 1001')")
        key("b")
        page.page.wait_for_selector("#where:has-text('event 1000')")
        key("g")
        page.page.keyboard.type("2500ms")
        key("Enter")
        page.page.wait_for_selector(f"#where:has-text('event {there}')")
        page.page.focus("#line")
        before = page.text("#window")
        key("+")
        assert page.text("#window") != before
        key("ArrowDown")
        key("Enter")
        assert "step" in page.text("#picked")
        for _ in range(60):
            key("+")
        assert re.match(r"\d+ ps from", page.text("#window")), "down to picoseconds"
        key("0")
        assert page.text("#window").startswith("11.")


def test_wheel_drag_and_click_on_the_time_line(browser, served):
    with Page(browser, served) as page:
        box = page.page.locator("#plot").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + 45
        page.page.mouse.move(x, y)
        whole = page.text("#window")
        for _ in range(12):
            page.page.mouse.wheel(0, -300)
        page.page.wait_for_timeout(400)
        near = page.text("#window")
        assert near != whole and "ms from" in near
        page.page.mouse.down()
        page.page.mouse.move(x + 120, y, steps=4)
        page.page.mouse.up()
        assert page.text("#window") != near and page.page.is_hidden("#picked"), "a drag is no click"
        page.rest()
        page.page.wait_for_timeout(300)
        found = page.do("""() => { for (let x = 2; x < width(); x += 3) for (const t of line.tracks) {
            const hit = find(x, t.y + 3); if (hit && hit.group === 'instance' && hit.many === 1) return [x, t.y + 3, hit.begun]; } }""")
        page.page.mouse.click(box["x"] + found[0], box["y"] + found[1])
        page.click("#picked button:has-text('Go to its begin')")
        page.page.wait_for_selector(f"#where:has-text('event {found[2]}')")
