// The relay: HTTP calls, and a conversation with each kernel that is open. It knows nothing of what is shown.

import { io } from "./vendor/socket.io.esm.min.js";

const BASE = new URL("../", import.meta.url);
const HEARD_WITHIN = 30_000; // milliseconds for the relay to say that it has passed a message on
const AGAIN = { refused: 5_000, dismissed: 1_000 }; // milliseconds

/** What the relay has refused, or could not be asked. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status; // of HTTP; 0: there was no answer
  }
}

/** Something was said, and it is not known whether anybody heard it. */
export class Unsure extends Error {}

export const get = (path) => call("GET", path);
export const post = (path) => call("POST", path);
export const address = (path) => new URL(path.replace(/^\//, ""), BASE).href;

async function call(method, path) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), { method, cache: "no-store" });
  } catch {
    throw new Refused(0, "the relay does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error ?? `${response.status}`);
  return answer;
}

/**
 * What is said and heard between this page and one kernel.
 *
 * It goes on after the position that was handled last whenever the connection comes back, and tells `on`:
 * message, status, gap (all three with a position), ready, refused, stranger (it is not let in), and link
 * with a state (connecting, connected, lost, refused: there is no such kernel for it) and words.
 */
export class Conversation {
  #socket;
  #on;
  #position;
  #largest = Infinity;
  #isReady = false;
  #again = 0;

  constructor(namespace, since, on) {
    this.#on = on;
    this.#position = since;
    this.#socket = io(new URL(namespace, BASE.origin).href, {
      path: `${BASE.pathname}socket.io/`,
      forceNew: true,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      auth: (tell) => tell({ batch: true, since: this.#position }),
    });
    this.#socket.on("ready", (ready) => this.#ready(ready));
    this.#socket.on("batch", (batch) => this.#take(batch));
    this.#socket.on("refused", (refused) => this.#on.refused(refused));
    this.#socket.on("disconnect", (reason) => this.#lost(reason));
    this.#socket.on("connect_error", (error) => this.#failed(error));
    this.#on.link("connecting", "connecting");
  }

  get isReady() {
    return this.#isReady;
  }

  /** Say a message to the kernel; done when the relay has passed it on. */
  async say(message) {
    // Socket.IO would keep it, and say it whenever the connection is back.
    if (!this.#isReady) throw new Refused(0, "there is no connection");
    const size = new Blob([JSON.stringify(message)]).size;
    if (size > this.#largest) {
      throw new Refused(413, `${size} bytes are too many: the kernel takes ${this.#largest}`);
    }
    const answer = await this.#socket
      .timeout(HEARD_WITHIN)
      .emitWithAck("msg", message)
      .catch(() => {
        throw new Unsure("the connection was lost as this was said");
      });
    if (answer?.error) throw new Refused(0, answer.error);
  }

  close() {
    clearTimeout(this.#again);
    this.#isReady = false;
    this.#socket.off();
    this.#socket.disconnect();
  }

  #ready({ position, max_message, ...ready }) {
    if (position < this.#position) {
      this.#tell("gap", { restarted: true }, position);
      this.#position = position;
    }
    this.#largest = max_message ?? Infinity;
    this.#isReady = true;
    this.#on.link("connected", "connected");
    this.#on.ready(ready);
  }

  #take({ after, upto, events }) {
    if (after > this.#position) {
      this.#tell("gap", { from: this.#position + 1, to: after }, after);
      this.#position = after;
    }
    for (const [name, told, position] of events) {
      if (position <= this.#position) continue; // it was handled before the connection was lost
      this.#position = position;
      this.#tell(name, told, position);
    }
    this.#position = Math.max(this.#position, upto);
    this.#socket.emit("ack", upto);
  }

  #tell(name, told, position) {
    try {
      if (name === "msg") this.#on.message(whole(told), position);
      else if (name === "status") this.#on.status(told, position);
      else if (name === "gap") this.#on.gap(told, position);
    } catch (error) {
      // One message that cannot be shown does not stop the others.
      console.error(`the ${name} at ${position} could not be shown:`, error);
    }
  }

  #lost(reason) {
    this.#isReady = false;
    this.#on.link("lost", "lost; connecting again");
    if (reason === "io server disconnect") this.#connectAfter(AGAIN.dismissed);
  }

  async #failed(error) {
    this.#isReady = false;
    if (!this.#socket.active) {
      this.#on.link("refused", error.message);
      this.#connectAfter(AGAIN.refused);
      return;
    }
    // A browser does not say why a WebSocket was refused; an HTTP call does.
    const reason = await get("kernels").catch((refusal) => refusal);
    if (this.#isReady) return;
    const isStranger = reason.status === 401;
    this.#on.link("lost", isStranger ? "not let in" : "lost; connecting again");
    if (isStranger) this.#on.stranger();
  }

  #connectAfter(milliseconds) {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#socket.connect(), milliseconds);
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const object = (value) => (isObject(value) ? value : {});

/** A message with all its parts, whatever the kernel has left out. */
function whole(message) {
  const { channel = "", header, parent_header, metadata, content, buffers = [] } = object(message);
  return {
    channel,
    header: object(header),
    parent_header: object(parent_header),
    metadata: object(metadata),
    content: object(content),
    buffers,
  };
}
