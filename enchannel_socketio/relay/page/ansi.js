// Terminal text: colours, carriage return, backspace and cursor movements. No document here.

const SCREEN_LINES = 50; // that the cursor can still reach
const LONG_LINE = 1_000; // characters; the cursor cannot return to longer lines
const MAX_LINE = 10_000; // characters; longer lines are broken
const MAX_SEQUENCE = 256; // characters of an escape sequence
const MAX_STYLES = 1_000;

const TOKEN =
  /\x1b\[([0-9;:?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]|[\r\n\b]|[^\x1b\r\n\b]+|\x1b/g;
const BEGINNING = /\x1b(?:\[[0-9;:?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)$/;

const PLAIN = Object.freeze({ stream: "stdout" });
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

/** Text as displayed by a terminal: lines of runs `{text, style}`. */
export class Terminal {
  #screen = [[]]; // the last lines, which can still change
  #row = 0;
  #column = 0;
  #settled = []; // lines that have left the screen, and were not yet taken
  #rest = "";
  #style = PLAIN;
  #known = new Map();

  write(text, stream = "stdout") {
    if (this.#style.stream !== stream) this.#style = this.#styled({ stream });
    let whole = this.#rest + text;
    this.#rest = whole.slice(-MAX_SEQUENCE).match(BEGINNING)?.[0] ?? "";
    if (this.#rest) whole = whole.slice(0, -this.#rest.length);
    for (const [token, parameters, final] of whole.matchAll(TOKEN)) {
      if (final !== undefined) this.#control(parameters, final);
      else if (token === "\n") this.#newLine();
      else if (token === "\r") this.#column = 0;
      else if (token === "\b") this.#column = Math.max(0, this.#column - 1);
      else if (token[0] !== "\x1b") this.#put(token.replaceAll("\x07", ""));
    }
  }

  /** Return the lines that have left the screen since the last call, as `{runs, ends}`; `ends`: with a newline. */
  take() {
    const settled = this.#settled;
    this.#settled = [];
    return settled;
  }

  get screen() {
    return this.#screen;
  }

  #put(text) {
    for (let rest = text; rest; ) {
      const room = Math.max(1, MAX_LINE - this.#column);
      this.#overwrite(rest.slice(0, room));
      rest = rest.slice(room);
      if (this.#column >= MAX_LINE) this.#break();
    }
  }

  #overwrite(text) {
    const line = this.#screen[this.#row];
    const missing = this.#column - width(line);
    if (missing > 0) append(line, " ".repeat(missing), PLAIN);
    if (missing >= 0) append(line, text, this.#style);
    else this.#screen[this.#row] = overwritten(line, this.#column, text, this.#style);
    this.#column += text.length;
  }

  #newLine() {
    const isLong = this.#column > LONG_LINE;
    this.#column = 0;
    this.#row += 1;
    if (this.#row < this.#screen.length) return;
    this.#screen.push([]);
    if (isLong) this.#settle(this.#row, true);
    else if (this.#screen.length > SCREEN_LINES) this.#settle(1, true);
  }

  /** A line without end leaves the screen in parts. */
  #break() {
    this.#row = this.#screen.length - 1;
    this.#settle(this.#row, true);
    this.#settle(1, false);
    this.#screen.push([]);
    this.#row = this.#column = 0;
  }

  #settle(count, ends) {
    for (const runs of this.#screen.splice(0, count)) this.#settled.push({ runs, ends });
    this.#row = Math.max(0, this.#row - count);
  }

  #control(parameters, final) {
    const [first = 0] = parameters.split(";").map(Number);
    const count = Math.max(1, first || 0);
    if (final === "m") this.#colour(parameters);
    else if (final === "A") this.#row = Math.max(0, this.#row - count);
    else if (final === "B") this.#row = Math.min(this.#screen.length - 1, this.#row + count);
    else if (final === "C") this.#column = Math.min(MAX_LINE, this.#column + count);
    else if (final === "D") this.#column = Math.max(0, this.#column - count);
    else if (final === "G") this.#column = Math.min(MAX_LINE, count - 1);
    else if (final === "K") this.#erase(first);
  }

  #erase(which) {
    const line = this.#screen[this.#row];
    if (which === 2) this.#screen[this.#row] = [];
    else if (which === 1) this.#screen[this.#row] = overwritten(line, 0, " ".repeat(this.#column), PLAIN);
    else this.#screen[this.#row] = part(line, 0, this.#column);
  }

  #colour(parameters) {
    const codes = parameters.replaceAll(":", ";").split(";").map(Number);
    let style = this.#style;
    while (codes.length) style = { ...style, ...change(codes, style.stream) };
    this.#style = this.#styled(style);
  }

  /** Return the same object for equal styles, so that runs can be compared by identity. */
  #styled(changes) {
    const style = { ...this.#style, ...changes };
    const key = JSON.stringify(Object.entries(style).filter(([, value]) => value).sort());
    if (key === '[["stream","stdout"]]') return PLAIN;
    if (this.#known.size > MAX_STYLES) this.#known.clear();
    if (!this.#known.has(key)) this.#known.set(key, Object.freeze(style));
    return this.#known.get(key);
  }
}

/** Return the change of the next code of an SGR sequence; remove the code and its parameters. */
function change(codes, stream) {
  const code = codes.shift();
  if (code === 0) return cleared(stream);
  if (FLAGS[code]) return { [FLAGS[code]]: true };
  if (OFF[code]) return Object.fromEntries(OFF[code].map((flag) => [flag, false]));
  if (code === 38 || code === 48) return { [code === 38 ? "ink" : "paper"]: extended(codes) };
  if (code === 39) return { ink: undefined };
  if (code === 49) return { paper: undefined };
  if (code >= 30 && code <= 37) return { ink: code - 30 };
  if (code >= 40 && code <= 47) return { paper: code - 40 };
  if (code >= 90 && code <= 97) return { ink: code - 82 };
  if (code >= 100 && code <= 107) return { paper: code - 92 };
  return {};
}

function cleared(stream) {
  const flags = Object.values(FLAGS).map((flag) => [flag, false]);
  return { ...Object.fromEntries(flags), ink: undefined, paper: undefined, stream };
}

/** Return a colour: the number of one of sixteen, or CSS. */
function extended(codes) {
  const kind = codes.shift();
  if (kind === 2) {
    const [red, green, blue] = codes.splice(0, 3).map(byte);
    return `rgb(${red} ${green} ${blue ?? 0})`;
  }
  const index = byte(codes.shift());
  if (kind !== 5 || index < 16) return kind === 5 ? index : undefined;
  if (index >= 232) return `rgb(${Array(3).fill((index - 232) * 10 + 8).join(" ")})`;
  const steps = [36, 6, 1].map((unit) => Math.floor((index - 16) / unit) % 6);
  return `rgb(${steps.map((step) => (step ? step * 40 + 55 : 0)).join(" ")})`;
}

const byte = (value) => Math.min(255, Math.max(0, Math.trunc(value) || 0));

const width = (runs) => runs.reduce((sum, run) => sum + run.text.length, 0);

function append(runs, text, style) {
  const last = runs.at(-1);
  if (last?.style === style) last.text += text;
  else runs.push({ text, style });
}

function overwritten(runs, column, text, style) {
  const line = part(runs, 0, column);
  append(line, text, style);
  for (const run of part(runs, column + text.length, Infinity)) append(line, run.text, run.style);
  return line;
}

/** Return the runs between two columns. */
function part(runs, from, to) {
  const found = [];
  let column = 0;
  for (const { text, style } of runs) {
    const cut = text.slice(Math.max(0, from - column), Math.max(0, to - column));
    if (cut) found.push({ text: cut, style });
    column += text.length;
  }
  return found;
}

/** Return lines as runs, with adjacent runs of one style merged. */
export function joined(lines) {
  const runs = [];
  for (const line of lines) {
    for (const run of line.runs) append(runs, run.text, run.style);
    if (line.ends) append(runs, "\n", runs.at(-1)?.style ?? PLAIN);
  }
  return runs;
}
