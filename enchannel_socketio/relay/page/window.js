// The newest messages, and those of them that pass the filter. No document here.

import { Queue } from "./queue.js";

export const MAX_MESSAGES = 10_000;
const MAX_WEIGHT = 64e6; // characters and bytes, approximately
const MAX_DEPTH = 4;

export class MessageWindow {
  dropped = 0; // messages that no longer fit
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

  /** Add a message; return the number of shown messages that were dropped for it. */
  push(entry) {
    entry.weight ??= weight(entry.message);
    this.#weight += entry.weight;
    this.#all.push(entry);
    if (this.#filter(entry)) this.#shown.push(entry);
    let dropped = 0;
    while (this.#all.length > MAX_MESSAGES || (this.#weight > MAX_WEIGHT && this.#all.length > 1)) dropped += this.#drop();
    return dropped;
  }

  filter(passes) {
    this.#filter = passes;
    this.#shown = new Queue();
    for (const entry of this.#all) if (passes(entry)) this.#shown.push(entry);
  }

  /** Remove and yield all messages. */
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

/** Return the approximate memory use of a value. */
function weight(value, depth = 0) {
  if (typeof value === "string") return value.length;
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return 8;
  let sum = 64;
  for (const key in value) sum += weight(value[key], depth + 1);
  return sum;
}
