// Which pixels a stroke covers: pure functions on label planes, whose rows lie one after the other.

/** Box of pixels that is empty until something is added; right and bottom are outside. */
export class Box {
  constructor() { this.left = this.top = Infinity; this.right = this.bottom = -Infinity; }
  get isEmpty() { return this.left >= this.right || this.top >= this.bottom; }
  add(left, top, right, bottom) {
    this.left = Math.min(this.left, left); this.top = Math.min(this.top, top);
    this.right = Math.max(this.right, right); this.bottom = Math.max(this.bottom, bottom);
  }
}

/** A stroke in the making: it changes the label at once and remembers what was there. */
export class Stroke {
  constructor(label, width, height, value) {
    Object.assign(this, { label, width, height, value });
    this.before = new Map();  // row → copy of the row as it was
    this.covered = new Map();  // row → 1 where the stroke has been
    this.box = new Box();
  }

  /** Give the pixels of a row from left to right (outside) the value of the stroke. */
  span(row, left, right) {
    left = Math.max(0, left); right = Math.min(this.width, right);
    if (row < 0 || row >= this.height || left >= right) return;
    const start = row * this.width;
    if (!this.before.has(row)) {
      this.before.set(row, this.label.slice(start, start + this.width));
      this.covered.set(row, new Uint8Array(this.width));
    }
    this.covered.get(row).fill(1, left, right);
    this.label.fill(this.value, start + left, start + right);
    this.box.add(left, row, right, row + 1);
  }

  /** A line with a round pen: pixels whose centre is at most a radius away. */
  line(x0, y0, x1, y1, radius) {
    const top = Math.floor(Math.min(y0, y1) - radius), bottom = Math.ceil(Math.max(y0, y1) + radius);
    const dx = x1 - x0, dy = y1 - y0, length = Math.hypot(dx, dy);
    this.span(Math.floor(y0), Math.floor(x0), Math.floor(x0) + 1);  // a pen is never thinner than its pixel
    for (let row = Math.max(0, top); row < Math.min(this.height, bottom); row++) {
      const y = row + 0.5;
      let left = Infinity, right = -Infinity;
      for (const [cx, cy] of [[x0, y0], [x1, y1]]) {
        const half = Math.sqrt(radius * radius - (y - cy) ** 2);
        if (half >= 0) { left = Math.min(left, cx - half); right = Math.max(right, cx + half); }
      }
      if (length > 0) {  // the sides of the pen's way, where this row crosses them
        const nx = -dy / length * radius, ny = dx / length * radius;
        for (const [ax, ay, bx, by] of [
          [x0 + nx, y0 + ny, x1 + nx, y1 + ny], [x0 - nx, y0 - ny, x1 - nx, y1 - ny],
        ]) {
          if ((ay - y) * (by - y) > 0 || ay === by) continue;
          const x = ax + (y - ay) / (by - ay) * (bx - ax);
          left = Math.min(left, x); right = Math.max(right, x);
        }
      }
      if (left <= right) this.span(row, Math.ceil(left - 0.5), Math.floor(right - 0.5) + 1);
    }
  }

  /** The inside of a polygon by the even-odd rule, at the centres of pixels. */
  polygon(points) {
    const ys = points.map(point => point[1]);
    for (let row = Math.max(0, Math.floor(Math.min(...ys))); row < Math.min(this.height, Math.max(...ys)); row++) {
      const y = row + 0.5, crossings = [];
      points.forEach(([x0, y0], i) => {
        const [x1, y1] = points[(i + 1) % points.length];
        if ((y0 <= y) !== (y1 <= y)) crossings.push(x0 + (y - y0) / (y1 - y0) * (x1 - x0));
      });
      crossings.sort((a, b) => a - b);
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        this.span(row, Math.ceil(crossings[i] - 0.5), Math.floor(crossings[i + 1] - 0.5) + 1);
      }
    }
  }

  /** All pixels of one value that hang together with a pixel; false if they are background that reaches the edge. */
  fill(column, row) {
    const { label, width, height } = this, from = label[row * width + column];
    const seen = new Uint8Array(label.length), waiting = [row * width + column], found = [];
    seen[waiting[0]] = 1;
    while (waiting.length) {
      const index = waiting.pop(), x = index % width, y = (index - x) / width;
      found.push(index);
      if (from === 0 && (x === 0 || y === 0 || x === width - 1 || y === height - 1)) return false;
      for (const [next, inside] of [
        [index - 1, x > 0], [index + 1, x < width - 1], [index - width, y > 0], [index + width, y < height - 1],
      ]) {
        if (inside && !seen[next] && label[next] === from) { seen[next] = 1; waiting.push(next); }
      }
    }
    for (const index of found) this.span(Math.floor(index / width), index % width, index % width + 1);
    return true;
  }

  /** Starts and lengths of what has changed, one after the other; of all that is covered, if what was there is not sure. */
  runs(isAll = false) {
    const found = [];
    for (const row of [...this.before.keys()].sort((a, b) => a - b)) {
      const before = this.before.get(row), covered = this.covered.get(row), start = row * this.width;
      const counts = column => covered[column] && (isAll || before[column] !== this.value);
      for (let column = this.box.left; column < this.box.right; column++) {
        if (!counts(column)) continue;
        const first = column;
        while (column < this.box.right && counts(column)) column++;
        found.push(start + first, column - first);
      }
    }
    return found;
  }

  /** Take the stroke back. */
  cancel() { for (const [row, before] of this.before) this.label.set(before, row * this.width); }
}

/** Give pixels the values of runs by value; returns the box of what changed. */
export function apply(runs, label, width) {
  const box = new Box();
  for (const [value, flat] of Object.entries(runs)) {
    for (let i = 0; i < flat.length; i += 2) {
      const start = flat[i], end = start + flat[i + 1];
      label.fill(Number(value), start, end);
      const first = Math.floor(start / width), last = Math.floor((end - 1) / width);
      box.add(first === last ? start % width : 0, first, first === last ? (end - 1) % width + 1 : width, last + 1);
    }
  }
  return box;
}
