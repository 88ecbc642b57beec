// The image and what is drawn on it, as pixels of the screen; nothing larger than the screen is ever painted.

const OUTLINE = 0.95;
const MOST_ZOOM = 64;
const LEAST_SIDE = 24;  // pixels of the page that the short side of a long image takes at least, of which then not all is shown

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.zoom = 1; this.left = 0; this.top = 0;  // pixels of the screen per pixel; the image's place at the corner
    this.opacity = 0.4; this.isOutline = false; this.isHidden = false;
    this.colours = new Map(); this.hiddenClasses = new Set();
    this.window = [0, 255];
    this.image = null;
    this.isFitted = false;
  }

  /** Show another image: its pixels, and its label of one byte a pixel. */
  show(image, pixels, label) {
    this.image = image; this.pixels = pixels; this.label = label; this.width = image.width; this.height = image.height;
  }

  get aspect() { const mm = this.image?.spacing_mm; return mm ? mm[1] / mm[2] : 1; }

  resize() {
    const scale = window.devicePixelRatio || 1, box = this.canvas.parentElement.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * scale)), height = Math.max(1, Math.round(box.height * scale));
    this.scale = scale;
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.left += (this.canvas.width - width) / 2 / this.zoom;
    this.top += (this.canvas.height - height) / 2 / (this.zoom * this.aspect);
    this.canvas.width = width; this.canvas.height = height;
    if (this.isFitted) this.fit();
  }

  fit() {
    if (!this.image) return;
    this.isFitted = true;
    const { width, height } = this.canvas;
    const sides = [width / this.width, height / (this.height * this.aspect)].map(each => each * 0.96);
    const seen = LEAST_SIDE * this.scale / Math.min(this.width, this.height * this.aspect);
    this.zoom = Math.max(Math.min(...sides), Math.min(seen, MOST_ZOOM, Math.max(...sides)));
    if (this.zoom > 1 && this.aspect === 1) this.zoom = Math.max(1, Math.floor(this.zoom));
    this.left = this.width / 2 - width / 2 / this.zoom;
    this.top = this.height / 2 - height / 2 / (this.zoom * this.aspect);
  }

  /** Place in the image of a place on the screen. */
  toImage(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    return [
      this.left + (clientX - box.left) * this.scale / this.zoom,
      this.top + (clientY - box.top) * this.scale / (this.zoom * this.aspect),
    ];
  }

  /** Place on the canvas of a place in the image. */
  toCanvas(x, y) { return [(x - this.left) * this.zoom, (y - this.top) * this.zoom * this.aspect]; }

  zoomAt(x, y, factor) {
    const most = MOST_ZOOM * 2 ** -(this.pixels?.finest ?? 0), zoom = Math.min(most, Math.max(0.02, this.zoom * factor));
    this.left = x - (x - this.left) * this.zoom / zoom;
    this.top = y - (y - this.top) * this.zoom / zoom;
    this.zoom = zoom;
    this.isFitted = false;
  }

  pan(dx, dy) { this.isFitted = false; this.left -= dx * this.scale / this.zoom; this.top -= dy * this.scale / (this.zoom * this.aspect); }

  /** Move so that a place in the image is on the screen. */
  reveal(x, y) {
    const [cx, cy] = this.toCanvas(x, y), { width, height } = this.canvas;
    if (cx < 0 || cx >= width) this.left = x - width / 2 / this.zoom;
    if (cy < 0 || cy >= height) this.top = y - height / 2 / (this.zoom * this.aspect);
    if (cx < 0 || cx >= width || cy < 0 || cy >= height) this.isFitted = false;
  }

  /** Paint what is on the screen, or the part of it that a box of the image's pixels takes. */
  draw(box = null) {
    const { canvas } = this;
    let x0 = 0, y0 = 0, x1 = canvas.width, y1 = canvas.height;
    if (box) {
      const [left, top] = this.toCanvas(box.left, box.top), [right, bottom] = this.toCanvas(box.right, box.bottom);
      x0 = Math.max(0, Math.floor(left) - 2); y0 = Math.max(0, Math.floor(top) - 2);
      x1 = Math.min(canvas.width, Math.ceil(right) + 2); y1 = Math.min(canvas.height, Math.ceil(bottom) + 2);
    }
    if (x0 >= x1 || y0 >= y1) return;
    const pixels = this.context.createImageData(x1 - x0, y1 - y0);
    if (this.image) this._paint(new Uint32Array(pixels.data.buffer), x0, y0, x1, y1);
    this.context.putImageData(pixels, x0, y0);
  }

  _paint(out, x0, y0, x1, y1) {
    const { width, height, label } = this, ground = this._ground();
    const { pixels } = this, step = Math.max(pixels.finest, Math.min(pixels.coarsest, Math.floor(Math.log2(1 / this.zoom))));
    const vertical = this.zoom * this.aspect, count = x1 - x0, size = 2 ** step;
    const box = { left: this.left + x0 / this.zoom, right: this.left + x1 / this.zoom, top: this.top + y0 / vertical, bottom: this.top + y1 / vertical };
    const part = pixels.part(step, box), { data } = part, colours = this.image.has_colours;
    const lut = this._lut(), tints = this._tints(), xs = this._columns(x0 - 1, count + 2);
    const froms = xs.map((_, x) => Math.max(0, Math.min(part.width - 1, Math.floor((this.left + (x0 + x - 0.5) / this.zoom) / size) - part.left)));
    const rowAt = y => { const row = Math.floor(this.top + (y + 0.5) / vertical); return row < 0 || row >= height ? -1 : row; };
    const at = (row, x) => (row < 0 || xs[x] < 0 ? 0 : label[row * width + xs[x]]);
    const shows = !this.isHidden && label;
    for (let y = y0, i = 0; y < y1; y++) {
      const row = rowAt(y), above = rowAt(y - 1), below = rowAt(y + 1);
      const from = Math.max(0, Math.min(part.height - 1, Math.floor((this.top + (y + 0.5) / vertical) / size) - part.top)) * part.width;
      for (let x = 1; x <= count; x++, i++) {
        const column = xs[x];
        if (row < 0 || column < 0) { out[i] = ground; continue; }
        const place = from + froms[x];
        let r, g, b;
        if (colours) { r = lut[data[place * 3]]; g = lut[data[place * 3 + 1]]; b = lut[data[place * 3 + 2]]; }
        else r = g = b = lut[data[place]];
        if (shows) {
          const value = label[row * width + column];
          let tint = value ? tints[value] : null, alpha = this.isOutline ? 0 : this.opacity;
          if (tint && (at(row, x - 1) !== value || at(row, x + 1) !== value || at(above, x) !== value || at(below, x) !== value)) alpha = OUTLINE;
          if (tint && alpha) { r += (tint[0] - r) * alpha; g += (tint[1] - g) * alpha; b += (tint[2] - b) * alpha; }
        }
        out[i] = 0xff000000 | (b << 16) | (g << 8) | r;
      }
    }
  }

  /** Columns of the image under columns of the screen, -1 outside. */
  _columns(x0, count) {
    const found = new Int32Array(count);
    for (let x = 0; x < count; x++) {
      const column = Math.floor(this.left + (x0 + x + 0.5) / this.zoom);
      found[x] = column < 0 || column >= this.width ? -1 : column;
    }
    return found;
  }

  /** Brightness of each stored number, by the window. */
  _lut() {
    const { low, high, bits } = this.image, [black, white] = this.window, key = [low, high, bits, black, white].join();
    if (this._lutKey === key) return this._lutValues;
    const size = 2 ** bits, lut = new Uint8ClampedArray(size), span = Math.max(white - black, 1e-9);
    for (let i = 0; i < size; i++) lut[i] = (low + i * (high - low) / (size - 1) - black) / span * 255;
    this._lutKey = key;
    return this._lutValues = lut;
  }

  _tints() {
    const tints = new Array(256).fill(null);
    for (const [value, colour] of this.colours) {
      if (!this.hiddenClasses.has(value)) tints[value] = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
    }
    if (!tints[255]) tints[255] = [128, 128, 128];
    return tints;
  }

  _ground() {
    const [r, g, b] = getComputedStyle(this.canvas).backgroundColor.match(/\d+/g).map(Number);
    return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
  }
}
