"""The page of a relay, in a browser."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, expect

from enchannel_socketio.relay import Bounds, MemoryStore, Relay, RelayServer
from tests.enchannel_socketio.conftest import Running, running, spawned
from tests.enchannel_socketio.page_driver import PageDriver, open_page, start_browser
from tests.rigs import DEADLINE, eventually
from tests.rigs.proxy import Proxy
from tests.rigs.relay import TOKEN

pytestmark = pytest.mark.kernel

# As fast as possible without losses in the kernel; print() would wait for each message.
FLOOD = """
import time
kernel = get_ipython().kernel
for i in range(20_000):
    if i % 500 == 0:
        time.sleep(0.01)
    text = {"name": "stdout", "text": f"line {i} of the flood\\n"}
    kernel.session.send(kernel.iopub_socket, "stream", text, parent=kernel.get_parent("shell"))
time.sleep(0.1)
print("the end")
"""

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="

HOSTILE = """
<p id="log"></p>
<script>
  const log = [];
  async function attempt(name, doing) {
    try { log.push(`${name}: ${await doing()}`); } catch (error) { log.push(`${name} failed`); }
  }
  (async () => {
    await attempt("parent", () => parent.document.title);
    await attempt("cookie", () => document.cookie);
    await attempt("storage", () => localStorage.length);
    await attempt("fetch", async () => (await fetch(RELAY + "/kernels")).status);
    await attempt("socket", () => new Promise((open, fail) => {
      const socket = new WebSocket(RELAY.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket");
      socket.onopen = () => open("open");
      socket.onerror = fail;
    }));
    await attempt("image", () => new Promise((load, fail) => {
      const image = new Image();
      image.onload = () => load("loaded");
      image.onerror = fail;
      image.src = RELAY + "/page/icon.svg";
    }));
    await attempt("module", () => import(RELAY + "/page/element.js"));
    await attempt("top", () => { top.location = "about:blank"; });
    await attempt("window", () => window.open(RELAY) ?? Promise.reject());
    parent.postMessage({ height: 1e9 }, "*");
    parent.postMessage(null, "*");
    document.getElementById("log").textContent = log.join("; ");
  })();
</script>
"""


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Replace the check for leaked processes: `browser` checks its own at its end."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    before = set(psutil.Process().children(recursive=True))
    with start_browser() as browser:
        yield browser
    assert eventually(lambda: not _browsers(before))


def _browsers(before: set[psutil.Process]) -> set[psutil.Process]:
    """Return the browser processes that were started since; kernels end later, with their relay."""
    started = set(psutil.Process().children(recursive=True)) - before
    return {process for process in started if "chrom" in _name(process)}


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


@pytest.fixture(scope="module")
def kernel_id(relay: Running) -> Iterator[str]:
    """Start a kernel shared by the tests that do not restart or end it."""
    with spawned(relay) as kernel_id:
        yield kernel_id


@pytest.fixture
def page(browser: Browser, relay: Running, kernel_id: str) -> Iterator[PageDriver]:
    with open_page(browser, f"{relay.link}#{kernel_id}") as page:
        page.wait_until_ready()
        yield page


@pytest.fixture(scope="module")
def modules(browser: Browser, relay: Running) -> Iterator[PageDriver]:
    """Open a page for tests that call functions of its modules, and change nothing on it."""
    with open_page(browser, relay.link) as page:
        yield page


@pytest.fixture
def own_kernel(relay: Running) -> Iterator[str]:
    """Start a kernel for one test."""
    with spawned(relay) as kernel_id:
        yield kernel_id


# -- the console ------------------------------------------------------------------------------------


def test_console_shows_outputs(page: PageDriver) -> None:
    cell = page.run("print('hello'); 6 * 7")
    expect(page.outputs(cell)).to_have_text("hello 42")
    expect(cell.locator(".count")).to_have_text(re.compile(r"In \[\d+\]"))


def test_console_shows_coloured_traceback(page: PageDriver) -> None:
    cell = page.run("1 / 0", "failed")
    expect(page.outputs(cell)).to_contain_text("ZeroDivisionError: division by zero")
    expect(page.outputs(cell).locator("[class^=ink]").first).to_be_visible()
    assert "\x1b" not in page.outputs(cell).inner_text()


def test_html_output_frame_fits_content(page: PageDriver) -> None:
    table = "<table><tr><th>city</th></tr>" + "<tr><td>Lima</td></tr>" * 3 + "</table>"
    cell = page.run(f"from IPython.display import HTML; HTML({table!r})")
    frame = cell.locator("iframe")
    expect(frame.content_frame.get_by_role("cell")).to_have_text(["Lima"] * 3)
    expect(frame).to_have_css("height", re.compile(r"^(8|9|1[0-3])\d"))


def test_images_are_shown_without_scripts(page: PageDriver) -> None:
    cell = page.run(
        "from IPython.display import SVG, Image, display\n"
        "import base64\n"
        f"display(Image(base64.b64decode({PIXEL!r})))\n"
        "script = '<script>document.title = 1; top.ran = true</script>'\n"
        'display(SVG(f\'<svg width="9" height="5" onload="top.ran = true">{script}</svg>\'))'
    )
    images = page.outputs(cell).locator("img")
    expect(images).to_have_count(2)
    for image in images.all():
        expect(image).to_have_js_property("complete", True)
    widths = images.evaluate_all("images => images.map((image) => image.naturalWidth)")
    assert widths == [1, 9]
    assert page.page.evaluate("window.ran") is None


def test_other_mime_types_are_shown_as_text(page: PageDriver) -> None:
    cell = page.run(
        "from IPython.display import JSON, Latex, display\n"
        "display(JSON({'a': [1, None]}), Latex('$x^2$'))\n"
        "display({'application/x-unknown': '?'}, raw=True)"
    )
    shown = page.outputs(cell)
    expect(shown).to_contain_text('"a": [')
    expect(shown).to_contain_text("$x^2$")
    expect(shown).to_contain_text("Cannot display application/x-unknown")


def test_display_is_updated_in_place(page: PageDriver) -> None:
    first = page.run("shown = display('before', display_id=True)")
    page.run("shown.update('after')")
    expect(page.outputs(first)).to_have_text("'after'")


def test_clear_output_waits_for_next_output(page: PageDriver) -> None:
    cell = page.run(
        "from IPython.display import clear_output\n"
        "print('old')\n"
        "clear_output(wait=True)\n"
        "print('new')\n"
        "clear_output(wait=True)"
    )
    expect(page.outputs(cell)).to_have_text("new")


def test_arrow_keys_recall_history(page: PageDriver) -> None:
    page.run("'one'")
    page.run("'two'\n'three'")
    page.code.fill("draft")
    page.code.press("ArrowUp")
    expect(page.code).to_have_value("'two'\n'three'")
    page.code.press("ArrowUp")
    expect(page.code).to_have_value("'one'")
    # To the end of the first line, to the second line, and to the draft.
    for _ in range(3):
        page.code.press("ArrowDown")
    expect(page.code).to_have_value("draft")


def test_input_prompt_is_answered(page: PageDriver) -> None:
    cell = page.start("name = input('Who? ')\nimport getpass\nword = getpass.getpass('Word? ')")
    page.page.get_by_label("Who?").fill("Ada")
    page.page.keyboard.press("Enter")
    secret = page.page.get_by_label("Word?")
    expect(secret).to_have_attribute("type", "password")
    secret.fill("sesame")
    page.button("Send").click()
    page.wait_for_status(cell)
    expect(page.outputs(cell)).to_have_text("Who? Ada Word? …")
    expect(page.outputs(page.run("name, word"))).to_have_text("('Ada', 'sesame')")


def test_interrupt_button_stops_code(browser: Browser, relay: Running, own_kernel: str) -> None:
    with open_page(browser, f"{relay.link}#{own_kernel}") as page:
        page.wait_until_ready()
        cell = page.start("while True: pass")
        expect(page.state).to_have_text("busy")
        page.button("Interrupt").click()
        page.wait_for_status(cell, "failed")
        expect(page.outputs(cell)).to_contain_text("KeyboardInterrupt")


def test_restart_button_asks_and_restarts(
    browser: Browser, relay: Running, own_kernel: str
) -> None:
    with open_page(browser, f"{relay.link}#{own_kernel}") as page:
        page.wait_until_ready()
        page.run("x = 1")
        page.button("Restart").click()
        page.page.keyboard.press("Escape")
        page.run("x")
        cell = page.start("import time; time.sleep(1000)")
        expect(page.state).to_have_text("busy")
        page.button("Restart").click()
        page.page.get_by_role("dialog").get_by_role("button", name="Restart").click()
        page.wait_for_status(cell, "aborted")
        expect(page.console).to_contain_text("The kernel was restarted")
        page.wait_until_ready()
        expect(page.outputs(page.run("x", "failed"))).to_contain_text("NameError")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        pytest.param(["10%", "\r20%"], [[["20%", None]]], id="carriage return"),
        pytest.param(["abc\b\bX"], [[["aXc", None]]], id="backspace"),
        pytest.param(["one\ntwo\x1b[Aup"], [[["oneup", None]], [["two", None]]], id="cursor up"),
        pytest.param(["abc\r\x1b[K"], [[]], id="erased line"),
        pytest.param(["\x1b[3", "1mred\x1b[0m."], [[["red", 1], [".", None]]], id="in two parts"),
        pytest.param(["\x1b[38;5;196mred"], [[["red", "rgb(255 0 0)"]]], id="of 256"),
        pytest.param(["\x1b[38;2;1;2;3mx"], [[["x", "rgb(1 2 3)"]]], id="of all"),
        pytest.param(["\x1b]8;;http://a\x07x\x1b]8;;\x07"], [[["x", None]]], id="link"),
    ],
)
def test_terminal_text_is_interpreted(
    modules: PageDriver, written: list[str], shown: object
) -> None:
    expression = (
        "(() => { const t = new m.Terminal(); for (const part of x) t.write(part); "
        "return t.screen.map((line) => line.map(({text, style}) => [text, style.ink ?? null])); })()"
    )
    assert modules.evaluate_in_module("ansi", expression, written) == shown


# -- the message list -------------------------------------------------------------------------------


def test_message_list_shows_both_directions(page: PageDriver) -> None:
    page.run("'seen'")
    expect(page.row("execute_request").last).to_contain_text("→shellexecute_request'seen'")
    expect(page.row("execute_input").last).to_contain_text("←iopubexecute_input")
    page.row("execute_result").last.click()
    expect(page.json).to_contain_text('"msg_type": "execute_result"')
    expect(page.json).to_contain_text('"text/plain": "\'seen\'"')


def test_message_list_filters(page: PageDriver) -> None:
    words = page.page.get_by_label("Filter by text")
    types = page.page.locator("summary")
    # Without an end: print writes it separately, so it may come in a message of its own.
    page.run("print('first', end='')")
    page.run("print('second', end='')")
    types.click()
    page.button("None").click()
    expect(page.rows).to_have_count(0)
    page.page.get_by_role("checkbox", name="stream").check()
    page.page.get_by_role("checkbox", name="execute_request").check()
    page.page.keyboard.press("Escape")
    expect(page.rows.nth(-1)).to_contain_text('stdout: "second"')
    expect(page.rows.nth(-2)).to_contain_text("execute_requestprint('second', end='')")
    expect(page.rows.nth(-3)).to_contain_text('stdout: "first"')
    page.rows.nth(-3).get_by_role("button").click()
    expect(page.rows).to_have_count(2)
    types.click()
    page.button("All").click()
    page.page.keyboard.press("Escape")
    expect(page.rows.first).to_contain_text("execute_requestprint('first', end='')")
    expect(page.row("second")).to_have_count(0)
    words.fill("iopub status")
    expect(page.rows).to_have_count(2)
    page.button("Show all requests").click()
    words.fill("")
    expect(page.row("second").first).to_be_visible()


def test_paused_message_list_loses_nothing(page: PageDriver) -> None:
    page.button("Pause").click()
    page.run("print('during the pause')")
    expect(page.counts).to_contain_text(re.compile("paused: [1-9]"))
    expect(page.row("during the pause")).to_have_count(0)
    page.button("Resume").click()
    expect(page.row("during the pause").last).to_be_visible()
    expect(page.counts).not_to_contain_text("paused")


def test_page_stays_responsive_in_flood(browser: Browser, relay: Running, own_kernel: str) -> None:
    with open_page(browser, f"{relay.link}#{own_kernel}") as page:
        page.wait_until_ready()
        cell = page.start(FLOOD)
        expect(page.counts).to_contain_text(re.compile(r"\d,\d{3} messages"))
        page.button("Pause").click()
        page.wait_for_status(cell)
        expect(page.counts).to_contain_text(re.compile("paused: [1-9]"))
        page.button("Resume").click()
        expect(page.counts).to_contain_text(
            re.compile("10,000 messages.* [1-9][0-9,]* earlier ones dropped")
        )
        expect(page.outputs(cell)).to_contain_text("characters before this were removed")
        expect(page.outputs(cell)).to_contain_text("the end")
        assert page.page.locator("#rows [role=row]").count() < 60
        rows = page.page.locator("#rows")
        rows.press("Home")
        expect(page.page.locator("[aria-rowindex='1']")).to_be_visible()
        rows.press("End")
        expect(page.row("the end")).to_be_visible()


# -- the connection ---------------------------------------------------------------------------------


def test_page_reconnects_and_catches_up(browser: Browser, relay: Running, kernel_id: str) -> None:
    with _proxied(relay) as proxy, open_page(browser, _through(proxy, relay, kernel_id)) as page:
        page.wait_until_ready()
        cell = page.start("import time\nfor i in range(40): print(i, end=' '); time.sleep(0.05)")
        expect(page.outputs(cell)).to_contain_text("0 1")
        proxy.cut()
        expect(page.connection).to_have_text("lost; reconnecting")
        expect(page.state).to_have_text("unknown")
        page.code.fill("1")
        page.code.press("Shift+Enter")
        expect(page.page.get_by_text("the relay is not connected")).to_be_visible()
        proxy.restore()
        page.wait_until_ready()
        page.wait_for_status(cell)
        expect(page.outputs(cell)).to_have_text(" ".join(map(str, range(40))) + " ")
        expect(page.console).to_contain_text("Connection restored")


def test_page_reports_dropped_log_entries(browser: Browser, tmp_path: Path) -> None:
    store = MemoryStore(Bounds(messages=50))
    gone = tmp_path / "gone"
    code = (
        "import pathlib, time\n"
        f"while not pathlib.Path({str(gone)!r}).exists(): time.sleep(0.01)\n"
        "for i in range(200): print(i, flush=True)"
    )
    with running(store=store) as relay, spawned(relay) as kernel_id, _proxied(relay) as proxy:
        with open_page(browser, _through(proxy, relay, kernel_id)) as page:
            page.wait_until_ready()
            cell = page.start(code)
            expect(page.state).to_have_text("busy")
            proxy.cut()
            gone.touch()
            assert eventually(lambda: _last(relay, kernel_id) > 150)
            proxy.restore()
            page.wait_until_ready()
            page.wait_for_status(cell)
            expect(page.console).to_contain_text("messages were dropped from the relay's log")
            page.page.get_by_label("Filter by text").fill("dropped from")
            expect(page.row("gap").first).to_be_visible()


def test_page_handles_restarted_relay(browser: Browser) -> None:
    with ExitStack() as opened:
        with running() as relay:
            kernel_id = relay.server.call(relay.relay.spawn("python3"))
            page = opened.enter_context(open_page(browser, f"{relay.link}#{kernel_id}"))
            page.wait_until_ready()
            page.run("x = 1")
        expect(page.connection).to_have_text("lost; reconnecting")
        with RelayServer(Relay(token=TOKEN), port=int(relay.url.rpartition(":")[2])):
            expect(page.connection).to_contain_text("does not exist on this relay")
            expect(page.page.get_by_text("No kernels are running.")).to_be_visible()
            page.button("Start").click()
            page.wait_until_ready()
            expect(page.outputs(page.run("x", "failed"))).to_contain_text("NameError")


def test_missing_cookie_shows_remedy(page: PageDriver) -> None:
    page.page.context.clear_cookies()
    page.button("Interrupt").click()
    expect(page.page.get_by_role("alert")).to_contain_text("Open the link that the relay printed")


# -- access control ---------------------------------------------------------------------------------


def test_read_only_link_hides_controls(
    browser: Browser, page: PageDriver, relay: Running, kernel_id: str
) -> None:
    page.button(f"Read-only link to python3 {kernel_id[:8]}").click()
    field = page.page.get_by_label("Link", exact=True)
    expect(field).to_have_value(re.compile(f"^{relay.url}/.token="))
    link = field.input_value()
    page.page.keyboard.press("Escape")
    with open_page(browser, link) as theirs:
        theirs.wait_until_ready()
        page.run("print('for all to see')")
        expect(theirs.cells.last).to_contain_text("for all to see")
        expect(theirs.cells.last).to_contain_text("another client")
        expect(theirs.page.get_by_text("Read-only: you can see")).to_be_visible()
        for what in (theirs.code, *map(theirs.button, ("Run", "Interrupt", "Restart", "Start"))):
            expect(what).to_be_hidden()
        expect(theirs.button("Shut down")).to_have_count(0)
        expect(theirs.row("stream").last).to_contain_text("for all to see")


def test_html_output_is_isolated(browser: Browser, relay: Running, own_kernel: str) -> None:
    html = f"<script>const RELAY = {relay.url!r};</script>{HOSTILE}"
    names = ("parent", "cookie", "storage", "fetch", "socket", "image", "module", "top", "window")
    with open_page(browser, f"{relay.link}#{own_kernel}") as page:
        page.wait_until_ready()
        cell = page.run(f"from IPython.display import HTML; HTML({html!r})")
        frame = cell.locator("iframe")
        expect(frame).to_have_attribute("sandbox", "allow-scripts")
        expect(frame.content_frame.locator("#log")).to_be_empty()
        cell.get_by_role("button", name="Allow scripts").click()
        log = "; ".join(f"{name} failed" for name in names)
        expect(frame.content_frame.locator("#log")).to_have_text(log)
        expect(frame).to_have_css("height", re.compile(r"^(\d{2}|[1-5]\d{2}|600)(\.\d+)?px"))
        assert page.page.url.startswith(relay.url)
        # The frame's blocked attempts are logged as errors.
        page.console_errors.clear()


CONNECTING = """
<link rel="preconnect" href="http://127.0.0.1:PORT">
<link rel="dns-prefetch" href="http://127.0.0.1:PORT">
<svg><image href="http://127.0.0.1:PORT"/><script>connect()</script></svg>
<img src="x" onerror="connect()"><iframe srcdoc="<script>parent.connect()</script>"></iframe>
<template shadowrootmode="open"><link rel="preconnect" href="http://127.0.0.1:PORT"></template>
<a href="javascript:connect()">link</a>
<p id="shown">shown</p>
<script>
  function connect() {
    const urls = "turn:127.0.0.1:PORT?transport=tcp";
    const peer = new RTCPeerConnection({ iceServers: [{ urls, username: "u", credential: "c" }] });
    peer.createDataChannel("data");
    peer.createOffer().then((offer) => peer.setLocalDescription(offer));
    document.getElementById("shown").textContent = "ran";
  }
  connect();
</script>
"""


def test_scripts_of_output_run_on_request_only(
    browser: Browser, relay: Running, own_kernel: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        server.settimeout(DEADLINE)
        html = CONNECTING.replace("PORT", str(server.getsockname()[1]))
        meta = '<meta http-equiv="refresh" content="0; url=http://127.0.0.1:9">'
        with open_page(browser, f"{relay.link}#{own_kernel}") as page:
            page.wait_until_ready()
            cell = page.run(f"from IPython.display import HTML; HTML({meta + html!r})")
            shown = cell.locator("iframe").content_frame.locator("#shown")
            expect(shown).to_have_text("shown")
            cell.locator("iframe").content_frame.get_by_text("link").click()
            cell = page.run(f"HTML({html!r})")
            expect(shown).to_have_text("shown")
            shown = cell.locator("iframe").content_frame.locator("#shown")
            expect(shown).to_have_text("shown")
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()
            server.settimeout(DEADLINE)
            allow = cell.get_by_role("button", name="Allow scripts")
            accepting = pool.submit(server.accept)
            allow.click()
            accepting.result()[0].close()
            expect(shown).to_have_text("ran")
            expect(allow).to_be_hidden()
            # Other outputs stay without scripts.
            other = page.run(f"HTML({html!r})")
            expect(other.get_by_role("button", name="Allow scripts")).to_be_visible()
            plain = page.run("HTML('<b>without scripts</b>')")
            expect(plain.locator("iframe").content_frame.get_by_text("without")).to_be_visible()
            expect(plain.get_by_role("button", name="Allow scripts")).to_be_hidden()
            # The frame's blocked attempts are logged as errors.
            page.console_errors.clear()


def test_shutdown_button_asks_and_shuts_down(browser: Browser, relay: Running) -> None:
    with spawned(relay) as kernel_id, open_page(browser, f"{relay.link}#{kernel_id}") as page:
        page.wait_until_ready()
        row = page.page.locator(f"[data-kernel='{kernel_id}']")
        row.get_by_role("button", name="Shut down").click()
        page.button("Cancel").click()
        expect(row).to_be_visible()
        row.get_by_role("button", name="Shut down").click()
        page.page.get_by_role("dialog").get_by_role("button", name="Shut down").click()
        expect(row).to_have_count(0)
        expect(page.state).to_have_text("dead")


# -- appearance and accessibility -------------------------------------------------------------------


def test_theme_follows_system_or_choice(browser: Browser, relay: Running) -> None:
    grounds = []
    for theme in ("light", "dark"):
        with open_page(browser, relay.link, theme=theme) as page:
            grounds.append(_ground(page))
            page.button("Dark theme" if theme == "light" else "Light theme").click()
            grounds.append(_ground(page))
            page.page.reload()
            grounds.append(_ground(page))
    light, dark = grounds[0], grounds[1]
    assert light != dark
    assert grounds == [light, dark, dark, dark, light, light]


def test_page_works_with_keyboard(browser: Browser, relay: Running, own_kernel: str) -> None:
    with open_page(browser, relay.link) as page:
        keyboard = page.page.keyboard
        row = page.page.locator(f"[data-kernel='{own_kernel}']")
        expect(row).to_be_visible()
        page.tab_to(row.get_by_role("button").first)
        keyboard.press("Enter")
        page.wait_until_ready()
        page.tab_to(page.code)
        keyboard.type("while True: pass")
        keyboard.press("Shift+Enter")
        expect(page.state).to_have_text("busy")
        keyboard.press("Control+.")
        page.wait_for_status(page.cells.last, "failed")
        page.tab_to(page.page.locator("#rows"))
        keyboard.press("End")
        keyboard.press("ArrowUp")
        keyboard.press("Enter")
        expect(page.json).to_be_visible()
        keyboard.press("p")
        expect(page.button("Show all requests")).to_be_visible()
        keyboard.press("Escape")
        expect(page.json).to_be_hidden()
        keyboard.press("?")
        expect(page.page.get_by_role("dialog", name="Keys")).to_be_visible()
        keyboard.press("Escape")
        expect(page.page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_page_fits_narrow_screen(browser: Browser, relay: Running, kernel_id: str) -> None:
    with open_page(browser, f"{relay.link}#{kernel_id}", width=400) as page:
        page.wait_until_ready()
        page.run("print('x' * 500)")
        page.button("Messages").click()
        expect(page.rows.last).to_be_visible()
        expect(page.code).to_be_hidden()
        page.button("Kernels").click()
        expect(page.page.locator(f"[data-kernel='{kernel_id}']")).to_be_visible()
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 400


def _ground(page: PageDriver) -> str:
    ground: str = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return ground


@contextmanager
def _proxied(relay: Running) -> Iterator[Proxy]:
    with Proxy(int(relay.url.rpartition(":")[2])) as proxy:
        yield proxy


def _through(proxy: Proxy, relay: Running, kernel_id: str) -> str:
    link = relay.link.replace(relay.url, f"http://localhost:{proxy.port}")
    return f"{link}#{kernel_id}"


def _last(relay: Running, kernel_id: str) -> int:
    """Return the position of a kernel's last log entry."""

    async def last() -> int:
        kernel = await relay.relay._directory.find(kernel_id)
        return await kernel.position()

    return relay.server.call(last())
