// Formatted JSON.

import { element } from "./element.js";

const MAX_LENGTH = 200_000; // characters
const MAX_COLOURED = 50_000; // characters; a longer text has no colours
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\b\d[\d.eE+-]*/g;

export function prettyJson(value, shown = element("pre", { class: "json" })) {
  const text = JSON.stringify(value, bytes, 2) ?? "null";
  shown.replaceChildren(...(text.length > MAX_COLOURED ? [text.slice(0, MAX_LENGTH)] : coloured(text)));
  if (text.length > MAX_LENGTH) {
    const more = (text.length - MAX_LENGTH).toLocaleString("en");
    shown.append(element("span", { class: "note", text: `\n${more} more characters` }));
  }
  return shown;
}

/** Replace binary values by their size: they have no JSON. */
function bytes(key, value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  return value;
}

function coloured(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [token, string, colon] = match;
    parts.push(text.slice(at, match.index));
    const kind = colon ? "key" : string ? "string" : "literal";
    parts.push(element("span", { class: `json-${kind}`, text: string ?? token }), colon ?? "");
    at = match.index + token.length;
  }
  return [...parts, text.slice(at)];
}
