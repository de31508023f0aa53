// The console: which cell a message belongs to, and what it says there. It knows no sockets.

import { Cell, FATE, WHOSE } from "./cell.js";
import { element } from "./element.js";
import { Displays } from "./outputs.js";
import { Queue } from "./queue.js";
import { Unsure } from "./relay.js";
import { executeRequest, inputReply, SESSION } from "./request.js";

const KEPT = 300; // cells and notes
const NEAR = 40; // pixels from the end that count as being there

const string = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));
const object = (value) => (typeof value === "object" && value !== null ? value : {});

export class Console {
  #list = element("div", { class: "cell-list" });
  #dropped = element("p", { class: "note", hidden: true, text: `Only the last ${KEPT} cells are here` });
  #cells = new Map(); // by the msg_id of their requests
  #order = new Queue(); // cells and notes, as they stand
  #displays = new Displays();
  #loose = null; // the last cell, if what is in it was said without a request
  #say;
  #announce;
  #suggest;
  #scroller;
  #isAtEnd = true;
  #resizes = new ResizeObserver(() => this.#stay());
  #scrolls = () => this.#note();

  /** `say` sends a message, `announce` says something to those who listen, `suggest` sets the next code. */
  constructor(scroller, { say, announce, suggest }) {
    this.#scroller = scroller;
    this.#say = say;
    this.#announce = announce;
    this.#suggest = suggest;
    scroller.replaceChildren(this.#list);
    this.#list.append(this.#dropped);
    scroller.addEventListener("scroll", this.#scrolls);
    this.#resizes.observe(this.#list);
    this.#resizes.observe(scroller);
  }

  close() {
    this.#resizes.disconnect();
    this.#scroller.removeEventListener("scroll", this.#scrolls);
    for (const cell of this.#cells.values()) cell.remove();
    this.#list.remove();
  }

  async run(code) {
    const request = executeRequest(code);
    const cell = this.#add(request.header.msg_id, code, WHOSE.ours);
    cell.isLive = true;
    this.#isAtEnd = true;
    this.#stay();
    try {
      await this.#say(request);
    } catch (error) {
      if (!(error instanceof Unsure)) cell.ends(FATE.unrun, `not sent: ${error.message}`);
      else if (!cell.isOver) cell.becomes(FATE.sent, `${error.message}: perhaps it does not run`);
    }
  }

  /** Something that was said with a message is refused after all. */
  refused(msgId, error) {
    this.#cells.get(msgId)?.ends(FATE.unrun, `not passed on: ${error}`);
  }

  heard(message) {
    const handle = HEARD[message.header.msg_type];
    if (handle) handle.call(this, message, message.content);
  }

  /** A line of its own between the cells. */
  note(text) {
    this.#append(element("p", { class: "note", text }));
  }

  /** Whatever runs is not going to end. */
  giveUp(words) {
    for (const cell of this.#cells.values()) cell.ends(FATE.unrun, words);
  }

  // -- by message type ----------------------------------------------------------------------------

  begun(message, { code, execution_count }) {
    const cell = this.#cellOf(message);
    cell.shows(string(code));
    cell.counts(string(execution_count));
    cell.begins(message.header.date);
  }

  state(message, { execution_state }) {
    const cell = this.#cells.get(message.parent_header.msg_id);
    if (execution_state !== "idle" || !cell || cell.isOver) return;
    const took = cell.took(message.header.date);
    if (cell.hasFailed) this.#end(cell, FATE.failed, `failed ${took && `after ${took}`}`);
    else this.#end(cell, FATE.done, took);
  }

  stream(message, { name, text }) {
    this.#cellOf(message).outputs.stream(string(text), name === "stderr" ? "stderr" : "stdout");
  }

  display(message, { data, metadata, transient }) {
    this.#cellOf(message).outputs.show(object(data), object(metadata), object(transient).display_id);
  }

  update(_, { data, metadata, transient }) {
    this.#displays.update(object(transient).display_id, object(data), object(metadata));
  }

  clear(message, { wait }) {
    this.#cells.get(message.parent_header.msg_id)?.outputs.clear(Boolean(wait));
  }

  failure(message, { ename, evalue, traceback }) {
    const cell = this.#cellOf(message);
    const lines = Array.isArray(traceback) ? traceback.map(string) : [];
    cell.outputs.error(lines.length ? lines.join("\n") : `${string(ename)}: ${string(evalue)}`);
    cell.hasFailed = true;
  }

  replied(message, { status, execution_count, payload }) {
    const cell = this.#cells.get(message.parent_header.msg_id);
    if (!cell) return;
    if (execution_count != null) cell.counts(string(execution_count));
    if (status === "aborted") this.#end(cell, FATE.unrun, "not run: what was sent before it failed");
    if (status === "error") cell.hasFailed = true;
    for (const part of Array.isArray(payload) ? payload : []) this.#additionally(cell, object(part));
  }

  #additionally(cell, { source, data, text, replace }) {
    if (source === "page") cell.outputs.show(object(data), {});
    if (source === "set_next_input" && !replace && cell.isLive) this.#suggest(string(text));
  }

  async asked(message, { prompt, password }) {
    if (!this.#isOurs(message)) return;
    const cell = this.#cellOf(message);
    const value = await cell.asks(string(prompt), Boolean(password));
    cell.outputs.stream(`${string(prompt)}${password ? "…" : value}\n`, "stdout");
    try {
      await this.#say(inputReply(message, value));
    } catch (error) {
      cell.outputs.stream(`this was not sent: ${error.message}\n`, "stderr");
    }
  }

  // -- cells --------------------------------------------------------------------------------------

  #isOurs(message) {
    return message.parent_header.session === SESSION;
  }

  #cellOf(message) {
    const { msg_id } = message.parent_header;
    if (!msg_id) return (this.#loose ??= this.#addLoose());
    const whose = this.#isOurs(message) ? WHOSE.ours : WHOSE.anothers;
    return this.#cells.get(string(msg_id)) ?? this.#add(string(msg_id), "", whose);
  }

  #addLoose() {
    const cell = new Cell({ code: "", whose: WHOSE.nobodys, displays: this.#displays });
    this.#append(cell.element, () => cell.remove());
    return cell;
  }

  #add(msgId, code, whose) {
    const cell = new Cell({ code, whose, displays: this.#displays });
    this.#cells.set(msgId, cell);
    this.#append(cell.element, () => {
      this.#cells.delete(msgId);
      cell.remove();
    });
    return cell;
  }

  #append(line, remove = () => line.remove()) {
    this.#loose = null;
    this.#list.append(line);
    this.#order.push(remove);
    if (this.#order.length <= KEPT) return;
    this.#order.shift()();
    this.#dropped.hidden = false;
  }

  #end(cell, fate, words) {
    cell.ends(fate, words);
    if (cell.isLive) this.#announce(`${cell.name}: ${words || "done"}`);
  }

  #note() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #stay() {
    if (this.#isAtEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

const { begun, state, stream, display, update, clear, failure, replied, asked } = Console.prototype;

const HEARD = {
  execute_input: begun,
  status: state,
  stream,
  display_data: display,
  execute_result: display,
  update_display_data: update,
  clear_output: clear,
  error: failure,
  execute_reply: replied,
  input_request: asked,
};
