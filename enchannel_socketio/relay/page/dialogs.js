// The dialogs of the page.

import { byId } from "./element.js";

/** Ask for confirmation of an action that cannot be undone; resolves with true or false. */
export function confirm(heading, text, action) {
  const dialog = byId("question");
  dialog.querySelector("h2").textContent = heading;
  dialog.querySelector("p").textContent = text;
  const [cancel, agree] = dialog.querySelectorAll("button");
  agree.textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  cancel.focus();
  return new Promise((resolve) => {
    for (const button of [cancel, agree]) button.onclick = () => dialog.close(button.value);
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
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
    // The clipboard exists in secure contexts only: not over plain HTTP from another machine.
    byId("link-copied").textContent = "The browser does not allow the page to copy; press Ctrl+C.";
  }
}

byId("link-copy").addEventListener("click", copy);
byId("link-close").addEventListener("click", () => byId("link").close());
byId("show-help").addEventListener("click", () => byId("help").showModal());
byId("help").querySelector("button").addEventListener("click", () => byId("help").close());
