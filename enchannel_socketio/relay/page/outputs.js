// The outputs of a cell, in the order in which they came, as far as they are kept. It knows no messages.

import { element } from "./element.js";
import { paint } from "./paint.js";
import { GrowingText, textOf } from "./text.js";
import { View } from "./views.js";

const TEXT_KEPT = 200_000; // characters
const OUTPUTS_KEPT = 200;
const HELD = 300; // milliseconds in which what follows a clear may fill its place

/** Displays by their display_id, wherever they stand. */
export class Displays {
  #byId = new Map();

  add(id, display) {
    if (!this.#byId.has(id)) this.#byId.set(id, new Set());
    this.#byId.get(id).add(display);
  }

  remove(id, display) {
    const displays = this.#byId.get(id);
    if (displays?.delete(display) && displays.size === 0) this.#byId.delete(id);
  }

  update(id, bundle, metadata) {
    for (const display of this.#byId.get(id) ?? []) display.update(bundle, metadata);
  }
}

export class Outputs {
  element = element("div", { class: "outputs" });
  #displays;
  #items = [];
  #note = element("p", { class: "note", hidden: true });
  #outputsGone = 0;
  #textGone = 0;
  #clearsNext = false;
  #held = 0; // pixels that were taken by what was cleared

  constructor(displays) {
    this.#displays = displays;
    this.element.append(this.#note);
  }

  stream(text, name) {
    this.#clearIfDue();
    if (!(this.#items.at(-1) instanceof GrowingText)) this.#add(new GrowingText());
    const kept = text.slice(-TEXT_KEPT);
    this.#textGone += text.length - kept.length;
    this.#items.at(-1).write(kept, name);
    this.#shrink();
    paint(this);
  }

  show(bundle, metadata, displayId) {
    this.#clearIfDue();
    this.#add(new Display(bundle, metadata, displayId));
    if (displayId) this.#displays.add(displayId, this.#items.at(-1));
    paint(this);
  }

  error(text) {
    this.#clearIfDue();
    this.#add(new Traceback(text));
    paint(this);
  }

  /** Take all away, at once or as soon as there is something else to show. */
  clear(waits) {
    this.#clearsNext = waits;
    if (!waits) this.#empty();
    paint(this);
  }

  remove() {
    for (const item of this.#items) this.#forget(item);
  }

  draw() {
    if (this.#held) this.#hold();
    this.#note.hidden = !(this.#textGone || this.#outputsGone);
    if (!this.#note.hidden) this.#note.textContent = this.#whatIsGone();
    for (const item of this.#items) {
      if (!item.element.isConnected) this.element.append(item.element);
      item.draw();
    }
  }

  #add(item) {
    this.#items.push(item);
    if (this.#items.length <= OUTPUTS_KEPT) return;
    this.#forget(this.#items.shift());
    this.#outputsGone += 1;
  }

  #shrink() {
    const texts = this.#items.filter((item) => item instanceof GrowingText);
    let excess = texts.reduce((sum, text) => sum + text.size, -TEXT_KEPT);
    for (const text of texts) {
      if (excess <= 0) return;
      const gone = text.shrink(excess);
      this.#textGone += gone;
      excess -= gone;
    }
  }

  #clearIfDue() {
    if (!this.#clearsNext) return;
    this.#clearsNext = false;
    this.#empty();
  }

  #empty() {
    this.#held ||= this.element.offsetHeight;
    for (const item of this.#items) this.#forget(item);
    this.#items = [];
    this.#outputsGone = this.#textGone = 0;
  }

  #forget(item) {
    item.element.remove();
    if (item.displayId) this.#displays.remove(item.displayId, item);
  }

  /** Keep the place for a moment, so that what stands below does not jump. */
  #hold() {
    this.element.style.minHeight = `${this.#held}px`;
    this.#held = 0;
    setTimeout(() => (this.element.style.minHeight = ""), HELD);
  }

  #whatIsGone() {
    const text = this.#textGone && `${this.#textGone.toLocaleString("en")} characters`;
    const outputs = this.#outputsGone && `${this.#outputsGone.toLocaleString("en")} outputs`;
    return `${[text, outputs].filter(Boolean).join(" and ")} before this were left out`;
  }
}

class Display {
  element;
  displayId;
  #view = new View();
  #shown;
  #isFresh = true;

  constructor(bundle, metadata, displayId) {
    this.element = this.#view.element;
    this.displayId = displayId;
    this.#shown = [bundle, metadata];
  }

  update(bundle, metadata) {
    this.#shown = [bundle, metadata];
    this.#isFresh = true;
    paint(this);
  }

  draw() {
    if (!this.#isFresh || !this.element.isConnected) return;
    this.#isFresh = false;
    this.#view.show(...this.#shown);
  }
}

class Traceback {
  constructor(text) {
    this.element = textOf(text, TEXT_KEPT);
    this.element.classList.add("error");
  }

  draw() {} // it never changes
}
