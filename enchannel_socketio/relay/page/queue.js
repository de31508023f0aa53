// A queue with constant-time push and shift.

const MIN_DISCARDED = 1024;

export class Queue {
  #items = [];
  #first = 0;

  get length() {
    return this.#items.length - this.#first;
  }

  at(index) {
    return this.#items[this.#first + index];
  }

  push(item) {
    this.#items.push(item);
  }

  shift() {
    const item = this.#items[this.#first];
    this.#items[this.#first++] = undefined;
    if (this.#first >= MIN_DISCARDED && this.#first * 2 > this.#items.length) {
      this.#items.splice(0, this.#first);
      this.#first = 0;
    }
    return item;
  }

  indexOf(item) {
    const index = this.#items.indexOf(item, this.#first);
    return index < 0 ? index : index - this.#first;
  }

  *[Symbol.iterator]() {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }
}
