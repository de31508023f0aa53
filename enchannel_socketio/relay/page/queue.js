// A list that is added to at its end and taken from at its beginning, both at once.

const ROUND = 1024;

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
    if (this.#first >= ROUND && this.#first * 2 > this.#items.length) {
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
