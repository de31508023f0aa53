// Access to the relay: HTTP calls, and the Socket.IO connection of an open kernel. No document here.

import { io } from "./vendor/socket.io.esm.min.js";

const BASE = new URL("../", import.meta.url);
const ACK_TIMEOUT = 30_000; // milliseconds
const RECONNECT_DELAY = { refused: 5_000, disconnected: 1_000 }; // milliseconds

/** The relay refused a request, or could not be reached. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status; // the HTTP status; 0: no response
  }
}

/** The connection was lost before a message was acknowledged; the kernel may have received it. */
export class Unacknowledged extends Error {}

export const get = (path) => call("GET", path);
export const post = (path) => call("POST", path);
export const address = (path) => new URL(path.replace(/^\//, ""), BASE).href;

async function call(method, path) {
  let response;
  try {
    response = await fetch(new URL(path, BASE), { method, cache: "no-store" });
  } catch {
    throw new Refused(0, "the relay does not respond");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error ?? `${response.status}`);
  return body;
}

/**
 * The connection of this page to one kernel.
 *
 * After a reconnect it continues at the last handled position. It calls `on`: message, status, gap (all three
 * with a position), ready, refused, unauthenticated, and link with a state (connecting, connected, lost,
 * refused: the relay does not serve this kernel to this page) and a text.
 */
export class KernelConnection {
  #socket;
  #on;
  #position;
  #maxMessage = Infinity;
  #isReady = false;
  #reconnectTimer = 0;

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
      auth: (send) => send({ batch: true, since: this.#position }),
    });
    this.#socket.on("ready", (ready) => this.#onReady(ready));
    this.#socket.on("batch", (batch) => this.#onBatch(batch));
    this.#socket.on("refused", (refused) => this.#on.refused(refused));
    this.#socket.on("disconnect", (reason) => this.#onDisconnect(reason));
    this.#socket.on("connect_error", (error) => this.#onConnectError(error));
    this.#on.link("connecting", "connecting");
  }

  get isReady() {
    return this.#isReady;
  }

  /** Send a message to the kernel; resolves when the relay has forwarded it. */
  async send(message) {
    // Socket.IO would queue it, and send it after a reconnect.
    if (!this.#isReady) throw new Refused(0, "not connected");
    const size = new Blob([JSON.stringify(message)]).size;
    if (size > this.#maxMessage) {
      throw new Refused(413, `the message has ${size} bytes, more than the limit of ${this.#maxMessage}`);
    }
    const result = await this.#socket
      .timeout(ACK_TIMEOUT)
      .emitWithAck("msg", message)
      .catch(() => {
        throw new Unacknowledged("the connection was lost while sending");
      });
    if (result?.error) throw new Refused(0, result.error);
  }

  close() {
    clearTimeout(this.#reconnectTimer);
    this.#isReady = false;
    this.#socket.off();
    this.#socket.disconnect();
  }

  #onReady({ position, max_message, ...ready }) {
    if (position < this.#position) {
      this.#dispatch("gap", { restarted: true }, position);
      this.#position = position;
    }
    this.#maxMessage = max_message ?? Infinity;
    this.#isReady = true;
    this.#on.link("connected", "connected");
    this.#on.ready(ready);
  }

  #onBatch({ after, upto, events }) {
    if (after > this.#position) {
      this.#dispatch("gap", { from: this.#position + 1, to: after }, after);
      this.#position = after;
    }
    for (const [name, argument, position] of events) {
      if (position <= this.#position) continue; // handled before the connection was lost
      this.#position = position;
      this.#dispatch(name, argument, position);
    }
    this.#position = Math.max(this.#position, upto);
    this.#socket.emit("ack", upto);
  }

  #dispatch(name, argument, position) {
    try {
      if (name === "msg") this.#on.message(complete(argument), position);
      else if (name === "status") this.#on.status(argument, position);
      else if (name === "gap") this.#on.gap(argument, position);
    } catch (error) {
      // One message that cannot be shown must not stop the others.
      console.error(`the ${name} at ${position} could not be shown:`, error);
    }
  }

  #onDisconnect(reason) {
    this.#isReady = false;
    this.#on.link("lost", "lost; reconnecting");
    if (reason === "io server disconnect") this.#connectAfter(RECONNECT_DELAY.disconnected);
  }

  async #onConnectError(error) {
    this.#isReady = false;
    if (!this.#socket.active) {
      this.#on.link("refused", error.message);
      this.#connectAfter(RECONNECT_DELAY.refused);
      return;
    }
    // A browser does not tell why a WebSocket was refused; an HTTP call does.
    const reason = await get("kernels").catch((refusal) => refusal);
    if (this.#isReady) return;
    const isUnauthenticated = reason.status === 401;
    this.#on.link("lost", isUnauthenticated ? "authentication required" : "lost; reconnecting");
    if (isUnauthenticated) this.#on.unauthenticated();
  }

  #connectAfter(milliseconds) {
    clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = setTimeout(() => this.#socket.connect(), milliseconds);
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const object = (value) => (isObject(value) ? value : {});

/** Return a message with all its parts, also those that the kernel has left out. */
function complete(message) {
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
