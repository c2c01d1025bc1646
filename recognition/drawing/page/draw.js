// Draws the network from the JSON in the page: boxes, open frames, arrows, as large as their words need.
'use strict';

const network = JSON.parse(document.getElementById('network').textContent);
const { nodes, frames } = network;
const element = (id) => document.getElementById(id);
const svg = element('picture');
const scene = element('scene');
const SIZE = { line: 16, padX: 14, padY: 7, bar: 26, pad: 14, radius: 9 };
const TINTS = ['#eef4fb', '#eef8f1', '#fdf6e7', '#f6f0fa', '#eaf6f7', '#fbf0ee'];
const open = new Set(network.open);
let marked = new Set(); // what the search found
let shadeBy = 0; // 0: by share of the parameters, 1: of the MACs
let shapesOf = new Map(); // what is drawn: id -> {x, y, width, height}

const parents = {};
for (const [id, frame] of Object.entries(frames)) for (const child of frame.children) parents[child] = id;
const isOpen = (id) => open.has(id) && id in frames;
const within = (id) => (id in frames ? frames[id].children.flatMap((child) => [child, ...within(child)]) : []);
const hitsIn = (id) => within(id).filter((inner) => marked.has(inner)).length;

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

function focusBox(id) {
  const box = scene.querySelector(`[data-id="${id}"]`);
  if (box) box.focus({ preventScroll: true });
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
