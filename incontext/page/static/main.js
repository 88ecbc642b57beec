// The page: one image on the screen, its strokes to the server, news from it, and what the keys do.

import { change, getBytes, getJson, hint, listen, Refused, settled } from "./api.js";
import { Across } from "./across.js";
import { Export } from "./export.js";
import { apply } from "./raster.js";
import { ImageList, nameOf, stateOf } from "./list.js";
import { Panel } from "./panel.js";
import { PROMPTS, Tools } from "./tools.js";
import { Plane, Tiles } from "./pixels.js";
import { View } from "./view.js";

const by = id => document.getElementById(id);
const PLANES_KEPT = 24;
const PATIENCE_MS = 400;  // after which a change that is not answered is told to be on its way

class App {
  constructor() {
    this.view = new View(by("view"));
    this.panel = new Panel(this);
    this.tools = new Tools(this, this.view, by("over"));
    this.list = new ImageList(by("images"), id => { this.open(id); by("view").focus(); });
    this.exports = new Export(this);
    this.across = new Across(this, [by("across-row"), by("across-column")]);
    this.image = null; this.plane = 0;
    this.isLocked = true; this.hasEnded = false;
    this.pending = this.sent = 0; this.hasFailed = false;  // changes without an answer, and all; whether one of those under way failed
    this.isBehind = false;  // whether the screen lacks something that the server has
    this.saved = ""; this.waiting = null;
    this.paces_s = []; this.since = 0;  // seconds that accepted images took; when the image came to the screen
    this.opening = 0; this.frame = null; this.early = [];
    this.settingClasses = Promise.resolve();
  }

  async start() {
    this._theme();
    listen(news => this.hear(news), begun => this._ended(begun));
    this.session = await getJson("session");
    by("folder").textContent = this.session.folder;
    document.title = `${this.session.folder} – annotate`;
    this.panel.showClasses();
    this.panel.showNotes();
    this.list.update(this.session.images);
    if (this.session.images.some(image => ["drawn", "accepted"].includes(image.state))) by("saved").textContent = "All that was drawn is saved";
    for (const news of this.early.splice(0)) this.hear(news);
    this._tell();
    this.isLocked = this.hasEnded;
    await this.openNext(() => this.list.next(1));
    by("view").focus();
  }

  // ------------------------------------------------------------------------------------------------ news

  /** Take over what is new. */
  hear(news) {
    if (!this.session) { this.early.push(news); return; }
    for (const image of news.images) this.session.images[image.id] = image;
    const { expected, progress, takes_prompts, tuning, retired, notes } = news, wasLoading = this.session.progress.stage === "loading";
    const hasNotes = JSON.stringify(notes) !== JSON.stringify(this.session.notes);
    Object.assign(this.session, { expected, progress, takes_prompts, tuning, retired, notes });
    if (hasNotes) this.panel.showNotes();
    if (progress.stage !== "loading" && wasLoading) this.unsay();  // what had to wait for the network
    const before = JSON.stringify(this.session.classes);
    this.session.classes = news.classes;
    if (JSON.stringify(news.classes) !== before) { this.panel.showClasses(); this.redraw(); }
    this.list.update(news.images);
    this._tell();
    const fresh = news.images.find(image => image.id === this.image?.id);
    if (fresh) this._refresh(fresh).catch(error => this._failed(error));
  }

  /** Show a newer prediction of the image on the screen, unless somebody draws on it. */
  async _refresh(entry) {
    this.panel.showImage(this.image, entry);
    const isFound = entry.propagations !== (this.image.propagated?.count ?? 0);
    if (entry.state !== "predicted" && !isFound) return;
    if (await this._anew() && isFound) this.say("Propagated");
  }

  /** Take over what has changed in the image on the screen, unless somebody draws on it, which goes first, or goes on. */
  async _anew() {
    this.isBehind = this.tools.isBusy || this.pending > 0;
    if (this.isBehind) return false;
    const { id } = this.image, image = await getJson(`images/${id}`);
    if (this.image.id !== id) return false;
    this.isBehind = this.tools.isBusy || this.pending > 0;
    if (this.isBehind) return false;
    Object.assign(this.image, image);
    if (!await this._label()) return false;
    this._drawn(image);
    this.panel.showImage(this.image, this.session.images[id]);
    this.across.show();
    this.prepare();
    return true;
  }

  _tell() {
    const { images, progress } = this.session;
    const accepted = images.filter(image => image.state === "accepted").length;
    by("count").textContent = `${accepted} accepted of ${images.length}`;
    by("hint").textContent = accepted ? "" : this._advice();
    const left = progress.eta_s === null ? "" : ` · ${progress.eta_s < 1 ? "under 1" : Math.ceil(progress.eta_s)} s left`;
    by("stage-text").textContent = progress.error || {
      loading: "Loading the network …", waiting: "", learning: "Learning from the examples …",
      propagating: "Propagating through the volume …", predicting: `Segmented ${progress.done} of ${progress.total}${left}`, judging: "Judging the examples by each other …",
      idle: progress.total ? `All ${progress.total} segmented` : "",
    }[progress.stage];
    by("stage-text").classList.toggle("error", Boolean(progress.error));
    by("progress").hidden = progress.stage !== "predicting";
    by("progress").value = progress.total ? progress.done / progress.total : 0;
    for (const tool of PROMPTS) document.querySelector(`[data-tool=${tool}]`).hidden = !this.session.takes_prompts;
    this.panel.showExamples();
    this.panel.showTuning();
  }

  /** What to do first; there is always something, so that no line goes and moves the image under the pen. */
  _advice() {
    if (this.image?.undoable) return this.image.planes > 1 ? "Draw it on more slices, propagate (G), or accept (A): the others follow." : "Accept it when the structure is right (A): the others follow.";
    const isPredicted = this.image && this.session.images[this.image.id].state === "predicted";
    if (this.image?.planes > 1 && !isPredicted) return "Draw the structure on a few slices, far apart, and propagate (G) or accept: the others follow.";
    return isPredicted ? "Correct the mask where it is wrong, then accept it: it becomes an example for the others." : "Draw the structure on this image, then accept it: the others follow.";
  }

  _ended(begun) {
    this.isLocked = this.hasEnded = true;
    this.say(begun ? "The program has ended. All that you drew is kept; start it again to go on." : "This folder is open in another tab: draw there, or close it and reload this page.", true, true);
  }

  // ------------------------------------------------------------------------------------------------ images

  /** Show an image, unless another is asked for meanwhile; false if it cannot be read. */
  async open(id) {
    if (!this.session?.images[id]) return false;
    const turn = ++this.opening;
    this.list.wanted = id;
    this.tools.finish();
    this.tools.giveUp();
    await settled();
    if (turn !== this.opening) return true;
    this.unsay();
    try {
      const image = await getJson(`images/${id}`), drawn = image.drawn_planes.length ? image.drawn_planes : image.shown_planes;
      const plane = drawn.length ? drawn[Math.floor(drawn.length / 2)] : Math.floor(image.planes / 2);
      const pixels = await this._read(image, plane);
      if (turn !== this.opening) return true;
      this.across.at = null;
      this._show(image, plane, ...pixels);
    } catch (error) {
      if (error.status) this.list.fail(id, error.message);
      if (turn === this.opening) this._failed(error, true);
      return turn !== this.opening;
    }
    this.since = performance.now();
    this.list.choose(id);
    this._sides();
    this._tell();
    const entry = this.session.images[id];
    this.panel.showImage(this.image, entry);
    this._drawn(this.image);
    by("view").setAttribute("aria-label", `Image ${this.image.name}, ${nameOf(stateOf(entry))}`);
    return true;
  }

  /** Show the next image by a rule; one that cannot be read is marked, and the rule asked again. */
  async openNext(rule) {
    let before = -1;
    for (let id = rule(); id !== before; id = rule()) {
      if (await this.open(id)) return;
      before = id;
    }
    this.list.wanted = this.list.current;
  }

  /** Show a plane of the image. */
  async _plane(plane) {
    const { image } = this;
    this.wanted = plane;
    const pixels = await this._read(image, plane);
    if (this.image === image && this.wanted === plane) this._show(image, plane, ...pixels);
  }

  /** The pixels of a plane, and its values of classes. */
  async _read(image, plane) {
    const [data, label] = await Promise.all([this._data(image, plane), getBytes(`images/${image.id}/planes/${plane}/label`)]);
    return [data, new Uint8Array(label)];
  }

  /** Let image, plane and pixels change at once: a stroke belongs to what was seen as it was drawn. */
  _show(image, plane, data, label) {
    const isNew = this.image !== image;
    this.tools.giveUp();
    this.isBehind = false;
    this.image = image;
    this.plane = this.wanted = plane;
    this.unsay();
    if (isNew) this.view.window = [...image.window];
    by("slices").hidden = image.planes < 2;
    by("slice").max = image.planes - 1;  // before the value, which it bounds
    by("slice").value = plane;
    by("slice-number").textContent = `${plane + 1} / ${image.planes}`;
    this.view.show(image, data, label);
    this.view.resize();
    if (isNew) { this.view.fit(); this._ticks(); }
    this.redraw();
    this.across.show();
    this.prepare();
    for (const near of [plane + 1, plane - 1]) if (near >= 0 && near < image.planes) this._data(image, near).catch(() => {});
  }

  /** The pixels of a plane, or of a slide, whose tiles are asked for when they are shown. */
  async _data(image, plane) {
    const { id, bits } = image;
    if (image.tiles) return image.pixels ??= new Tiles(image, key => getBytes(`images/${id}/tiles/${key}`), () => this.redraw());
    const kept = image.kept ??= new Map();
    if (!kept.has(plane)) {
      const bytes = getBytes(`images/${id}/planes/${plane}`);
      kept.set(plane, bytes.then(buffer => new Plane(image, bits === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer))));
      if (kept.size > PLANES_KEPT) kept.delete(kept.keys().next().value);
    }
    return kept.get(plane);
  }

  /** Take the label over as the server has it; false if something is under way that would be missing. */
  async _label() {
    const { image, plane, sent } = this, label = await getBytes(`images/${image.id}/planes/${plane}/label`);
    if (this.image !== image || this.plane !== plane) return false;
    this.isBehind = this.tools.isBusy || this.pending > 0 || this.sent !== sent;
    if (this.isBehind) { this.catchUp(); return false; }
    this.view.label = new Uint8Array(label);
    this.redraw();
    this._ticks();
    return true;
  }

  /** Take over what the screen lacks, as soon as nothing is under way. */
  async catchUp() {
    if (this.isBehind && !this.pending && !this.tools.isBusy) await this._anew().catch(() => { this.isBehind = true; });
  }

  /** Show pixels that the server has changed; what was drawn meanwhile came after them. */
  _apply(runs) {
    this.redraw(apply(runs, this.view.label, this.view.width));
    this.isBehind ||= this.pending > 0 || this.tools.isBusy;
  }

  /** Go some slices on; of many steps in a hurry only the last one is shown. */
  async step(by) {
    if (!this.image || this.image.planes < 2) return;
    const plane = Math.max(0, Math.min(this.image.planes - 1, this.wanted + by));
    if (plane === this.wanted) return;
    this.wanted = plane;
    this.tools.finish();
    this.tools.giveUp();
    await settled();
    if (this.wanted === plane) await this._plane(plane).catch(error => this._failed(error));
  }

  /** Mark the slices that somebody drew, and lower those that show what was found. */
  _ticks() {
    const { planes, drawn_planes: drawn, shown_planes: shown } = this.image, marked = planes > 1 ? new Set([...shown, ...drawn]) : [];
    by("ticks").replaceChildren(...[...marked].map(plane => {
      const tick = document.createElement("i");
      tick.classList.toggle("drawn", drawn.includes(plane));
      tick.style.left = `${plane / (planes - 1) * 100}%`;
      return tick;
    }));
  }

  /** Letters of the patient's sides beside the image. */
  _sides() {
    by("sides").replaceChildren(...this.image.sides.map(letter => {
      const told = document.createElement("i");
      told.textContent = letter;
      return told;
    }));
  }

  /** Tell the pixel under the pointer: its row and column, its indices in the file's array, and its value. */
  showPosition(place) {
    const { image, plane, view } = this, [column, row] = (place ?? [-1, -1]).map(Math.floor);
    const isIn = image && row >= 0 && column >= 0 && row < image.height && column < image.width;
    if (!isIn) { by("position").textContent = ""; return; }
    const at = [plane, row, column], sides = [image.planes, image.height, image.width], file = [];
    image.axes.forEach((axis, i) => { file[axis] = image.steps[i] > 0 ? at[i] : sides[i] - 1 - at[i]; });
    const numbers = view.pixels.at(row, column), unit = (image.high - image.low) / (2 ** image.bits - 1);
    const value = !numbers ? "" : image.has_colours ? numbers.join(" ") : Number((image.low + numbers[0] * unit).toPrecision(4));
    by("position").textContent = `row ${row}, column ${column}${image.is_flat ? "" : ` · file [${file.join(", ")}]`} · ${value}`;
  }

  /** Paint again soon: a part of the image, or all. */
  redraw(box = null) {
    this.dirty = box && this.dirty !== "all" ? this._joined(this.dirty, box) : "all";
    this.frame ??= requestAnimationFrame(() => {
      const { dirty } = this;
      this.frame = this.dirty = null;
      this.view.draw(dirty === "all" ? null : dirty);
      if (dirty === "all") this.tools.drawOver();
    });
  }

  _joined(a, b) {
    if (!a) return { left: b.left, top: b.top, right: b.right, bottom: b.bottom };
    return { left: Math.min(a.left, b.left), top: Math.min(a.top, b.top), right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom) };
  }

  // ------------------------------------------------------------------------------------------------ changes

  /** Send a stroke; the server answers when it is on the disk. */
  async keep(stroke, tool) {
    const runs = stroke.runs(this.pending > 0 || this.isBehind);
    if (!runs.length) return;
    const { image, plane } = this;
    await this._send(() => change("POST", `images/${image.id}/strokes`, { plane, tool, runs: { [stroke.value]: runs } }));
  }

  async undo(what) {
    if (!this.image) return;
    if (what === "undo" && this.tools.takeBack()) return;
    this.tools.giveUp();
    const { image } = this, answer = await this._send(() => change("POST", `images/${image.id}/${what}`));
    if (!answer || this.image !== image) return;
    if (answer.plane === null) await this._anew().catch(error => this._failed(error));
    else if (answer.plane !== this.plane && Object.keys(answer.runs).length) await this._plane(answer.plane);
    else this._apply(answer.runs);
    this.say(what === "undo" ? "Undone" : "Done again");
  }

  async accept() {
    if (!this.image || this.isLocked) return;
    if (this.tools.points.length) { this.say("The polygon is open: close it at its first corner, or give it up (Esc).", true); return; }
    this.tools.finish();
    this.tools.giveUp();
    const { image, since } = this, answer = await this._send(() => change("POST", `images/${image.id}/accept`));
    if (!answer) return;
    this.paces_s.push((performance.now() - since) / 1000);
    const entry = this.session.images[image.id];
    Object.assign(entry, { state: "accepted", dice: null, look_first: false });
    this.list.update([entry]);
    this._tell();
    this.say(`Accepted ${image.name}`);
    if (this.image !== image) return;
    await this.openNext(() => this.list.worst());
  }

  /** Change the classes, upon what all changes before have come to. */
  setClasses(changed) {
    this.settingClasses = this.settingClasses.then(async () => {
      const answer = await this._send(() => change("PUT", "classes", { classes: changed(this.session.classes) }));
      if (answer) this.session.classes = answer.classes;
      this.panel.showClasses();
      this.redraw();
    });
    return this.settingClasses;
  }

  /** Remove a class; `into` is the class that its pixels take, 0 to erase them, null where there are none. */
  async removeClass({ value, name }, into) {
    const query = into === null ? "" : `?into=${into}`;
    const answer = await this._send(() => change("DELETE", `classes/${value}${query}`));
    if (!answer) return;
    Object.assign(this.session, answer);
    this.list.update(answer.images);
    this.panel.showClasses();
    by("view").focus();  // its row, which had the focus, is gone
    this._tell();
    if (this.image) await this._anew();
    this.redraw();
    this.say(`Removed ${name}`);
  }

  /** Say where the class is, by a click, a scribble or a box; the answer is a stroke of the network's. */
  async prompt({ what, points, inside }) {
    const { image, plane } = this, value = this.panel.active;
    const answer = await this._send(() => change("POST", `images/${image.id}/prompts`, { plane, value, kind: what, points, inside }));
    if (!answer || this.image !== image || this.plane !== plane) return;
    this._apply(answer.runs);
    this.say(Object.keys(answer.runs).length ? "Mask changed" : "Nothing changed");
  }

  /** Let the network read what is on the screen, so that it answers the first click at once. */
  prepare() {
    const { image, plane } = this;
    if (image && PROMPTS.includes(this.tools.name)) hint(`images/${image.id}/preparation`, { plane, value: this.panel.active });
  }

  /** Take a prompt back, whatever came after it. */
  async withdraw(number) {
    const { image } = this, answer = await this._send(() => change("DELETE", `images/${image.id}/prompts/${number}`));
    if (!answer || this.image !== image) return;
    if (answer.plane !== this.plane) await this._plane(answer.plane);
    else this._apply(answer.runs);
    this.say("Taken back");
  }

  /** Let what is drawn on some slices be found on all others. */
  async propagate() {
    if (!this.image || this.image.planes < 2) return;
    const answer = await this._send(() => change("POST", `images/${this.image.id}/propagation`));
    if (answer) this.say("Propagating");
  }

  /** Begin to tune the network, or end it. */
  async tune() {
    const answer = await this._send(() => change(this.session.tuning.is_running ? "DELETE" : "POST", "tuning"));
    if (answer) this.session.tuning = answer;
    this.panel.showTuning();
  }

  /** Send a change; what is refused is told, and the truth is shown again. */
  async _send(request) {
    if (this.isLocked) return null;
    const { image } = this;
    this.pending++;
    this.sent++;
    this.waiting ??= setTimeout(() => { by("saved").textContent = "Saving …"; }, PATIENCE_MS);
    try {
      const answer = await request();
      if (!this.hasFailed) { this.unsay(); this.saved = `Saved ${new Date().toLocaleTimeString()}`; }
      if (answer.undoable !== undefined && this.image === image) { this._drawn(answer); this.across.show(); }
      return answer;
    } catch (error) {
      this.hasFailed = true;
      if (!error.status || error.status >= 500) this.saved = "The last change is not saved";
      this._failed(error);
      this.isBehind ||= this.image === image;
      return null;
    } finally {
      this.pending--;
      this._settle();
    }
  }

  /** Tell what has become of all that was sent, once all of it is answered. */
  _settle() {
    if (this.pending) return;
    clearTimeout(this.waiting);
    this.waiting = null;
    this.hasFailed = false;
    if (this.saved) by("saved").textContent = this.saved;
    this.catchUp();
  }

  _drawn({ undoable, redoable, state, prompts, drawn_planes }) {
    Object.assign(this.image, { undoable, redoable, prompts, drawn_planes });
    this._ticks();
    this.panel.showPrompts(this.image);
    this.tools.drawOver();
    by("undo").disabled = !undoable;
    by("redo").disabled = !redoable;
    const entry = this.session.images[this.image.id];
    if (state && entry.state !== state) { Object.assign(entry, { state, dice: null, look_first: false }); this.list.update([entry]); this._tell(); }
  }

  _failed(error, stays = false) {
    if (!(error instanceof Refused)) throw error;
    this.say(error.message, true, stays);
  }

  /** Tell something, to a screen reader too; a problem stays on the screen for a while, or until it is none any more. */
  say(text, isProblem = false, stays = false) {
    by("spoken").textContent = text;
    if (!isProblem) return;
    by("message").textContent = text;
    by("message").hidden = false;
    clearTimeout(this.hiding);
    if (!stays && !this.isLocked) this.hiding = setTimeout(() => this.unsay(), 6000);
  }

  /** Take off what was told, as something has been done since. */
  unsay() {
    if (!this.isLocked) by("message").hidden = true;
  }

  _theme() {
    const root = document.documentElement, kept = localStorage.getItem("theme");
    if (kept) root.dataset.theme = kept;
    this.turnTheme = () => {
      const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = isDark ? "light" : "dark";
      localStorage.setItem("theme", root.dataset.theme);
      this.redraw();
    };
  }
}

const app = new App();

function choose(tool) {
  if (PROMPTS.includes(tool) && !app.session.takes_prompts) return;
  app.tools.choose(tool);
  app.unsay();
  app.prepare();
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool);
  app.say(tool);
}

function setSize(size) {
  app.tools.setSize(size);
  by("size").value = app.tools.size;
  by("size-px").textContent = app.tools.size;
}

function toggle(id, name) {
  app.view[name] = by(id).checked;
  app.redraw();
}

function zoom(factor) {
  const { view } = app, [x, y] = app.tools.last ?? [view.left + view.canvas.width / 2 / view.zoom, view.top + view.canvas.height / 2 / (view.zoom * view.aspect)];
  view.zoomAt(x, y, factor);
  app.redraw();
}

const flip = id => { by(id).checked = !by(id).checked; by(id).dispatchEvent(new Event("change")); };

const KEYS = {
  b: () => choose("brush"), e: () => choose("eraser"), p: () => choose("polygon"), f: () => choose("fill"),
  c: () => choose("click"), s: () => choose("scribble"), x: () => choose("box"),
  "[": () => setSize(app.tools.size * 0.85 - 0.5), "]": () => setSize(app.tools.size * 1.15 + 0.5),
  z: () => app.undo("undo"), Z: () => app.undo("redo"), a: () => app.accept(),
  n: () => app.openNext(() => app.list.next(1)), N: () => app.openNext(() => app.list.next(-1)),
  ",": () => app.step(-1), ".": () => app.step(1), PageUp: () => app.step(-1), PageDown: () => app.step(1),
  h: () => flip("hide"), o: () => flip("outline"), r: () => resetWindow(), t: () => app.turnTheme(),
  "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => { app.view.fit(); app.redraw(); },
  g: () => app.propagate(), v: () => crosshair(), d: () => app.exports.open(),
  "?": () => by("help").showModal(),
};
const ONCE = ["a", "g", "d", "h", "o", "t", "enter"];  // however long they are held: nothing is accepted unseen
const ON_CANVAS = {
  ArrowLeft: s => app.tools.movePen(-s, 0), ArrowRight: s => app.tools.movePen(s, 0),
  ArrowUp: s => app.tools.movePen(0, -s), ArrowDown: s => app.tools.movePen(0, s),
  Enter: (_, event) => app.tools.press(event.shiftKey), Backspace: () => app.tools.dropCorner(), Escape: () => app.tools.giveUp(),
};

function crosshair() {
  if (app.tools.last) app.across.put(app.tools.last[1], app.tools.last[0]);
}

function resetWindow() {
  if (app.image) app.view.window = [...app.image.window];
  app.redraw();
}

function pressed(event) {
  const { target, key } = event;
  if (app.panel.isAdding) { event.preventDefault(); app.panel.early(key); return; }
  if (document.querySelector("dialog[open]") || target.matches("textarea, input[type=search], select")) return;
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z") {
    event.preventDefault();
    app.undo(event.shiftKey ? "redo" : "undo");
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.repeat && ONCE.includes(key.toLowerCase())) { event.preventDefault(); return; }
  if (key === " " && target === by("view") || key === "w") { app.tools.held.add(key); if (key === " ") event.preventDefault(); return; }
  if (target === by("view") && ON_CANVAS[key]) { event.preventDefault(); ON_CANVAS[key](event.shiftKey ? 10 : 1, event); return; }
  if (target === by("images") && ["ArrowDown", "ArrowUp"].includes(key)) { event.preventDefault(); app.openNext(() => app.list.next(key === "ArrowDown" ? 1 : -1)); return; }
  if (target === by("images") && key === "Enter") { by("view").focus(); return; }
  if (target.matches("input[type=range]") && /^(Arrow|Page)/.test(key)) return;
  if (/^[1-9]$/.test(key)) { app.panel.choose(Number(key) - 1); return; }
  const act = KEYS[key] ?? KEYS[key.toLowerCase()];
  if (act && app.session) { event.preventDefault(); act(); }
}

document.addEventListener("keydown", pressed);
document.addEventListener("keyup", event => app.tools.held.delete(event.key.toLowerCase()));
window.addEventListener("beforeunload", event => { if (app.pending && !app.isLocked) event.preventDefault(); });
window.addEventListener("blur", () => app.tools.held.clear());
for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => choose(button.dataset.tool));
by("undo").addEventListener("click", () => app.undo("undo"));
by("redo").addEventListener("click", () => app.undo("redo"));
by("propagate").addEventListener("click", () => app.propagate());
by("tune").addEventListener("click", () => app.tune());
by("accept").addEventListener("click", () => app.accept());
by("size").addEventListener("input", event => setSize(Number(event.target.value)));
by("slice").addEventListener("input", event => app.step(Number(event.target.value) - app.wanted));
by("opacity").addEventListener("input", event => { app.view.opacity = event.target.value / 100; app.redraw(); });
by("outline").addEventListener("change", () => toggle("outline", "isOutline"));
by("hide").addEventListener("change", () => toggle("hide", "isHidden"));
by("window-reset").addEventListener("click", resetWindow);
by("theme").addEventListener("click", () => app.turnTheme());
by("help-open").addEventListener("click", () => by("help").showModal());
by("search").addEventListener("input", event => { app.list.filter = event.target.value.toLowerCase(); app.list.arrange(); });
by("order").addEventListener("change", event => { app.list.order = event.target.value; app.list.arrange(); });
new ResizeObserver(() => { app.view.resize(); app.redraw(); }).observe(by("stage"));
choose("brush");
app.start().catch(error => app._failed(error, true));
