// Talking to the server, making elements, and times: BigInt picoseconds, which no zoom rounds.
const token = new URLSearchParams(location.search).get('token') || '';
const $ = (id) => document.getElementById(id);
const view = { s: 1, here: null, tab: 'engines', request: null, component: null, path: '', other: null, selected: null };

async function answer(path, options = {}) {
  const headers = { 'X-Metronome-Token': token, ...(options.body ? { 'Content-Type': 'application/json' } : {}) };
  const response = await fetch(path, { ...options, headers });
  const data = await response.json();
  return response.ok ? data : { error: data.error || response.statusText };
}

async function heard(promise) {
  let data;
  try { data = await promise; } catch { data = { error: 'the server does not answer; was metronome view ended?' }; }
  $('error').hidden = !data.error;
  $('error').textContent = data.error || '';
  if (data.error) throw new Refusal(data.error);
  return data;
}

class Refusal extends Error {}
window.addEventListener('unhandledrejection', (event) => { if (event.reason instanceof Refusal) event.preventDefault(); });

const ask = (name, query = {}) => heard(answer(`/api/${name}?${new URLSearchParams({ s: view.s, ...query })}`));
const act = (name, body = {}) => heard(answer(`/api/${name}`, { method: 'POST', body: JSON.stringify({ s: view.s, ...body }) }));

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
const button = (text, onclick, attributes = {}) => el('button', { type: 'button', onclick, ...attributes }, text);
const small = (text, onclick, attributes = {}) => button(text, onclick, { class: 'small', ...attributes });
const plural = (count, what) => `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
function key(colour) {
  const made = el('span', { class: 'key', 'aria-hidden': 'true' });
  made.style.background = `var(${colour})`;
  return made;
}

function table(heads, rows, texts = [0], foot = null) {
  const cell = (value, i, tag) => el(tag, { class: texts.includes(i) ? 'text' : null, scope: tag === 'th' ? 'row' : null }, value);
  const row = (values) => el('tr', {}, ...values.map((value, i) => cell(value, i, i ? 'td' : 'th')));
  const head = el('tr', {}, ...heads.map((text, i) => el('th', { scope: 'col', class: texts.includes(i) ? 'text' : null }, text)));
  const made = el('table', {}, el('thead', {}, head), el('tbody', {}, ...rows.map(row)));
  if (foot) made.append(el('tfoot', {}, row(foot)));
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': heads.join(', ') }, made);
}

// Times ---------------------------------------------------------------------------------------------
const UNITS = [['s', 10n ** 12n], ['ms', 10n ** 9n], ['µs', 10n ** 6n], ['ns', 1000n], ['ps', 1n]];
const big = (value) => BigInt(value);
const abs = (value) => (value < 0n ? -value : value);

// Exact in a unit, with as many decimals as asked for.
function inUnit(ps, size, decimals) {
  const sign = ps < 0n ? '−' : '', scale = 10n ** BigInt(decimals);
  const scaled = (abs(ps) * scale * 2n + size) / (size * 2n);
  const whole = (scaled / scale).toLocaleString('en').replaceAll(',', ' ');
  return sign + whole + (decimals ? '.' + String(scaled % scale).padStart(decimals, '0') : '');
}
const ms = (ps) => `${inUnit(big(ps), 10n ** 9n, 6).replaceAll(' ', '')} ms`;
function short(value) {
  const ps = big(value), [unit, size] = UNITS.find(([, size]) => abs(ps) >= size) || UNITS[4];
  const shown = abs(ps) / size, decimals = unit === 'ps' ? 0 : shown < 10n ? 3 : shown < 100n ? 2 : shown < 1000n ? 1 : 0;
  return `${inUnit(ps, size, decimals)} ${unit}`;
}
const share = (part, whole) => (big(whole) ? Number(big(part) * 1000000n / big(whole)) / 1e6 : 0);
const percent = (part) => `${(part * 100).toFixed(1)}%`;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
