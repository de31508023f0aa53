// The open kernel: passes its messages and events to the console and the message list. Draws nothing itself.

import { Console } from "./console.js";
import { confirm } from "./dialogs.js";
import { byId } from "./element.js";
import { KernelConnection, post } from "./relay.js";

const MAX_HISTORY = 5_000; // earlier messages to show
const ALIVE_STATES = ["starting", "idle", "busy"];
const STATE_TITLES = {
  silent: "The kernel does not answer its heartbeat",
  dead: "The kernel has ended, or cannot be reached",
  unknown: "The relay is not connected",
};

export class OpenKernel {
  id;
  hasEnded = false; // its messages stay visible
  #console;
  #messages;
  #connection;
  #on;
  #name;
  #state = "";
  #link = "";

  /** `on`: state(state), link(state, text), unauthenticated(), failed(error). */
  constructor({ id, name, access, first, last, lifecycle }, messages, editor, on) {
    this.id = id;
    this.#name = name;
    this.#on = on;
    this.#messages = messages;
    messages.clear();
    this.#console = new Console(byId("cells"), {
      send: (message) => this.#send(message),
      announce: (text) => (byId("announcement").textContent = text),
      setNextInput: (code) => editor.set(code),
    });
    byId("kernel-name").textContent = `${name} ${id.slice(0, 8)}`;
    byId("kernel-name").title = id;
    this.#showControls(access === "full", lifecycle ?? true);
    const channel = access === "full" ? "main" : "iopub";
    const since = Math.max(0, first - 1, last - MAX_HISTORY);
    this.#connection = new KernelConnection(`${channel}/${id}`, since, {
      message: (message, position) => this.#onMessage(message, position),
      status: (record, position) => this.#onEvent(record, position),
      gap: (gap, position) => this.#onGap(gap, position),
      ready: ({ state }) => this.#setState(state),
      refused: ({ msg_id, error }) => this.#onRefused(msg_id, error),
      link: (state, text) => this.#onConnectionState(state, text),
      unauthenticated: on.unauthenticated,
    });
  }

  close() {
    this.#connection.close();
    this.#console.close();
  }

  /** Run code; return false if the page is not connected. */
  run(code) {
    byId("code-note").textContent = this.#connection.isReady ? "" : "Not sent: the relay is not connected.";
    if (!this.#connection.isReady) return false;
    this.#console.run(code);
    return true;
  }

  async interrupt() {
    if (byId("lifecycle").hidden) return;
    await post(`kernels/${this.id}/interrupt`).catch(this.#on.failed);
  }

  async restart() {
    if (!(await confirm(`Restart ${this.#name}?`, "All data in its memory will be lost.", "Restart"))) return;
    this.#showRestarting(true);
    await post(`kernels/${this.id}/restart`).catch(this.#on.failed);
    this.#showRestarting(false);
  }

  // -- events of the connection -------------------------------------------------------------------

  #onMessage(message, position) {
    this.#messages.addReceived(message, position);
    this.#console.onMessage(message);
    const { header, content, channel } = message;
    if (channel !== "iopub" || header.msg_type !== "status" || !ALIVE_STATES.includes(this.#state)) return;
    if (["idle", "busy"].includes(content.execution_state)) this.#setState(content.execution_state);
  }

  /** Handle an event of the kernel, or of the relay's link to it. */
  #onEvent(record, position) {
    const { kernel, link, error, ended, text } = record;
    const summary = text || kernel || link || error || ended || "";
    const type = kernel ? "kernel" : link ? "link" : ended ? "end" : "error";
    this.#messages.addEvent(type, record, position, summary, Boolean(error || ended));
    if (kernel) this.#setState(kernel);
    if (kernel === "restarting") this.#abort("the kernel was restarted");
    if (kernel === "dead") this.#abort("the kernel died");
    // While a kernel restarts, its link is lost for a moment.
    if (link === "lost" && this.#state !== "restarting") this.#setState("dead");
    if (link === "connected" && this.#state === "dead") this.#setState("idle");
    if (error && this.#state !== "restarting") this.#console.note(`${error}: ${text}`);
    if (ended) this.#onEnd(text);
  }

  /** Handle the end of the kernel; no messages follow. */
  #onEnd(text) {
    this.#setState("dead");
    this.#abort(text);
    this.hasEnded = true;
    this.#connection.close();
  }

  #onGap({ from, to, restarted }, position) {
    const count = (to - from + 1).toLocaleString("en");
    const text = restarted
      ? "The relay started a new log; messages may be missing here"
      : `${count} messages were dropped from the relay's log before they could be sent (${from} to ${to})`;
    this.#messages.addEvent("gap", { from, to, restarted }, position, text, true);
    this.#console.note(text);
  }

  #onRefused(msgId, error) {
    if (msgId) this.#console.onRefused(msgId, error);
    this.#messages.addEvent("refused", { msg_id: msgId, error }, undefined, error, true);
  }

  // -- sending ------------------------------------------------------------------------------------

  async #send(message) {
    if (this.#connection.isReady) this.#messages.addSent(redacted(message));
    await this.#connection.send(message);
  }

  // -- display ------------------------------------------------------------------------------------

  #setState(state) {
    this.#state = state;
    byId("state").textContent = state;
    byId("state").dataset.state = state;
    byId("state").title = STATE_TITLES[state] ?? "";
    document.title = `${this.#name} (${state}) – enchannel relay`;
    this.#on.state(state);
  }

  #abort(reason) {
    this.#console.abortAll(reason);
    this.#console.note(reason[0].toUpperCase() + reason.slice(1));
  }

  #onConnectionState(state, text) {
    this.#on.link(state, text);
    if (state === this.#link) return;
    if (state !== "connecting") this.#noteConnection(state, text);
    if (state === "lost" || state === "refused") this.#setState("unknown");
    if (state === "refused") this.#console.abortAll("unknown: the relay no longer serves this kernel");
    this.#link = state;
  }

  #noteConnection(state, text) {
    const isRestored = state === "connected";
    this.#messages.addEvent("connection", { connection: state }, undefined, text, !isRestored);
    if (this.#link !== "connecting") this.#console.note(isRestored ? "Connection restored" : `Connection ${text}`);
  }

  #showControls(hasFullAccess, hasLifecycle) {
    byId("lifecycle").hidden = !hasFullAccess || !hasLifecycle;
    byId("editor").hidden = !hasFullAccess;
    byId("read-only").hidden = byId("read-only-note").hidden = hasFullAccess;
  }

  #showRestarting(isRestarting) {
    byId("restart").disabled = isRestarting;
    byId("restart").textContent = isRestarting ? "Restarting…" : "Restart";
  }
}

/** Hide an answer to input(), which may be a password. */
function redacted(message) {
  return message.header.msg_type === "input_reply" ? { ...message, content: { value: "(not shown)" } } : message;
}
