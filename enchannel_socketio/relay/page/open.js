// The kernel that is open: its conversation, and who hears it. It knows not how anything is drawn.

import { Console } from "./console.js";
import { ask } from "./dialogs.js";
import { byId } from "./element.js";
import { Conversation, post } from "./relay.js";

const HISTORY = 5_000; // messages of the past that are shown
const AT_WORK = ["starting", "idle", "busy"];
const MEANING = {
  silent: "it does not answer its heartbeat",
  dead: "it has ended, or cannot be reached",
  unknown: "the relay says nothing of it",
};

export class OpenKernel {
  id;
  isOver = false; // it has ended, and is shown as it was
  #console;
  #messages;
  #conversation;
  #on;
  #name;
  #state = "";
  #link = "";

  /** `on`: state(state), link(state, words), stranger(), failed(error). */
  constructor({ id, name, access, first, last, lifecycle }, messages, editor, on) {
    this.id = id;
    this.#name = name;
    this.#on = on;
    this.#messages = messages;
    messages.clear();
    this.#console = new Console(byId("cells"), {
      say: (message) => this.#say(message),
      announce: (words) => (byId("announcement").textContent = words),
      suggest: (code) => editor.set(code),
    });
    byId("kernel-name").textContent = `${name} ${id.slice(0, 8)}`;
    byId("kernel-name").title = id;
    this.#allow(access === "full", lifecycle ?? true);
    const channel = access === "full" ? "main" : "iopub";
    const since = Math.max(0, first - 1, last - HISTORY);
    this.#conversation = new Conversation(`${channel}/${id}`, since, {
      message: (message, position) => this.#heard(message, position),
      status: (status, position) => this.#told(status, position),
      gap: (gap, position) => this.#missed(gap, position),
      ready: ({ state }) => this.#becomes(state),
      refused: ({ msg_id, error }) => this.#refused(msg_id, error),
      link: (state, words) => this.#linked(state, words),
      stranger: on.stranger,
    });
  }

  close() {
    this.#conversation.close();
    this.#console.close();
  }

  /** Run code; false where that is not possible at the moment. */
  run(code) {
    byId("said-of-code").textContent = this.#conversation.isReady ? "" : "There is no connection: it was not sent.";
    if (!this.#conversation.isReady) return false;
    this.#console.run(code);
    return true;
  }

  async interrupt() {
    if (byId("rule").hidden) return;
    await post(`kernels/${this.id}/interrupt`).catch(this.#on.failed);
  }

  async restart() {
    if (!(await ask(`Restart ${this.#name}?`, "What it has in memory is lost.", "Restart"))) return;
    this.#restarts(true);
    await post(`kernels/${this.id}/restart`).catch(this.#on.failed);
    this.#restarts(false);
  }

  // -- what is heard ------------------------------------------------------------------------------

  #heard(message, position) {
    this.#messages.heard(message, position);
    this.#console.heard(message);
    const { header, content, channel } = message;
    if (channel !== "iopub" || header.msg_type !== "status" || !AT_WORK.includes(this.#state)) return;
    if (["idle", "busy"].includes(content.execution_state)) this.#becomes(content.execution_state);
  }

  /** What became of the kernel, and of the relay's connection to it. */
  #told(status, position) {
    const { kernel, link, error, ended, text } = status;
    const words = text || kernel || link || error || ended || "";
    const what = kernel ? "kernel" : link ? "link" : ended ? "end" : "error";
    this.#messages.told(what, status, position, words, Boolean(error || ended));
    if (kernel) this.#becomes(kernel);
    if (kernel === "restarting") this.#over("the kernel was restarted");
    if (kernel === "dead") this.#over("the kernel died");
    // A kernel that restarts hangs up and is dead for a moment, as it should be.
    if (link === "lost" && this.#state !== "restarting") this.#becomes("dead");
    if (link === "connected" && this.#state === "dead") this.#becomes("idle");
    if (error && this.#state !== "restarting") this.#console.note(`${error}: ${text}`);
    if (ended) this.#ends(text);
  }

  /** Nothing comes after the end. */
  #ends(words) {
    this.#becomes("dead");
    this.#over(words);
    this.isOver = true;
    this.#conversation.close();
  }

  #missed({ from, to, restarted }, position) {
    const count = (to - from + 1).toLocaleString("en");
    const words = restarted
      ? "The relay began a new log: what was said in between is not known"
      : `${count} messages fell off the relay's log before they could be sent (${from} to ${to})`;
    this.#messages.told("gap", { from, to, restarted }, position, words, true);
    this.#console.note(words);
  }

  #refused(msgId, error) {
    if (msgId) this.#console.refused(msgId, error);
    this.#messages.told("refused", { msg_id: msgId, error }, undefined, error, true);
  }

  // -- what is said -------------------------------------------------------------------------------

  async #say(message) {
    if (this.#conversation.isReady) this.#messages.said(discreet(message));
    await this.#conversation.say(message);
  }

  // -- what is shown ------------------------------------------------------------------------------

  #becomes(state) {
    this.#state = state;
    byId("state").textContent = state;
    byId("state").dataset.state = state;
    byId("state").title = MEANING[state] ?? "";
    document.title = `${this.#name} (${state}) – enchannel relay`;
    this.#on.state(state);
  }

  #over(words) {
    this.#console.giveUp(words);
    this.#console.note(words[0].toUpperCase() + words.slice(1));
  }

  #linked(state, words) {
    this.#on.link(state, words);
    if (state === this.#link) return;
    if (state !== "connecting") this.#notesLink(state, words);
    if (state === "lost" || state === "refused") this.#becomes("unknown");
    if (state === "refused") this.#console.giveUp("not known: the relay does not show this kernel any more");
    this.#link = state;
  }

  #notesLink(state, words) {
    const isBack = state === "connected";
    this.#messages.told("connection", { connection: state }, undefined, words, !isBack);
    if (this.#link !== "connecting") this.#console.note(isBack ? "The connection is back" : `The connection is ${words}`);
  }

  #allow(isFull, isRuled) {
    byId("rule").hidden = !isFull || !isRuled;
    byId("editor").hidden = !isFull;
    byId("read-only").hidden = byId("only-watching").hidden = isFull;
  }

  #restarts(isRestarting) {
    byId("restart").disabled = isRestarting;
    byId("restart").textContent = isRestarting ? "Restarting…" : "Restart";
  }
}

/** What somebody answered to input() may be a password, and stays between them and the kernel. */
function discreet(message) {
  return message.header.msg_type === "input_reply" ? { ...message, content: { value: "(not shown)" } } : message;
}
