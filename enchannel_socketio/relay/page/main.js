// The entry point of the page: the list of kernels, and the open kernel.

import { confirm, showLink } from "./dialogs.js";
import { Editor } from "./editor.js";
import { byId, element } from "./element.js";
import { Kernels } from "./kernels.js";
import { Messages } from "./messages.js";
import { Notice } from "./notice.js";
import { OpenKernel } from "./open.js";
import "./panes.js";
import { address, get, post, Refused } from "./relay.js";
import { isDark, onTheme, toggleTheme } from "./theme.js";

const REFRESH_INTERVAL = 3_000; // milliseconds

const notice = new Notice(byId("notice"));
const messages = new Messages();
const editor = new Editor(byId("editor"), (code) => opened?.run(code));
const kernels = new Kernels(byId("kernel-list"), byId("no-kernels"), {
  open: (kernel) => attempt(() => open(kernel)),
  link: (kernel) => attempt(() => link(kernel)),
  shutDown: (kernel) => attempt(() => shutDown(kernel)),
});
let opened = null;
let refreshing = null;
let areKernelspecsLoaded = false;

// -- the list ---------------------------------------------------------------------------------------

async function refresh() {
  const { kernels: found, access, can_spawn } = await get("kernels");
  notice.onRelayAnswered();
  if (isListOnly()) showConnection("connected", "connected");
  const canSpawn = can_spawn && access === "full";
  if (canSpawn && !areKernelspecsLoaded) await loadKernelspecs();
  byId("spawn").hidden = !canSpawn;
  kernels.show(found, opened?.id);
  if (!opened) await openFirst(found);
}

/** Open the kernel in the URL's fragment, or the only one that may be watched. */
async function openFirst(found) {
  const linked = found.find(({ id }) => id === location.hash.slice(1));
  const only = found.length === 1 && found[0].access === "watch" ? found[0] : undefined;
  if (linked ?? only) await open(linked ?? only);
}

async function poll() {
  clearTimeout(refreshing);
  if (document.visibilityState === "visible") await attempt(refresh);
  refreshing = setTimeout(poll, REFRESH_INTERVAL);
}

async function loadKernelspecs() {
  const { kernelspecs } = await get("kernelspecs");
  const options = kernelspecs.map(({ name, display_name }) =>
    element("option", { value: name, text: display_name || name }),
  );
  byId("kernelspec").replaceChildren(...options);
  if (kernelspecs.some(({ name }) => name === "python3")) byId("kernelspec").value = "python3";
  areKernelspecsLoaded = true;
}

async function spawn(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  button.textContent = "Starting…";
  try {
    const { id } = await post(`spawn/${encodeURIComponent(byId("kernelspec").value)}`);
    await open({ id });
  } finally {
    button.disabled = false;
    button.textContent = "Start";
  }
}

// -- one kernel -------------------------------------------------------------------------------------

async function open({ id }) {
  if (opened?.id === id) return;
  const kernel = await get(`kernels/${id}`);
  if (opened?.id === id) return; // opened by a second click meanwhile
  opened?.close();
  opened = new OpenKernel(kernel, messages, editor, {
    state: (state) => kernels.setState(id, state),
    link: showConnection,
    unauthenticated: () => notice.showUnauthenticated(),
    failed: (error) => notice.showError(error),
  });
  history.replaceState(null, "", `#${id}`);
  byId("nothing-open").hidden = true;
  byId("kernel").hidden = false;
  showKernels(false);
  await attempt(refresh);
}

async function link({ id }) {
  const { url } = await post(`kernels/${id}/watch`);
  showLink(address(url));
}

async function shutDown({ id, name }) {
  const label = `${name} ${id.slice(0, 8)}`;
  if (!(await confirm(`Shut down ${label}?`, "All data in its memory will be lost.", "Shut down"))) return;
  await post(`shutdown/${id}`);
  await refresh();
}

// -- the page ---------------------------------------------------------------------------------------

/** Run an action, and show its error if it fails. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    notice.showError(error);
    if (isListOnly() && error.status === 0) showConnection("lost", error.message);
  }
}

/** True if requests for the list are the only sign of the relay. */
const isListOnly = () => !opened || opened.hasEnded;

function showConnection(state, text) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = text;
}

function showKernels(isShown) {
  byId("kernels").classList.toggle("shown", isShown);
  byId("show-kernels").setAttribute("aria-expanded", isShown);
}

function labelThemeButton() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
}

function onKey(event) {
  if (event.key === "." && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    opened?.interrupt();
  } else if (event.key === "?" && !event.target.closest("input, textarea, select, dialog")) {
    byId("help").showModal();
  }
}

byId("spawn").addEventListener("submit", (event) => attempt(() => spawn(event)));
byId("theme").addEventListener("click", toggleTheme);
byId("show-kernels").addEventListener("click", () => showKernels(!byId("kernels").classList.contains("shown")));
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", poll);
onTheme(labelThemeButton);
labelThemeButton();
byId("interrupt").addEventListener("click", () => opened?.interrupt());
byId("restart").addEventListener("click", () => opened?.restart());
poll();
