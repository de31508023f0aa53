// Constructors of the messages that the page sends. No sockets here.

export const SESSION = session();
const VERSION = "5.4";

export function newId() {
  // crypto.randomUUID() exists in secure contexts only, and a relay may use plain HTTP.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const executeRequest = (code) =>
  message("shell", "execute_request", {
    code,
    silent: false,
    store_history: true,
    user_expressions: {},
    allow_stdin: true,
    stop_on_error: true,
  });

export const inputReply = (request, value) =>
  message("stdin", "input_reply", { value }, request.header);

function message(channel, msg_type, content, parent_header = {}) {
  const header = {
    msg_id: newId(),
    msg_type,
    session: SESSION,
    username: "page",
    date: new Date().toISOString(),
    version: VERSION,
  };
  return { channel, header, parent_header, metadata: {}, content, buffers: [] };
}

/** Return the session of this page. A reload keeps it, so that the page can still answer input(). */
function session() {
  const key = "enchannel-session";
  try {
    const id = sessionStorage.getItem(key) ?? newId();
    sessionStorage.setItem(key, id);
    return id;
  } catch {
    return newId(); // no storage
  }
}
