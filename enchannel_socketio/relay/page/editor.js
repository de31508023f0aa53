// The code editor, with its history.

const MAX_ROWS = 16;

export class Editor {
  #area;
  #run;
  #history = [];
  #at = 0; // the index in the history; its length: the draft
  #draft = "";

  /** `run` runs the code, and returns false if that is not possible. */
  constructor(form, run) {
    this.#area = form.querySelector("textarea");
    this.#run = run;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener("keydown", (event) => this.#onKey(event));
    this.#area.addEventListener("input", () => this.#fit());
  }

  focus() {
    this.#area.focus();
  }

  set(text) {
    this.#area.value = text;
    this.#fit();
  }

  #submit() {
    const code = this.#area.value;
    if (!code.trim() || !this.#run(code)) return;
    if (this.#history.at(-1) !== code) this.#history.push(code);
    this.#at = this.#history.length;
    this.#draft = "";
    this.set("");
  }

  #onKey(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.shiftKey || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && !event.shiftKey && this.#isAtEdge("first")) {
      this.#recall(event, this.#at - 1);
    } else if (event.key === "ArrowDown" && !event.shiftKey && this.#isAtEdge("last")) {
      this.#recall(event, this.#at + 1);
    }
  }

  #isAtEdge(line) {
    const { value, selectionStart, selectionEnd } = this.#area;
    if (selectionStart !== selectionEnd) return false;
    const beyond = line === "first" ? value.slice(0, selectionStart) : value.slice(selectionEnd);
    return !beyond.includes("\n");
  }

  #recall(event, at) {
    if (at < 0 || at > this.#history.length) return;
    event.preventDefault();
    if (this.#at === this.#history.length) this.#draft = this.#area.value;
    const edge = at < this.#at ? 0 : Infinity;
    this.#at = at;
    this.set(this.#history[at] ?? this.#draft);
    const caret = Math.min(edge, this.#area.value.length);
    this.#area.setSelectionRange(caret, caret);
  }

  #fit() {
    this.#area.rows = Math.min(MAX_ROWS, this.#area.value.split("\n").length);
  }
}
