// The list of kernels. It knows not what is done with one.

import { element } from "./element.js";

const SHORT = 8; // characters of an id

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

  /** Show what the relay has; rows that stay keep what is focused in them. */
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

  /** The state of the open one comes by itself. */
  state(id, state) {
    this.#rows.get(id)?.state(state);
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
      element("span", { class: "id", text: id.slice(0, SHORT) }),
      this.#state,
      this.#watchers,
    );
    this.element = element("li", { data: { kernel: id } }, this.#open);
    if (access !== "full") return;
    const about = `${name} ${id.slice(0, SHORT)}`;
    this.element.append(
      element("span", { class: "row" },
        button("Link", `Read-only link to ${about}`, () => on.link(kernel)),
        button("Shut down", `Shut down ${about}`, () => on.shutDown(kernel)),
      ),
    );
  }

  show({ state, watchers }, isOpen) {
    this.state(state);
    this.#watchers.textContent = watchers ? `${watchers} watching` : "";
    if (isOpen) this.#open.setAttribute("aria-current", "true");
    else this.#open.removeAttribute("aria-current");
  }

  state(state) {
    this.#state.textContent = state;
    this.#state.dataset.state = state;
  }
}

const button = (text, label, click) =>
  element("button", { type: "button", class: "small", text, "aria-label": label, "aria-haspopup": "dialog", on: { click } });
