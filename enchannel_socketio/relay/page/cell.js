// A cell: code, what became of it, and its outputs. It knows no messages, and nobody to send any.

import { element } from "./element.js";
import { Outputs } from "./outputs.js";

/** What became of the code: a word for the style sheet. */
export const FATE = Object.freeze({
  sent: "sent",
  running: "running",
  done: "done",
  failed: "failed",
  unrun: "unrun",
});

/** Whose request it is, in the words that are shown. */
export const WHOSE = Object.freeze({
  ours: "ours",
  anothers: "another client",
  nobodys: "said without a request",
});

export class Cell {
  isOver = false;
  hasFailed = false;
  isOurs;
  isLive = false; // somebody who looks at this page has just run it
  outputs;
  #question = null;
  #count = element("span", { class: "count", text: "In [ ]" });
  #fate = element("span", { class: "fate" });
  #code = element("pre", { class: "code" });
  #began = NaN; // milliseconds

  constructor({ code, whose, displays }) {
    this.isOurs = whose === WHOSE.ours;
    this.outputs = new Outputs(displays);
    const head = element("header", {}, this.#count);
    if (!this.isOurs) head.append(element("span", { class: "tag", text: whose }));
    head.append(this.#fate);
    this.element = element("article", { class: "cell", "aria-label": "Cell" }, head, this.#code);
    this.element.append(this.outputs.element);
    this.element.classList.toggle("foreign", !this.isOurs);
    this.shows(code);
    if (whose === WHOSE.nobodys) this.#count.hidden = true;
    else this.becomes(FATE.sent, this.isOurs ? "sent" : "");
  }

  get name() {
    return this.element.getAttribute("aria-label");
  }

  shows(code) {
    this.#code.textContent = code.replace(/^(\s*\n)+|\s+$/g, "");
    this.#code.hidden = !code;
  }

  counts(count) {
    this.#count.textContent = `In [${count}]`;
    this.element.setAttribute("aria-label", `Cell ${count}`);
  }

  becomes(fate, words) {
    this.element.dataset.fate = fate;
    this.#fate.textContent = words;
  }

  begins(date) {
    this.#began = Date.parse(date);
    if (!this.isOver) this.becomes(FATE.running, "running");
  }

  /** It has run to its end, or has been given up; the first fate that ends it is its last. */
  ends(fate, words) {
    if (this.isOver) return;
    this.isOver = true;
    this.becomes(fate, words);
    this.#question?.remove();
  }

  took(date) {
    const seconds = (Date.parse(date) - this.#began) / 1000;
    return seconds >= 0 ? `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s` : "";
  }

  /** Ask what `input()` asks; answers with a text. */
  asks(prompt, isSecret) {
    this.#question?.remove();
    const before = document.activeElement;
    return new Promise((answer) => {
      this.#question = question(prompt, isSecret, (value) => {
        before.focus();
        answer(value);
      });
      this.element.append(this.#question);
      this.#question.querySelector("input").focus();
    });
  }

  remove() {
    this.outputs.remove();
    this.element.remove();
  }
}

function question(prompt, isSecret, answer) {
  const input = element("input", { type: isSecret ? "password" : "text", autocomplete: "off", spellcheck: "false" });
  const label = element("label", {}, element("span", { text: prompt || "The kernel asks for input:" }), input);
  const form = element("form", { class: "question" }, label, element("button", { class: "primary", text: "Send" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.remove();
    answer(input.value);
  });
  return form;
}
