// An entry of the message list: a message, or an event of the connection. No document here.

const MAX_SUMMARY = 200; // characters

export class Entry {
  direction; // sent, received, or relay: an event
  channel;
  type;
  id = "";
  parent = "";
  message;
  position;
  isSevere = false;
  #summary;
  #time;

  static ofMessage(direction, message, position) {
    const { header, parent_header, channel } = message;
    return Object.assign(new Entry(), {
      direction,
      message,
      position,
      channel,
      type: string(header.msg_type) || "(no type)",
      id: string(header.msg_id),
      parent: string(parent_header.msg_id),
    });
  }

  static ofEvent(type, record, position, summary, isSevere = false) {
    const entry = Object.assign(new Entry(), { direction: "relay", channel: "", type, position, message: record, isSevere });
    entry.#summary = summary;
    return entry;
  }

  /** The local time of day. */
  get time() {
    if (this.#time === undefined) this.#time = clock(new Date(this.message.header?.date ?? Date.now()));
    return this.#time;
  }

  get summary() {
    return (this.#summary ??= short(summary(this.type, this.message.content ?? {})));
  }

  /** True for a request, and for the messages that belong to it. */
  belongsTo(request) {
    return this.parent === request || this.id === request;
  }

  matches(text) {
    return `${this.channel} ${this.type} ${this.summary}`.toLowerCase().includes(text);
  }
}

const string = (value) => (typeof value === "string" ? value : value == null ? "" : JSON.stringify(value));

const short = (text) => text.slice(0, MAX_SUMMARY * 2).replace(/\s+/g, " ").trim().slice(0, MAX_SUMMARY);

function clock(date) {
  if (Number.isNaN(date.valueOf())) return "";
  const two = (number) => String(number).padStart(2, "0");
  const milliseconds = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${milliseconds}`;
}

function summary(type, content) {
  return (SUMMARIES[type] ?? summaryOfFields)(content);
}

const SUMMARIES = {
  status: ({ execution_state }) => string(execution_state),
  stream: ({ name, text }) => `${string(name)}: ${JSON.stringify(string(text).slice(0, MAX_SUMMARY))}`,
  execute_request: ({ code }) => string(code),
  execute_input: ({ execution_count, code }) => `[${string(execution_count)}] ${string(code)}`,
  execute_reply: ({ execution_count, status, ename }) => `[${string(execution_count)}] ${string(status)} ${string(ename)}`,
  execute_result: ({ execution_count, data }) => `[${string(execution_count)}] ${bundle(data)}`,
  display_data: ({ data, transient }) => `${bundle(data)} ${display(transient)}`,
  update_display_data: ({ data, transient }) => `${bundle(data)} ${display(transient)}`,
  error: ({ ename, evalue }) => `${string(ename)}: ${string(evalue)}`,
  input_request: ({ prompt }) => string(prompt),
  input_reply: () => "…", // may be a password
  clear_output: ({ wait }) => (wait ? "before the next output" : "immediately"),
  comm_open: ({ comm_id, target_name }) => `${string(target_name)} ${string(comm_id)}`,
};

function bundle(data) {
  const plain = data?.["text/plain"];
  return `${Object.keys(data ?? {}).join(", ")}${plain ? ` ${string(plain).slice(0, MAX_SUMMARY)}` : ""}`;
}

const display = (transient) => (transient?.display_id ? `display ${string(transient.display_id)}` : "");

/** Return the first fields, shortened. */
function summaryOfFields(content) {
  const fields = Object.entries(content).slice(0, 6);
  return fields.map(([name, value]) => `${name}: ${brief(value)}`).join(", ");
}

function brief(value) {
  if (Array.isArray(value)) return `[${value.length}]`;
  if (typeof value === "object" && value !== null) return `{${Object.keys(value).slice(0, 6).join(", ")}}`;
  return string(value).slice(0, 80);
}
