// A long list; only the rows in view are in the document. The caller fills them.

import { element } from "./element.js";
import { paint } from "./paint.js";

const ROW_HEIGHT = 24; // pixels, as in the style sheet
const PAGE_ROWS = 10;
const END_TOLERANCE = 4; // pixels within which the view is at the end

export class Rows {
  #viewport;
  #space = element("div", { class: "rows-space", role: "presentation" });
  #pool = [];
  #items;
  #on;
  #selected = null;
  #isFollowing = true;
  #pressed = null;
  #shift = 0; // rows removed at the beginning since the last drawing
  #isReplaced = false; // since the last drawing

  /** `on`: make() a row, fill(row, item), open(item, target), showRequest(item), follow(isFollowing). */
  constructor(viewport, items, on) {
    this.#viewport = viewport;
    this.#items = items;
    this.#on = on;
    viewport.replaceChildren(this.#space);
    viewport.addEventListener("scroll", () => this.#onScroll());
    viewport.addEventListener("keydown", (event) => this.#onKey(event));
    // A row may show another item when the button is released.
    viewport.addEventListener("pointerdown", (event) => (this.#pressed = this.#itemAt(event.target)));
    viewport.addEventListener("click", (event) => this.#onClick(event));
    new ResizeObserver(() => paint(this)).observe(viewport);
  }

  get selected() {
    return this.#selected;
  }

  get isFollowing() {
    return this.#isFollowing;
  }

  set isFollowing(isFollowing) {
    if (isFollowing === this.#isFollowing) return;
    this.#isFollowing = isFollowing;
    this.#on.follow(isFollowing);
    paint(this);
  }

  /** Show other items; the selected one stays in view if it is among them. */
  show(items) {
    this.#items = items;
    this.#isReplaced = true;
    paint(this);
  }

  /** Note items removed at the beginning; the rows in view keep their place. */
  onShifted(count) {
    this.#shift += count;
    paint(this);
  }

  select(item) {
    this.#selected = item;
    paint(this);
  }

  draw() {
    const { clientHeight } = this.#viewport;
    if (!clientHeight) return;
    this.#space.style.height = `${this.#items.length * ROW_HEIGHT}px`;
    if (this.#isFollowing) this.#viewport.scrollTop = this.#items.length * ROW_HEIGHT;
    else if (this.#shift) this.#viewport.scrollTop -= this.#shift * ROW_HEIGHT;
    else if (this.#isReplaced) this.#centre(this.#items.indexOf(this.#selected));
    this.#shift = 0;
    this.#isReplaced = false;
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / ROW_HEIGHT));
    this.#reserve(Math.ceil(clientHeight / ROW_HEIGHT) + 1);
    this.#viewport.setAttribute("aria-rowcount", this.#items.length);
    this.#viewport.removeAttribute("aria-activedescendant");
    this.#pool.forEach((row, offset) => this.#fill(row, first + offset));
  }

  #reserve(count) {
    while (this.#pool.length < count) {
      const row = this.#on.make();
      row.id = `row-${this.#pool.length}`;
      this.#pool.push(row);
      this.#space.append(row);
    }
  }

  #fill(row, index) {
    const item = this.#items.at(index);
    row.item = item;
    row.hidden = item === undefined;
    if (row.hidden) return;
    row.style.transform = `translateY(${index * ROW_HEIGHT}px)`;
    row.setAttribute("aria-rowindex", index + 1);
    row.setAttribute("aria-selected", item === this.#selected);
    if (item === this.#selected) this.#viewport.setAttribute("aria-activedescendant", row.id);
    this.#on.fill(row, item);
  }

  #onScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.#viewport;
    this.isFollowing = scrollHeight - scrollTop - clientHeight <= END_TOLERANCE;
    paint(this);
  }

  #itemAt(target) {
    return target.closest("[role=row]")?.item;
  }

  #onClick(event) {
    const item = this.#pressed ?? this.#itemAt(event.target);
    this.#pressed = null;
    if (!item) return;
    this.isFollowing = false;
    this.#selected = item;
    paint(this);
    this.#on.open(item, event.target);
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE_ROWS, PageDown: PAGE_ROWS, Home: -Infinity, End: Infinity };
    if (event.key in moves) this.#move(moves[event.key]);
    else if (event.key === "Enter" && this.#selected) this.#on.open(this.#selected, this.#viewport);
    else if (event.key === "p" && this.#selected) this.#on.showRequest(this.#selected);
    else return;
    event.preventDefault();
  }

  #move(by) {
    const last = this.#items.length - 1;
    if (last < 0) return;
    const at = this.#items.indexOf(this.#selected);
    const from = at < 0 ? this.#firstSelection(by) : at + by;
    const index = Math.min(last, Math.max(0, from));
    this.isFollowing = false;
    this.select(this.#items.at(index));
    this.#reveal(index);
  }

  /** Return the row to select if none is selected: one in view. */
  #firstSelection(by) {
    if (!Number.isFinite(by)) return by;
    const { scrollTop, clientHeight } = this.#viewport;
    return by > 0 ? Math.ceil(scrollTop / ROW_HEIGHT) : Math.floor((scrollTop + clientHeight) / ROW_HEIGHT) - 1;
  }

  #centre(index) {
    if (index >= 0) this.#viewport.scrollTop = index * ROW_HEIGHT - this.#viewport.clientHeight / 2;
  }

  #reveal(index) {
    const { scrollTop, clientHeight } = this.#viewport;
    const top = index * ROW_HEIGHT;
    if (top < scrollTop) this.#viewport.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.#viewport.scrollTop = top + ROW_HEIGHT - clientHeight;
  }
}
