// The light or dark theme: the preference of the system, or the user's choice.

const KEY = "enchannel-theme";
const root = document.documentElement;
const preference = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let choice = load();

export const isDark = () => (choice ? choice === "dark" : preference.matches);

export const onTheme = (listener) => listeners.add(listener);

export function toggleTheme() {
  const wanted = isDark() ? "light" : "dark";
  // The choice of the system's preference ends the user's own choice.
  choice = wanted === (preference.matches ? "dark" : "light") ? "" : wanted;
  save();
  show();
}

function show() {
  root.dataset.theme = isDark() ? "dark" : "light";
  for (const listener of listeners) listener(isDark());
}

function load() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // no storage: the choice lasts until the page is closed
  }
}

function save() {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // No storage: the choice lasts until the page is closed.
  }
}

preference.addEventListener("change", show);
show();
