// Wheel, fingers, mouse and keys on the time line, and what was picked there.
const fingers = new Map();
let dragged = 0, apart = 0;

function listen() {
  const plot = $('plot');
  plot.addEventListener('wheel', (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / width());
    else zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) * 0.004), event.offsetX);
  }, { passive: false });
  plot.addEventListener('pointerdown', (event) => {
    fingers.set(event.pointerId, event.clientX);
    plot.setPointerCapture(event.pointerId);
    dragged = 0;
    apart = spread();
  });
  plot.addEventListener('pointermove', (event) => {
    if (!fingers.has(event.pointerId)) return;
    const moved = event.clientX - fingers.get(event.pointerId);
    fingers.set(event.pointerId, event.clientX);
    if (fingers.size === 2) {
      const now = spread();
      if (apart > 20 && now > 20) zoom(apart / now, centre());
      apart = now;
      dragged = 99;
    } else if ((dragged += Math.abs(moved)) > 4) pan(-moved / width());
  });
  const up = (event) => fingers.delete(event.pointerId);
  plot.addEventListener('pointerup', up);
  plot.addEventListener('pointercancel', up);
  plot.addEventListener('click', (event) => {
    if (dragged > 4) return;
    const found = find(event.offsetX, event.offsetY);
    if (found) pick(found);
    else pickTime(line.from + BigInt(Math.round((event.offsetX / width()) * Number(line.span))));
  });
  plot.addEventListener('dblclick', (event) => {
    const found = find(event.offsetX, event.offsetY);
    if (found && found.s === view.s) move('seek', String(found.begun));
  });
  $('line').addEventListener('keydown', keyed);
  new ResizeObserver(() => { draw(); load(); }).observe($('line'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
}
const spread = () => { const xs = [...fingers.values()]; return xs.length === 2 ? Math.abs(xs[0] - xs[1]) : 0; };
const centre = () => [...fingers.values()].reduce((sum, x) => sum + x, 0) / fingers.size - $('plot').getBoundingClientRect().left;

function keyed(event) {
  if (event.target !== $('line')) return;
  const act = {
    ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15),
    ArrowDown: () => pickRow(1), ArrowUp: () => pickRow(-1), Enter: () => pickNext(event.shiftKey ? -1 : 1),
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}
function rows() {
  return line.tracks.flatMap((track) => track.rows.map((row, i) => ({ track, i, row }))).filter(({ row }) => row.x.length);
}
function placed() {
  const all = rows(), picked = view.selected;
  return [all, all.findIndex(({ track, i }) => picked && track.s === picked.s && track.group === picked.group && track.name === picked.name && i === picked.row)];
}
function pickRow(by) {
  const [all, at] = placed();
  if (!all.length) return;
  const { track, i, row } = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))];
  const near = view.selected ? Number(view.selected.start - big(line.data.from_ps)) : 0;
  const found = row.x.findIndex((x) => x >= near);
  pick(piece(track, i, found < 0 ? row.x.length - 1 : found));
}
function pickNext(by) {
  const [all, at] = placed();
  if (at < 0) { pickRow(0); return; }
  const { track, i, row } = all[at], start = Number(view.selected.start - big(line.data.from_ps));
  const found = by > 0 ? row.x.findIndex((x) => x > start) : row.x.findLastIndex((x) => x < start);
  if (found >= 0) pick(piece(track, i, found));
}

function tell(words, acts) {
  $('picked').hidden = false;
  $('picked').replaceChildren(el('p', {}, words), el('div', { class: 'acts' }, ...acts));
}
async function pick(found) {
  if (found.s !== view.s) await change(found.s);
  view.selected = found;
  draw();
  const took = `${short(found.end - found.start)} from ${ms(found.start)}`, isRequest = found.group === 'requests';
  const step = found.about >= 0 ? `step ${found.about}` : 'K and V';
  const one = isRequest ? `Request ${found.about}: ${found.label}` : `${found.name}: ${found.group === 'instance' ? `${step}, ${found.label}` : `${found.label}, ${step}`}`;
  const words = found.many > 1 ? `${one}, and ${plural(found.many - 1, 'more slice')} within these ${took}; zoom in to tell them apart` : `${one}; ${took}`;
  const acts = [button('Zoom to it', () => show(found.start - (found.end - found.start) / 4n, ((found.end - found.start) * 3n) / 2n + 2n))];
  acts.push(button(found.group === 'component' ? `Go to event ${found.begun}, which made it known` : `Go to its begin, event ${found.begun}`, () => move('seek', String(found.begun))));
  if (found.group !== 'component' && found.ended > 0) acts.push(button(`Go to its end, event ${found.ended}`, () => move('seek', String(found.ended))));
  if (isRequest) acts.push(button(`Why ${found.about}?`, () => whyOf(found.about)), button('Stop when it changes', () => addStop(`break request ${found.about}`)));
  else acts.push(button(`Stop at ${found.name}`, () => addStop(`break ${found.name}`)));
  if (found.group === 'component') acts.push(button('Its messages', () => messagesOf(found.name)));
  tell(words, acts);
}
function pickTrack(track) {
  if (!track.name) { tab('requests'); return; }
  const acts = [button(`Stop at every event of ${track.name}`, () => addStop(`break ${track.name}`))];
  if (track.group === 'component') {
    acts.push(button('Its messages', () => messagesOf(track.name)), button('Its state', () => stateOf(`components/${track.name}`)));
  } else acts.push(button('Its queue and KV blocks', () => tab('engines')));
  tell(`${track.name}: ${track.group}`, acts);
}
function pickTime(time) {
  const at = `${time}ps`;
  tell(ms(time), [button('Go there', () => move('seek', at)), button('Stop at that time', () => addStop(`break time ${at}`))]);
}
