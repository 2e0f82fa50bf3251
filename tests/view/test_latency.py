"""A click is answered soon, however long the run."""

from __future__ import annotations

from .served import Served
from .test_browser import Page


def test_a_click_is_answered_in_200_ms_on_a_run_of_100_000_events(browser):
    """From the click until the answer is drawn. Of seven tries of each kind the quickest: others use this machine."""
    with Served("slow-link", "--set", "workload.num_requests=1900") as served, Page(browser, served) as page:
        page.click("[data-move=end]")
        page.page.wait_for_selector(".mode:has-text('end of the run')", timeout=100_000)
        page.rest()
        assert page.event() > 100_000
        took = page.do("""async () => {
          const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          const timed = async (job) => { const t = performance.now(); await job(); await drawn(); return performance.now() - t; };
          const found = {}, several = async (name, job) => { found[name] = []; for (let i = 0; i < 7; i++) found[name].push(await timed(() => job(i))); };
          await several('go', (i) => move('seek', String(1 + ((i * 7919 * 13) % 100000))));
          await several('back', () => move('back'));
          await several('step', () => move('step'));
          await several('zoom', async (i) => { show(line.end / BigInt(i + 2), line.end / BigInt(10 ** (i % 5))); await load(); });
          await several('whole', async () => { showAll(); await load(); });
          await several('stop', () => addStop('break request 5'));
          await several('cluster', () => tab('cluster'));
          await several('engines', () => tab('engines'));
          await several('state', () => tab('state'));
          await several('messages', () => tab('messages'));
          return found;
        }""")
        quickest = {name: round(min(values)) for name, values in took.items()}
        print(quickest, {name: round(max(values)) for name, values in took.items()})
        assert max(quickest.values()) < 200, quickest
