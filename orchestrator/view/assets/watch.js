// A run that is going on elsewhere: asked how far it is, once a second, until it is over.
const EVERY_MS = 1000;
const whole = (value) => Math.round(value).toLocaleString('en');
const figure = (value) => (value === null ? '–' : value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 1 : 0 }));
function clock(seconds) {
  const [h, m, s] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  return h ? `${h} h ${m} min` : m ? `${m} min ${s} s` : `${s} s`;
}

function chart(data) {
  const most = Math.max(...data.tokens_per_s, 0), kind = 'http://www.w3.org/2000/svg';
  const bars = data.tokens_per_s.map((value, i) => {
    const bar = document.createElementNS(kind, 'rect'), height = most ? (110 * value) / most : 0;
    const place = { x: i * 10 + 1, y: 115 - height, width: 8, height, class: 'watch-bar' };
    for (const [name, at] of Object.entries(place)) bar.setAttribute(name, at);
    return bar;
  });
  const span = data.bin_s * data.tokens_per_s.length;
  $('chart-says').textContent = most ? `up to ${whole(most)} tokens/s within ${figure(span)} s simulated` : 'nothing yet';
  $('chart').replaceChildren($('chart-says'), ...bars);
}

function show(now) {
  const of = now.total === null ? '' : ` of ${whole(now.total)}`;
  document.title = `${whole(now.done)}${of} · Metronome view`;
  $('title').textContent = now.scenario;
  $('far').textContent = `${whole(now.done)}${of} requests finished, ${figure(now.simulated_s)} s simulated in ${clock(now.wall_s)}`;
  $('bar').hidden = now.total === null;
  if (now.total) $('bar').value = now.done / now.total;
  const eta = now.total === null ? 'no ETA: its scenario does not say how many requests there are' : now.eta_s === null ? 'no ETA yet' : `ready in ${clock(now.eta_s)}`;
  $('eta').textContent = now.alive ? eta : 'its process is gone and has left no results: it was killed';
  const names = { ttft: 'TTFT (ms)', tpot: 'TPOT (ms)', e2el: 'end to end (ms)' };
  const rows = now.latencies.map(({ name, figures }) => [names[name], ...figures.map(figure)]);
  $('latencies').replaceChildren(table(['latency', 'mean', 'median', 'p90', 'p99'], rows));
  const { requests, tokens } = now.throughput;
  $('throughput').textContent = `${figure(requests)} requests/s, ${figure(tokens)} output tokens/s of simulated time; ${plural(now.preemptions, 'preemption')}`;
  $('instances').replaceChildren(table(['instance', 'finished'], now.instances.map(([name, count]) => [name, whole(count)])));
  chart(now.chart);
}

async function watch() {
  try {
    const now = await heard(answer('/api/watch'));
    if (now.over) return location.reload();
    show(now);
    document.body.dataset.ready = '';
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  setTimeout(watch, EVERY_MS);
}
watch();
