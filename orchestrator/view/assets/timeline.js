// The time line: columns of slices for the visible window only, on a canvas.
const AXIS = 26, GAP = 6;
const PHASES = { arriving: '--arriving', waiting: '--waiting', prefill: '--prefill', decode: '--decode', 'K and V move': '--moving', 'handed over': '--handed' };
const line = { from: 0n, span: 1n, end: 1n, whole: true, data: null, parts: [], tracks: [], chain: [], busy: false, again: false, row: null };

const width = () => $('plot').clientWidth || 600;
const least = () => BigInt(Math.max(1, Math.ceil(width() / 40)));  // a picosecond is at most 40 pixels wide
const across = (ps) => (Number(big(ps) - line.from) / Number(line.span)) * width();

function show(from, span, whole = false) {
  const most = line.end + line.end / 20n + 1n;
  line.span = span < least() ? least() : span > most ? most : span;
  line.from = from < 0n ? 0n : from + line.span > most ? (most > line.span ? most - line.span : 0n) : from;
  line.whole = whole;
  draw();
  load();
}
const showAll = () => show(0n, line.end + line.end / 50n + 1n, true);
function zoom(factor, x = width() / 2) {
  const at = line.from + BigInt(Math.round((x / width()) * Number(line.span)));
  let span = BigInt(Math.round(Number(line.span) * factor));
  if (span === line.span) span += factor > 1 ? 1n : -1n;
  if (span < least()) span = least();
  show(at - BigInt(Math.round((x / width()) * Number(span))), span);
}
const pan = (part) => show(line.from + BigInt(Math.round(Number(line.span) * part)), line.span);
function showHere() {
  if (view.here) show(big(view.here.now_ps) - line.span / 2n, line.span);
}
// The present event stays in sight. What is known is asked for again only where more is known than before.
function follow() {
  const now = big(view.here.now_ps), known = `${view.s} ${beside()} ${view.here.frontier}`;
  if (!line.whole && (now < line.from || now > line.from + line.span)) showHere();
  else if (known === line.known) { arrange(); draw(); } else if (line.whole) showAll();
  else load();
  line.known = known;
}

async function load() {
  if (line.busy) { line.again = true; return; }
  line.busy = true;
  try {
    do {
      line.again = false;
      const s = view.s, whole = line.whole, window_ = { from: line.from, span: line.span, width: Math.round(width()) };
      const other = beside(), [data, fellow] = await Promise.all([ask('timeline', window_), other && ask('timeline', { ...window_, s: other })]);
      if (s !== view.s || other !== beside()) { line.again = true; continue; }
      line.data = data;
      line.parts = [{ s, ...data }, ...(fellow ? [{ s: other, ...fellow }] : [])];
      const ends = line.parts.map((part) => big(part.end_ps)), end = ends.reduce((a, b) => (a > b ? a : b), 1n);
      if (end !== line.end) {
        line.end = end;
        if (whole && line.whole) { line.span = end + end / 50n + 1n; line.from = 0n; line.again = true; }
      }
      arrange();
      draw();
    } while (line.again);
  } finally { line.busy = false; }
}

// With two futures side by side, the other one: its instances and requests are below those of this one.
const beside = () => (view.tab === 'futures' && view.here?.sessions.some((one) => one.number === view.other) && view.other !== view.s ? view.other : null);

// Where every track is, and its name as a button; nothing before the first answer.
function arrange() {
  if (!line.parts.length) return;
  let y = 4;
  const [mine, fellow] = line.parts;
  const all = mine.tracks.flatMap((track, place) => {
    const own = { ...track, place, s: mine.s, labels: mine.labels };
    const same = fellow?.tracks.find((one) => one.group === track.group && one.name === track.name && one.group !== 'component');
    return same ? [own, { ...same, place, s: fellow.s, labels: fellow.labels, other: true }] : [own];
  });
  line.tracks = all.map((track) => {
    const count = Math.max(1, track.rows.length);
    const each = track.group === 'requests' ? Math.max(2, Math.min(9, 460 / count)) : Math.max(4, Math.min(16, 64 / count));
    const placed = { ...track, y, each, height: each * count };
    y += placed.height + GAP + (track.group === 'requests' ? 0 : Math.max(0, 16 - placed.height));
    return placed;
  });
  line.height = y + 4;
  const stopped = new Set((view.here?.stops || []).map((stop) => stop.text.split(' ')[1]?.split(':')[0]));
  $('names').style.height = `${line.height}px`;
  $('names').replaceChildren(...line.tracks.map((track) => {
    const own = track.name || 'requests', name = track.other ? `${own}, ${titleOf(track.s)}` : own, current = !track.other && view.here?.event?.source === track.name;
    const marks = { stopped: stopped.has(track.name) && !track.other, current, other: track.other };
    const made = button(name, () => pickTrack(track), { title: name, class: Object.keys(marks).filter((mark) => marks[mark]).join(' ') });
    made.style.top = `${track.y}px`;
    made.style.height = `${Math.max(14, Math.min(track.height, 22))}px`;
    return made;
  }));
}

function titleOf(number) {
  const all = view.here?.sessions || [], at = all.findIndex((one) => one.number === number);
  return at <= 0 ? 'as it was' : all[at].title;
}

function surface(canvas, height) {
  const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth || width();
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, w, height);
  return pen;
}

function colour(track, label) {
  if (track.group === 'requests') return PHASES[label] || '--muted';
  if (track.group === 'instance') return `--line-${track.place % 6}`;
  const user = label.slice(label.lastIndexOf(', ') + 2), owner = (view.here?.instances || []).indexOf(user);
  return owner < 0 ? '--moving' : `--line-${owner % 6}`;
}

function draw() {
  drawAxis();
  const pen = surface($('plot'), line.height || 60), w = width();
  if (!line.data) return;
  drawAhead(pen, w);
  const offset = Number(big(line.data.from_ps) - line.from), scale = w / Number(line.span);
  const tones = {};
  const tone = (name) => (tones[name] ??= css(name));
  pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
  pen.textBaseline = 'middle';
  line.tracks.forEach((track) => {
    pen.fillStyle = tone('--grid');
    pen.fillRect(0, track.y + track.height + GAP / 2 - 1, w, 1);
    track.rows.forEach((row, i) => drawRow(pen, track, row, track.y + i * track.each, offset, scale, w, tone));
  });
  pen.globalAlpha = 1;
  drawChain(pen, tone);
  drawMarks(pen, tone);
}

function drawRow(pen, track, row, y, offset, scale, w, tone) {
  const height = Math.max(1.5, track.each - (track.each > 5 ? 2 : 0.5));
  for (let i = 0; i < row.x.length; i++) {
    const x = (offset + row.x[i]) * scale, end = (offset + row.end[i]) * scale;
    if (end < 0 || x > w) continue;
    const left = Math.max(0, x), wide = Math.max(1, Math.min(w, end) - left), label = track.labels[row.label[i]];
    pen.globalAlpha = row.many[i] > 1 ? Math.max(0.3, Math.min(1, row.busy[i] / Math.max(1, row.end[i] - row.x[i]))) : 1;
    pen.fillStyle = tone(colour(track, label));
    const gap = wide > 5 && row.many[i] === 1 ? 1 : 0;
    pen.fillRect(left, y, wide - gap, height);
    if (height >= 12 && wide > 70 && row.many[i] === 1) {
      pen.globalAlpha = 1;
      pen.fillStyle = tone('--card');
      pen.save();
      pen.beginPath();
      pen.rect(left, y, wide - 4, height);
      pen.clip();
      pen.fillText(track.group === 'instance' ? `step ${row.about[i]}: ${label}` : label, left + 5, y + height / 2 + 0.5);
      pen.restore();
    }
  }
}

function drawAhead(pen, w) {
  const x = Math.max(0, Math.min(w, across(view.here?.now_ps ?? 0n)));
  pen.fillStyle = css('--ahead');
  pen.fillRect(x, 0, w - x, line.height);
}
function drawMarks(pen, tone) {
  const x = across(view.here?.now_ps ?? 0n);
  pen.fillStyle = tone('--now');
  pen.fillRect(x - 1, 0, 2, line.height);
  const picked = view.selected;
  if (!picked) return;
  const track = line.tracks.find((one) => one.s === picked.s && one.group === picked.group && one.name === picked.name);
  if (!track) return;
  const left = Math.max(-4, across(picked.start)), right = Math.min(width() + 4, across(picked.end));
  pen.strokeStyle = tone('--text');
  pen.lineWidth = 2;
  pen.strokeRect(left - 1, track.y + picked.row * track.each - 2, Math.max(3, right - left + 1), Math.max(4, track.each));
}
const middle = (source) => {
  const track = line.tracks.find((one) => one.name === source && !one.other) || line.tracks.at(-1);
  return track.y + Math.min(track.height, source === track.name ? track.height : 6) / 2;
};
function drawChain(pen, tone) {
  for (const part of line.chain) drawCauses(pen, tone, part);
}
function drawCauses(pen, tone, part) {
  const seen = part.filter((event) => Math.abs(across(event.time_ps)) < 10 * width());
  if (seen.length < 2 || !line.tracks.length) return;
  pen.strokeStyle = tone('--text');
  pen.lineWidth = 1.25;
  pen.globalAlpha = 0.75;
  pen.beginPath();
  seen.forEach((event, i) => (i ? pen.lineTo : pen.moveTo).call(pen, across(event.time_ps), middle(event.source)));
  pen.stroke();
  pen.fillStyle = tone('--text');
  for (const event of seen) pen.fillRect(across(event.time_ps) - 2, middle(event.source) - 2, 4, 4);
  pen.globalAlpha = 1;
}

function drawAxis() {
  const pen = surface($('axis'), AXIS), w = width();
  let step = 1n;
  while (Number(step) < (Number(line.span) * 100) / w) step = String(step)[0] === '2' ? (step * 5n) / 2n : step * 2n; // 1, 2, 5, 10
  const first = ((line.from + step - 1n) / step) * step, far = line.from > line.span * 2000n;
  pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
  pen.textBaseline = 'middle';
  for (let at = first; at <= line.from + line.span; at += step) {
    const x = across(at);
    pen.fillStyle = css('--edge');
    pen.fillRect(x, AXIS - 8, 1, 8);
    pen.fillStyle = css('--muted');
    const text = far ? `+${short(at - line.from)}` : tick(at, step);
    if (x + 4 + pen.measureText(text).width < w) pen.fillText(text, x + 4, AXIS / 2 - 1);
  }
  $('window').textContent = `${short(line.span)} from ${inUnit(line.from, 10n ** 9n, 9)} ms`;
}
function tick(at, step) {
  const [unit, size] = UNITS.find(([, size]) => at >= size && step * 1000n >= size) || UNITS[4];
  let decimals = 0;
  while (decimals < 9 && (step * 10n ** BigInt(decimals)) % size) decimals++;
  return `${inUnit(at, size, decimals)} ${unit}`;
}

// What is at a point: the piece that is nearest within its row.
function find(x, y) {
  const track = line.tracks.find((one) => y >= one.y - 2 && y < one.y + one.height + 2);
  if (!track || !line.data) return null;
  const place = Math.max(0, Math.min(track.rows.length - 1, Math.floor((y - track.y) / track.each))), row = track.rows[place];
  if (!row) return null;
  const at = (x / width()) * Number(line.span) + Number(line.from - big(line.data.from_ps)), slack = (3 / width()) * Number(line.span);
  let best = -1, off = slack;
  row.x.forEach((start, i) => {
    const distance = at < start ? start - at : at > row.end[i] ? at - row.end[i] : 0;
    if (distance <= off && (distance < off || best < 0)) { best = i; off = distance; }
  });
  return best < 0 ? null : piece(track, place, best);
}
function piece(track, place, i) {
  const row = track.rows[place], base = big(line.data.from_ps);
  return {
    s: track.s, group: track.group, name: track.name, row: place, index: i, label: track.labels[row.label[i]], about: row.about[i],
    many: row.many[i], start: base + BigInt(Math.round(row.x[i])), end: base + BigInt(Math.round(row.end[i])), begun: row.begun[i], ended: row.ended[i],
  };
}
