// The images of the folder at the left: thumbnail, state and predicted Dice, worst first.

import { getBlob } from "./api.js";

const STATES = { bare: ["○", "not drawn"], drawn: ["◐", "drawn, not accepted"], predicted: ["◇", "predicted"], doubtful: ["◆", "predicted, doubtful"], accepted: ["●", "accepted"] };
const RANK = { drawn: 0, doubtful: 1, predicted: 2, bare: 3, accepted: 4 };
const NAMES = new Intl.Collator(undefined, { numeric: true });  // 2 before 10
const AT_ONCE = 2;  // thumbnails; a browser has six connections, and drawing comes first

export const stateOf = image => (image.state === "predicted" && image.look_first ? "doubtful" : image.state);
export const nameOf = state => STATES[state][1];

export class ImageList {
  constructor(element, onChoose) {
    this.element = element; this.onChoose = onChoose;
    this.rows = new Map(); this.order = "worst"; this.filter = "";
    this.current = this.wanted = -1;  // on the screen, and on its way there
    this.waiting = []; this.running = 0;
    this.seen = new IntersectionObserver(entries => this._seen(entries), { root: element, rootMargin: "200px" });
    element.addEventListener("click", event => {
      const row = event.target.closest("li");
      if (row) onChoose(Number(row.dataset.id));
    });
  }

  /** Take over what is new of some images. */
  update(images) {
    const known = this.rows.size;
    for (const image of images) {
      let row = this.rows.get(image.id);
      if (!row) this.rows.set(image.id, row = this._row(image));
      if (row.image.failure && !image.failure && !row.picture.src) this.seen.observe(row.element);
      row.image = image;
      const state = stateOf(image), [icon, told] = STATES[state];
      row.element.dataset.state = state;
      row.icon.textContent = image.failure ? "✕" : icon;
      const dice = image.dice === null ? "" : `Dice ${image.dice.toFixed(2)}`;
      row.told.textContent = image.failure || [dice || told, image.is_absent ? "probably absent" : "", image.is_suspect ? "contradicted" : ""].filter(Boolean).join(" · ");
      row.told.title = row.told.textContent;  // which may be longer than the list is wide
      row.element.setAttribute("aria-label", `${image.name}, ${image.failure || told} ${dice}`);
    }
    if (this.rows.size > known) this.rows = new Map([...this.rows].sort(([, a], [, b]) => NAMES.compare(a.image.name, b.image.name)));
    if (images.length) this.arrange();
  }

  /** Images in the order and by the filter that are chosen. */
  get shown() {
    const all = [...this.rows.values()].map(row => row.image).filter(image => image.name.toLowerCase().includes(this.filter));
    if (this.order === "worst") {
      all.sort((a, b) => RANK[stateOf(a)] - RANK[stateOf(b)] || (a.dice ?? 2) - (b.dice ?? 2));
    }
    return all;
  }

  arrange() {
    const shown = this.shown, elements = shown.map(image => this.rows.get(image.id).element);
    const there = this.element.children;
    if (elements.length !== there.length || elements.some((element, i) => element !== there[i])) {
      const top = this.element.scrollTop;
      this.element.replaceChildren(...elements);
      this.element.scrollTop = top;
    }
  }

  /** Mark the image that is on the screen. */
  choose(id) {
    const before = this.rows.get(this.current)?.element, now = this.rows.get(id)?.element;
    before?.removeAttribute("aria-selected");
    now?.setAttribute("aria-selected", "true");
    if (now) this.element.setAttribute("aria-activedescendant", now.id);
    now?.scrollIntoView({ block: "nearest" });
    this.current = this.wanted = id;
  }

  /** The image after or before the one that was asked for last that can be read as far as is known; -1 if there is none. */
  next(step) {
    const shown = this.shown.filter(image => !image.failure || image.id === this.wanted);
    const place = shown.findIndex(image => image.id === this.wanted);
    return shown[place + step]?.id ?? -1;
  }

  /** Tell why an image cannot be read. */
  fail(id, failure) {
    const { image } = this.rows.get(id);
    image.failure = failure;
    this.update([image]);
  }

  /** The image that is to be looked at after an accepted one: the worst prediction, else the next that is not drawn. */
  worst() {
    const all = [...this.rows.values()].map(row => row.image), place = all.findIndex(image => image.id === this.current);
    const others = [...all.slice(place + 1), ...all.slice(0, Math.max(place, 0))];
    const open = others.filter(image => ["bare", "predicted"].includes(image.state) && !image.failure);
    open.sort((a, b) => (a.dice ?? 2) - (b.dice ?? 2));
    return open[0]?.id ?? -1;
  }

  _row(image) {
    const element = document.createElement("li"), picture = document.createElement("img");
    const text = document.createElement("div"), name = document.createElement("b"), told = document.createElement("small");
    const icon = document.createElement("i");
    element.id = `image-${image.id}`; element.dataset.id = image.id; element.setAttribute("role", "option");
    picture.alt = ""; picture.width = picture.height = 44;
    name.textContent = image.name; name.title = image.name;
    icon.setAttribute("aria-hidden", "true");
    text.append(name, told);
    element.append(picture, text, icon);
    this.seen.observe(element);
    return { element, picture, icon, told, image };
  }

  _seen(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { this.seen.unobserve(target); this.waiting.push(Number(target.dataset.id)); }
    }
    this._load();
  }

  async _load() {
    if (this.running >= AT_ONCE || !this.waiting.length) return;
    const id = this.waiting.shift();
    this.running++;
    try {
      this.rows.get(id).picture.src = URL.createObjectURL(await getBlob(`images/${id}/thumbnail`));
    } catch (error) {
      if (error.status) this.fail(id, error.message);
    }
    this.running--;
    this._load();
  }
}
