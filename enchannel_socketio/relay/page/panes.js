// Shows the console, the messages, or both on wide screens.

import { byId } from "./element.js";

const buttons = document.querySelectorAll("button[data-view]");
const isWide = matchMedia("(min-width: 1100px)"); // as in the style sheet
let choice = "both";

function show() {
  const view = choice === "both" && !isWide.matches ? "console" : choice;
  byId("kernel").dataset.view = view;
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.view === view);
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    choice = button.dataset.view;
    show();
  });
}
isWide.addEventListener("change", show);
show();
