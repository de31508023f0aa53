// The outputs of a cell, in order; the oldest are removed when there are too many.

import { element } from "./element.js";
import { paint } from "./paint.js";
import { GrowingText, textOf } from "./text.js";
import { View } from "./views.js";

const MAX_TEXT = 200_000; // characters
const MAX_OUTPUTS = 200;
const HOLD_TIME = 300; // milliseconds for which cleared outputs keep their space

/** The displays of all cells, by display_id. */
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
  #removedOutputs = 0;
  #removedText = 0;
  #clearsNext = false;
  #heldHeight = 0; // pixels, of the cleared outputs

  constructor(displays) {
    this.#displays = displays;
    this.element.append(this.#note);
  }

  stream(text, name) {
    this.#clearIfDue();
    if (!(this.#items.at(-1) instanceof GrowingText)) this.#add(new GrowingText());
    const kept = text.slice(-MAX_TEXT);
    this.#removedText += text.length - kept.length;
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

  /** Remove all outputs, immediately or with the next output. */
  clear(wait) {
    this.#clearsNext = wait;
    if (!wait) this.#empty();
    paint(this);
  }

  remove() {
    for (const item of this.#items) this.#forget(item);
  }

  draw() {
    if (this.#heldHeight) this.#holdHeight();
    this.#note.hidden = !(this.#removedText || this.#removedOutputs);
    if (!this.#note.hidden) this.#note.textContent = this.#removalNote();
    for (const item of this.#items) {
      if (!item.element.isConnected) this.element.append(item.element);
      item.draw();
    }
  }

  #add(item) {
    this.#items.push(item);
    if (this.#items.length <= MAX_OUTPUTS) return;
    this.#forget(this.#items.shift());
    this.#removedOutputs += 1;
  }

  #shrink() {
    const texts = this.#items.filter((item) => item instanceof GrowingText);
    let excess = texts.reduce((sum, text) => sum + text.size, -MAX_TEXT);
    for (const text of texts) {
      if (excess <= 0) return;
      const removed = text.shrink(excess);
      this.#removedText += removed;
      excess -= removed;
    }
  }

  #clearIfDue() {
    if (!this.#clearsNext) return;
    this.#clearsNext = false;
    this.#empty();
  }

  #empty() {
    this.#heldHeight ||= this.element.offsetHeight;
    for (const item of this.#items) this.#forget(item);
    this.#items = [];
    this.#removedOutputs = this.#removedText = 0;
  }

  #forget(item) {
    item.element.remove();
    if (item.displayId) this.#displays.remove(item.displayId, item);
  }

  /** Keep the height for a moment, so that the cells below do not jump. */
  #holdHeight() {
    this.element.style.minHeight = `${this.#heldHeight}px`;
    this.#heldHeight = 0;
    setTimeout(() => (this.element.style.minHeight = ""), HOLD_TIME);
  }

  #removalNote() {
    const text = this.#removedText && `${this.#removedText.toLocaleString("en")} characters`;
    const outputs = this.#removedOutputs && `${this.#removedOutputs.toLocaleString("en")} outputs`;
    return `${[text, outputs].filter(Boolean).join(" and ")} before this were removed`;
  }
}

class Display {
  element;
  displayId;
  #view = new View();
  #content;
  #isFresh = true;

  constructor(bundle, metadata, displayId) {
    this.element = this.#view.element;
    this.displayId = displayId;
    this.#content = [bundle, metadata];
  }

  update(bundle, metadata) {
    this.#content = [bundle, metadata];
    this.#isFresh = true;
    paint(this);
  }

  draw() {
    if (!this.#isFresh || !this.element.isConnected) return;
    this.#isFresh = false;
    this.#view.show(...this.#content);
  }
}

class Traceback {
  constructor(text) {
    this.element = textOf(text, MAX_TEXT);
    this.element.classList.add("error");
  }

  draw() {} // never changes
}
