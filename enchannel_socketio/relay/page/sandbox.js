// Sandboxed frames for HTML outputs. Their scripts have an opaque origin, and reach neither page nor relay.

import { element } from "./element.js";
import { isDark, onTheme } from "./theme.js";

const MAX_HEIGHT = 600; // pixels; higher content scrolls

const sandboxes = new Set();

export class Sandbox {
  #html = "";

  constructor(label) {
    this.element = element("iframe", {
      class: "sandbox",
      sandbox: "allow-scripts",
      src: new URL("frame.html", import.meta.url).href,
      loading: "lazy",
      title: label,
      on: { load: () => this.#post() },
    });
    sandboxes.add(this);
  }

  show(html) {
    this.#html = html;
    this.#post();
  }

  postTheme() {
    this.element.contentWindow?.postMessage({ dark: isDark() }, "*");
  }

  /** Handle a message of the frame. Any script in it may have sent it, so only a height is accepted. */
  onMessage({ height }) {
    if (!Number.isFinite(height)) return;
    this.element.style.height = `${Math.min(MAX_HEIGHT, Math.max(0, Math.ceil(height)))}px`;
  }

  #post() {
    // "*", because the frame's origin is opaque; it gets nothing but its own HTML.
    this.element.contentWindow?.postMessage({ html: this.#html, dark: isDark() }, "*");
  }
}

function forgetRemoved() {
  for (const sandbox of sandboxes) if (!sandbox.element.isConnected) sandboxes.delete(sandbox);
}

addEventListener("message", ({ source, data }) => {
  if (!source || typeof data !== "object" || data === null) return;
  for (const sandbox of sandboxes) {
    if (sandbox.element.contentWindow === source) sandbox.onMessage(data);
  }
});

onTheme(() => {
  forgetRemoved();
  for (const sandbox of sandboxes) sandbox.postTheme();
});
