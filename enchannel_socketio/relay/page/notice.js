// The error message above the page.

const UNAUTHENTICATED = "Authentication required. Open the link that the relay printed when it started.";

export class Notice {
  #element;
  #text;
  #isTransient = false; // hidden when the relay answers
  #dismissed = "";

  constructor(element) {
    this.#element = element;
    this.#text = element.querySelector("span");
    element.querySelector("button").addEventListener("click", () => this.#dismiss());
  }

  showError(error) {
    if (error.status === 401) this.showUnauthenticated();
    else this.#show(error.message, error.status === 0);
  }

  showUnauthenticated() {
    this.#show(UNAUTHENTICATED, true);
  }

  onRelayAnswered() {
    if (this.#isTransient) this.#element.hidden = true;
    this.#dismissed = "";
  }

  /** Hide the message; a transient one is not shown again until the relay answers. */
  #dismiss() {
    this.#element.hidden = true;
    this.#dismissed = this.#isTransient ? this.#text.textContent : "";
  }

  #show(text, isTransient) {
    if (isTransient && text === this.#dismissed) return;
    this.#isTransient = isTransient;
    // Screen readers would read an unchanged text again.
    if (this.#text.textContent !== text) this.#text.textContent = text;
    this.#element.hidden = false;
  }
}
