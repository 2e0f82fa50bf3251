// What is at the moment: the event, its causes, stops, engines, messages, the tree of state.
function renderHere(here) {
  view.here = here;
  seen = Math.max(seen, here.version);
  document.title = `${here.scenario} - Metronome view`;
  $('title').textContent = here.scenario;
  const modes = { live: 'live', past: 'past: all of it is known', recording: 'recording', end: 'end of the run' };
  $('where').replaceChildren(
    here.mode === 'end' ? `${ms(here.now_ps)}, after ${plural(here.frontier, 'event')}` : `event ${here.position} at ${ms(here.now_ps)}`,
    el('span', { class: 'mode' }, modes[here.mode]),
  );
  const text = here.text.replace(/^event \d+ at [\d.]+ ms: /, '');
  $('what').textContent = [here.failure || here.reason, here.mode === 'end' ? '' : text].filter(Boolean).join('\n');
  for (const made of document.querySelectorAll('[data-move]')) {
    const forward = ['step', 'next', 'finish', 'continue', 'end'].includes(made.dataset.move);
    made.disabled = here.running || (forward ? here.mode === 'end' || Boolean(here.failure) : here.position === 1);
  }
  renderSessions(here);
  renderStops(here.stops);
}

function renderSessions(here) {
  const several = here.sessions.length > 1;
  $('sessions').hidden = !several;
  $('sessions').replaceChildren(...here.sessions.map((session, i) => el('span', {},
    button(i ? session.title : 'As it was', () => change(session.number), { 'aria-current': session.number === view.s ? 'true' : null }),
    i ? button('×', async () => { if (view.s === session.number) view.s = here.sessions[0].number; await act('close', { s: session.number }); await refresh(); }, { class: 'close', 'aria-label': `Close ${session.title}` }) : null,
  )));
}

function renderStops(stops) {
  $('stops').replaceChildren(...stops.map((stop) => el('li', {},
    el('span', { class: stop.hit ? 'hit' : stop.enabled ? '' : 'off' }, `${stop.number}: ${stop.text}`, el('span', { class: 'muted' }, stop.hits ? `, ${plural(stop.hits, 'hit')}` : '')),
    small(stop.enabled ? 'Off' : 'On', () => changeStop(stop.number, stop.enabled ? 'disable' : 'enable'), { 'aria-label': `${stop.enabled ? 'Disable' : 'Enable'} stop ${stop.number}` }),
    small('Delete', () => changeStop(stop.number, 'delete'), { 'aria-label': `Delete stop ${stop.number}` }),
  )));
  if (!stops.length) $('stops').append(el('li', { class: 'muted' }, 'None yet.'));
}
async function addStop(text) {
  renderHere(await act('stop', { text }));
  arrange();
}
async function changeStop(number, what) {
  renderHere(await act('change-stop', { number, what }));
  arrange();
}

const eventButton = (event, current) => button('', () => move('seek', String(event.number)), { 'aria-current': current ? 'true' : null });
function eventRow(event, current) {
  const made = eventButton(event, current);
  made.append(el('span', {}, String(event.number)), el('span', {}, ms(event.time_ps)), el('span', {}, `${event.source}: ${event.kind} ${event.about}`));
  return el('li', {}, made);
}
function renderEvents(data) {
  $('events').replaceChildren(...data.events.map((event) => eventRow(event, event.number === data.position)));
  const current = $('events').querySelector('[aria-current]');
  if (current) $('events').scrollTop = current.offsetTop - $('events').offsetTop - 120;
}
function renderChain(data) {
  const gap = data.left_out ? data.chain.length - data.roots : data.chain.length;
  line.chain = [data.chain.slice(0, gap), data.chain.slice(gap)];  // nothing is drawn where causes are left out
  const made = data.chain.map((event) => eventRow(event, false));
  if (data.left_out) made.splice(-data.roots, 0, el('li', { class: 'gap' }, `${data.left_out.toLocaleString('en')} more`));
  $('chain').replaceChildren(...made);
}

// Engines: queue and blocks ------------------------------------------------------------------------
const STATES = { decode: '--decode', prefill: '--prefill', waiting: '--waiting', moving: '--moving', handed: '--handed' };
async function loadEngines() {
  const data = await ask('engines');
  return data.engines.map((engine) => {
    const made = el('div', { class: 'engine' }, el('h3', {}, engine.name + (engine.role === 'both' ? '' : `, ${engine.role} only`)));
    const { size, used, cached, free } = engine.kv;
    made.append(el('p', { class: 'muted' }, `KV blocks: ${used.toLocaleString('en')} of ${size.toLocaleString('en')} held, ${cached.toLocaleString('en')} can be found by content, ${free.toLocaleString('en')} free` + (engine.preemptions ? `; ${plural(engine.preemptions, 'preemption')} so far` : '')));
    const bar = el('div', { class: 'blocks', role: 'group', 'aria-label': `KV blocks of ${engine.name} by request` });
    for (const request of engine.requests.filter((one) => one.blocks)) {
      const piece = button('', () => pickRequest(request.id), { title: `request ${request.id}: ${plural(request.blocks, 'block')}`, 'aria-label': `request ${request.id} holds ${plural(request.blocks, 'block')}` });
      piece.style.flex = `${request.blocks} 0 0`;
      piece.style.background = `var(${STATES[request.state] || '--muted'})`;
      bar.append(piece);
    }
    const rest = el('span');
    rest.style.flex = `${Math.max(0, size - used)} 0 0`;
    bar.append(rest);
    made.append(bar);
    const of = (test) => engine.requests.filter(test);
    made.append(...chips('running', of((one) => !['waiting', 'moving'].includes(one.state))), ...chips('waiting', of((one) => ['waiting', 'moving'].includes(one.state))));
    if (engine.arriving.length) made.append(...chips('in the API server', engine.arriving.map((id) => ({ id, state: 'arriving' }))));
    if (engine.blocked) made.append(el('p', {}, `The first of those that wait waits for ${engine.blocked.replace(/^for /, '')}.`));
    return made;
  });
}
function chips(what, requests) {
  const many = requests.map((one) => button(String(one.id), () => pickRequest(one.id), { class: one.state, title: [one.state, one.waits_for && `waits ${one.waits_for}`, one.blocks && plural(one.blocks, 'block')].filter(Boolean).join(', ') }));
  return [el('p', { class: 'muted' }, `${requests.length} ${what}`), ...(many.length ? [el('div', { class: 'chips' }, ...many)] : [])];
}
function pickRequest(id) {
  tell(`Request ${id}`, [
    button(`Why ${id}?`, () => whyOf(id)), button('Stop when it changes', () => addStop(`break request ${id}`)),
    button('Until it is done', () => move('finish', `request ${id}`)), button('Its state', () => stateOf(`requests/${id}`)),
  ]);
  $('picked').scrollIntoView({ block: 'nearest' });
}

// Messages -----------------------------------------------------------------------------------------
function messagesOf(name) {
  view.component = name;
  tab('messages');
}
async function loadMessages() {
  const names = view.here.components, name = names.includes(view.component) ? view.component : names[0];
  const data = await ask('messages', { component: name });
  const choice = el('select', { id: 'component', onchange: (event) => messagesOf(event.target.value) }, ...names.map((one) => el('option', { selected: one === name }, one)));
  const list = data.messages.map((one) => el('li', {}, small(`event ${one.event}`, () => move('seek', String(one.event))), ` ${one.asked}`, el('span', { class: 'answer' }, one.answer)));
  return [
    el('div', { class: 'fields' }, el('label', { for: 'component' }, 'Messages with'), choice),
    el('p', { class: 'muted' }, `The newest first, up to here. State of ${data.state}.`),
    list.length ? el('ul', { class: 'messages' }, ...list) : el('p', {}, 'No message yet.'),
  ];
}

// State --------------------------------------------------------------------------------------------
function stateOf(path) {
  view.path = path;
  tab('state');
}
async function loadState() {
  const up = view.path.split('/').slice(0, -1).join('/');
  const head = el('p', {}, el('strong', {}, `/${view.path}`), ' ', view.path ? small('Up', () => stateOf(up)) : null);
  return [head, await branch(view.path)];
}
async function branch(path) {
  const data = await ask('state', { path }), made = el('ul', { class: 'tree' });
  if (data.value) made.append(el('li', {}, data.value));
  for (const node of data.nodes) {
    const full = path ? `${path}/${node.name}` : node.name, item = el('li');
    const watch = small('watch', () => addStop(`watch ${full}`), { class: 'small watch', 'aria-label': `Stop when ${full} changes` });
    if (node.below) item.append(opener(node.name, full, item), ' ');
    else item.append(`${node.name} = ${node.value} `, watch);
    made.append(item);
  }
  if (data.left_out) made.append(el('li', { class: 'muted' }, `${data.left_out.toLocaleString('en')} more`));
  if (!data.nodes.length && !data.value) made.append(el('li', { class: 'muted' }, 'empty'));
  return made;
}
function opener(name, full, item) {
  const made = button(`${name}/`, async () => {
    const open = made.getAttribute('aria-expanded') === 'true';
    made.setAttribute('aria-expanded', String(!open));
    if (open) item.querySelector('ul').remove();
    else item.append(await branch(full));
  }, { class: 'link', 'aria-expanded': 'false' });
  return made;
}
