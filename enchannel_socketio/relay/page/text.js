// Terminal text, as elements of the document.

import { joined, Terminal } from "./ansi.js";
import { element } from "./element.js";

const PIECE_SIZE = 16_000; // characters that are laid out, and later removed, together
const FLAGS = ["bold", "dim", "italic", "underline", "strike"];

/** Return the element of a complete text with colours; only its end if it exceeds `maxLength`. */
export function textOf(text, maxLength) {
  const terminal = new Terminal();
  terminal.write(text.slice(-maxLength));
  const shown = element("pre", { class: "text" }, ...spans([...terminal.take(), ...onScreen(terminal)]));
  if (text.length > maxLength) shown.prepend(removalNote(text.length - maxLength));
  return shown;
}

const removalNote = (characters) =>
  element("p", { class: "note", text: `${characters.toLocaleString("en")} characters before this were removed` });

/** Text that grows at its end, and can be shortened at its beginning. */
export class GrowingText {
  element = element("pre", { class: "text" });
  size = 0;
  #terminal = new Terminal();
  #pieces = []; // text that no longer changes
  #screen = element("div");

  constructor() {
    this.element.append(this.#screen);
  }

  write(text, stream) {
    this.#terminal.write(text, stream);
    for (const line of this.#terminal.take()) this.#add(line);
  }

  /** Remove at least so many characters at the beginning; return the number of removed characters. */
  shrink(characters) {
    let removed = 0;
    while (removed < characters && this.#pieces.length) {
      const piece = this.#pieces.shift();
      piece.element.remove();
      removed += piece.size;
    }
    this.size -= removed;
    return removed;
  }

  draw() {
    const isAtEnd = this.element.scrollTop + this.element.clientHeight >= this.element.scrollHeight - 4;
    for (const piece of this.#pieces) {
      if (piece.fresh.length) piece.element.append(...spans(piece.fresh));
      piece.fresh = [];
      if (!piece.element.isConnected) this.#screen.before(piece.element);
    }
    this.#screen.replaceChildren(...spans(onScreen(this.#terminal)));
    if (isAtEnd) this.element.scrollTop = this.element.scrollHeight;
  }

  #add(line) {
    const size = line.runs.reduce((sum, run) => sum + run.text.length, 1);
    let piece = this.#pieces.at(-1);
    if (!piece || piece.size + size > PIECE_SIZE) {
      piece = { element: element("div"), size: 0, fresh: [] };
      this.#pieces.push(piece);
    }
    piece.fresh.push(line);
    piece.size += size;
    this.size += size;
  }
}

const onScreen = ({ screen }) =>
  screen.map((runs, row) => ({ runs, ends: row < screen.length - 1 }));

const spans = (lines) => joined(lines).map(span);

function span({ text, style }) {
  const { stream, inverse, ...rest } = style;
  let { ink, paper } = rest;
  if (inverse) [ink, paper] = [paper ?? "var(--surface)", ink ?? "var(--text)"];
  const classes = FLAGS.filter((flag) => rest[flag]);
  if (stream === "stderr") classes.push("stderr");
  if (ink === undefined && paper === undefined && !classes.length) return text;
  const made = element("span", { text });
  colour(made, classes, "ink", ink);
  colour(made, classes, "paper", paper);
  made.className = classes.join(" ");
  return made;
}

function colour(made, classes, what, value) {
  if (typeof value === "number") classes.push(`${what}-${value}`);
  if (typeof value !== "string") return;
  classes.push(`${what}-own`);
  made.style.setProperty(`--${what}`, value);
}
