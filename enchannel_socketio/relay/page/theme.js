// Light or dark: what the system prefers, until somebody chooses. It knows nothing of kernels.

const KEY = "enchannel-theme";
const root = document.documentElement;
const preference = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let chosen = remembered();

export const isDark = () => (chosen ? chosen === "dark" : preference.matches);

export const onTheme = (listener) => listeners.add(listener);

export function toggleTheme() {
  const wanted = isDark() ? "light" : "dark";
  // Back to what the system prefers, and it is followed again.
  chosen = wanted === (preference.matches ? "dark" : "light") ? "" : wanted;
  remember();
  show();
}

function show() {
  root.dataset.theme = isDark() ? "dark" : "light";
  for (const listener of listeners) listener(isDark());
}

function remembered() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return ""; // no storage: this page only
  }
}

function remember() {
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // no storage: this page only
  }
}

preference.addEventListener("change", show);
show();
