// The console: adds messages to the cells that they belong to. No sockets here.

import { Cell, ORIGIN, STATUS } from "./cell.js";
import { element } from "./element.js";
import { Displays } from "./outputs.js";
import { Queue } from "./queue.js";
import { Unacknowledged } from "./relay.js";
import { executeRequest, inputReply, SESSION } from "./request.js";

const MAX_ITEMS = 300; // cells and notes
const END_TOLERANCE = 40; // pixels within which the view is at the end

const string = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));
const object = (value) => (typeof value === "object" && value !== null ? value : {});

export class Console {
  #list = element("div", { class: "cell-list" });
  #dropped = element("p", { class: "note", hidden: true, text: `Earlier cells were removed; at most ${MAX_ITEMS} are kept` });
  #cells = new Map(); // by the msg_id of their requests
  #order = new Queue(); // functions that remove cells and notes, in their order
  #displays = new Displays();
  #orphan = null; // the last cell, if its outputs have no request
  #send;
  #announce;
  #setNextInput;
  #scroller;
  #isAtEnd = true;
  #resizes = new ResizeObserver(() => this.#stayAtEnd());
  #onScroll = () => this.#noteScroll();

  /** `send` sends a message, `announce` informs screen readers, `setNextInput` fills the editor. */
  constructor(scroller, { send, announce, setNextInput }) {
    this.#scroller = scroller;
    this.#send = send;
    this.#announce = announce;
    this.#setNextInput = setNextInput;
    scroller.replaceChildren(this.#list);
    this.#list.append(this.#dropped);
    scroller.addEventListener("scroll", this.#onScroll);
    this.#resizes.observe(this.#list);
    this.#resizes.observe(scroller);
  }

  close() {
    this.#resizes.disconnect();
    this.#scroller.removeEventListener("scroll", this.#onScroll);
    for (const cell of this.#cells.values()) cell.remove();
    this.#list.remove();
  }

  async run(code) {
    const request = executeRequest(code);
    const cell = this.#add(request.header.msg_id, code, ORIGIN.own);
    cell.isLive = true;
    this.#isAtEnd = true;
    this.#stayAtEnd();
    try {
      await this.#send(request);
    } catch (error) {
      if (!(error instanceof Unacknowledged)) cell.finish(STATUS.aborted, `not sent: ${error.message}`);
      else if (!cell.isFinished) cell.setStatus(STATUS.sent, `${error.message}; it may not run`);
    }
  }

  /** The relay or the kernel refused a message. */
  onRefused(msgId, error) {
    this.#cells.get(msgId)?.ends(STATUS.aborted, `not sent: ${error}`);
  }

  onMessage(message) {
    const handle = HANDLERS[message.header.msg_type];
    if (handle) handle.call(this, message, message.content);
  }

  /** Add a note between the cells. */
  note(text) {
    this.#append(element("p", { class: "note", text }));
  }

  /** Mark all unfinished cells as aborted. */
  abortAll(reason) {
    for (const cell of this.#cells.values()) cell.finish(STATUS.aborted, reason);
  }

  // -- by message type ----------------------------------------------------------------------------

  onExecuteInput(message, { code, execution_count }) {
    const cell = this.#cellOf(message);
    cell.setCode(string(code));
    cell.setCount(string(execution_count));
    cell.start(message.header.date);
  }

  onStatus(message, { execution_state }) {
    const cell = this.#cells.get(message.parent_header.msg_id);
    if (execution_state !== "idle" || !cell || cell.isFinished) return;
    const took = cell.duration(message.header.date);
    if (cell.hasFailed) this.#end(cell, STATUS.failed, `failed ${took && `after ${took}`}`);
    else this.#end(cell, STATUS.done, took);
  }

  onStream(message, { name, text }) {
    this.#cellOf(message).outputs.stream(string(text), name === "stderr" ? "stderr" : "stdout");
  }

  onDisplay(message, { data, metadata, transient }) {
    this.#cellOf(message).outputs.show(object(data), object(metadata), object(transient).display_id);
  }

  onUpdate(_, { data, metadata, transient }) {
    this.#displays.update(object(transient).display_id, object(data), object(metadata));
  }

  onClear(message, { wait }) {
    this.#cells.get(message.parent_header.msg_id)?.outputs.clear(Boolean(wait));
  }

  onError(message, { ename, evalue, traceback }) {
    const cell = this.#cellOf(message);
    const lines = Array.isArray(traceback) ? traceback.map(string) : [];
    cell.outputs.error(lines.length ? lines.join("\n") : `${string(ename)}: ${string(evalue)}`);
    cell.hasFailed = true;
  }

  onReply(message, { status, execution_count, payload }) {
    const cell = this.#cells.get(message.parent_header.msg_id);
    if (!cell) return;
    if (execution_count != null) cell.setCount(string(execution_count));
    if (status === "aborted") this.#end(cell, STATUS.aborted, "not run: an earlier request failed");
    if (status === "error") cell.hasFailed = true;
    for (const part of Array.isArray(payload) ? payload : []) this.#showPayload(cell, object(part));
  }

  #showPayload(cell, { source, data, text, replace }) {
    if (source === "page") cell.outputs.show(object(data), {});
    if (source === "set_next_input" && !replace && cell.isLive) this.#setNextInput(string(text));
  }

  async onInputRequest(message, { prompt, password }) {
    if (!this.#isOwn(message)) return;
    const cell = this.#cellOf(message);
    const value = await cell.askInput(string(prompt), Boolean(password));
    cell.outputs.stream(`${string(prompt)}${password ? "…" : value}\n`, "stdout");
    try {
      await this.#send(inputReply(message, value));
    } catch (error) {
      cell.outputs.stream(`Not sent: ${error.message}\n`, "stderr");
    }
  }

  // -- cells --------------------------------------------------------------------------------------

  #isOwn(message) {
    return message.parent_header.session === SESSION;
  }

  #cellOf(message) {
    const { msg_id } = message.parent_header;
    if (!msg_id) return (this.#orphan ??= this.#addOrphan());
    const origin = this.#isOwn(message) ? ORIGIN.own : ORIGIN.other;
    return this.#cells.get(string(msg_id)) ?? this.#add(string(msg_id), "", origin);
  }

  #addOrphan() {
    const cell = new Cell({ code: "", origin: ORIGIN.none, displays: this.#displays });
    this.#append(cell.element, () => cell.remove());
    return cell;
  }

  #add(msgId, code, origin) {
    const cell = new Cell({ code, origin, displays: this.#displays });
    this.#cells.set(msgId, cell);
    this.#append(cell.element, () => {
      this.#cells.delete(msgId);
      cell.remove();
    });
    return cell;
  }

  #append(line, remove = () => line.remove()) {
    this.#orphan = null;
    this.#list.append(line);
    this.#order.push(remove);
    if (this.#order.length <= MAX_ITEMS) return;
    this.#order.shift()();
    this.#dropped.hidden = false;
  }

  #end(cell, status, text) {
    cell.finish(status, text);
    if (cell.isLive) this.#announce(`${cell.name}: ${text || "done"}`);
  }

  #noteScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < END_TOLERANCE;
  }

  #stayAtEnd() {
    if (this.#isAtEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

const { onExecuteInput, onStatus, onStream, onDisplay, onUpdate, onClear, onError, onReply, onInputRequest } =
  Console.prototype;

const HANDLERS = {
  execute_input: onExecuteInput,
  status: onStatus,
  stream: onStream,
  display_data: onDisplay,
  execute_result: onDisplay,
  update_display_data: onUpdate,
  clear_output: onClear,
  error: onError,
  execute_reply: onReply,
  input_request: onInputRequest,
};
