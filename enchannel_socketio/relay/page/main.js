// Puts the page together: the list of kernels, and the one that is open. It knows no messages.

import { ask, showLink } from "./dialogs.js";
import { Editor } from "./editor.js";
import { byId, element } from "./element.js";
import { Kernels } from "./kernels.js";
import { Messages } from "./messages.js";
import { Notice } from "./notice.js";
import { OpenKernel } from "./open.js";
import "./panes.js";
import { address, get, post, Refused } from "./relay.js";
import { isDark, onTheme, toggleTheme } from "./theme.js";

const EVERY = 3_000; // milliseconds between looks at the list

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
let areKernelspecsKnown = false;

// -- the list ---------------------------------------------------------------------------------------

async function refresh() {
  const { kernels: known, access, can_spawn } = await get("kernels");
  notice.relayAnswers();
  if (isListOnly()) showConnection("connected", "connected");
  const isOffered = can_spawn && access === "full";
  if (isOffered && !areKernelspecsKnown) await offerKernelspecs();
  byId("spawn").hidden = !isOffered;
  kernels.show(known, opened?.id);
  if (!opened) await openFirst(known);
}

/** The one that the address names, or the only one that there is to see. */
async function openFirst(known) {
  const wanted = known.find(({ id }) => id === location.hash.slice(1));
  const only = known.length === 1 && known[0].access === "watch" ? known[0] : undefined;
  if (wanted ?? only) await open(wanted ?? only);
}

async function look() {
  clearTimeout(refreshing);
  if (document.visibilityState === "visible") await attempt(refresh);
  refreshing = setTimeout(look, EVERY);
}

async function offerKernelspecs() {
  const { kernelspecs } = await get("kernelspecs");
  const options = kernelspecs.map(({ name, display_name }) =>
    element("option", { value: name, text: display_name || name }),
  );
  byId("kernelspec").replaceChildren(...options);
  if (kernelspecs.some(({ name }) => name === "python3")) byId("kernelspec").value = "python3";
  areKernelspecsKnown = true;
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
  if (opened?.id === id) return; // it was asked for twice
  opened?.close();
  opened = new OpenKernel(kernel, messages, editor, {
    state: (state) => kernels.state(id, state),
    link: showConnection,
    stranger: () => notice.stranger(),
    failed: (error) => notice.failed(error),
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
  const about = `${name} ${id.slice(0, 8)}`;
  if (!(await ask(`Shut down ${about}?`, "What it has in memory is lost.", "Shut down"))) return;
  await post(`shutdown/${id}`);
  await refresh();
}

// -- the page ---------------------------------------------------------------------------------------

/** Do something, and say so if it fails. */
async function attempt(doing) {
  try {
    await doing();
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    notice.failed(error);
    if (isListOnly() && error.status === 0) showConnection("lost", error.message);
  }
}

/** Whether nothing but the list tells how the connection is. */
const isListOnly = () => !opened || opened.isOver;

function showConnection(state, words) {
  byId("connection").dataset.state = state;
  byId("connection").textContent = words;
}

function showKernels(shows) {
  byId("kernels").classList.toggle("shown", shows);
  byId("show-kernels").setAttribute("aria-expanded", shows);
}

function nameTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
}

function key(event) {
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
document.addEventListener("keydown", key);
document.addEventListener("visibilitychange", look);
onTheme(nameTheme);
nameTheme();
byId("interrupt").addEventListener("click", () => opened?.interrupt());
byId("restart").addEventListener("click", () => opened?.restart());
look();
