// Places the inside of one frame in layers, from top to bottom: each box below all that it reads.
//
// `arrange(children, arrows)` takes children {id, width, height} in topological order and arrows
// {source, target, label, skip, from, to} between them; `from` and `to` are where it leaves and arrives, right of the
// middle. A child with `end` 'top' or 'bottom' is a point of the frame's border.
// It returns {width, height, places: {id: {x, y}}, paths}: centres of tops, and for each arrow the points it passes.
'use strict';

const GAP = { column: 26, lane: 14, row: 26, label: 40, sweeps: 10 };

function arrange(children, arrows) {
  const cells = new Map(children.map((child) => [child.id, { ...child, before: [], after: [], x: 0, y: 0 }]));
  for (const arrow of arrows) {
    cells.get(arrow.source).after.push(arrow.target);
    cells.get(arrow.target).before.push(arrow.source);
  }
  const rows = intoRows(cells);
  const lanes = arrows.map((arrow) => lane(arrow, cells, rows));
  const labelled = new Set(arrows.filter((arrow) => arrow.label).map((arrow) => cells.get(arrow.target).row));
  for (const row of rows) row.forEach((cell, place) => { cell.place = place; });
  untangle(rows);
  spread(rows);
  const height = stack(rows, labelled);
  const all = [...cells.values()];
  const left = Math.min(...rows.flat().map((cell) => cell.x - cell.width / 2));
  for (const cell of rows.flat()) cell.x -= left;
  const width = Math.max(0, ...rows.flat().map((cell) => cell.x + cell.width / 2));
  return {
    width,
    height,
    places: Object.fromEntries(all.map((cell) => [cell.id, { x: cell.x, y: cell.y }])),
    paths: lanes.map((way, i) => wayThrough(way, arrows[i])),
  };
}

// The longest way from a beginning decides the row; what nobody feeds stands right above its reader.
function intoRows(cells) {
  const waiting = new Map([...cells.values()].map((cell) => [cell.id, cell.before.length]));
  const ready = [...cells.values()].filter((cell) => cell.before.length === 0);
  const first = [...cells.values()].some((cell) => cell.end === 'top') ? 1 : 0;
  const order = [];
  for (const cell of ready) cell.row = cell.end === 'top' ? 0 : first;
  while (ready.length) {
    const cell = ready.shift();
    order.push(cell);
    for (const id of cell.after) {
      const next = cells.get(id);
      next.row = Math.max(next.row || 0, cell.row + 1);
      waiting.set(id, waiting.get(id) - 1);
      if (waiting.get(id) === 0) ready.push(next);
    }
  }
  for (const cell of order) {
    if (!cell.before.length && cell.after.length && cell.end !== 'top') {
      cell.row = Math.min(...cell.after.map((id) => cells.get(id).row)) - 1;
    }
  }
  const last = Math.max(0, ...order.filter((cell) => cell.end !== 'bottom').map((cell) => cell.row));
  for (const cell of order) if (cell.end === 'bottom') cell.row = last + 1;
  const rows = [];
  for (const cell of cells.values()) (rows[cell.row] = rows[cell.row] || []).push(cell);
  return Array.from(rows, (row) => row || []);
}

// An arrow over several rows takes a place of its own in each of them, so that no box lies on its way.
function lane(arrow, cells, rows) {
  const way = [cells.get(arrow.source)];
  const target = cells.get(arrow.target);
  for (let row = way[0].row + 1; row < target.row; row += 1) {
    const knot = { lane: true, width: 6, height: 0, row, x: 0, y: 0 };
    rows[row].push(knot);
    way.push(knot);
  }
  way.push(target);
  for (let i = 1; i < way.length; i += 1) {
    const inner = Boolean(way[i - 1].lane && way[i].lane);
    const weight = inner ? 8 : arrow.skip || way[i - 1].lane || way[i].lane ? 0.001 : 1;
    const shift = (i === 1 ? arrow.from || 0 : 0) - (i === way.length - 1 ? arrow.to || 0 : 0);
    (way[i - 1].down = way[i - 1].down || []).push({ cell: way[i], weight, shift: -shift });
    (way[i].up = way[i].up || []).push({ cell: way[i - 1], weight, shift });
  }
  return way;
}

// Orders each row by the mean place of its neighbours, down and up again, and keeps the order with fewest crossings.
function untangle(rows) {
  const mean = (links) => links.reduce((sum, link) => sum + link.cell.place, 0) / links.length;
  let best = { crossings: crossings(rows), orders: rows.map((row) => [...row]) };
  for (let sweep = 0; sweep < GAP.sweeps && best.crossings > 0; sweep += 1) {
    const side = sweep % 2 === 0 ? 'up' : 'down';
    for (const row of sweep % 2 === 0 ? rows : [...rows].reverse()) {
      const wish = new Map(row.map((cell) => [cell, cell[side] ? mean(cell[side]) : cell.place]));
      row.sort((a, b) => wish.get(a) - wish.get(b));
      row.forEach((cell, place) => { cell.place = place; });
    }
    const found = crossings(rows);
    if (found < best.crossings) best = { crossings: found, orders: rows.map((row) => [...row]) };
  }
  best.orders.forEach((order, i) => {
    rows[i] = order;
    order.forEach((cell, place) => { cell.place = place; });
  });
}

function crossings(rows) {
  let found = 0;
  for (const row of rows) {
    const links = row.flatMap((cell) => (cell.down || []).map((link) => [cell.place, link.cell.place]));
    for (let i = 0; i < links.length; i += 1) {
      for (let j = 0; j < i; j += 1) {
        if ((links[i][0] - links[j][0]) * (links[i][1] - links[j][1]) < 0) found += 1;
      }
    }
  }
  return found;
}

// Gives every cell the x nearest to its neighbours' that keeps the row in order and apart.
function spread(rows) {
  for (let sweep = 0; sweep < GAP.sweeps * 2; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : [...rows].reverse()) {
      const wishes = row.map((cell) => {
        const links = (down ? cell.up : cell.down) || [];
        const weight = links.reduce((sum, link) => sum + link.weight, 0);
        const x = links.reduce((sum, link) => sum + link.weight * (link.cell.x + link.shift), 0) / (weight || 1);
        return { x: weight ? x : cell.x, weight: weight || 0.01 };
      });
      settle(row, wishes);
    }
  }
}

// Least squares under the order of the row: neighbours that would overlap move as one (pooling adjacent violators).
function settle(row, wishes) {
  let offset = 0;
  const offsets = row.map((cell, i) => {
    if (i) {
      const gap = cell.lane || row[i - 1].lane ? GAP.lane : GAP.column;
      offset += (row[i - 1].width + cell.width) / 2 + gap;
    }
    return offset;
  });
  const pools = [];
  wishes.forEach((wish, i) => {
    pools.push({ x: wish.x - offsets[i], weight: wish.weight, count: 1 });
    while (pools.length > 1 && pools[pools.length - 2].x > pools[pools.length - 1].x) {
      const [right, left] = [pools.pop(), pools.pop()];
      const weight = left.weight + right.weight;
      const x = (left.x * left.weight + right.x * right.weight) / weight;
      pools.push({ x, weight, count: left.count + right.count });
    }
  });
  let i = 0;
  for (const pool of pools) {
    for (let n = 0; n < pool.count; n += 1, i += 1) row[i].x = pool.x + offsets[i];
  }
}

// Rows from top to bottom, each cell in the middle of its row; `head` and `foot` are where the row begins and ends.
function stack(rows, labelled) {
  let y = 0;
  rows.forEach((row, i) => {
    if (i) y += labelled.has(i) ? GAP.label : GAP.row;
    const height = Math.max(0, ...row.map((cell) => cell.height));
    for (const cell of row) Object.assign(cell, { head: y, foot: y + height, y: y + (height - cell.height) / 2 });
    y += height;
  });
  return y;
}

// An arrow runs straight within a row, and changes sides only between two.
function wayThrough(way, arrow) {
  const [first, last] = [way[0], way[way.length - 1]];
  const [start, end] = [first.x + (arrow.from || 0), last.x + (arrow.to || 0)];
  const points = [[start, first.y + first.height], [start, first.foot]];
  for (const knot of way.slice(1, -1)) points.push([knot.x, knot.head], [knot.x, knot.foot]);
  points.push([end, last.head], [end, last.y]);
  return points;
}
