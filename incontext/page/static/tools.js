// Pens, polygons and the like: what pointer and keys do on the image.

import { Stroke } from "./raster.js";

const DRAWING = ["brush", "eraser"];
export const PROMPTS = ["click", "scribble", "box"];
const LINES = ["click", "scribble"];  // of which the way is shown that the pen takes

export class Tools {
  constructor(app, view, over) {
    Object.assign(this, { app, view, over });
    this.name = "brush"; this.size = 16;
    this.stroke = null; this.pen = null; this.points = []; this.last = null;
    this.held = new Set();  // keys
    this.drag = null;
    this.pointer = null;  // the one that draws, of several fingers, pens and mice
    this.fingers = new Map();  // places of those on the screen, of which two zoom and pan
    const canvas = view.canvas;
    canvas.addEventListener("pointerdown", event => this._down(event));
    canvas.addEventListener("pointermove", event => this._move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, event => this._up(event));
    canvas.addEventListener("pointerleave", () => { if (!this.stroke) { this.last = null; this.drawOver(); } });
    canvas.addEventListener("dblclick", () => { if (this.name === "polygon") this.closePolygon(false); });
    canvas.addEventListener("contextmenu", event => event.preventDefault());
    canvas.addEventListener("wheel", event => this._wheel(event), { passive: false });
  }

  get isBusy() { return this.stroke !== null || this.points.length > 0 || this.drag !== null; }

  choose(name) {
    this.finish();
    this.giveUp();
    this.name = name;
    this.drawOver();
  }

  setSize(size) { this.size = Math.max(1, Math.min(120, Math.round(size))); this.drawOver(); }

  /** Give up what has begun, and show what was there. */
  giveUp() {
    if (this.stroke) { this.stroke.cancel(); this.app.redraw(this.stroke.box); }
    this.stroke = null; this.pen = null; this.points = []; this.drag = null;
    this.drawOver();
    this.app.catchUp();
  }

  /** End a stroke that is being drawn, so that it counts. */
  finish() {
    if (!this.stroke) return;
    this.pen = null;
    this.end();
    this.drawOver();
  }

  /** Take back what is being drawn, of a polygon its last corner; false if there is nothing. */
  takeBack() {
    if (this.dropCorner()) return true;
    const isDrawing = this.stroke !== null || PROMPTS.includes(this.drag?.what);
    if (isDrawing) this.giveUp();
    return isDrawing;
  }

  // ------------------------------------------------------------------------------------------------ pointer

  _down(event) {
    if (!this.app.image || this.app.isLocked) return;
    const canvas = this.view.canvas, [x, y] = this.view.toImage(event.clientX, event.clientY);
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType === "touch") this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.fingers.size > 1) { this._pinch(); return; }
    if (this.pointer !== null && this.pointer !== event.pointerId) return;
    this.pointer = event.pointerId;
    this.finish();  // what keys had begun
    this.last = [x, y];
    if (this.held.has(" ") || event.button === 1) this.drag = { what: "pan", x: event.clientX, y: event.clientY };
    else if (this.held.has("w")) this.drag = { what: "window", x: event.clientX, y: event.clientY, from: [...this.view.window] };
    else if (DRAWING.includes(this.name) && event.button === 0) this.begin(x, y, event.shiftKey);
    else if (this.name === "polygon" && event.button === 0) this.corner(x, y, event.shiftKey);
    else if (this.name === "fill" && event.button === 0) this.fill(x, y);
    else if (PROMPTS.includes(this.name)) this.drag = { what: this.name, from: [x, y], to: [x, y], way: [[x, y]], inside: event.button !== 2 && !event.shiftKey };
  }

  _move(event) {
    if (this.fingers.has(event.pointerId)) {
      const before = this._spread();
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (before) { this._zoomBy(before, this._spread()); return; }
    }
    if (this.pointer !== null && event.pointerId !== this.pointer) return;
    const places = event.getCoalescedEvents?.() ?? [], view = this.view;
    const [x, y] = view.toImage(event.clientX, event.clientY);
    if (this.drag?.what === "pan") {
      view.pan(event.clientX - this.drag.x, event.clientY - this.drag.y);
      Object.assign(this.drag, { x: event.clientX, y: event.clientY });
      this.app.redraw();
    } else if (this.drag?.what === "window") {
      this._window(event.clientX - this.drag.x, event.clientY - this.drag.y);
    } else if (this.drag) {
      this.drag.to = [x, y];
      this.drag.way.push([x, y]);
    } else if (this.stroke && !this.pen) {
      for (const each of places.length ? places : [event]) this.lineTo(...view.toImage(each.clientX, each.clientY));
    }
    this.last = [x, y];
    this.drawOver();
  }

  _up(event) {
    this.fingers.delete(event.pointerId);
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this._lift();
  }

  /** End what a pointer has drawn, or what keys have scribbled or boxed. */
  _lift() {
    if (this.drag && PROMPTS.includes(this.drag.what)) this._say(this.drag);
    this.drag = null;
    if (this.stroke && !this.pen) this.end();
    this.drawOver();
    this.app.catchUp();
  }

  /** Zoom and pan from now on: what the first finger drew was the beginning of this. */
  _pinch() {
    if (this.pointer !== null && this.name === "polygon") this.points.pop();
    this.pointer = null;
    const { points } = this;
    this.giveUp();
    this.points = points;
  }

  /** Middle of two fingers and their distance, in pixels of the page; null unless there are two. */
  _spread() {
    if (this.fingers.size !== 2) return null;
    const [[ax, ay], [bx, by]] = [...this.fingers.values()];
    return { x: (ax + bx) / 2, y: (ay + by) / 2, far: Math.max(Math.hypot(ax - bx, ay - by), 1) };
  }

  _zoomBy(before, now) {
    this.view.pan(now.x - before.x, now.y - before.y);
    this.view.zoomAt(...this.view.toImage(now.x, now.y), now.far / before.far);
    this.app.redraw();
  }

  /** Say what was clicked, scribbled or boxed on the image, in rows and columns; a drag with the click is a scribble, too. */
  _say({ what, from, to, way, inside }) {
    const { width, height, zoom, scale } = this.view, isDrag = Math.hypot(to[0] - from[0], to[1] - from[1]) * zoom > 4 * scale;
    const kind = what === "click" && isDrag ? "scribble" : what, pixel = ([x, y]) => [Math.floor(y), Math.floor(x)];
    const isOn = ([row, column]) => row >= 0 && column >= 0 && row < height && column < width;
    if (kind !== "box") {
      const points = (kind === "click" ? [from] : way).map(pixel).filter(isOn);
      if (points.length) this.app.prompt({ what: kind, points, inside });
      return;
    }
    const [top, bottom] = [from[1], to[1]].map(Math.floor).sort((a, b) => a - b), [left, right] = [from[0], to[0]].map(Math.floor).sort((a, b) => a - b);
    if (!isDrag || bottom < 0 || right < 0 || top >= height || left >= width) return;
    this.app.prompt({ what: kind, points: [[Math.max(0, top), Math.max(0, left)], [Math.min(height - 1, bottom), Math.min(width - 1, right)]], inside });
  }

  _wheel(event) {
    event.preventDefault();
    const [x, y] = this.view.toImage(event.clientX, event.clientY);
    this.view.zoomAt(x, y, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    this.app.redraw();
  }

  _window(dx, dy) {
    const [black, white] = this.drag.from, { low, high } = this.app.image, unit = (high - low) / 400;
    const width = Math.max(unit, white - black + dx * unit), level = (black + white) / 2 + dy * unit;
    this.view.window = [level - width / 2, level + width / 2];
    this.app.redraw();
  }

  // ------------------------------------------------------------------------------------------------ strokes

  begin(x, y, erases) {
    const value = this.name === "eraser" || erases ? 0 : this.app.panel.active;
    this.stroke = new Stroke(this.view.label, this.view.width, this.view.height, value);
    this.at = [x, y];
    this.lineTo(x, y);
  }

  lineTo(x, y) {
    const radius = this.size / 2;
    this.stroke.line(...this.at, x, y, radius);
    const [x0, y0] = this.at;
    this.at = [x, y];
    this.app.redraw({ left: Math.min(x0, x) - radius - 1, top: Math.min(y0, y) - radius - 1, right: Math.max(x0, x) + radius + 2, bottom: Math.max(y0, y) + radius + 2 });
  }

  end() {
    const { stroke } = this;
    this.stroke = null;
    this.app.keep(stroke, this.name);
  }

  corner(x, y, erases) {
    const [first] = this.points;
    if (first && this.points.length > 2) {
      const [ax, ay] = this.view.toCanvas(...first), [bx, by] = this.view.toCanvas(x, y);
      if (Math.hypot(ax - bx, ay - by) < 10 * this.view.scale) { this.closePolygon(erases); return; }
    }
    const [before] = this.points.slice(-1);
    if (!before || Math.hypot(before[0] - x, before[1] - y) > 0.3) this.points.push([x, y]);
    this.drawOver();
  }

  closePolygon(erases) {
    if (this.points.length > 2) {
      const stroke = new Stroke(this.view.label, this.view.width, this.view.height, erases ? 0 : this.app.panel.active);
      stroke.polygon(this.points);
      this.app.redraw(stroke.box);
      this.app.keep(stroke, "polygon");
    }
    this.points = [];
    this.drawOver();
  }

  fill(x, y) {
    const column = Math.floor(x), row = Math.floor(y), { width, height } = this.view;
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    const stroke = new Stroke(this.view.label, width, height, this.app.panel.active);
    if (!stroke.fill(column, row)) { this.app.say("Nothing encloses this place: draw a closed outline first.", true); return; }
    this.app.redraw(stroke.box);
    this.app.keep(stroke, "fill");
  }

  // ------------------------------------------------------------------------------------------------ keyboard

  /** Move the pen by keys; while it is down it draws. */
  movePen(dx, dy) {
    const { width, height } = this.view;
    const from = this.last ?? [width / 2, height / 2];
    const x = Math.max(0.5, Math.min(width - 0.5, Math.floor(from[0]) + 0.5 + dx));
    const y = Math.max(0.5, Math.min(height - 0.5, Math.floor(from[1]) + 0.5 + dy));
    this.last = [x, y];
    this.view.reveal(x, y);
    if (this.drag?.way) { this.drag.to = [x, y]; this.drag.way.push([x, y]); }
    if (this.pen) this.lineTo(x, y);
    else this.app.redraw();
    this.drawOver();
  }

  /** Put the pen down or lift it, set a corner, fill, click, begin or end a scribble or a box; a corner set twice closes a polygon. */
  press(erases) {
    this.last ??= [this.view.width / 2, this.view.height / 2];
    const [x, y] = this.last;
    if (this.name === "polygon") {
      const ends = [this.points[0], this.points.at(-1)];
      if (this.points.length > 2 && ends.some(end => Math.hypot(end[0] - x, end[1] - y) < 2)) this.closePolygon(erases);
      else this.corner(x, y, erases);
    } else if (this.name === "fill") this.fill(x, y);
    else if (this.name === "click") this._say({ what: "click", from: [x, y], to: [x, y], inside: !erases });
    else if (PROMPTS.includes(this.name)) {
      if (this.drag) this._lift();
      else {
        this.drag = { what: this.name, from: [x, y], to: [x, y], way: [[x, y]], inside: !erases };
        this.app.say(this.name === "box" ? "Corner of the box" : `Scribble ${erases ? "outside" : "inside"}`);
      }
    }
    else if (this.pen) { this.pen = null; this.end(); this.app.say("Pen up"); }
    else { this.begin(x, y, erases); this.pen = true; this.app.say("Pen down"); }
    this.drawOver();
  }

  /** Take the last corner of a polygon off; false if there is none. */
  dropCorner() {
    if (!this.points.length) return false;
    this.points.pop();
    this.drawOver();
    this.app.catchUp();
    return true;
  }

  // ------------------------------------------------------------------------------------------------ above the image

  /** Draw the pen, a polygon in the making, or a box. */
  drawOver() {
    const { over, view } = this, pen = over.getContext("2d");
    if (over.width !== view.canvas.width || over.height !== view.canvas.height) {
      over.width = view.canvas.width; over.height = view.canvas.height;
    }
    pen.clearRect(0, 0, over.width, over.height);
    if (!this.app.image) return;
    const line = path => {
      for (const [width, colour] of [[3 * view.scale, "rgba(0,0,0,.55)"], [1.4 * view.scale, "#fff"]]) {
        pen.lineWidth = width; pen.strokeStyle = colour; pen.stroke(path);
      }
    };
    if (this.points.length) {
      const path = new Path2D(), places = [...this.points, ...(this.last ? [this.last] : [])];
      places.forEach((point, i) => path[i ? "lineTo" : "moveTo"](...view.toCanvas(...point)));
      for (const point of this.points) { const [x, y] = view.toCanvas(...point); path.moveTo(x + 4, y); path.arc(x, y, 4, 0, 7); }
      line(path);
    }
    if (this.drag?.what === "box") {
      const path = new Path2D(), [x0, y0] = view.toCanvas(...this.drag.from), [x1, y1] = view.toCanvas(...this.drag.to);
      path.rect(x0, y0, x1 - x0, y1 - y0);
      line(path);
    }
    if (LINES.includes(this.drag?.what)) {
      const path = new Path2D();
      this.drag.way.forEach((point, i) => path[i ? "lineTo" : "moveTo"](...view.toCanvas(...point)));
      line(path);
    }
    if (PROMPTS.includes(this.name)) line(this._said());
    if (this.app.image.planes > 1 && this.app.across.at) line(this._crosshair());
    this.app.showPosition(this.last);
    if (!this.last) return;
    const path = new Path2D(), [x, y] = view.toCanvas(...this.last);
    if (DRAWING.includes(this.name)) {
      const radius = Math.max(this.size / 2 * view.zoom, 1);
      path.ellipse(x, y, radius, Math.max(radius * view.aspect, 1), 0, 0, 7);
    } else {
      path.moveTo(x - 7, y); path.lineTo(x + 7, y); path.moveTo(x, y - 7); path.lineTo(x, y + 7);
    }
    line(path);
  }

  /** Ends of the lines along which the planes across cut this one, at the edges of the image. */
  _crosshair() {
    const path = new Path2D(), { view } = this, [row, column] = this.app.across.at.map(each => each + 0.5), far = 12 * view.scale;
    const [x, y] = view.toCanvas(column, row), [left, top] = view.toCanvas(0, 0), [right, bottom] = view.toCanvas(view.width, view.height);
    for (const [from, to] of [[[left, y], [left + far, y]], [[right - far, y], [right, y]], [[x, top], [x, top + far]], [[x, bottom - far], [x, bottom]]]) {
      path.moveTo(...from); path.lineTo(...to);
    }
    return path;
  }

  /** Marks of what was said: a plus inside, a minus outside, the way of a scribble, and boxes. */
  _said() {
    const path = new Path2D(), { view } = this, radius = 5 * view.scale;
    for (const { plane, kind, inside, points } of this.app.image.prompts) {
      if (plane !== this.app.plane) continue;
      const places = points.map(([row, column]) => view.toCanvas(column + 0.5, row + 0.5)), [x, y] = places[0];
      if (kind === "box") { path.rect(x, y, places[1][0] - x, places[1][1] - y); continue; }
      path.moveTo(x - radius, y); path.lineTo(x + radius, y);
      if (inside) { path.moveTo(x, y - radius); path.lineTo(x, y + radius); }
      path.moveTo(x, y);
      for (const place of places) path.lineTo(...place);
    }
    return path;
  }
}
