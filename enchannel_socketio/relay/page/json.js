// JSON for people to read. It knows nothing of messages.

import { element } from "./element.js";

const MOST = 200_000; // characters that are shown
const COLOURED = 50_000; // characters up to which they are shown in colours
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\b\d[\d.eE+-]*/g;

export function prettyJson(value, shown = element("pre", { class: "json" })) {
  const text = JSON.stringify(value, bytes, 2) ?? "null";
  shown.replaceChildren(...(text.length > COLOURED ? [text.slice(0, MOST)] : coloured(text)));
  if (text.length > MOST) {
    const more = (text.length - MOST).toLocaleString("en");
    shown.append(element("span", { class: "note", text: `\n${more} characters more` }));
  }
  return shown;
}

/** Bytes have no JSON: how many there are. */
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
