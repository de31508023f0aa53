// Sandboxed frames for HTML outputs. They have an opaque origin. Scripts of an output run only on request.

import { element } from "./element.js";
import { isDark, onTheme } from "./theme.js";

const MAX_HEIGHT = 600; // pixels; higher content scrolls

const sandboxes = new Set();

const FRAME = new URL("frame.html", import.meta.url).href;

export class Sandbox {
  #html = "";
  #frame;
  #offer;

  constructor(label) {
    this.#frame = element("iframe", {
      class: "sandbox",
      sandbox: "allow-scripts", // also for the script of the frame itself
      src: FRAME,
      loading: "lazy",
      title: label,
      on: { load: () => this.#post() },
    });
    this.#offer = element(
      "p",
      { class: "note", hidden: true },
      "The scripts of this output were not run; they could open connections to other machines. ",
      element("button", { text: "Allow scripts", on: { click: () => this.#allowScripts() } }),
    );
    this.element = element("div", {}, this.#frame, this.#offer);
    sandboxes.add(this);
  }

  get window() {
    return this.#frame.contentWindow;
  }

  show(html) {
    this.#html = html;
    this.#offer.hidden = this.#runsScripts || !hasScripts(html);
    this.#post();
  }

  get #runsScripts() {
    return this.#frame.src !== FRAME;
  }

  #allowScripts() {
    this.#frame.src = `${FRAME}?scripts`;
    this.#offer.hidden = true;
  }

  postTheme() {
    this.window?.postMessage({ dark: isDark() }, "*");
  }

  /** Handle a message of the frame. Any script in it may have sent it, so only a height is accepted. */
  onMessage({ height }) {
    if (!Number.isFinite(height)) return;
    this.#frame.style.height = `${Math.min(MAX_HEIGHT, Math.max(0, Math.ceil(height)))}px`;
  }

  #post() {
    // "*", because the frame's origin is opaque; it gets nothing but its own HTML.
    this.window?.postMessage({ html: this.#html, dark: isDark() }, "*");
  }
}

function hasScripts(html) {
  // Parsed in a document of its own, which loads and runs nothing.
  const parsed = new DOMParser().parseFromString(html, "text/html");
  if (parsed.querySelector("script, iframe[srcdoc]")) return true;
  const attributes = [...parsed.querySelectorAll("*")].flatMap((element) => element.getAttributeNames());
  return attributes.some((name) => name.startsWith("on"));
}

function forgetRemoved() {
  for (const sandbox of sandboxes) if (!sandbox.element.isConnected) sandboxes.delete(sandbox);
}

addEventListener("message", ({ source, data }) => {
  if (!source || typeof data !== "object" || data === null) return;
  for (const sandbox of sandboxes) {
    if (sandbox.window === source) sandbox.onMessage(data);
  }
});

onTheme(() => {
  forgetRemoved();
  for (const sandbox of sandboxes) sandbox.postTheme();
});
