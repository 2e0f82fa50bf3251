// Moves, tabs, keys, and hearing of a run under way.
const LOADERS = { engines: loadEngines, requests: loadRequests, cluster: loadCluster, messages: loadMessages, state: loadState, futures: loadFutures };
let seen = -1, runs = false, drawnAt = 0, resting = [], loading = 0;

let busy = 0;
// Until nothing is under way any more: neither a run nor a question of this page.
async function during(job) {
  busy += 1;
  mark();
  try { await job(); } finally { busy -= 1; mark(); }
}
const mark = () => document.body.toggleAttribute('data-busy', busy > 0 || runs || Boolean(view.here?.running));

const move = (verb, arg = '') => during(async () => {
  renderHere(await act('move', { verb, arg }));
  if (!view.here.running) await look(false);
});
const refresh = () => during(() => look(true));
async function look(again) {
  if (again) renderHere(await ask('here'));  // looks are made of it
  const [chain, events] = await Promise.all([ask('chain'), ask('events'), loadTab()]);
  renderChain(chain);
  renderEvents(events);
  follow();
}
const atRest = () => new Promise((done) => resting.push(done));

async function loadTab() {
  const mine = ++loading, wanted = view.tab;
  $('panel').setAttribute('aria-busy', 'true');
  let made;
  try { made = await LOADERS[wanted](); } catch (error) { if (!(error instanceof Refusal)) throw error; made = [el('p', {}, error.message)]; if (wanted === 'requests') { view.request = null; made.push(...await LOADERS[wanted]()); } }
  if (mine !== loading) return;
  const typing = [...$('panel').querySelectorAll('[id^=fork-]')].filter((one) => one.value).map((one) => [one.id, one.value]);
  const focus = document.activeElement?.id;
  $('panel').replaceChildren(...made);
  for (const [id, value] of typing) if ($(id) && [...($(id).options || [{ value }])].some((one) => one.value === value)) $(id).value = value;
  if (typing.some(([id]) => id === focus)) $(focus)?.focus();
  $('panel').removeAttribute('aria-busy');
}
async function tab(name) {
  view.tab = name;
  for (const one of document.querySelectorAll('[role=tab]')) {
    const chosen = one.id === `tab-${name}`;
    one.setAttribute('aria-selected', String(chosen));
    one.tabIndex = chosen ? 0 : -1;
  }
  $('panel').setAttribute('aria-labelledby', `tab-${name}`);
  const both = line.parts.length > 1;
  await loadTab();
  if (both || beside()) load();
}

// A run under way ------------------------------------------------------------------------------------
async function hearing() {
  for (;;) {
    try { await hear(); } catch { /* tried again below; what is asked meanwhile says that nobody answers */ }
    await new Promise((done) => setTimeout(done, 2000));
  }
}
async function hear() {
  const response = await fetch('/api/progress', { headers: { 'X-Metronome-Token': token } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split('\n\n');
    text = parts.pop();
    for (const part of parts) progress(JSON.parse(part.slice('data: '.length)));
  }
}
function progress(said) {
  const began = said.running !== null;
  $('progress').hidden = !began;
  $('pause').hidden = !began;
  if (began) {
    const part = said.back ? null : said.total ? said.done / said.total : said.events ? said.position / said.events : null;
    if (part === null) $('bar').removeAttribute('value');
    else $('bar').value = part;
    const many = said.total ? `${said.done.toLocaleString('en')} of ${said.total.toLocaleString('en')} requests` : plural(said.done, 'request');
    $('progress-text').textContent = said.back ? `searching back, at event ${said.position.toLocaleString('en')}` : `${short(said.now_ps)} simulated, event ${said.position.toLocaleString('en')}, ${many} done, ${said.wall_s} s` + (said.eta_s === null ? '' : `, ETA ${said.eta_s} s`);
    if (said.running === view.s && performance.now() - drawnAt > 700) { drawnAt = performance.now(); load(); }
  } else if (runs) {
    refresh();
    resting.splice(0).forEach((done) => done());
  } else if (view.here) {  // another page, most likely: what this one has done it knows from the answer
    setTimeout(() => { if (said.version > seen && !runs) refresh(); }, 250);
  }
  runs = began;
  mark();
}

// Keys and buttons -----------------------------------------------------------------------------------
const KEYS = { s: 'step', b: 'back', n: 'next', f: 'finish', c: 'continue', r: 'reverse-continue' };
function typed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, textarea, dialog')) return;
  const act = {
    '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2), 0: showAll, '.': showHere,
    p: () => heard(answer('/api/pause', { method: 'POST', body: '{}' })), g: () => $('go-to').focus(), '?': () => $('keys').showModal(),
  }[event.key] || (KEYS[event.key] && (() => press(KEYS[event.key])));
  if (!act) return;
  event.preventDefault();
  act();
}
function press(name) {
  const made = document.querySelector(`[data-move="${name}"]`);
  if (!made.disabled) made.click();
}
function tabKeys(event) {
  const all = [...document.querySelectorAll('[role=tab]')], by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const next = all[(all.indexOf(document.activeElement) + by + all.length) % all.length];
  next.focus();
  next.click();
}

async function start() {
  for (const made of document.querySelectorAll('[data-move]')) made.addEventListener('click', () => move(made.dataset.move));
  for (const made of document.querySelectorAll('[data-zoom]')) made.addEventListener('click', { in: () => zoom(0.5), out: () => zoom(2), here: showHere, all: showAll }[made.dataset.zoom]);
  for (const made of document.querySelectorAll('[role=tab]')) made.addEventListener('click', () => tab(made.id.slice('tab-'.length)));
  $('tabs').addEventListener('keydown', tabKeys);
  $('pause').addEventListener('click', () => heard(answer('/api/pause', { method: 'POST', body: '{}' })));
  $('go').addEventListener('submit', (event) => { event.preventDefault(); move('seek', $('go-to').value.trim()); });
  $('stop-form').addEventListener('submit', async (event) => { event.preventDefault(); await addStop($('stop-text').value); $('stop-text').value = ''; });
  $('help').addEventListener('click', () => $('keys').showModal());
  document.addEventListener('keydown', typed);
  $('legend').append(...Object.entries(PHASES).map(([name, colour]) => el('span', {}, key(colour), name)), el('span', {}, 'Instances and what is done for them have a colour each; shaded: what lies ahead.'));
  renderHere(await ask('here'));
  showAll();
  listen();
  hearing();
  await during(() => look(false));
  document.body.dataset.ready = 'yes';
}
start();
