// Another value from here on, or from the start, and both futures side by side.
async function loadFutures() {
  const { settable } = await ask('settable');
  const paths = el('datalist', { id: 'paths' }, ...settable.map((one) => el('option', { value: one.path }, one.value)));
  const since = el('select', { id: 'fork-since', onchange: () => hint() },
    view.here.mode === 'end' ? null : el('option', { value: 'here' }, `here, event ${view.here.position}`), el('option', { value: 'start' }, 'the start: any field of the scenario'));
  const path = el('input', { id: 'fork-path', list: 'paths', autocomplete: 'off', spellcheck: 'false', required: true, oninput: () => hint() });
  const said = el('p', { class: 'muted hint' });
  const hint = () => {
    const now = settable.find((one) => one.path === path.value);
    said.textContent = since.value === 'start' ? 'A path as of --set: cluster.networks.0.bandwidth_gb_s, instances.0.engine.max_num_seqs.'
      : now ? `It is ${now.value} now.` : 'A flag of an engine, or router/policy. What was before stays as it is, components and all.';
  };
  const form = el('form', { onsubmit: async (event) => { event.preventDefault(); await forked(since.value, path.value, $('fork-value').value); } },
    el('h3', {}, 'What if'),
    el('div', { class: 'fields' }, el('label', { for: 'fork-since' }, 'From'), since, el('label', { for: 'fork-path' }, 'this'), path,
      el('label', { for: 'fork-value' }, 'were'), el('input', { id: 'fork-value', autocomplete: 'off', spellcheck: 'false', required: true })),
    said, el('button', { class: 'main' }, 'Fork'), paths);
  hint();
  return [form, ...await sideBySide()];
}
async function forked(since, path, value) {
  const before = view.s, made = await act('fork', { path, value, since });
  view.other = before;
  for (const id of ['fork-path', 'fork-value']) $(id).value = '';
  await change(made.session);
}
async function change(number) {
  if (number !== view.s) view.other = view.s;
  view.s = number;
  view.selected = null;
  $('picked').hidden = true;
  await refresh();
}

async function sideBySide() {
  const sessions = view.here.sessions, numbers = sessions.map((one) => one.number);
  if (numbers.length < 2) return [el('p', { class: 'muted' }, 'The run as it was stays open beside every fork.')];
  if (!numbers.includes(view.other) || view.other === view.s) view.other = numbers.find((one) => one !== view.s);
  const title = titleOf;
  const pair = [view.s, view.other].sort((a, b) => a - b), data = await ask('compare', { s: pair[0], other: pair[1] });
  const [one, other] = data.sides, made = [el('h3', {}, 'Side by side')];
  if (numbers.length > 2) {
    made.push(el('div', { class: 'fields' }, el('label', { for: 'other' }, 'with'), el('select', { id: 'other', onchange: (event) => { view.other = Number(event.target.value); tab('futures'); } },
      ...numbers.filter((n) => n !== view.s).map((n) => el('option', { value: n, selected: n === view.other }, title(n))))));
  }
  const unfinished = pair.filter((_, i) => !data.sides[i].ended);
  if (unfinished.length) made.push(el('p', {}, button('Run both to the end', () => both(unfinished), { class: 'main', id: 'both' })));
  made.push(el('p', {}, data.parts_at ? `They part at event ${data.parts_at.event}: ` : 'They do not differ as far as they are known.',
    ...(data.parts_at ? [el('br'), `${title(pair[0])}: ${data.parts_at.one}`, el('br'), `${title(pair[1])}: ${data.parts_at.other}`] : [])));
  const figures = [['requests done', 'done', 0], ['simulated', 'now_ps', 0]];
  for (const [name, what] of [['TTFT', 'ttft'], ['TPOT', 'tpot'], ['latency', 'e2el']]) for (const which of ['mean', 'median', 'p99']) figures.push([`${which} ${name}`, `${which}_${what}`, 1]);
  made.push(table(['figure', title(pair[0]), title(pair[1]), 'change'], figures.map(([text, name, isTime]) => [text, figure(name, one), figure(name, other), isTime ? difference(one[name], other[name]) : ''])));
  if (data.changed_count) {
    made.push(el('h3', {}, `${plural(data.changed_count, 'request')} of ${data.both} done in both fare differently; the most`));
    made.push(table(['request', title(pair[0]), title(pair[1]), 'change'], data.changed.map((row) => [button(String(row.id), () => whyOf(row.id), { class: 'link' }), ms(row.one_ps), ms(row.other_ps), difference(Number(row.one_ps) / 1e9, Number(row.other_ps) / 1e9)])));
  }
  return made;
}
async function both(unfinished) {
  const mine = view.s;
  for (const number of unfinished) {
    await act('move', { s: number, verb: 'end' });
    await atRest();
  }
  view.s = mine;
  await refresh();
}
function figure(name, side) {
  const value = side[name];
  if (value === undefined || value === null) return 'none yet';
  return name === 'now_ps' ? ms(value) : name === 'done' ? String(value) : `${value.toFixed(3)} ms`;
}
function difference(before, after) {
  if (before === undefined || after === undefined || before === null || after === null) return '';
  const by = after - before, text = `${by > 0 ? '+' : by < 0 ? '−' : ''}${Math.abs(by).toFixed(3)} ms` + (before ? ` (${((by / before) * 100).toFixed(1)}%)` : '');
  return el('span', { class: by < 0 ? 'better' : by > 0 ? 'worse' : '' }, text);
}
