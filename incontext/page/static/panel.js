// The column at the right: classes with names, colours and keys, and what is known of the image and the examples.

import { getJson } from "./api.js";

const PALETTE = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7", "#0072b2"];
const SVG = "http://www.w3.org/2000/svg";
const ENOUGH = 4;  // examples from which on they can judge each other

/** An eye, crossed out if it is shut. */
function drawEye(isShut) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  path.setAttribute("d", `M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 100 6 3 3 0 000-6${isShut ? "M4 20L20 4" : ""}`);
  svg.append(path);
  return svg;
}

/** As many lines as a name takes. */
function grow(name) {
  name.style.height = "auto";
  name.style.height = `${name.scrollHeight + name.offsetHeight - name.clientHeight}px`;  // with its border
}

export class Panel {
  constructor(app) {
    this.app = app;
    this.active = 1; this.isAdding = false; this.typed = "";
    this.list = document.getElementById("classes");
    document.getElementById("add-class").addEventListener("click", () => this._add());
    document.getElementById("remove").addEventListener("close", event => {
      const { returnValue } = event.target;
      if (returnValue === "remove") this.app.removeClass(this.removing, Number(document.getElementById("remove-into").value));
    });
  }

  get classes() { return this.app.session.classes; }

  /** Draw the list of classes anew, unless a name is being written. */
  showClasses() {
    if (this.list.contains(document.activeElement) && document.activeElement.localName === "textarea") return;
    if (!this.classes.some(each => each.value === this.active)) this.active = this.classes[0]?.value ?? 1;
    this.list.replaceChildren(...this.classes.map((each, index) => this._row(each, index)));
    for (const name of this.list.querySelectorAll("textarea")) grow(name);
    this.app.view.colours = new Map(this.classes.map(each => [each.value, each.colour]));
  }

  choose(index) {
    const found = this.classes[index];
    if (!found) return;
    this.active = found.value;
    this.app.prepare();
    this.showClasses();
    this.app.say(`Class ${found.name}`);
  }

  showImage(image, entry) {
    const facts = [];
    const mm = image.spacing_mm;
    const size = `${image.width} × ${image.height}${image.planes > 1 ? ` × ${image.planes}` : ""} px`;
    facts.push(["Size", size]);
    const [unit, factor] = mm && mm[2] < 0.1 ? ["µm", 1000] : ["mm", 1];
    const sides = mm && (image.planes > 1 ? [mm[2], mm[1], mm[0]] : [mm[2], mm[1]]);
    if (mm) facts.push([image.planes > 1 ? "Voxel" : "Pixel", `${sides.map(each => Number((each * factor).toPrecision(3))).join(" × ")} ${unit}`]);
    if (image.full_size) facts.push(["Full size", `${image.full_size[1]} × ${image.full_size[0]} px`], ["Drawn at", `level ${image.level}`]);
    if (entry.dice !== null) facts.push(["Predicted Dice", entry.dice.toFixed(2)]);
    const found = image.propagated?.stands ? image.propagated : null;
    if (found?.dice != null) facts.push(["Propagated, Dice", found.dice.toFixed(2)]);
    if (found?.next_plane != null) facts.push(["Draw next", `slice ${found.next_plane + 1}`, () => this.app.step(found.next_plane - this.app.wanted)]);
    const shown = Object.entries(image.presence).map(([value, share]) => `${this._name(Number(value))} ${Math.round(share * 100)} %${share < 0.5 ? ", probably absent" : ""}`);
    if (entry.state === "predicted" && shown.length) facts.push(["Is there", shown.join("; ")]);
    for (const note of image.notes) facts.push(["Note", note]);
    if (entry.is_suspect) facts.push(["Note", "the other examples contradict this one"]);
    document.getElementById("facts").replaceChildren(...facts.flatMap(([name, value, act]) => {
      const term = document.createElement("dt"), told = document.createElement("dd"), text = document.createElement(act ? "button" : "span");
      term.textContent = name; text.textContent = value;
      if (act) { text.type = "button"; text.addEventListener("click", act); }
      told.append(text);
      return [term, told];
    }));
  }

  /** List what was said of the image; each can be taken back. */
  showPrompts(image) {
    const counts = {};
    document.getElementById("prompts").replaceChildren(...image.prompts.map(({ number, plane, value, kind, inside }) => {
      const item = document.createElement("li"), text = document.createElement("button"), off = document.createElement("button");
      const side = kind === "box" ? "around" : inside ? "inside" : "outside";
      counts[kind] = (counts[kind] ?? 0) + 1;
      const told = `${kind} ${counts[kind]}: ${side} ${this._name(value)}${image.planes > 1 ? `, slice ${plane + 1}` : ""}`;
      text.type = off.type = "button";
      text.textContent = told; off.textContent = "×";
      off.setAttribute("aria-label", `Take back: ${told}`);
      text.addEventListener("click", () => this.app.step(plane - this.app.wanted));
      off.addEventListener("click", () => this.app.withdraw(number));
      item.append(text, off);
      return item;
    }));
  }

  /** Tell how far tuning is, and what it has come to. */
  showTuning() {
    const { tuning, images, progress } = this.app.session, button = document.getElementById("tune");
    button.hidden = !tuning.is_running && !images.some(image => image.state === "accepted");
    button.disabled = progress.stage === "loading";
    button.textContent = tuning.is_running ? "Stop tuning" : "Tune on the examples";
    const left = tuning.eta_s === null ? "" : ` · ${Math.ceil(tuning.eta_s)} s left`;
    const going = tuning.total ? `Step ${tuning.done} of ${tuning.total}${left}` : "Tuning begins …";
    document.getElementById("tuning").textContent = tuning.is_running ? going : tuning.outcome;
  }

  _name(value) { return this.classes.find(each => each.value === value)?.name ?? `class ${value}`; }

  /** What was assumed of the folder, and files that were left out. */
  showNotes() {
    const { notes } = this.app.session;
    document.getElementById("notes-title").hidden = !notes.length;
    document.getElementById("notes").replaceChildren(...notes.map(note => {
      const item = document.createElement("li");
      item.textContent = note;
      return item;
    }));
  }

  showExamples() {
    const { images, expected } = this.app.session;
    const accepted = images.filter(image => image.state === "accepted").length;
    const worst = expected.length ? expected.reduce((a, b) => (a.dice < b.dice ? a : b)) : null;
    let advice = "";
    const hasMasks = images.some(image => image.state === "predicted");
    if (!accepted) advice = hasMasks ? "Accept an image once its mask is right; the others are segmented anew then." : "Draw one image and accept it.";
    else if (worst) advice = `New images will have a Dice of about ${worst.dice.toFixed(2)} (${worst.low.toFixed(2)} to ${worst.high.toFixed(2)}): so the examples segment each other.`;
    else if (accepted < ENOUGH) advice = `Accept ${ENOUGH - accepted} more, and they tell what Dice to expect of the others.`;
    document.getElementById("advice").textContent = advice;
    document.getElementById("to-draw").textContent = accepted || hasMasks ? this._toDraw() : "";
    document.getElementById("expected").textContent = worst ? `expected Dice ${worst.dice.toFixed(2)} ± ${((worst.high - worst.low) / 2).toFixed(2)}` : "";
    document.getElementById("suspects").replaceChildren(...images.filter(image => image.is_suspect).map(image => {
      const item = document.createElement("li"), button = document.createElement("button");
      button.type = "button"; button.textContent = `Look at ${image.name}: the other examples contradict it`;
      button.addEventListener("click", () => this.app.open(image.id));
      item.append(button);
      return item;
    }));
  }

  /** Tell how many masks are probably poor, and how long it takes to correct them at the pace so far. */
  _toDraw() {
    const masks = this.app.session.images.filter(image => image.state === "predicted" && image.dice !== null);
    const poor = masks.filter(image => image.look_first).length;
    if (!masks.length) return "";
    if (!poor) return `None of ${masks.length} masks looks doubtful.`;
    const paces = [...this.app.paces_s].sort((a, b) => a - b), pace = paces[Math.floor(paces.length / 2)];
    const minutes = Math.ceil(poor * pace / 60), time = pace === undefined ? "" : ` About ${minutes} min, as long as one takes you ${Math.ceil(pace)} s.`;
    return `${poor} of ${masks.length} masks ${poor === 1 ? "looks" : "look"} doubtful: draw these next.${time}`;
  }

  _row(each, index) {
    const row = document.createElement("li"), colour = document.createElement("input"), name = document.createElement("textarea");
    const radio = document.createElement("input"), key = document.createElement("kbd"), eye = document.createElement("button");
    radio.type = "radio"; radio.name = "class"; radio.checked = each.value === this.active;
    radio.setAttribute("aria-label", `Draw ${each.name}`);
    radio.addEventListener("change", () => this.choose(index));
    colour.type = "color"; colour.value = each.colour; colour.setAttribute("aria-label", `Colour of ${each.name}`);
    colour.addEventListener("change", () => this._change(each.value, { colour: colour.value }));
    name.rows = 1; name.value = each.name; name.maxLength = 200; name.setAttribute("aria-label", `Name of class ${each.value}`);
    name.addEventListener("input", () => grow(name));
    name.addEventListener("change", () => this._change(each.value, { name: name.value.replaceAll('"', "'").replace(/\s+/g, " ").trim() || each.name }));
    name.addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); document.getElementById("view").focus(); } });
    key.textContent = index < 9 ? index + 1 : "";
    const hidden = this.app.view.hiddenClasses;
    eye.type = "button"; eye.className = "eye"; eye.append(drawEye(hidden.has(each.value)));
    eye.setAttribute("aria-pressed", hidden.has(each.value)); eye.setAttribute("aria-label", `Hide ${each.name}`);
    eye.addEventListener("click", () => {
      if (!hidden.delete(each.value)) hidden.add(each.value);
      this.showClasses();
      this.app.redraw();
    });
    row.classList.toggle("active", radio.checked);
    row.addEventListener("click", event => { if (event.target === row || event.target === key) this.choose(index); });
    const off = document.createElement("button");
    off.type = "button"; off.className = "off"; off.textContent = "×"; off.disabled = this.classes.length < 2;
    off.setAttribute("aria-label", `Remove ${each.name}`);
    off.addEventListener("click", () => this._remove(each));
    row.append(radio, colour, name, key, eye, off);
    return row;
  }

  _change(value, what) {
    this.app.setClasses(classes => classes.map(each => (each.value === value ? { ...each, ...what } : each)));
  }

  /** Remove a class, after asking what becomes of that which is drawn of it. */
  async _remove(each) {
    let drawn, accepted, shows_others;
    try { ({ drawn, accepted, shows_others } = await getJson(`classes/${each.value}/uses`)); } catch (error) { this.app._failed(error); return; }
    if (!drawn) { this.app.removeClass(each, null); return; }
    this.removing = each;
    const dialog = document.getElementById("remove"), into = document.getElementById("remove-into");
    const labels = !accepted ? "" : shows_others ? ` Labels are written anew: ${accepted}.`
      : ` If it is erased, no label shows anything any more: they are kept in .annotate/replaced, and their images (${accepted}) are no examples.`;
    document.getElementById("remove-told").textContent = `${each.name} is drawn in ${drawn} ${drawn === 1 ? "image" : "images"}.${labels} Undo (Z) in an image brings back what was drawn there, and the class.`;
    into.replaceChildren(new Option("is erased", 0), ...this.classes.filter(other => other !== each).map(other => new Option(`becomes ${other.name}`, other.value)));
    dialog.returnValue = "";
    dialog.showModal();
  }

  async _add() {
    this.isAdding = true;  // until its name can be typed; what is typed before is no command, but the beginning of it
    this.typed = "";
    await this.app.setClasses(classes => {
      const used = new Set([...classes.map(each => each.value), ...this.app.session.retired]);
      let value = 1;
      while (used.has(value)) value++;
      if (value > 254) return classes;
      const colours = new Set(classes.map(each => each.colour));
      const colour = PALETTE.find(each => !colours.has(each)) ?? PALETTE[value % PALETTE.length];
      this.active = value;
      return [...classes, { value, name: `class ${value}`, colour }];
    }).finally(() => { this.isAdding = false; });
    const name = this.list.querySelector(".active textarea"), [typed, ...rest] = this.typed.split("\n");
    name?.focus(); name?.select();
    if (!name || !typed) return;
    name.value = typed;
    grow(name);
    name.dispatchEvent(new Event("change"));
    if (rest.length) document.getElementById("view").focus();
  }

  /** Take a key that was pressed while a class was being added. */
  early(key) {
    if (key === "Enter") this.typed += "\n";
    else if (key === "Backspace") this.typed = this.typed.slice(0, -1);
    else if (key.length === 1) this.typed += key;
  }
}
