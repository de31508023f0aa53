// The last messages, and those of them that somebody wants to see. It knows no document.

import { Queue } from "./queue.js";

export const MOST = 10_000; // messages
const HEAVIEST = 64e6; // characters and bytes in them, about
const DEEPEST = 4;

export class MessageWindow {
  dropped = 0; // that fell out of the window
  #all = new Queue();
  #shown = new Queue();
  #weight = 0;
  #filter = () => true;

  get length() {
    return this.#all.length;
  }

  /** The messages that pass the filter. */
  get shown() {
    return this.#shown;
  }

  /** Add one; answers how many of those that were shown fell off for it. */
  push(entry) {
    entry.weight ??= weight(entry.message);
    this.#weight += entry.weight;
    this.#all.push(entry);
    if (this.#filter(entry)) this.#shown.push(entry);
    let gone = 0;
    while (this.#all.length > MOST || (this.#weight > HEAVIEST && this.#all.length > 1)) gone += this.#drop();
    return gone;
  }

  filter(passes) {
    this.#filter = passes;
    this.#shown = new Queue();
    for (const entry of this.#all) if (passes(entry)) this.#shown.push(entry);
  }

  /** Hand all of them over, and be empty. */
  *takeAll() {
    while (this.#all.length) yield this.#take();
    this.#shown = new Queue();
    this.dropped = 0;
  }

  #take() {
    const entry = this.#all.shift();
    this.#weight -= entry.weight;
    return entry;
  }

  #drop() {
    this.dropped += 1;
    if (this.#shown.at(0) !== this.#take()) return 0;
    this.#shown.shift();
    return 1;
  }
}

/** How much memory something takes, about. */
function weight(value, depth = 0) {
  if (typeof value === "string") return value.length;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value !== "object" || value === null || depth > DEEPEST) return 8;
  let sum = 64;
  for (const key in value) sum += weight(value[key], depth + 1);
  return sum;
}
