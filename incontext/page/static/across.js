// The planes across a volume, through the crosshair: small, to look at and to go to a slice, not to draw on.

import { getBytes, settled } from "./api.js";

const SIDE = 226, LEAST = 16;  // widest and least side, in pixels of the page

export class Across {
  constructor(app, canvases) {
    this.app = app;
    this.canvases = canvases;
    this.at = null;  // row and column of the crosshair
    canvases.forEach((canvas, i) => canvas.addEventListener("pointerdown", event => this._go(event, canvas, i)));
  }

  /** Put the crosshair at a row and a column. */
  put(row, column) {
    const { image } = this.app;
    if (!image || image.planes < 2 || row < 0 || column < 0 || row >= image.height || column >= image.width) return;
    this.at = [Math.floor(row), Math.floor(column)];
    this.show();
  }

  /** Show both planes anew, after what was sent is kept; of many wishes in a hurry the last one counts. */
  async show() {
    const { image } = this.app, turn = this.turn = (this.turn ?? 0) + 1;
    document.getElementById("across").hidden = !image || image.planes < 2;
    if (!image || image.planes < 2) return;
    this.at ??= [Math.floor(image.height / 2), Math.floor(image.width / 2)];
    const [row, column] = this.at;
    await settled();
    const found = await Promise.all([getBytes(`images/${image.id}/across/1/${row}`), getBytes(`images/${image.id}/across/2/${column}`)]).catch(() => null);
    if (!found || turn !== this.turn || this.app.image !== image) return;
    found.forEach((bytes, i) => this._paint(this.canvases[i], bytes, i ? image.height : image.width, i ? row : column));
    this.app.tools.drawOver();
  }

  _paint(canvas, bytes, width, cross) {
    const { image, view, plane } = this.app, { planes } = image, count = planes * width;
    const wide = image.bits === 16, data = wide ? new Uint16Array(bytes, 0, count) : new Uint8Array(bytes, 0, count);
    const label = new Uint8Array(bytes, count * (wide ? 2 : 1)), lut = view._lut(), tints = view._tints();
    const pixels = new ImageData(width, planes), out = pixels.data;
    for (let y = 0; y < planes; y++) {
      const from = (image.rises ? planes - 1 - y : y) * width;
      for (let x = 0; x < width; x++) {
        const grey = lut[data[from + x]], tint = tints[label[from + x]], shown = label[from + x] && tint && !view.isHidden;
        const i = (y * width + x) * 4;
        for (let part = 0; part < 3; part++) out[i + part] = shown ? grey + (tint[part] - grey) * view.opacity : grey;
        out[i + 3] = 255;
      }
    }
    canvas.width = width; canvas.height = planes;
    const mm = image.spacing_mm, across = mm ? mm[0] / mm[canvas.id === "across-row" ? 2 : 1] : 1;
    const zoom = Math.min(SIDE / width, SIDE / (planes * across));
    canvas.style.width = `${Math.max(LEAST, width * zoom)}px`; canvas.style.height = `${Math.max(LEAST, planes * across * zoom)}px`;
    const pen = canvas.getContext("2d");
    pen.putImageData(pixels, 0, 0);
    pen.fillStyle = "#39c5ff";
    pen.globalAlpha = 0.7;
    pen.fillRect(0, image.rises ? planes - 1 - plane : plane, width, 1);
    pen.fillRect(cross, 0, 1, planes);
  }

  _go(event, canvas, i) {
    const { image } = this.app, box = canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * canvas.width);
    const y = Math.floor((event.clientY - box.top) / box.height * canvas.height);
    if (i) this.at = [x, this.at[1]]; else this.at = [this.at[0], x];
    const plane = image.rises ? image.planes - 1 - y : y;
    if (plane === this.app.wanted) this.show(); else this.app.step(plane - this.app.wanted);
  }
}
