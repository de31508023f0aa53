// The live list of all messages and events. No sockets here.

import { byId, element } from "./element.js";
import { Entry } from "./entry.js";
import { prettyJson } from "./json.js";
import { paint } from "./paint.js";
import { Rows } from "./rows.js";
import { MAX_MESSAGES, MessageWindow } from "./window.js";

const ARROWS = { sent: ["→", "sent"], received: ["←", "received"], relay: ["·", "relay"] };
const SHORT_ID = 8; // characters
const MAX_TYPES = 200; // in the type filter

const number = (count) => count.toLocaleString("en");

export class Messages {
  #window = new MessageWindow();
  #paused = new MessageWindow(); // messages that arrive during a pause
  #isPaused = false;
  #types = new Map(); // the count and the label of each type
  #hidden = new Set();
  #text = "";
  #request = "";
  #rows;

  constructor() {
    this.#rows = new Rows(byId("rows"), this.#window.shown, {
      make: makeRow,
      fill: (row, entry) => this.#fill(row, entry),
      open: (entry, target) => this.#open(entry, target),
      showRequest: (entry) => this.#showRequest(entry.parent || entry.id),
      follow: (isFollowing) => byId("follow").setAttribute("aria-pressed", isFollowing),
    });
    byId("pause").addEventListener("click", () => this.#pause(!this.#isPaused));
    byId("follow").addEventListener("click", () => (this.#rows.isFollowing = !this.#rows.isFollowing));
    byId("all-types").addEventListener("click", () => this.#selectAllTypes(true));
    byId("no-types").addEventListener("click", () => this.#selectAllTypes(false));
    byId("text-filter").addEventListener("input", ({ target }) => this.#search(target.value));
    byId("parent").addEventListener("click", () => this.#showRequest(""));
    byId("clear").addEventListener("click", () => this.clear());
    byId("detail-close").addEventListener("click", () => this.#close());
    byId("detail-parent").addEventListener("click", () => this.#showRequest(this.#requestOfSelected()));
    byId("messages").addEventListener("keydown", (event) => this.#onKey(event));
    this.draw();
  }

  addSent(message) {
    this.#add(Entry.ofMessage("sent", message));
  }

  addReceived(message, position) {
    this.#add(Entry.ofMessage("received", message, position));
  }

  /** Add an event of the kernel, the link, or the connection. */
  addEvent(type, record, position, summary, isSevere) {
    this.#add(Entry.ofEvent(type, record, position, summary, isSevere));
  }

  clear() {
    this.#window = new MessageWindow();
    this.#paused = new MessageWindow();
    this.#close();
    this.#refilter();
  }

  draw() {
    const shown = this.#window.shown.length;
    const all = this.#window.length;
    const facts = [shown === all ? `${number(all)} messages` : `${number(shown)} of ${number(all)} messages`];
    const { dropped } = this.#window;
    if (dropped) facts.push(`${number(dropped)} earlier ones dropped, at most ${number(MAX_MESSAGES)} are kept`);
    if (this.#isPaused) facts.push(`paused: ${this.#pausedText()}`);
    byId("counts").textContent = facts.join(" · ");
    byId("pause").textContent = this.#isPaused ? `Resume (${number(this.#paused.length)})` : "Pause";
    for (const { count, label } of this.#types.values()) label.textContent = number(count);
  }

  #pausedText() {
    const { length, dropped } = this.#paused;
    return `${number(length + dropped)} received${dropped ? `, ${number(dropped)} of them dropped` : ""}`;
  }

  #add(entry) {
    this.#count(entry.type);
    if (this.#isPaused) this.#paused.push(entry);
    else this.#rows.onShifted(this.#window.push(entry));
    paint(this);
  }

  #pause(isPaused) {
    this.#isPaused = isPaused;
    byId("pause").setAttribute("aria-pressed", isPaused);
    if (!isPaused) this.#resume();
    paint(this);
  }

  #resume() {
    const missed = this.#paused.dropped;
    const text = `${number(missed)} messages were dropped during the pause`;
    if (missed) this.addEvent("pause", { dropped: missed }, undefined, text, true);
    this.#window.dropped += missed;
    for (const entry of this.#paused.takeAll()) this.#rows.onShifted(this.#window.push(entry));
  }

  // -- filters ------------------------------------------------------------------------------------

  #count(type) {
    const known = this.#types.get(type);
    if (known) known.count += 1;
    else if (this.#types.size < MAX_TYPES) this.#types.set(type, { count: 1, label: this.#addTypeFilter(type) });
  }

  #addTypeFilter(type) {
    const label = element("span", { class: "quiet" });
    const box = element("input", { type: "checkbox", checked: true, on: { change: () => this.#selectType(type, box.checked) } });
    const line = element("label", { data: { type } }, box, element("span", { text: type }), label);
    const after = [...byId("types").querySelectorAll("label")].find((other) => other.dataset.type > type);
    byId("types").insertBefore(line, after ?? null);
    return label;
  }

  #selectType(type, isShown) {
    if (isShown) this.#hidden.delete(type);
    else this.#hidden.add(type);
    this.#applyTypes();
  }

  #applyTypes() {
    byId("types-hidden").textContent = this.#hidden.size ? ` (${this.#hidden.size} hidden)` : "";
    this.#refilter();
  }

  #selectAllTypes(isShown) {
    for (const box of byId("types").querySelectorAll("input")) box.checked = isShown;
    this.#hidden = new Set(isShown ? [] : this.#types.keys());
    this.#applyTypes();
  }

  #search(text) {
    this.#text = text.trim().toLowerCase();
    this.#refilter();
  }

  /** Show only a request and its messages; "": everything. */
  #showRequest(request) {
    this.#request = request;
    const button = byId("parent");
    button.hidden = !request;
    button.textContent = `Request ${request.slice(0, SHORT_ID)} ×`;
    button.setAttribute("aria-label", `Show all requests, not only ${request.slice(0, SHORT_ID)}`);
    this.#refilter();
  }

  #refilter() {
    this.#window.filter((entry) => this.#passes(entry));
    this.#rows.show(this.#window.shown);
    paint(this);
  }

  #passes(entry) {
    if (this.#hidden.has(entry.type)) return false;
    if (this.#request && !entry.belongsTo(this.#request)) return false;
    return !this.#text || entry.matches(this.#text);
  }

  // -- the rows, and the JSON of the selected one -------------------------------------------------

  #fill(row, entry) {
    const [time, arrow, channel, type, parent, summary] = row.children;
    const [sign, title] = ARROWS[entry.direction];
    time.textContent = entry.time;
    arrow.textContent = sign;
    arrow.title = title;
    channel.textContent = entry.channel;
    type.textContent = entry.type;
    parent.firstChild.textContent = entry.parent.slice(0, SHORT_ID);
    parent.firstChild.hidden = !entry.parent;
    summary.textContent = entry.summary;
    row.dataset.direction = entry.direction;
    row.classList.toggle("severe", entry.isSevere);
  }

  #open(entry, target) {
    if (target.closest("button")) {
      this.#showRequest(entry.parent);
      return;
    }
    const position = entry.position === undefined ? "" : `, position ${entry.position}`;
    byId("detail-heading").textContent = `${entry.type} ${ARROWS[entry.direction][1]}${position}`;
    byId("detail-parent").hidden = !(entry.parent || entry.id);
    prettyJson(entry.message, byId("detail-json"));
    byId("detail-json").scrollTop = 0;
    byId("detail").hidden = false;
  }

  #requestOfSelected() {
    const { parent, id } = this.#rows.selected;
    return parent || id;
  }

  #close() {
    if (byId("detail").contains(document.activeElement)) byId("rows").focus();
    byId("detail").hidden = true;
    byId("detail-json").replaceChildren();
    this.#rows.select(null);
  }

  #onKey(event) {
    if (event.key !== "Escape") return;
    const types = byId("types").closest("details");
    if (types.open) types.open = false;
    else if (!byId("detail").hidden) this.#close();
    else return;
    event.preventDefault();
  }
}

function makeRow() {
  const cell = (...children) => element("span", { role: "gridcell" }, ...children);
  const parent = element("button", { type: "button", tabindex: "-1", title: "Only this request" });
  return element("div", { class: "message", role: "row" }, cell(), cell(), cell(), cell(), cell(parent), cell());
}
