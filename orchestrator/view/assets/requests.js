// Why a request took so long, as a picture that adds up and in words.
const CAUSES = { waiting: '--waiting', compute: '--decode', network: '--moving', host: '--host', memory: '--line-5' };
const causeOf = (what) => CAUSES[what] || '--line-4';

function whyOf(id) {
  view.request = id;
  tab('requests');
}

async function loadRequests() {
  const form = el('form', { class: 'row', onsubmit: (event) => { event.preventDefault(); whyOf(Number($('why-id').value)); } },
    el('label', { for: 'why-id' }, 'Why was request'),
    el('input', { id: 'why-id', inputmode: 'numeric', pattern: '[0-9]+', required: true, value: view.request ?? '' }), el('button', {}, 'so slow?'));
  const made = [form];
  if (view.request !== null) made.push(...await explain(view.request));
  made.push(...await list());
  return made;
}

async function explain(id) {
  const why = await ask('why', { request: id });
  const total = big(why.total_ps), first = why.first_ps === null ? null : big(why.first_ps);
  const until = why.done ? 'from arrival to last token' : 'from arrival to now, not done';
  const made = el('div', { class: 'engine', id: 'why' },
    el('h3', {}, `Request ${id}: ${ms(total)} ${until}`),
    el('p', { class: 'muted' }, (first === null ? 'No token yet.' : `First token after ${ms(first)}.`) + (why.cached === null ? '' : ` Of ${why.prompt.toLocaleString('en')} prompt tokens ${why.cached.toLocaleString('en')} were in the prefix cache${Object.entries(why.recalled).map(([tier, tokens]) => `, ${tokens.toLocaleString('en')} in ${tier}`).join('')}.`)));
  made.append(stack('before its first token', why.parts, 'before_ps', total), stack('after it', why.parts, 'after_ps', total));
  let sum = 0n;
  const rows = why.parts.map((part) => {
    const both = big(part.before_ps) + big(part.after_ps);
    sum += both;
    const who = el('span', {}, key(causeOf(part.what)), `${part.what}: ${part.who}`);
    return [who, ms(part.before_ps), ms(part.after_ps), percent(share(both, total))];
  });
  const of = (name) => why.parts.reduce((all, part) => all + big(part[name]), 0n);
  const adds = sum === total ? 'the whole, to the picosecond' : `off by ${total - sum} ps`;
  made.append(table(['what took it', 'before first token', 'after', 'share'], rows, [0], [`sum: ${adds}`, ms(of('before_ps')), ms(of('after_ps')), total ? percent(share(sum, total)) : '']));
  made.append(...blame(why), ...steps(why));
  made.append(el('details', {}, el('summary', {}, 'In words'), el('pre', { tabindex: 0, 'aria-label': 'In words' }, why.words.join('\n'))));
  made.append(el('p', {},
    button('Show it on the time line', () => show(big(why.arrival_ps) - total / 20n, (total * 11n) / 10n + 1n)), ' ',
    button('Stop when it changes', () => addStop(`break request ${id}`))));
  return [made];
}

function stack(when, parts, name, total) {
  const whole = parts.reduce((all, part) => all + big(part[name]), 0n);
  const bar = el('div', { class: 'stack', role: 'group', 'aria-label': `Time ${when}` });
  for (const part of parts.filter((one) => big(one[name]))) {
    const text = `${part.what}: ${part.who}, ${ms(part[name])}`;
    const piece = button('', () => tell(text + (part.held.length ? `; held by ${held(part)}` : ''), part.held.map((one) => button(`Why ${one.request}?`, () => whyOf(one.request)))), { title: text, 'aria-label': text });
    piece.style.flex = `${share(part[name], total)} 0 0`;
    piece.style.background = `var(${causeOf(part.what)})`;
    bar.append(piece);
  }
  const rest = el('span');
  rest.style.flex = `${share(total - whole, total)} 0 0`;
  bar.append(rest);
  return el('div', {}, el('p', { class: 'hint' }, `${ms(whole)} ${when}`), bar);
}
const held = (part) => part.held.slice(0, 3).map((one) => `request ${one.request} (${percent(one.share)})`).join(', ');

function blame(why) {
  const found = why.parts.filter((part) => part.held.length);
  if (!found.length) return [];
  return [el('h3', {}, 'Who held what it waited for'), ...found.map((part) => el('p', {}, `${part.who}: `,
    ...part.held.flatMap((one, i) => [i ? ', ' : '', button(`request ${one.request}`, () => whyOf(one.request), { class: 'link' }), ` ${percent(one.share)}`])))];
}
function steps(why) {
  if (!why.steps.length) return [];
  const rows = why.steps.map((step) => {
    const layers = {};
    for (const part of step.parts) layers[`${part.who}: ${part.layer}`] = (layers[`${part.who}: ${part.layer}`] || 0n) + big(part.took_ps);
    const most = Object.entries(layers).sort((a, b) => (b[1] > a[1] ? 1 : b[1] < a[1] ? -1 : 0)).slice(0, 3).map(([name, took]) => `${name} ${short(took)}`).join(', ');
    const whose = step.prompts.map((one) => `${one.tokens} of request ${one.request}`).slice(0, 3).join(', ');
    const name = button(`step ${step.number} of ${step.instance}`, () => show(big(step.start_ps) - big(step.took_ps) / 4n, (big(step.took_ps) * 3n) / 2n), { class: 'link' });
    return [name, short(step.took_ps), most, whose || 'none'];
  });
  return [el('h3', {}, 'Its longest steps'), table(['step', 'took', 'most of it', 'prompt tokens in it'], rows, [0, 2, 3])];
}

async function list() {
  const data = await ask('requests');
  const link = (id) => button(String(id), () => whyOf(id), { class: 'link', 'aria-label': `Why request ${id}` });
  const made = [];
  if (data.slowest.length) {
    made.push(el('h3', {}, `The slowest of ${plural(data.done, 'request')} that ${data.done === 1 ? 'is' : 'are'} done`));
    made.push(table(['request', 'latency', 'first token after'], data.slowest.map((one) => [link(one.id), ms(one.latency_ps), ms(one.ttft_ps)])));
  }
  if (data.alive.length) {
    made.push(el('h3', {}, `${plural(data.alive.length + data.more, 'request')} under way`));
    made.push(table(['request', 'state', 'engine', 'tokens produced'], data.alive.map((one) => [link(one.id), one.state, one.engine, String(one.produced)]), [0, 1, 2]));
  }
  if (data.failed.length) made.push(el('h3', {}, 'Not served'), table(['request', 'why'], data.failed.map((one) => [String(one.id), one.reason]), [0, 1]));
  if (!made.length) made.push(el('p', { class: 'muted' }, 'No request has arrived yet.'));
  return made;
}
