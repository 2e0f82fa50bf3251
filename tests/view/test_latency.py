"""A click is answered soon, however long the run."""

from __future__ import annotations

import statistics
import time

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


def crowding() -> float:
    """How much longer than alone a process takes now: 1 where it has a core for itself."""
    found = []
    for _ in range(9):
        wall, own = time.perf_counter(), time.process_time()
        while time.process_time() - own < 0.03:
            pass
        found.append((time.perf_counter() - wall) / 0.03)
    return max(1.0, statistics.median(found))


def test_a_click_is_answered_in_200_ms_on_a_run_of_100_000_events(browser):
    """From the click until the answer is drawn; of seven tries of each kind the quickest, and on a machine that others
    use as much longer as any work takes there."""
    with Served("slow-link", "--set", "workload.num_requests=1900") as served:
        assert served.move("end", seconds=240)["position"] > 100_000
        with Page(browser, served) as page:
            crowd = [crowding()]
            took = page.do(TRIES)
            crowd.append(crowding())
        quickest = {name: round(min(values)) for name, values in took.items()}
        print(quickest, {name: round(max(values)) for name, values in took.items()})
        assert max(quickest.values()) < 200 * min(crowd), (quickest, crowd)
