// The dialog by which masks are taken away: what can be written, and beside the rest why not.

import { getFile, getJson } from "./api.js";

const by = id => document.getElementById(id);

export class Export {
  constructor(app) {
    this.app = app;
    by("export-open").addEventListener("click", () => this.open());
    by("exports").addEventListener("click", event => {
      const button = event.target.closest("button");
      if (button && button.getAttribute("aria-disabled") !== "true") this.take(button.dataset.form);
    });
  }

  /** Show what the masks can be taken away as; that depends on the images that have one. */
  async open() {
    if (!this.app.session || by("export").open) return;
    by("export-told").textContent = "Looking at the images …";
    by("exports").replaceChildren();
    by("export").showModal();
    try {
      const { counts, forms, gone } = await getJson("exports");
      const told = ["accepted", "drawn", "predicted"].filter(state => counts[state]).map(state => `${counts[state]} ${state}`);
      const lacking = gone.length ? `Without ${gone.slice(0, 3).join(", ")}${gone.length > 3 ? ` and ${gone.length - 3} more` : ""}: the file of the image is gone.` : "";
      by("export-told").textContent = told.length ? `${told.join(", ")}, in one archive with a table and a page to look at. ${lacking}` : lacking || "There is no mask yet: draw one first.";
      by("exports").replaceChildren(...forms.sort((a, b) => Boolean(a.reason) - Boolean(b.reason)).map(each => this._entry(each)));
      by("exports").querySelector("button")?.focus();
    } catch (error) {
      by("export").close();
      this.app._failed(error);
    }
  }

  /** Let the browser keep the masks as a file. */
  async take(form) {
    by("export").close();
    this.app.say("Exporting …", false, true);
    try {
      const link = document.createElement("a"), { file, leftOut } = await getFile(`export/${form}`);
      link.href = URL.createObjectURL(file);
      link.download = form === "task" ? `${this.app.session.folder}.task` : `${this.app.session.folder}-${form}.zip`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      if (leftOut) this.app.say(`Exported without ${leftOut} ${leftOut === 1 ? "image" : "images"}: images.csv says why.`, true);
      else this.app.say("Exported");
    } catch (error) { this.app._failed(error); }
  }

  _entry({ form, title, reason }) {
    const item = document.createElement("li"), button = document.createElement("button"), why = document.createElement("small");
    button.type = "button"; button.dataset.form = form; button.textContent = title;
    why.textContent = reason; why.id = `why-${form}`;
    if (reason) { button.setAttribute("aria-disabled", "true"); button.setAttribute("aria-describedby", why.id); }
    item.append(button, why);
    return item;
  }
}
