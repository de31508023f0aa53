// Terminal text in the document. It knows no messages.

import { joined, Terminal } from "./ansi.js";
import { element } from "./element.js";

const PIECE = 16_000; // characters of a piece: what is laid out, and later left out, at once
const FLAGS = ["bold", "dim", "italic", "underline", "strike"];

/** Text that is there already, with its colours; only its end if it is longer than `most`. */
export function textOf(text, most) {
  const terminal = new Terminal();
  terminal.write(text.slice(-most));
  const shown = element("pre", { class: "text" }, ...spans([...terminal.take(), ...onScreen(terminal)]));
  if (text.length > most) shown.prepend(leftOut(text.length - most));
  return shown;
}

const leftOut = (characters) =>
  element("p", { class: "note", text: `${characters.toLocaleString("en")} characters before this were left out` });

/** Text that comes bit by bit, and may lose its beginning. */
export class GrowingText {
  element = element("pre", { class: "text" });
  size = 0;
  #terminal = new Terminal();
  #pieces = []; // that nothing changes any more
  #screen = element("div");

  constructor() {
    this.element.append(this.#screen);
  }

  write(text, stream) {
    this.#terminal.write(text, stream);
    for (const line of this.#terminal.take()) this.#add(line);
  }

  /** Leave out the beginning: as many characters or some more; answers how many. */
  shrink(characters) {
    let gone = 0;
    while (gone < characters && this.#pieces.length) {
      const piece = this.#pieces.shift();
      piece.element.remove();
      gone += piece.size;
    }
    this.size -= gone;
    return gone;
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
    if (!piece || piece.size + size > PIECE) {
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
