// The live view of all that is said and heard. It knows no sockets.

import { byId, element } from "./element.js";
import { Entry } from "./entry.js";
import { prettyJson } from "./json.js";
import { paint } from "./paint.js";
import { Rows } from "./rows.js";
import { MessageWindow, MOST } from "./window.js";

const ARROWS = { said: ["→", "said"], heard: ["←", "heard"], relay: ["·", "relay"] };
const SHORT = 8; // characters of an id
const TYPES_MOST = 200; // that can be chosen; of more, nobody finds one

const number = (count) => count.toLocaleString("en");

export class Messages {
  #window = new MessageWindow();
  #waiting = new MessageWindow(); // what arrives during a pause
  #isPaused = false;
  #types = new Map(); // how often each was seen, and its box
  #hidden = new Set();
  #words = "";
  #request = "";
  #rows;

  constructor() {
    this.#rows = new Rows(byId("rows"), this.#window.shown, {
      make: makeRow,
      fill: (row, entry) => this.#fill(row, entry),
      open: (entry, target) => this.#open(entry, target),
      narrow: (entry) => this.#narrow(entry.parent || entry.id),
      follow: (follows) => byId("follow").setAttribute("aria-pressed", follows),
    });
    byId("pause").addEventListener("click", () => this.#pause(!this.#isPaused));
    byId("follow").addEventListener("click", () => (this.#rows.isFollowing = !this.#rows.isFollowing));
    byId("all-types").addEventListener("click", () => this.#chooseAll(true));
    byId("no-types").addEventListener("click", () => this.#chooseAll(false));
    byId("words").addEventListener("input", ({ target }) => this.#search(target.value));
    byId("parent").addEventListener("click", () => this.#narrow(""));
    byId("empty").addEventListener("click", () => this.clear());
    byId("detail-close").addEventListener("click", () => this.#close());
    byId("detail-parent").addEventListener("click", () => this.#narrow(this.#ofChosen()));
    byId("messages").addEventListener("keydown", (event) => this.#key(event));
    this.draw();
  }

  said(message) {
    this.#add(Entry.ofMessage("said", message));
  }

  heard(message, position) {
    this.#add(Entry.ofMessage("heard", message, position));
  }

  /** What the relay, or this page, has to say about the connection. */
  told(type, told, position, summary, isSevere) {
    this.#add(Entry.ofRelay(type, told, position, summary, isSevere));
  }

  clear() {
    this.#window = new MessageWindow();
    this.#waiting = new MessageWindow();
    this.#close();
    this.#refilter();
  }

  draw() {
    const shown = this.#window.shown.length;
    const all = this.#window.length;
    const facts = [shown === all ? `${number(all)} messages` : `${number(shown)} of ${number(all)} messages`];
    const { dropped } = this.#window;
    if (dropped) facts.push(`the last ${number(MOST)} at most are kept, ${number(dropped)} dropped off`);
    if (this.#isPaused) facts.push(`paused: ${this.#waitingCount()}`);
    byId("counts").textContent = facts.join(" · ");
    byId("pause").textContent = this.#isPaused ? `Resume (${number(this.#waiting.length)})` : "Pause";
    for (const { count, label } of this.#types.values()) label.textContent = number(count);
  }

  #waitingCount() {
    const { length, dropped } = this.#waiting;
    return `${number(length + dropped)} arrived${dropped ? `, of which ${number(dropped)} dropped off` : ""}`;
  }

  #add(entry) {
    this.#count(entry.type);
    if (this.#isPaused) this.#waiting.push(entry);
    else this.#rows.shifted(this.#window.push(entry));
    paint(this);
  }

  #pause(pauses) {
    this.#isPaused = pauses;
    byId("pause").setAttribute("aria-pressed", pauses);
    if (!pauses) this.#resume();
    paint(this);
  }

  #resume() {
    const missed = this.#waiting.dropped;
    const words = `${number(missed)} messages dropped off during the pause`;
    if (missed) this.told("pause", { dropped: missed }, undefined, words, true);
    this.#window.dropped += missed;
    for (const entry of this.#waiting.takeAll()) this.#rows.shifted(this.#window.push(entry));
  }

  // -- filters ------------------------------------------------------------------------------------

  #count(type) {
    const known = this.#types.get(type);
    if (known) known.count += 1;
    else if (this.#types.size < TYPES_MOST) this.#types.set(type, { count: 1, label: this.#offer(type) });
  }

  #offer(type) {
    const label = element("span", { class: "quiet" });
    const box = element("input", { type: "checkbox", checked: true, on: { change: () => this.#choose(type, box.checked) } });
    const line = element("label", { data: { type } }, box, element("span", { text: type }), label);
    const after = [...byId("types").querySelectorAll("label")].find((other) => other.dataset.type > type);
    byId("types").insertBefore(line, after ?? null);
    return label;
  }

  #choose(type, isShown) {
    if (isShown) this.#hidden.delete(type);
    else this.#hidden.add(type);
    this.#showChoice();
  }

  #showChoice() {
    byId("types-chosen").textContent = this.#hidden.size ? ` (${this.#hidden.size} hidden)` : "";
    this.#refilter();
  }

  #chooseAll(isShown) {
    for (const box of byId("types").querySelectorAll("input")) box.checked = isShown;
    this.#hidden = new Set(isShown ? [] : this.#types.keys());
    this.#showChoice();
  }

  #search(words) {
    this.#words = words.trim().toLowerCase();
    this.#refilter();
  }

  /** Show one request and what belongs to it; "": everything. */
  #narrow(request) {
    this.#request = request;
    const button = byId("parent");
    button.hidden = !request;
    button.textContent = `Request ${request.slice(0, SHORT)} ×`;
    button.setAttribute("aria-label", `Show all requests, not only ${request.slice(0, SHORT)}`);
    this.#refilter();
  }

  #refilter() {
    this.#window.filter((entry) => this.#passes(entry));
    this.#rows.show(this.#window.shown);
    paint(this);
  }

  #passes(entry) {
    if (this.#hidden.has(entry.type)) return false;
    if (this.#request && !entry.isOf(this.#request)) return false;
    return !this.#words || entry.says(this.#words);
  }

  // -- rows and the JSON of one -------------------------------------------------------------------

  #fill(row, entry) {
    const [time, arrow, channel, type, parent, summary] = row.children;
    const [sign, word] = ARROWS[entry.direction];
    time.textContent = entry.time;
    arrow.textContent = sign;
    arrow.title = word;
    channel.textContent = entry.channel;
    type.textContent = entry.type;
    parent.firstChild.textContent = entry.parent.slice(0, SHORT);
    parent.firstChild.hidden = !entry.parent;
    summary.textContent = entry.summary;
    row.dataset.direction = entry.direction;
    row.classList.toggle("severe", entry.isSevere);
  }

  #open(entry, target) {
    if (target.closest("button")) {
      this.#narrow(entry.parent);
      return;
    }
    const position = entry.position === undefined ? "" : `, position ${entry.position}`;
    byId("detail-heading").textContent = `${entry.type} ${ARROWS[entry.direction][1]}${position}`;
    byId("detail-parent").hidden = !(entry.parent || entry.id);
    prettyJson(entry.message, byId("detail-json"));
    byId("detail-json").scrollTop = 0;
    byId("detail").hidden = false;
  }

  #ofChosen() {
    const { parent, id } = this.#rows.chosen;
    return parent || id;
  }

  #close() {
    if (byId("detail").contains(document.activeElement)) byId("rows").focus();
    byId("detail").hidden = true;
    byId("detail-json").replaceChildren();
    this.#rows.choose(null);
  }

  #key(event) {
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
