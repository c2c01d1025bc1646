// Draws the network from the JSON in the page, and lets its frames open and close.
'use strict';

const network = JSON.parse(document.getElementById('network').textContent);
const { nodes, frames } = network;
const element = (id) => document.getElementById(id);
const svg = element('picture');
const scene = element('scene');
const SIZE = { line: 16, padX: 14, padY: 7, bar: 26, pad: 14, radius: 9 };
const LISTED = 20; // names in the details of a box
const TINTS = ['#eef4fb', '#eef8f1', '#fdf6e7', '#f6f0fa', '#eaf6f7', '#fbf0ee'];
const open = new Set(network.open);
const view = { x: 0, y: 0, k: 1 };
let shapesOf = new Map(); // what is drawn: id -> {x, y, width, height}
let hits = []; // what the search found, in the order of the data's way
let marked = new Set();
let hit = -1;
let shadeBy = 0;

const parents = {};
for (const [id, frame] of Object.entries(frames)) for (const child of frame.children) parents[child] = id;
const isOpen = (id) => open.has(id) && id in frames;
const within = (id) => (id in frames ? frames[id].children.flatMap((child) => [child, ...within(child)]) : []);

// --- sizes

const paper = document.createElement('canvas').getContext('2d');
const widths = new Map();
function textWidth(words, size, bold) {
  const key = `${size}${bold}${words}`;
  if (!widths.has(key)) {
    paper.font = `${bold ? 'bold ' : ''}${size}px Arial, "Liberation Sans", Helvetica, sans-serif`;
    widths.set(key, paper.measureText(words).width);
  }
  return widths.get(key);
}

function heading(id) {
  const mark = id in frames ? (isOpen(id) ? '▾ ' : '▸ ') : '';
  return mark + nodes[id].title;
}

function measure(id) {
  const node = nodes[id];
  if (isOpen(id)) {
    const inside = measureFrame(id);
    const words = Math.max(textWidth(heading(id), 13, true) + textWidth(node.note, 12) + 24, 80);
    const width = Math.max(inside.width, words) + 2 * SIZE.pad;
    const shift = (width - inside.width) / 2;
    return { id, inside, shift, width, height: SIZE.bar + inside.height };
  }
  const rows = [
    { words: heading(id), kind: node.kind === 'join' ? '' : 'title' },
    ...node.lines.map((words) => ({ words, kind: '' })),
    ...[node.note, node.shared].filter(Boolean).map((words) => ({ words, kind: 'note' })),
  ];
  const width = Math.max(30, ...rows.map((row) => textWidth(row.words, row.kind === 'note' ? 12 : 13, row.kind === 'title')));
  return { id, rows, width: width + 2 * SIZE.padX, height: rows.length * SIZE.line + 2 * SIZE.padY };
}

function measureFrame(id) {
  const children = frames[id].children.map(measure);
  const byId = new Map(children.map((child) => [child.id, child]));
  const ends = new Map();
  const port = (name, end) => ends.set(name, { id: name, end, width: 10, height: 0 }).get(name);
  const arrows = new Map();
  for (const [from, to, tensor, label, skip] of frames[id].arrows) {
    const source = byId.get(from) || ends.get(`>${tensor}`) || port(`>${tensor}`, 'top');
    const target = byId.get(to) || ends.get(`<${tensor}`) || port(`<${tensor}`, 'bottom');
    const key = [source.id, target.id, source.inside && tensor, target.inside && tensor].join(' ');
    arrows.set(key, {
      source: source.id,
      target: target.id,
      label: from && to && !skip ? label : '',
      skip,
      from: offset(source, `<${tensor}`),
      to: offset(target, `>${tensor}`),
      head: Boolean(to) && !target.inside,
    });
  }
  const list = [...arrows.values()];
  const cells = [...ends.values()].filter((cell) => cell.end === 'top');
  cells.push(...children, ...[...ends.values()].filter((cell) => cell.end === 'bottom'));
  const placed = arrange(cells, list);
  const ports = Object.fromEntries([...ends.keys()].map((name) => [name, placed.places[name].x]));
  fan(list, placed.paths, byId);
  return { ...placed, children, arrows: list, ports };
}

// Where a tensor crosses the border of an open frame, from the middle of the frame.
function offset(cell, port) {
  return cell.inside ? cell.shift + cell.inside.ports[port] - cell.width / 2 : 0;
}

// Arrows that end at one box arrive side by side, in the order in which they come; a lone main one in the middle.
function fan(arrows, paths, byId) {
  const arriving = new Map();
  arrows.forEach((arrow, i) => {
    const way = { path: paths[i], skip: arrow.skip, x: paths[i][paths[i].length - 3][0] };
    if (arrow.head) arriving.set(arrow.target, [...(arriving.get(arrow.target) || []), way]);
  });
  for (const [id, ways] of arriving) {
    ways.sort((a, b) => a.x - b.x);
    const main = ways.filter((way) => !way.skip);
    const middle = main.length === 1 ? ways.indexOf(main[0]) : (ways.length - 1) / 2;
    const step = Math.min(14, (0.4 * byId.get(id).width) / Math.max(1, ways.length - 1));
    ways.forEach((way, i) => {
      for (const point of way.path.slice(-2)) point[0] += (i - middle) * step;
    });
  }
}

// --- drawing

function make(name, attributes, parent, words) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  parent.append(made);
  return made;
}

function draw() {
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : null;
  scene.replaceChildren();
  shapesOf = new Map();
  const whole = measureFrame('');
  shapesOf.set('', { x: 0, y: 0, width: whole.width, height: whole.height });
  drawInside(whole, 0, 0, scene);
  if (focused) focusBox(focused);
}

function drawInside(inside, x, y, parent) {
  inside.arrows.forEach((arrow, i) => drawArrow(arrow, inside.paths[i], x, y, parent));
  for (const child of inside.children) {
    const place = inside.places[child.id];
    drawNode(child, x + place.x - child.width / 2, y + place.y, parent);
  }
}

function drawNode(cell, x, y, parent) {
  const { id, width, height } = cell;
  const node = nodes[id];
  shapesOf.set(id, { x, y, width, height });
  const held = cell.inside ? 0 : hitsIn(id);
  const classes = [cell.inside ? 'frame' : 'box', node.kind];
  if (id in frames && !cell.inside) classes.push('openable');
  if (node.repeat > (parents[id] ? nodes[parents[id]].repeat : 1)) classes.push('repeated');
  if (marked.has(id)) classes.push('hit');
  else if (held) classes.push('holds');
  const group = make('g', { class: classes.join(' '), 'data-id': id, tabindex: 0 }, parent);
  group.setAttribute('aria-label', [node.title, ...node.lines, node.note, node.shared].filter(Boolean).join(', '));
  group.setAttribute('role', id in frames ? 'button' : 'img');
  if (id in frames) group.setAttribute('aria-expanded', String(Boolean(cell.inside)));
  const fill = cell.inside ? tint(id) : node.fills[shadeBy];
  make('rect', { x, y, width, height, rx: SIZE.radius, fill }, group);
  if (!cell.inside) {
    cell.rows.forEach((row, i) => {
      const at = { x: x + width / 2, y: y + SIZE.padY + (i + 0.78) * SIZE.line, 'text-anchor': 'middle', class: row.kind };
      make('text', at, group, row.words);
    });
    if (held) {
      make('text', { x: x + width + 5, y: y + 12, class: 'count' }, group, `${held} found`);
    }
    return;
  }
  for (const [port, at] of Object.entries(cell.inside.ports)) {
    if (port.startsWith('>')) make('path', { d: `M${x + cell.shift + at},${y}v${SIZE.bar}`, class: 'arrow' }, group);
  }
  make('text', { x: x + 10, y: y + 17, class: 'title', stroke: tint(id) }, group, heading(id));
  make('text', { x: x + width - 10, y: y + 17, 'text-anchor': 'end', class: 'note', stroke: tint(id) }, group, node.note);
  make('rect', { x, y, width, height: SIZE.bar, class: 'bar' }, group);
  drawInside(cell.inside, x + cell.shift, y + SIZE.bar, group);
}

function tint(id) {
  if (parents[id] !== '') return '#fcfdfe';
  return TINTS[frames[''].children.filter((child) => child in frames).indexOf(id) % TINTS.length];
}

function drawArrow(arrow, points, x, y, parent) {
  const at = points.map(([px, py]) => [x + px, y + py]);
  let way = `M${at[0]}`;
  for (let i = 1; i < at.length; i += 1) {
    const [[x1, y1], [x2, y2]] = [at[i - 1], at[i]];
    const middle = (y1 + y2) / 2;
    if (x1 !== x2) way += `C${x1},${middle} ${x2},${middle} ${x2},${y2}`;
    else if (y1 !== y2) way += `L${x2},${y2}`;
  }
  const made = make('path', { d: way, class: arrow.skip ? 'arrow skip' : 'arrow' }, parent);
  if (arrow.head) made.setAttribute('marker-end', `url(#${arrow.skip ? 'skip-head' : 'head'})`);
  if (arrow.label) {
    const [[x1, y1], [x2, y2]] = at.slice(-3);
    make('text', { x: (x1 + x2) / 2 + 5, y: (y1 + y2) / 2 + 4, class: 'shape' }, parent, arrow.label);
  }
}

// --- the part of the picture that is seen

function look() {
  scene.setAttribute('transform', `translate(${view.x} ${view.y}) scale(${view.k})`);
  element('zoom').textContent = `${Math.round(100 * view.k)} %`;
}

function zoom(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
  const k = Math.min(4, Math.max(0.05, view.k * factor));
  view.x = x - ((x - view.x) * k) / view.k;
  view.y = y - ((y - view.y) * k) / view.k;
  view.k = k;
  look();
}

function fit(smallest) {
  const { width, height } = shapesOf.get('');
  const k = Math.min(svg.clientWidth / (width + 40), svg.clientHeight / (height + 40), 1);
  view.k = Math.max(k, smallest);
  view.x = (svg.clientWidth - width * view.k) / 2;
  view.y = Math.max(20, (svg.clientHeight - height * view.k) / 2);
  if (height * view.k > svg.clientHeight) view.y = 20;
  look();
}

function begin() {
  const { width } = shapesOf.get('');
  fit(Math.min(1, Math.max(0.3, svg.clientWidth / (width + 40)))); // 100 %, or as wide as the window
}

function show(id) {
  const box = shapesOf.get(id);
  const [left, top] = [view.x + box.x * view.k, view.y + box.y * view.k];
  const [right, bottom] = [left + box.width * view.k, top + Math.min(box.height * view.k, 60)];
  if (left < 0 || right > svg.clientWidth) view.x += svg.clientWidth / 2 - (left + right) / 2;
  if (top < 0 || bottom > svg.clientHeight) view.y += svg.clientHeight / 3 - top;
  look();
}

// --- opening and closing

function toggle(id) {
  if (!(id in frames)) return;
  const before = shapesOf.get(id);
  if (open.has(id)) open.delete(id);
  else open.add(id);
  draw();
  const after = shapesOf.get(id);
  view.x += (before.x + before.width / 2 - after.x - after.width / 2) * view.k; // what was clicked stays in its place
  view.y += (before.y - after.y) * view.k;
  show(id);
  tell(id);
}

function reveal(id) {
  for (let frame = parents[id]; frame; frame = parents[frame]) open.add(frame);
  draw();
  show(id);
  tell(id);
}

function setAll(opened) {
  open.clear();
  if (opened) for (const id of Object.keys(frames)) if (id) open.add(id);
  draw();
  begin();
}

function focusBox(id) {
  const box = scene.querySelector(`[data-id="${id}"]`);
  if (box) box.focus({ preventScroll: true });
}

// --- what is told of a box

function tell(id) {
  const node = nodes[id];
  const names = [id, ...within(id)].flatMap((inner) => nodes[inner].names);
  const rows = [
    ['parameters', node.parameters],
    ['auxiliary', node.auxiliary],
    ['MACs', node.macs],
    ['repeated', node.repeat > 1 ? `${node.repeat} times` : ''],
    ['shared', node.shared],
    ['operators', names.slice(0, LISTED).join('\n') + (names.length > LISTED ? `\nand ${names.length - LISTED} more` : '')],
  ];
  const list = document.createElement('dl');
  for (const [key, value] of rows) {
    if (!value || value === '0') continue;
    list.append(Object.assign(document.createElement('dt'), { textContent: key }));
    list.append(Object.assign(document.createElement('dd'), { textContent: value }));
  }
  const title = Object.assign(document.createElement('h2'), { textContent: node.title });
  element('details').replaceChildren(title, list);
}

// --- search

const hitsIn = (id) => within(id).filter((inner) => marked.has(inner)).length;

function search() {
  const text = element('search').value;
  let pattern = null;
  if (text) {
    try {
      pattern = new RegExp(text, 'i');
    } catch {
      pattern = new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i'); // no regular expression: as it stands
    }
  }
  const matches = (id) => pattern && [nodes[id].title, ...nodes[id].names].some((name) => pattern.test(name));
  hits = within('').filter(matches);
  marked = new Set(hits);
  hit = -1;
  element('found').textContent = text ? (hits.length ? `${hits.length} found` : 'nothing found') : '';
  draw();
}

function nextHit(step) {
  if (!hits.length) return;
  hit = (hit + step + hits.length + (hit < 0 && step < 0 ? 1 : 0)) % hits.length;
  element('found').textContent = `${hit + 1} of ${hits.length}`;
  reveal(hits[hit]);
}

// --- mouse and keys

let drag = null;
svg.addEventListener('pointerdown', (event) => {
  if (event.button === 0) drag = { x: event.clientX, y: event.clientY, moved: false };
});
window.addEventListener('pointermove', (event) => {
  if (!drag) return;
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  svg.classList.add('dragged');
  view.x += dx;
  view.y += dy;
  drag = { x: event.clientX, y: event.clientY, moved: true };
  look();
});
window.addEventListener('pointerup', (event) => {
  const clicked = drag && !drag.moved && event.target.closest ? event.target.closest('#scene g[data-id]') : null;
  drag = null;
  svg.classList.remove('dragged');
  if (!clicked) return;
  const { id } = clicked.dataset;
  if (id in frames && (!isOpen(id) || event.target.closest('.bar'))) toggle(id);
  else tell(id);
});
svg.addEventListener('wheel', (event) => {
  event.preventDefault();
  const { left, top } = svg.getBoundingClientRect();
  const lines = event.deltaMode === 1 ? 16 : 1;
  zoom(Math.exp(-event.deltaY * lines * 0.0015), event.clientX - left, event.clientY - top);
}, { passive: false });
svg.addEventListener('focusin', (event) => {
  const box = event.target.closest('g[data-id]');
  if (box && !drag) show(box.dataset.id);
  if (box) tell(box.dataset.id);
});

function step(from, by) {
  const boxes = [...scene.querySelectorAll('g[data-id]')];
  const next = boxes[boxes.indexOf(from) + by];
  if (next) next.focus({ preventScroll: true });
}

const BOX_KEYS = {
  Enter: (box) => toggle(box.dataset.id),
  ' ': (box) => toggle(box.dataset.id),
  ArrowDown: (box) => step(box, 1),
  ArrowUp: (box) => step(box, -1),
  ArrowRight: (box) => { if (!isOpen(box.dataset.id)) toggle(box.dataset.id); },
  ArrowLeft: (box) => {
    if (isOpen(box.dataset.id)) toggle(box.dataset.id);
    else if (parents[box.dataset.id]) focusBox(parents[box.dataset.id]);
  },
  Escape: (box) => box.blur(),
};
const PAGE_KEYS = {
  '/': () => element('search').focus(),
  '+': () => zoom(1.25),
  '=': () => zoom(1.25),
  '-': () => zoom(0.8),
  0: () => fit(0.05),
};
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches('input, select')) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const box = event.target.closest('g[data-id]');
  const act = (box && BOX_KEYS[event.key]) || PAGE_KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(box);
});

element('search').addEventListener('input', search);
element('search').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  nextHit(event.shiftKey ? -1 : 1);
});
element('tools').addEventListener('submit', (event) => {
  event.preventDefault();
  nextHit(1);
});
element('shade').addEventListener('change', () => {
  shadeBy = Number(element('shade').value);
  draw();
});
element('open-all').addEventListener('click', () => setAll(true));
element('close-all').addEventListener('click', () => setAll(false));
element('zoom-in').addEventListener('click', () => zoom(1.25));
element('zoom-out').addEventListener('click', () => zoom(0.8));
element('fit').addEventListener('click', () => fit(0.05));

draw();
begin();
if (network.search) {
  element('search').value = network.search;
  search();
}
