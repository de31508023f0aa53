// A long list of which only the rows in view are in the document. It knows not what they show.

import { element } from "./element.js";
import { paint } from "./paint.js";

const HEIGHT = 24; // pixels of a row, as in the style sheet
const PAGE = 10;
const NEAR = 4; // pixels from the end that count as being there

export class Rows {
  #viewport;
  #space = element("div", { class: "rows-space", role: "presentation" });
  #pool = [];
  #items;
  #on;
  #chosen = null;
  #isFollowing = true;
  #pressed = null;
  #shift = 0; // rows that fell off since it was drawn
  #isOthers = false; // since it was drawn

  /** `on`: make() a row, fill(row, item), choose(item), open(item, target), narrow(item), follow(whether). */
  constructor(viewport, items, on) {
    this.#viewport = viewport;
    this.#items = items;
    this.#on = on;
    viewport.replaceChildren(this.#space);
    viewport.addEventListener("scroll", () => this.#scrolled());
    viewport.addEventListener("keydown", (event) => this.#key(event));
    // A row may show something else by the time that the button is released.
    viewport.addEventListener("pointerdown", (event) => (this.#pressed = this.#itemAt(event.target)));
    viewport.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => paint(this)).observe(viewport);
  }

  get chosen() {
    return this.#chosen;
  }

  get isFollowing() {
    return this.#isFollowing;
  }

  set isFollowing(follows) {
    if (follows === this.#isFollowing) return;
    this.#isFollowing = follows;
    this.#on.follow(follows);
    paint(this);
  }

  /** Show others; who has chosen one of them still sees it. */
  show(items) {
    this.#items = items;
    this.#isOthers = true;
    paint(this);
  }

  /** Rows have fallen off at the beginning; those in view stay where they are. */
  shifted(count) {
    this.#shift += count;
    paint(this);
  }

  choose(item) {
    this.#chosen = item;
    paint(this);
  }

  draw() {
    const { clientHeight } = this.#viewport;
    if (!clientHeight) return;
    this.#space.style.height = `${this.#items.length * HEIGHT}px`;
    if (this.#isFollowing) this.#viewport.scrollTop = this.#items.length * HEIGHT;
    else if (this.#shift) this.#viewport.scrollTop -= this.#shift * HEIGHT;
    else if (this.#isOthers) this.#centre(this.#items.indexOf(this.#chosen));
    this.#shift = 0;
    this.#isOthers = false;
    const first = Math.max(0, Math.floor(this.#viewport.scrollTop / HEIGHT));
    this.#reserve(Math.ceil(clientHeight / HEIGHT) + 1);
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
    row.style.transform = `translateY(${index * HEIGHT}px)`;
    row.setAttribute("aria-rowindex", index + 1);
    row.setAttribute("aria-selected", item === this.#chosen);
    if (item === this.#chosen) this.#viewport.setAttribute("aria-activedescendant", row.id);
    this.#on.fill(row, item);
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#viewport;
    this.isFollowing = scrollHeight - scrollTop - clientHeight <= NEAR;
    paint(this);
  }

  #itemAt(target) {
    return target.closest("[role=row]")?.item;
  }

  #clicked(event) {
    const item = this.#pressed ?? this.#itemAt(event.target);
    this.#pressed = null;
    if (!item) return;
    this.isFollowing = false;
    this.#chosen = item;
    paint(this);
    this.#on.open(item, event.target);
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE, PageDown: PAGE, Home: -Infinity, End: Infinity };
    if (event.key in moves) this.#move(moves[event.key]);
    else if (event.key === "Enter" && this.#chosen) this.#on.open(this.#chosen, this.#viewport);
    else if (event.key === "p" && this.#chosen) this.#on.narrow(this.#chosen);
    else return;
    event.preventDefault();
  }

  #move(by) {
    const last = this.#items.length - 1;
    if (last < 0) return;
    const at = this.#items.indexOf(this.#chosen);
    const from = at < 0 ? this.#entrance(by) : at + by;
    const index = Math.min(last, Math.max(0, from));
    this.isFollowing = false;
    this.choose(this.#items.at(index));
    this.#reveal(index);
  }

  /** Where one begins who has chosen nothing: with what is in view. */
  #entrance(by) {
    if (!Number.isFinite(by)) return by;
    const { scrollTop, clientHeight } = this.#viewport;
    return by > 0 ? Math.ceil(scrollTop / HEIGHT) : Math.floor((scrollTop + clientHeight) / HEIGHT) - 1;
  }

  #centre(index) {
    if (index >= 0) this.#viewport.scrollTop = index * HEIGHT - this.#viewport.clientHeight / 2;
  }

  #reveal(index) {
    const { scrollTop, clientHeight } = this.#viewport;
    const top = index * HEIGHT;
    if (top < scrollTop) this.#viewport.scrollTop = top;
    else if (top + HEIGHT > scrollTop + clientHeight) this.#viewport.scrollTop = top + HEIGHT - clientHeight;
  }
}
