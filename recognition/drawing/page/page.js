// Moves the picture, opens and closes its frames, finds names, and listens to mouse and keys.
'use strict';

const LISTED = 20; // names in the details of a box
const view = { x: 0, y: 0, k: 1 };
let hits = []; // what the search found, in the order of the data's way
let hit = -1;

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
