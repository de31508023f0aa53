// The list of kernels.

import { element } from "./element.js";

const SHORT_ID = 8; // characters

export class Kernels {
  #list;
  #none;
  #rows = new Map();
  #on;

  /** `on`: open(kernel), link(kernel), shutDown(kernel). */
  constructor(list, none, on) {
    this.#list = list;
    this.#none = none;
    this.#on = on;
  }

  /** Show the kernels of the relay. Existing rows are updated in place, and keep the focus. */
  show(kernels, openId) {
    const ids = new Set(kernels.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    for (const kernel of kernels) this.#row(kernel).show(kernel, kernel.id === openId);
    this.#none.hidden = kernels.length > 0;
  }

  /** Show the state of the open kernel, which is pushed. */
  setState(id, state) {
    this.#rows.get(id)?.setState(state);
  }

  #row(kernel) {
    if (!this.#rows.has(kernel.id)) {
      const row = new Row(kernel, this.#on);
      this.#rows.set(kernel.id, row);
      this.#list.append(row.element);
    }
    return this.#rows.get(kernel.id);
  }
}

class Row {
  #state = element("span", { class: "state" });
  #watchers = element("span", { class: "quiet" });
  #open;

  constructor(kernel, on) {
    const { id, name, access } = kernel;
    this.#open = element(
      "button",
      { type: "button", class: "open", title: id, on: { click: () => on.open(kernel) } },
      element("span", { class: "name", text: name }),
      element("span", { class: "id", text: id.slice(0, SHORT_ID) }),
      this.#state,
      this.#watchers,
    );
    this.element = element("li", { data: { kernel: id } }, this.#open);
    if (access !== "full") return;
    const label = `${name} ${id.slice(0, SHORT_ID)}`;
    this.element.append(
      element("span", { class: "row" },
        button("Link", `Read-only link to ${label}`, () => on.link(kernel)),
        button("Shut down", `Shut down ${label}`, () => on.shutDown(kernel)),
      ),
    );
  }

  show({ state, watchers }, isOpen) {
    this.setState(state);
    this.#watchers.textContent = watchers ? `${watchers} watching` : "";
    if (isOpen) this.#open.setAttribute("aria-current", "true");
    else this.#open.removeAttribute("aria-current");
  }

  setState(state) {
    this.#state.textContent = state;
    this.#state.dataset.state = state;
  }
}

const button = (text, label, click) =>
  element("button", { type: "button", class: "small", text, "aria-label": label, "aria-haspopup": "dialog", on: { click } });
