"""The explorer as its users and its enemies meet it: in a real browser, over HTTP, killed, starved and fuzzed.
The server is a process of its own, on the models that `textlab maps train` would save."""
import asyncio, json, re, signal, socket, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

import numpy as np, pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import httpx, schemathesis
from hypothesis import HealthCheck, given, settings

from conftest import CHROMIUM
from textlab.corpus import load_corpus
from textlab.embed import embed, load_embedder
from textlab.maps.correct import Corrector
from textlab.maps.explorer import POLICY, Atlas, atlas_of, explorer_app, export_html
from textlab.maps.service import EmbeddingToTextService, MapDocuments
from textlab.maps.umap import ParametricUMAP

HOSTILE = {
    "../../etc/passwd": "<img src=x onerror=\"window.hacked=1\">",
    "a/b?c=d#e": "</script><script>window.hacked=1</script>",
    "100% & more": "<b>bold</b> {{title}} ${title} `x`",
    "<svg onload=window.hacked=1>": "javascript:window.hacked=1",
}
SECRET = "zanzibarlighthouse"   # stands in a document and in a question, and must not stand in a log


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Models of a small map whose first documents mean harm"
    posts = load_corpus("newsgroups-mini").select(range(0, 200, 4))
    columns = {name: posts[name][:] for name in ("id", "text", "title", "label") if name in posts.column_names}
    columns.setdefault("title", [t.split("\n")[0][:60] for t in columns["text"]])
    for row, (id, title) in enumerate(HOSTILE.items()): columns["id"][row], columns["title"][row] = id, title
    columns["text"][0] = f"A text about {SECRET}. " + columns["text"][0]
    columns["topic"] = [f"topic {row % 3}" for row in range(len(columns["id"]))]
    corpus, embedder = type(posts).from_dict(columns), load_embedder("minilm", device="cpu")
    space = ParametricUMAP((32,), (32,), epochs=2, embedder="minilm").fit(embed(corpus, embedder))
    writer = Corrector(sources="guided neighbour", vocab_size=500, steps=60, calls=12, max_length=24)
    service = EmbeddingToTextService(space, writer.fit(corpus["title"][:]), MapDocuments(corpus))
    return service.save(tmp_path_factory.mktemp("explorer") / "models")


@pytest.fixture(scope="module")
def atlas(folder): return atlas_of(EmbeddingToTextService(llm=None).load_trained_model(folder), "A <map> of posts")


PROGRAM = """
import sys
from textlab.maps.explorer import atlas_of, serve
from textlab.maps.service import EmbeddingToTextService
serve(atlas_of(EmbeddingToTextService(llm=None).load_trained_model(sys.argv[1]), 'A <map> of posts'), port=0)
"""


class Server:
    "A server in a process of its own, and what it says"
    def __init__(self, folder, quiet):
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet)
        self.said, known = [], threading.Event()

        def listen():
            for line in self.process.stderr:
                self.said.append(line)
                if found := re.search(r"http://localhost:\d+", line): self.address = found[0]; known.set()

        threading.Thread(target=listen, daemon=True).start()
        assert known.wait(120), "".join(self.said)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(30)


    def get(self, path, **options): return httpx.get(self.address + path, timeout=60, **options)
    def post(self, body, **options):
        body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        head = {"Content-Type": "application/json"} | options.pop("headers", {})
        return httpx.post(f"{self.address}/api/generate", content=body, headers=head, timeout=100, **options)


@pytest.fixture(scope="module")
def server(folder, quiet):
    server = Server(folder, quiet)
    yield server
    server.end()


@pytest.fixture(scope="module")
def columns(server): return server.get("/api/map").json()


@pytest.fixture(scope="module")
def middle(columns): return float(np.median(columns["x"])), float(np.median(columns["y"]))


# --- the API -----------------------------------------------------------------------------------

def test_documents_search_and_a_text_for_a_place(server, columns, middle):
    assert server.get("/healthz").json() == {"status": "ok", "documents": 50}
    assert len(columns["ids"]) == len(columns["x"]) == len(columns["titles"]) == 50
    hits = server.get("/api/search", params=dict(q="space shuttle", k=5)).json()["hits"]
    assert len(hits) == 5 and set(hits[0]) == {"id", "title", "score", "snippet"}
    answer = server.post(dict(x=middle[0], y=middle[1], calls=5))
    assert answer.status_code == 200, answer.text
    assert answer.json()["text_generation_result"]["title"] and answer.json()["chosen"]["map_distance"] >= 0
    extracted = server.post(dict(x=middle[0], y=middle[1], calls=5, method="llm_synthesis")).json()
    assert extracted["text_generation_result"]["composed_by"] == "extraction"


def test_the_map_is_sent_packed_and_once(server):
    first = server.get("/api/map")
    assert first.headers["content-encoding"] == "gzip"
    assert server.get("/api/map", headers={"Accept-Encoding": "identity"}).json() == first.json()
    again = server.get("/api/map", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("id", HOSTILE)
def test_an_id_is_a_key_and_no_path(server, id):
    from urllib.parse import quote
    answer = server.get(f"/api/documents/{quote(id, safe='')}")
    assert answer.status_code == 200 and answer.json()["id"] == id


@pytest.mark.parametrize("path", [
    "/api/documents/..%2f..%2f..%2fetc%2fshadow", "/api/documents/%00", "/etc/passwd", "/..%2fsettings.ini", "/api/documents/",
    "/docs", "/explorer.js%00"])
def test_what_is_not_there_is_not_found(server, path):
    answer = server.get(path)
    assert answer.status_code == 404 and "detail" in answer.json()


@pytest.mark.parametrize("body, status, said", [
    ('{"x": NaN, "y": 0}', 422, "x: "), ('{"x": Infinity, "y": 0}', 422, "x: "), ('{"x": 1e999, "y": 0}', 422, "x: "),
    ('{"x": 1e9, "y": 0}', 422, "too far away"), ('{"x": 0}', 422, "y: Field required"), ('{}', 422, "x: Field required"),
    ('{"x": null, "y": []}', 422, "x: "), ('{"x": 0, "y": 0, "method": "poetry"}', 422, "method: "),
    ('{"x": 0, "y": 0, "calls": 100000}', 422, "calls: "), ('{"x": 0, "y": 0, "more": 1}', 422, "more: "),
    ("[]", 422, ""), ("null", 422, ""), ("", 422, ""), ("{", 422, ""), ("\xff\xfe", 4, ""),
    ('"' + 5000*"a" + '"', 413, "4,096 bytes"),
])
def test_a_place_that_is_none_is_refused_in_a_sentence(server, body, status, said):
    answer = server.post(body.encode("latin-1"))
    assert str(answer.status_code).startswith(str(status)), answer.text
    assert isinstance(answer.json()["detail"], str) and said in answer.json()["detail"] and "aaaa" not in answer.text


@pytest.mark.parametrize("query", ["", "q=", "q=%20", "q=a&k=0", "q=a&k=1000", "q=a&k=x", "q=" + 301*"a"])
def test_a_question_that_is_none_is_refused(server, query):
    answer = server.get(f"/api/search?{query}")
    assert answer.status_code == 422 and isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("query", ["%00", "%ff%fe", "((((", "*'\";--", "\u202e\ud7ff", "a " * 100])
def test_an_odd_question_is_answered(server, query):
    assert server.get("/api/search", params=dict(q=query)).status_code == 200


def test_who_asks_under_another_name_or_from_another_page_is_refused(server):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
        assert server.get("/api/map", headers={"Host": host}).status_code in (400, 421), host
    assert server.get("/healthz", headers={"Host": "127.0.0.1:1"}).status_code == 200
    assert server.post(dict(x=0, y=0), headers={"Origin": "http://evil.example"}).status_code == 403
    assert server.post(dict(x=0, y=0), headers={"Content-Type": "text/plain"}).status_code == 422


def test_every_answer_carries_the_policy_and_no_file_an_address(server):
    for path in ("/", "/explorer.js", "/explorer.css", "/api/map", "/nothing", "/api/search"):
        answer = server.get(path)
        assert answer.headers["content-security-policy"] == POLICY and "unsafe" not in POLICY
        assert "access-control-allow-origin" not in answer.headers
        if path in ("/", "/explorer.js", "/explorer.css"):
            assert set(re.findall(r"\w+://[\w.]+", answer.text)) <= {"http://www.w3.org"}, path   # a name of XML, never loaded


def test_too_many_requests_are_told_when_to_come_again(atlas):
    async def ask():
        transport = httpx.ASGITransport(explorer_app(atlas, per_second=5), client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.get("/healthz") for _ in range(12)]
    answers = asyncio.run(ask())
    assert [a.status_code for a in answers] == 10*[200] + 2*[429] and answers[-1].headers["retry-after"] == "1"


# --- slow work -----------------------------------------------------------------------------------

def waiting_atlas(step):
    "An atlas whose writer takes steps through a network, as models do, until it is let go"
    import torch
    network = torch.nn.Linear(1, 1)
    def write(request):
        while not step(): network(torch.zeros(1)); time.sleep(.005)
        raise AssertionError("was not stopped")
    return Atlas(["a", "b"], ["A", "B"], np.array([[0, 0], [1, 1.]]), str, lambda q, k: [], write, ["vec2text"])


async def asked(app, *requests, leave=None):
    "The answers to POSTs that are made at once"
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=20) as client:
        calls = [asyncio.ensure_future(client.post("/api/generate", json=body)) for body in requests]
        if leave: await asyncio.sleep(leave); [call.cancel() for call in calls]
        return await asyncio.gather(*calls, return_exceptions=True)


def test_a_full_queue_and_a_time_limit_answer_503():
    steps = []
    app = explorer_app(waiting_atlas(lambda: steps.append(0)), waiting=1, seconds=.5)
    answers = asyncio.run(asked(app, *3*[dict(x=0, y=0)]))
    assert [a.status_code for a in answers] == 3*[503] and all(int(a.headers["retry-after"]) >= 1 for a in answers)
    said = sorted(a.json()["detail"] for a in answers)
    assert sum("others are waiting" in s for s in said) == 1 and sum("within 0.5 s" in s for s in said) == 2
    time.sleep(.2)
    count = len(steps)
    time.sleep(.2)
    assert 0 < len(steps) == count, "the work went on after its time"


def test_who_leaves_is_not_written_for(server, middle):
    slow = dict(x=middle[0], y=middle[1], calls=200)
    for _ in range(3):
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{server.address}/api/generate", json=slow, timeout=.6)
    began = time.monotonic()
    assert server.post(slow | dict(calls=2)).status_code == 200
    assert time.monotonic() - began < 50


def test_a_kill_while_it_writes_leaves_the_models_whole(folder, quiet):
    def state(): return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
    before, server = state(), Server(folder, quiet)
    x, y = (float(np.median(server.get("/api/map").json()[c])) for c in "xy")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(server.post, dict(x=x, y=y, calls=200))
        time.sleep(1)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        assert isinstance(call.exception(), httpx.TransportError)
    assert state() == before
    EmbeddingToTextService(llm=None).load_trained_model(folder)


def test_a_client_that_dawdles_holds_nobody_up(server):
    host = server.address.removeprefix("http://")
    slow = [socket.create_connection(host.split(":")) for _ in range(20)]
    try:
        head = "\r\n".join(["POST /api/generate HTTP/1.1", f"Host: {host}", "Content-Type: application/json", "Content-Length: 99"])
        head += "\r\n\r\n"
        for i, one in enumerate(slow): one.sendall((head + "{" if i % 2 else head[:30]).encode())
        began = time.monotonic()
        assert all(server.get("/healthz").status_code == 200 for _ in range(5))
        assert time.monotonic() - began < 5
        slow[1].settimeout(20)
        assert b" 408 " in slow[1].recv(200)
        slow[0].settimeout(20)
        assert slow[0].recv(10) == b"", "a client that never asks keeps its place"
    finally: [one.close() for one in slow]


def test_many_at_once_are_all_answered(server):
    "50 clients on this machine, a few requests each"
    def client(i):
        with httpx.Client(base_url=server.address, timeout=60) as c:
            return [c.get("/api/map").status_code, c.get("/api/search", params=dict(q=f"shuttle {i}")).status_code]
    with ThreadPoolExecutor(50) as pool: answers = [s for part in pool.map(client, range(50)) for s in part]
    assert answers == 100*[200]


# --- fuzzing ---------------------------------------------------------------------------------------

MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
HELD = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.mark.parametrize("mode", MODES, ids=["allowed", "forbidden"])
@pytest.mark.parametrize("path, method", [
    ("/healthz", "GET"), ("/api/map", "GET"), ("/api/search", "GET"), ("/api/documents/{id}", "GET"), ("/api/generate", "POST")])
def test_whatever_the_schema_allows_or_forbids(server, path, method, mode):
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json())
    free = ("/healthz", "/api/map", "/api/documents/{id}")
    if mode == MODES[1] and path in free: pytest.skip("nothing that it takes is forbidden")

    @settings(max_examples=10, suppress_health_check=list(HealthCheck), database=None)
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def ask(case):
        calls = case.body.get("calls") if isinstance(case.body, dict) else None
        if isinstance(calls, int): case.body["calls"] = min(calls, 2)
        case.call_and_validate(base_url=server.address, checks=[getattr(schemathesis.checks, name) for name in HELD])

    ask()


# --- the page ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def chromium():
    "A real browser, driven by playwright"
    if CHROMIUM is None: pytest.skip("no chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    "Open an address; whatever a page complains about fails the test"
    pages, wrong = [], []
    def open_page(address, **options):
        options = dict(viewport=dict(width=1280, height=800), reduced_motion="reduce") | options
        context = chromium.new_context(**options)
        page = context.new_page()
        pages.append(context)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "status of 4" not in m.text else None)
        page.on("dialog", lambda d: (wrong.append(d.message), d.dismiss()))
        page.on("request", lambda r: None if r.url.startswith((address, "blob:", "data:")) else wrong.append(r.url))
        page.goto(address)
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        return page
    yield open_page
    for context in pages: context.close()
    assert not wrong, wrong


def until(page, condition):
    "Wait for something to be true (playwright's own way needs eval, which the page forbids)"
    late = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < late, condition
        time.sleep(.05)


def spot(page, x=.5, y=.5):
    "Pixels of a place in the picture, as shares of its width and height"
    box = page.locator("#map").bounding_box()
    return box["x"] + x*box["width"], box["y"] + y*box["height"]


def test_it_loads_and_the_pointer_tells_titles_as_they_are(visit, server, columns):
    page = visit(server.address)
    assert page.title() == page.inner_text("h1") == "A <map> of posts"
    assert "50 documents" in page.inner_text("#how")
    for row, title in enumerate(HOSTILE.values()):
        px, py = page.evaluate("([x, y]) => pixelOf(x, y)", [columns["x"][row], columns["y"][row]])
        left, top = spot(page, 0, 0)
        page.mouse.move(left + px, top + py)
        page.wait_for_selector("#tip:not([hidden])")
    assert page.evaluate("[...document.querySelectorAll('#tip *')].length") == 0
    assert page.evaluate("window.hacked") is None
    drawn = page.evaluate("(drawNow(), painter.finish(), $('plot').toDataURL().length)")
    empty = page.evaluate("(() => { const c = document.createElement('canvas'); "
                          "[c.width, c.height] = [$('plot').width, $('plot').height]; return c.toDataURL().length; })()")
    assert drawn > 1.5*empty, "no points in the picture"


def test_search_finds_flies_and_opens(visit, server):
    page = visit(server.address)
    before = page.evaluate("camera.x")
    page.fill("#q", SECRET)
    page.press("#q", "Enter")
    page.wait_for_selector("#hits li")
    assert page.evaluate("camera.x") != before and page.locator("#marks circle.hit").count() >= 1
    first = page.locator("#hits li button").first
    assert first.inner_text() == HOSTILE["../../etc/passwd"].replace("\n", " ")
    first.click()
    page.wait_for_selector("#opened:not([hidden])")
    assert SECRET in page.inner_text("#opened") and page.evaluate("window.hacked") is None


def test_a_click_writes_and_what_was_written_can_be_kept(visit, server):
    page = visit(server.address)
    page.mouse.click(*spot(page, .5, .5))
    page.wait_for_selector("#written .text", timeout=60_000)
    text = page.inner_text("#written .text")
    assert text and text in page.inner_text("#state") and "cosine" in page.inner_text("#written .about >> nth=0")
    assert page.locator("#written details button").count() == 5 and page.locator("#marks line").count() == 3
    with page.expect_download() as got: page.click("#save")
    [kept] = json.loads(open(got.value.path()).read())
    assert kept["text_generation_result"]["title"] == text
    page.mouse.move(*spot(page, .2, .2))
    page.mouse.down(); page.mouse.move(*spot(page, .4, .4), steps=5); page.mouse.up()
    assert page.locator("#written li").count() == 1, "dragging writes"


def test_the_keyboard_alone_is_enough(visit, server):
    page = visit(server.address)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "map": break
    assert page.evaluate("document.activeElement.id") == "map"
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowLeft", "+"): page.keyboard.press(key)
    until(page, "document.getElementById('here').textContent.includes('Nearest: ')")
    assert page.locator("#marks line.cross").count() == 2
    page.keyboard.press("Enter")
    page.wait_for_selector("#written .text", timeout=60_000)
    for _ in range(12): page.keyboard.press("ArrowRight"); page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    assert page.locator("#marks line.cross").count() == 0


def test_a_refusal_is_shown(visit, server):
    page = visit(server.address)
    for _ in range(12): page.click("#farther")
    page.mouse.click(*spot(page, .02, .02))
    until(page, "document.getElementById('refused').textContent.includes('too far away')")
    assert page.locator("#written li").count() == 0 and page.get_attribute("#refused", "role") == "alert"


def test_on_a_phone_and_in_the_dark(visit, server):
    paper = []
    for scheme in ("light", "dark"):
        page = visit(server.address, viewport=dict(width=390, height=800), color_scheme=scheme, has_touch=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        above, below = (page.locator(part).bounding_box() for part in ("#map", "aside"))
        assert above["width"] == below["width"] == 390 and below["y"] >= above["y"] + above["height"], "the map has to be wide"
        paper.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.touchscreen.tap(*spot(page, .5, .5))
        page.wait_for_selector("#written .text", timeout=60_000)
    assert paper[0] != paper[1]


def test_without_a_graphics_card_it_draws_all_the_same(visit, server):
    page = visit(server.address)
    page.evaluate("$('plot').getContext('webgl')?.getExtension('WEBGL_lose_context').loseContext()")
    until(page, "$('plot').getContext('2d') !== null")
    page.evaluate("drawNow()")
    assert page.evaluate("$('plot').getContext('2d').getImageData(0, 0, $('plot').width, $('plot').height).data.some(v => v)")


def test_the_colours_are_the_columns_that_the_documents_came_with(visit, server, columns):
    page = visit(server.address)
    assert page.locator("#colour option").all_inner_texts() == [c["name"] for c in columns["colours"]] == ["label", "topic"]
    picture = "(drawNow(), painter.finish(), $('plot').toDataURL())"
    by_label, before = page.inner_text("#key"), page.evaluate(picture)
    page.select_option("#colour", label="topic")
    assert sorted(page.locator("#key span").all_inner_texts()) == ["topic 0", "topic 1", "topic 2"] and "topic" not in by_label
    assert page.evaluate(picture) != before, "the points keep the colours of the labels"


def test_a_map_without_a_writer_says_so_and_writes_by_extraction(visit, folder, quiet, tmp_path):
    from textlab.cli.maps import save_map
    service = EmbeddingToTextService(llm=None).load_trained_model(folder)
    save_map(service.space, service.documents.corpus(), tmp_path / "map")
    server = Server(tmp_path / "map", quiet)
    try:
        page = visit(server.address)
        assert "No writer was trained for this map" in page.inner_text("#how")
        page.mouse.click(*spot(page, .5, .5))
        page.wait_for_selector("#written .text", timeout=60_000)
        assert "llm_synthesis (extraction)" in page.inner_text("#written .about >> nth=0")
    finally: server.end()


def test_the_file_that_stands_alone(visit, atlas, tmp_path):
    path = export_html(atlas, tmp_path / "map.html")
    page = visit(path.as_uri())
    page.fill("#q", SECRET)
    page.press("#q", "Enter")
    page.wait_for_selector("#hits li button")
    page.click("#hits li button >> nth=0")
    page.wait_for_selector("#opened:not([hidden])")
    assert SECRET in page.inner_text("#opened") and page.evaluate("window.hacked") is None
    page.click("#opened button")
    page.mouse.click(*spot(page, .5, .5))
    page.wait_for_selector("#opened:not([hidden])")
    assert page.locator("#desk:not([hidden]), #ways:not([hidden])").count() == 0, "a file does not write"
    assert page.inner_text("#refused") == ""


# --- at the end: what the server said about all of it ------------------------------------------------

def test_no_text_was_logged(server):
    assert server.get("/api/search", params=dict(q=SECRET)).status_code == 200
    said = "".join(server.said)
    assert SECRET not in said and "Traceback" not in said, said
    assert len(server.said) < 10, said


def test_ctrl_c_ends_it_while_it_writes(server, middle):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(server.post, dict(x=middle[0], y=middle[1], calls=200))
        time.sleep(1)
        assert server.end(signal.SIGINT) == 0
    assert not any("Traceback" in line for line in server.said), "".join(server.said)
