// A cell: code, its status, and its outputs. It neither receives nor sends messages.

import { element } from "./element.js";
import { Outputs } from "./outputs.js";

/** The status of the code, as in the style sheet. */
export const STATUS = Object.freeze({
  sent: "sent",
  running: "running",
  done: "done",
  failed: "failed",
  aborted: "aborted",
});

/** The sender of a cell's request, as displayed. */
export const ORIGIN = Object.freeze({
  own: "this page",
  other: "another client",
  none: "output without a request",
});

export class Cell {
  isFinished = false;
  hasFailed = false;
  isOwn;
  isLive = false; // run from this page since it was loaded
  outputs;
  #question = null;
  #count = element("span", { class: "count", text: "In [ ]" });
  #status = element("span", { class: "status" });
  #code = element("pre", { class: "code" });
  #began = NaN; // milliseconds

  constructor({ code, origin, displays }) {
    this.isOwn = origin === ORIGIN.own;
    this.outputs = new Outputs(displays);
    const head = element("header", {}, this.#count);
    if (!this.isOwn) head.append(element("span", { class: "tag", text: origin }));
    head.append(this.#status);
    this.element = element("article", { class: "cell", "aria-label": "Cell" }, head, this.#code);
    this.element.append(this.outputs.element);
    this.element.classList.toggle("foreign", !this.isOwn);
    this.setCode(code);
    if (origin === ORIGIN.none) this.#count.hidden = true;
    else this.setStatus(STATUS.sent, this.isOwn ? "sent" : "");
  }

  get name() {
    return this.element.getAttribute("aria-label");
  }

  setCode(code) {
    this.#code.textContent = code.replace(/^(\s*\n)+|\s+$/g, "");
    this.#code.hidden = !code;
  }

  setCount(count) {
    this.#count.textContent = `In [${count}]`;
    this.element.setAttribute("aria-label", `Cell ${count}`);
  }

  setStatus(status, text) {
    this.element.dataset.status = status;
    this.#status.textContent = text;
  }

  start(date) {
    this.#began = Date.parse(date);
    if (!this.isFinished) this.setStatus(STATUS.running, "running");
  }

  /** Set the final status; later calls change nothing. */
  finish(status, text) {
    if (this.isFinished) return;
    this.isFinished = true;
    this.setStatus(status, text);
    this.#question?.remove();
  }

  duration(date) {
    const seconds = (Date.parse(date) - this.#began) / 1000;
    return seconds >= 0 ? `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s` : "";
  }

  /** Show the prompt of input(); resolves with the answer. */
  askInput(prompt, isSecret) {
    this.#question?.remove();
    const before = document.activeElement;
    return new Promise((resolve) => {
      this.#question = question(prompt, isSecret, (value) => {
        before.focus();
        resolve(value);
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
  const label = element("label", {}, element("span", { text: prompt || "The kernel requests input:" }), input);
  const form = element("form", { class: "question" }, label, element("button", { class: "primary", text: "Send" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.remove();
    answer(input.value);
  });
  return form;
}
