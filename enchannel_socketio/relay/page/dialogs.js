// What stands over the page until it is answered or closed. It knows nothing of kernels.

import { byId } from "./element.js";

/** Ask before something that cannot be taken back; whether it is wanted. */
export function ask(heading, text, yes) {
  const dialog = byId("question");
  dialog.querySelector("h2").textContent = heading;
  dialog.querySelector("p").textContent = text;
  const [cancel, agree] = dialog.querySelectorAll("button");
  agree.textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  cancel.focus();
  return new Promise((answer) => {
    for (const button of [cancel, agree]) button.onclick = () => dialog.close(button.value);
    dialog.onclose = () => answer(dialog.returnValue === "yes");
  });
}

export function showLink(url) {
  const dialog = byId("link");
  const field = byId("link-url");
  field.value = url;
  byId("link-copied").textContent = "";
  dialog.onclose = () => (field.value = "");
  dialog.showModal();
  field.select();
}

async function copy() {
  const field = byId("link-url");
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    byId("link-copied").textContent = "Copied.";
  } catch {
    // Over plain HTTP from another machine there is no clipboard.
    byId("link-copied").textContent = "This browser does not let the page copy: press Ctrl+C.";
  }
}

byId("link-copy").addEventListener("click", copy);
byId("link-close").addEventListener("click", () => byId("link").close());
byId("show-help").addEventListener("click", () => byId("help").showModal());
byId("help").querySelector("button").addEventListener("click", () => byId("help").close());
