// The cluster as it is drawn in the report, and what each part of it does at the moment.
function svg(tag, attributes = {}, text = null) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

async function loadCluster() {
  const data = await ask('cluster'), doing = Object.fromEntries(data.components.map((one) => [one.name, one]));
  const busy = new Set(data.instances.map((one, i) => (one.steps.length ? i : -1)));
  const picture = el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Drawing of the cluster' }, drawing(data.picture, doing, busy));
  const instances = table(['instance', 'computes', 'waiting', 'running', 'KV blocks held'], data.instances.map((one, i) => [
    el('span', {}, key(`--line-${i % 6}`), one.name), one.steps.length ? `step ${one.steps.join(', ')}` : 'nothing', String(one.waiting), String(one.running), gauge(one.kv_use)]), [0, 1]);
  const components = table(['component', 'model', 'does now', 'operations open'], data.components.map((one) => [
    button(one.name, () => pickTrack({ group: 'component', name: one.name }), { class: 'link' }), `${one.model}, ${one.run}`,
    one.doing.map((part) => part.what).slice(0, 3).join('; ') || 'nothing', String(one.open)]), [0, 1, 2]);
  const made = [picture, instances, components];
  if (data.picture.undrawn) made.splice(1, 0, el('p', {}, `and ${data.picture.undrawn} nodes more, not drawn.`));
  return made;
}
function gauge(part) {
  const fill = el('i'), made = el('span', {}, el('span', { class: 'gauge', 'aria-hidden': 'true' }, fill), ` ${percent(part)}`);
  fill.style.width = percent(Math.min(1, part));
  return made;
}

function drawing(picture, doing, busy) {
  const { width, height } = picture, made = svg('svg', { class: 'cluster', role: 'img', viewBox: `0 0 ${width} ${height}`, width, height });
  const working = [...busy].filter((i) => i >= 0).length;
  made.setAttribute('aria-label', `${picture.summary}; ${plural(working, 'instance')} computing`);
  for (const network of picture.networks) {
    const active = doing[network.name]?.doing.length || doing[network.name]?.open;
    const group = svg('g', { class: active ? 'busy' : '' });
    const wires = network.dots.map((y) => `M${picture.node_width} ${y}H${network.x}`).join('');
    group.append(svg('path', { d: `M${network.x} ${network.top}V${network.label_y}H${network.x - 12}${wires}` }));
    for (const y of network.dots) group.append(svg('circle', { cx: network.x, cy: y, r: 4.5 }));
    made.append(group, svg('text', { x: network.x - 18, y: network.label_y + 4, 'text-anchor': 'end' }, network.text + (active ? ' (busy)' : '')));
  }
  for (const node of picture.nodes) {
    made.append(svg('rect', { class: 'node', x: 2, y: node.y, width: picture.node_width - 2, height: node.height, rx: 8 }));
    made.append(svg('text', { class: 'title', x: picture.pad, y: node.y + 24 }, node.title));
    for (const [x, y, text] of node.lines) made.append(svg('text', { x, y }, text));
    for (const device of node.devices) made.append(deviceOf(device, picture.side, busy));
  }
  return made;
}
function deviceOf(device, side, busy) {
  const group = svg('g'), idle = device.owner === null, works = busy.has(device.owner);
  group.append(svg('title', {}, device.title + (works ? ', computing' : '')));
  const square = svg('rect', { class: `device ${idle ? 'none' : works ? 'busy' : 'quiet'}`, x: device.x, y: device.y, width: side, height: side, rx: 4 });
  if (!idle) { square.style.fill = `var(--line-${device.owner % 6})`; square.style.stroke = `var(--line-${device.owner % 6})`; }
  group.append(square);
  if (!idle) group.append(svg('text', { class: 'number', x: device.x + side / 2, y: device.y + side / 2 + 4.5, 'text-anchor': 'middle' }, String(device.owner + 1)));
  return group;
}
