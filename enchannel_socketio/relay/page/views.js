// MIME bundles: selects a representation, and displays it.

import { element } from "./element.js";
import { prettyJson } from "./json.js";
import { Sandbox } from "./sandbox.js";
import { textOf } from "./text.js";

const MAX_TEXT = 200_000; // characters

const VIEWS = {
  "image/png": image,
  "image/jpeg": image,
  "image/gif": image,
  "image/svg+xml": svg,
  "application/json": json,
  "text/markdown": plain,
  "text/latex": plain,
  "text/plain": plain,
};
const TYPES = ["text/html", ...Object.keys(VIEWS)]; // in order of preference

/** Displays a bundle in an element, and can display another one in its place. */
export class View {
  element = element("div", { class: "output" });
  #sandbox = null;

  show(bundle, metadata) {
    const type = TYPES.find((known) => bundle[known] != null);
    if (type === "text/html") this.#html(string(bundle[type]));
    else this.#other(type, bundle, metadata);
  }

  #html(text) {
    if (!this.#sandbox) {
      this.#sandbox = new Sandbox("HTML output");
      this.element.replaceChildren(this.#sandbox.element);
    }
    this.#sandbox.show(text); // in the existing frame, to avoid flicker
  }

  #other(type, bundle, metadata) {
    this.#sandbox = null;
    const attributes = { type, ...sizes(metadata[type] ?? metadata), alt: string(bundle["text/plain"] ?? "image") };
    this.element.replaceChildren(type ? VIEWS[type](bundle[type], attributes) : unsupported(bundle));
  }
}

// As a data: URL: an SVG that is opened at a URL of this page would run its scripts.
function image(value, { type, ...attributes }) {
  const src = `data:${type};base64,${string(value).replace(/\s+/g, "")}`;
  return element("img", { src, ...attributes, decoding: "sync" });
}

function svg(value, { type, ...attributes }) {
  const text = string(value).toWellFormed();
  const named = /\sxmlns=/.test(text) ? text : text.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"');
  return element("img", { src: `data:${type};charset=utf-8,${encodeURIComponent(named)}`, ...attributes });
}

function sizes({ width, height }) {
  return { width: Number.isFinite(width) && width, height: Number.isFinite(height) && height };
}

function json(value) {
  return prettyJson(value);
}

function plain(value) {
  return textOf(string(value), MAX_TEXT);
}

const unsupported = (bundle) =>
  element("p", { class: "note", text: `Cannot display ${Object.keys(bundle).join(", ") || "an empty output"}` });

function string(value) {
  if (typeof value === "string") return value;
  return Array.isArray(value) ? value.join("") : JSON.stringify(value);
}
