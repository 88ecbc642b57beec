// The pixels of an image: those of a plane that is here as a whole, or those of a slide, tile by tile as they are needed.
// At step n of the resolution pixels are 2ⁿ times as large as those that are drawn on.

const MOST_STEPS = 6;
const KEPT = 400;  // tiles
const AT_ONCE = 4;  // tiles that are asked for; a browser has six connections, and drawing comes first

/** Rows and columns of an image at a step. */
const sidesAt = (image, step) => [image.height, image.width].map(side => Math.ceil(side / 2 ** step));

/** A plane that is here as a whole, halved by averages so that small ones are not grainy. */
export class Plane {
  constructor(image, data) {
    this.image = image;
    this.levels = [data];  // each half as large as the one before
    this.finest = 0; this.coarsest = MOST_STEPS;
  }

  /** All pixels at a step, and the row and column at which they begin. */
  part(step) {
    const parts = this.image.has_colours ? 3 : 1;
    while (this.levels.length <= step) {
      const index = this.levels.length - 1, from = this.levels[index];
      const [height, width] = sidesAt(this.image, index), columns = Math.ceil(width / 2), rows = Math.ceil(height / 2);
      const half = new from.constructor(columns * rows * parts);
      for (let row = 0; row < rows; row++) {
        const upper = 2 * row * width, lower = Math.min(2 * row + 1, height - 1) * width;
        for (let column = 0; column < columns; column++) {
          const left = 2 * column, right = Math.min(left + 1, width - 1);
          for (let part = 0; part < parts; part++) {
            half[(row * columns + column) * parts + part] = (from[(upper + left) * parts + part]
              + from[(upper + right) * parts + part] + from[(lower + left) * parts + part]
              + from[(lower + right) * parts + part]) / 4;
          }
        }
      }
      this.levels.push(half);
    }
    const [height, width] = sidesAt(this.image, step);
    return { data: this.levels[step], top: 0, left: 0, height, width };
  }

  /** Numbers of a pixel; null while they are not here. */
  at(row, column) {
    const parts = this.image.has_colours ? 3 : 1, start = (row * this.image.width + column) * parts;
    return this.levels[0].subarray(start, start + parts);
  }
}

/** A slide, of which only what the screen shows is asked for; until it is here, what is known of it is shown. */
export class Tiles {
  constructor(image, get, onArrival) {
    Object.assign(this, { image, get, onArrival });
    ({ finest: this.finest, coarsest: this.coarsest, side: this.side } = image.tiles);
    this.parts = image.has_colours ? 3 : 1;
    this.kept = new Map();  // by step, row and column, the least recently shown first
    this.asked = new Set(); this.waiting = []; this.step = 0;
  }

  /** The pixels within a box of the image at a step, and the row and column at which they begin. */
  part(step, box) {
    const { side, parts } = this, [rows, columns] = sidesAt(this.image, step), size = 2 ** step;
    const top = Math.max(0, Math.floor(box.top / size)), left = Math.max(0, Math.floor(box.left / size));
    const height = Math.max(1, Math.min(rows, Math.ceil(box.bottom / size) + 1) - top);
    const width = Math.max(1, Math.min(columns, Math.ceil(box.right / size) + 1) - left);
    const Numbers = this.image.bits === 16 ? Uint16Array : Uint8Array, data = new Numbers(width * height * parts);
    this.waiting = this.kept.has(`${this.coarsest}/0/0`) ? [] : [[this.coarsest, 0, 0]];  // which shows something everywhere
    this.step = step;
    for (let row = Math.floor(top / side); row * side < top + height; row++) {
      for (let column = Math.floor(left / side); column * side < left + width; column++) {
        this._put(step, row, column, { data, top, left, height, width });
      }
    }
    this._ask();
    return { data, top, left, height, width };
  }

  at(row, column) {
    const size = 2 ** this.step, [y, x] = [row, column].map(each => Math.floor((each + 0.5) / size)), { side, parts } = this;
    const tile = this.kept.get(`${this.step}/${Math.floor(y / side)}/${Math.floor(x / side)}`);
    const start = (y % side * side + x % side) * parts;
    return tile?.subarray(start, start + parts) ?? null;
  }

  /** Put a tile, or what coarser ones show in its place, into a part. */
  _put(step, row, column, into) {
    const { side, parts } = this;
    let coarser = 0, tile = this._tile(step, row, column);
    if (!tile) this.waiting.push([step, row, column]);
    while (!tile && step + coarser < this.coarsest) {
      coarser++;
      tile = this._tile(step + coarser, row >> coarser, column >> coarser);
    }
    if (!tile) return;
    const y0 = Math.max(into.top, row * side), y1 = Math.min(into.top + into.height, (row + 1) * side);
    const x0 = Math.max(into.left, column * side), x1 = Math.min(into.left + into.width, (column + 1) * side);
    for (let y = y0; y < y1; y++) {
      const from = ((y >> coarser) % side) * side, to = ((y - into.top) * into.width - into.left) * parts;
      if (!coarser) {
        into.data.set(tile.subarray((from + x0 % side) * parts, (from + x0 % side + x1 - x0) * parts), to + x0 * parts);
        continue;
      }
      for (let x = x0; x < x1; x++) {
        const at = (from + (x >> coarser) % side) * parts;
        for (let part = 0; part < parts; part++) into.data[to + x * parts + part] = tile[at + part];
      }
    }
  }

  _tile(...place) {
    const key = place.join("/"), tile = this.kept.get(key);
    if (tile) { this.kept.delete(key); this.kept.set(key, tile); }
    return tile;
  }

  async _ask() {
    while (this.asked.size < AT_ONCE && this.waiting.length) {
      const key = this.waiting.shift().join("/");
      if (this.asked.has(key)) continue;
      this.asked.add(key);
      this.get(key).then(buffer => {
        this.kept.set(key, this.image.bits === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer));
        if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
        this.asked.delete(key);
        this.onArrival();
      }, () => setTimeout(() => { this.asked.delete(key); this._ask(); }, 2000));  // what is refused is not asked for again at once
    }
  }
}
