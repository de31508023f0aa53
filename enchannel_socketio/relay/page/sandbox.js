// Frames for the HTML that a kernel shows. What runs in one has no origin: it reaches neither this page nor the relay.

import { element } from "./element.js";
import { isDark, onTheme } from "./theme.js";

const HIGHEST = 600; // pixels; what is higher scrolls

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

  theme() {
    this.element.contentWindow?.postMessage({ dark: isDark() }, "*");
  }

  /** Whatever runs in the frame may have said this, and nothing of it is believed but a height. */
  heard({ height }) {
    if (!Number.isFinite(height)) return;
    this.element.style.height = `${Math.min(HIGHEST, Math.max(0, Math.ceil(height)))}px`;
  }

  #post() {
    // "*", as the frame's origin is opaque. What is posted is what the frame is there to show.
    this.element.contentWindow?.postMessage({ html: this.#html, dark: isDark() }, "*");
  }
}

function forget() {
  for (const sandbox of sandboxes) if (!sandbox.element.isConnected) sandboxes.delete(sandbox);
}

addEventListener("message", ({ source, data }) => {
  if (!source || typeof data !== "object" || data === null) return;
  for (const sandbox of sandboxes) {
    if (sandbox.element.contentWindow === source) sandbox.heard(data);
  }
});

onTheme(() => {
  forget();
  for (const sandbox of sandboxes) sandbox.theme();
});
