"The site: what nbdev makes of the pages, and what a browser makes of the site"
import functools, http.server, json, os, shutil, subprocess, sys, threading, time, urllib.request
from pathlib import Path

import pytest
import websocket
from conftest import CHROMIUM, FLAGS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import check_docs

QUARTO = shutil.which("quarto")
WIDTHS = (1280, 390)  # a laptop and a phone


# --- what docs-check finds on a prepared page ------------------------------------------------------

TITLE = dict(cell_type="markdown", source="# A page\n\n> Say one thing.")
EXPLAINED = dict(cell_type="code", source="#| exports\ndef f(x): return x", outputs=[])
EQUATION = dict(cell_type="markdown", source="$$x$$")
AS_CODE = dict(cell_type="code", source="def f(x): return x", outputs=[])
DRAWN = {"data": {"image/png": "aGk="}}


def test_a_page_that_says_what_its_notebook_says_has_no_fault():
    assert check_docs.faults([TITLE, EXPLAINED], [AS_CODE]) == []


@pytest.mark.parametrize("source, prepared, why", [
    ([TITLE | {"source": TITLE["source"] + "\n\nAnd more."}], [], "nbdev drops the rest"),
    ([TITLE, EXPLAINED], [], "shown 0 times"),
    ([TITLE, EXPLAINED], [AS_CODE, AS_CODE], "shown 2 times"),
    ([TITLE, EQUATION, EXPLAINED | {"source": "#| export\ndef f(x): return x"}], [], "behind an equation"),
    ([TITLE, EXPLAINED], [AS_CODE | {"source": "#| code-fold: show\ndef f(x): return x"}], "shown 0 times"),
    ([TITLE], [AS_CODE | {"source": "# as [`f`](https://a.org/f.html#f)\n1"}], "a raw link in code"),
    ([TITLE], [AS_CODE | {"outputs": [{"data": {"text/markdown": "Call self as a function."}}]}], "inherited"),
    ([TITLE], [AS_CODE | {"outputs": [{"data": {"text/plain": "<__main__.Embedder at 0x7f>"}}]}], "module that ran the page"),
    ([TITLE], [AS_CODE | {"outputs": [{"text": "default=<object object at 0x7f>"}]}], "without a name"),
    ([TITLE], [dict(cell_type="markdown", source="```\n.. note::\n    torch says\n```")], "directive"),
    ([TITLE], [dict(cell_type="markdown", source="by [[zscore](vectors.html#zscore)](04a_vectors.ipynb)")], "inside a link"),
    ([TITLE], [AS_CODE | {"outputs": [{"data": {"text/html": "<table>"}}]}], "jQuery"),
    ([TITLE], [AS_CODE | {"source": "#| fig-cap: A line\nplot()", "outputs": [DRAWN]}], "fig-alt"),
    ([TITLE], [AS_CODE | {"source": "#| fig-cap: Left: a line\n#| fig-alt: A line\nplot()", "outputs": [DRAWN]}], "quarto cannot read"),
])
def test_what_is_wrong_with_a_prepared_page_is_said(source, prepared, why):
    found = check_docs.faults(source, prepared)
    assert len(found) == 1 and why in found[0], found


# --- the site in a browser -------------------------------------------------------------------------

class Silent(http.server.SimpleHTTPRequestHandler):
    "A server that does not write to the terminal"
    def log_message(self, *args): pass


class Browser:
    "One tab of a headless Chromium, spoken to by its own protocol"
    def __init__(self, folder):
        flags = [flag for flag in FLAGS if flag not in ("--dump-dom", "--virtual-time-budget=5000")]
        command = [CHROMIUM, *flags, "--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"HOME": str(folder)})
        address = next(line for line in self.process.stderr if "DevTools listening" in line).split("/")[2]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        tabs = json.load(urllib.request.urlopen(f"http://{address}/json"))
        tab = next(tab for tab in tabs if tab["type"] == "page")
        self.socket = websocket.create_connection(tab["webSocketDebuggerUrl"], suppress_origin=True, timeout=120)
        self.asked, self.events = 0, []
        for part in ("Page", "Network", "Runtime", "Log"): self.ask(f"{part}.enable")

    def ask(self, method, **options):
        "The answer to a command; what happens meanwhile is kept in `events`"
        self.asked += 1
        self.socket.send(json.dumps(dict(id=self.asked, method=method, params=options)))
        while (answer := json.loads(self.socket.recv())).get("id") != self.asked: self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url, width):
        "Load a page in a window of this width"
        self.events = []
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.ask("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))
        time.sleep(.2)  # scripts that start when the page is loaded
        value = self.ask("Runtime.evaluate", expression="document.documentElement.scrollWidth", returnByValue=True)
        return value["result"]["value"]

    def close(self):
        "End the browser"
        self.socket.close()
        self.process.terminate()
        self.process.wait()


def seen(browser, site, page, width):
    "What is wrong with a page at this width, one line each"
    wide = browser.open(f"{site}/{page}", width)
    asked = [event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    wrong = [f"{page} asks for {url[:100]}" for url in asked if not url.startswith((site, "data:", "blob:", "about:"))]
    wrong += [f"{page}: {event['params']['exceptionDetails'].get('exception', {}).get('description', 'an error')}"
              for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
    entries = [event["params"]["entry"] for event in browser.events if event["method"] == "Log.entryAdded"]
    wrong += [f"{page}: {entry['text']} {entry.get('url', '')}" for entry in entries if entry["level"] == "error"]
    return wrong + ([f"{page} is {wide} pixels wide in a window of {width}"] if wide > width else [])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    "A browser for all pages"
    if CHROMIUM is None: pytest.skip("no chromium on the PATH")
    tab = Browser(tmp_path_factory.mktemp("browser"))
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def serve():
    "Serve a folder; returns its address"
    servers = []
    def start(folder):
        handler = functools.partial(Silent, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"
    yield start
    for server in servers: server.shutdown()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "The rendered site: the folder that TEXTLAB_SITE names (`make docs-check` gives it its own), or one rendered here"
    if given := os.environ.get("TEXTLAB_SITE"): return Path(given)
    if QUARTO is None: pytest.skip("no quarto on the PATH, and TEXTLAB_SITE names no rendered site")
    copy = tmp_path_factory.mktemp("site") / "textlab"
    check_docs.copied(copy)
    subprocess.run([sys.executable, "-c", check_docs.PREPARE], cwd=copy, check=True, capture_output=True)
    subprocess.run([QUARTO, "render", "--no-cache"], cwd=copy / "_proc", check=True, capture_output=True)
    return copy / "_proc/_docs"


def test_no_page_is_cut_or_leaves_the_site(browser, serve, site):
    address, pages = serve(site), sorted(path.name for path in site.glob("*.html"))
    assert len(pages) > len(list((ROOT / "nbs").glob("[!_.]*.ipynb"))) - 2
    wrong = [line for page in pages for width in WIDTHS for line in seen(browser, address, page, width)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("body, why", [
    ("<pre>" + "x"*500 + "</pre>", "pixels wide in a window of 390"),
    ("<script>missing()</script>", "missing is not defined"),
    ("<script src='https://cdn.example.org/katex.js'></script>", "asks for https://cdn.example.org/katex.js"),
])
def test_the_browser_sees_what_is_wrong(browser, serve, tmp_path, body, why):
    head = "<meta name='viewport' content='width=device-width'><link rel='icon' href='data:,'>"
    (tmp_path / "page.html").write_text(head + body)
    found = seen(browser, serve(tmp_path), "page.html", 390)
    assert any(why in line for line in found), found
    (tmp_path / "page.html").write_text(head + "<p>A page.")
    assert not seen(browser, serve(tmp_path), "page.html", 390)
