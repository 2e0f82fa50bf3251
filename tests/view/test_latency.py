"""A click is answered soon, however long the run."""

from __future__ import annotations

import statistics

from .served import Served
from .test_browser import Page

TRIES = """async () => {
  const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const found = {};
  const several = async (name, job) => {
    found[name] = [];
    for (let i = 0; i < 7; i++) {
      const began = performance.now();
      await job(i);
      await drawn();
      found[name].push(performance.now() - began);
    }
  };
  await several('go', (i) => move('seek', String(1 + ((i * 7919 * 13) % 100000))));
  await several('back', () => move('back'));
  await several('step', () => move('step'));
  await several('zoom', async (i) => { show(line.end / BigInt(i + 2), line.end / BigInt(10 ** (i % 5))); await load(); });
  await several('whole', async () => { showAll(); await load(); });
  await several('stop', () => addStop('break request 5'));
  await several('why', async (i) => { view.request = 3 + i; await tab('requests'); });
  for (const name of ['cluster', 'engines', 'state', 'messages', 'futures']) await several(name, () => tab(name));
  return found;
}"""


LIMIT_MS = 1000  # alone on the machine a fifth of that, docs/view.md; here others compute beside it


def test_a_click_is_answered_soon_on_a_run_of_100_000_events(browser):
    """From the click until the answer is drawn; the quickest of seven tries of each kind."""
    with Served("slow-link", "--set", "workload.num_requests=1900") as served:
        assert served.move("end", seconds=240)["position"] > 100_000
        with Page(browser, served) as page:
            took = page.do(TRIES)
        quickest = {name: round(min(values)) for name, values in took.items()}
        print(quickest, {name: round(statistics.median(values)) for name, values in took.items()})
        assert max(quickest.values()) < LIMIT_MS, quickest
