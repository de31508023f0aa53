// Which panes are in view: the console, the messages, or both where there is room. It knows not what is in them.

import { byId } from "./element.js";

const buttons = document.querySelectorAll("[data-view]");
const isWide = matchMedia("(min-width: 1100px)"); // as in the style sheet
let wanted = "both";

function show() {
  const view = wanted === "both" && !isWide.matches ? "console" : wanted;
  byId("kernel").dataset.shows = view;
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.view === view);
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    wanted = button.dataset.view;
    show();
  });
}
isWide.addEventListener("change", show);
show();
