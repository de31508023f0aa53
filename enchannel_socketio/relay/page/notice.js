// What went wrong, said above everything else. It knows not why.

const STRANGER = "This browser is not let in. Open the link that the relay has printed when it started.";

export class Notice {
  #element;
  #text;
  #passes = false; // by itself, as soon as the relay answers
  #dismissed = "";

  constructor(element) {
    this.#element = element;
    this.#text = element.querySelector("span");
    element.querySelector("button").addEventListener("click", () => this.#dismiss());
  }

  failed(error) {
    if (error.status === 401) this.stranger();
    else this.#show(error.message, error.status === 0);
  }

  stranger() {
    this.#show(STRANGER, true);
  }

  relayAnswers() {
    if (this.#passes) this.#element.hidden = true;
    this.#dismissed = "";
  }

  /** What would come again at once is not wanted again. */
  #dismiss() {
    this.#element.hidden = true;
    this.#dismissed = this.#passes ? this.#text.textContent : "";
  }

  #show(text, passes) {
    if (passes && text === this.#dismissed) return;
    this.#passes = passes;
    // The same again would be read out again.
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#element.hidden = false;
  }
}
