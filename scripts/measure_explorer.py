"""Measure the explorer on this machine: `python scripts/measure_explorer.py [documents] [clients]`.
A server in a process of its own shows synthetic documents: beginnings of passages of Wikipedia, their vectors with noise;
a headless Chromium paints and pans; clients ask for the map and search. Prints one JSON object."""
import json, shutil, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx, numpy as np, psutil

SERVER = """
import sys
from textlab.maps.explorer import atlas_of, serve
from textlab.maps.service import EmbeddingToTextService
serve(atlas_of(EmbeddingToTextService(llm=None).load_trained_model(sys.argv[1])), port=int(sys.argv[2]), per_second=1e4)
"""
PAN = """async frames => {
  await new Promise(requestAnimationFrame);
  const began = performance.now();
  for (let f = 0; f < frames; f++) {
    pan(f % 40 < 20 ? 7 : -7, 2);
    await new Promise(requestAnimationFrame);
    painter.finish();
  }
  return 1000*frames/(performance.now() - began);
}"""
RENDERER = """() => {
  const gl = document.createElement('canvas').getContext('webgl');
  return gl ? gl.getParameter(gl.getExtension('WEBGL_debug_renderer_info').UNMASKED_RENDERER_WEBGL) : 'none';
}"""
FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
PORT = 8799
ADDRESS = f"http://127.0.0.1:{PORT}"


def save_models(folder, documents):
    "A map of so many documents; drawn at random, since only its size matters here"
    from textlab.corpus import load_corpus
    from textlab.embed import embed, load_embedder
    from textlab.maps.service import EmbeddingToTextService, MapDocuments
    from textlab.maps.umap import ParametricUMAP
    some = load_corpus("wiki-mini-passages").select(range(0, 1200, 4))
    V, rng = embed(some, load_embedder("minilm", device="cpu")), np.random.default_rng(0)
    rows = np.arange(documents) % len(some)
    corpus = some.select(rows)
    columns = dict(id=[f"passage-{i}" for i in range(documents)], text=[t[:300] for t in corpus["text"]])
    columns |= dict(title=corpus["title"][:], label=corpus["title"][:])
    flat = np.linalg.svd(V - V.mean(0), full_matrices=False)[2][:2].T
    places = (60*(V - V.mean(0)) @ flat)[rows] + rng.normal(size=(documents, 2))
    space = ParametricUMAP(epochs=1, embedder="minilm").fit(V)
    space.vectors_ = (V[rows] + rng.normal(scale=.02, size=(documents, V.shape[1]))).astype(np.float32)
    space.places_ = places.astype(np.float32)
    EmbeddingToTextService(space, None, MapDocuments(type(corpus).from_dict(columns))).save(folder)


def browse():
    "First paint and the whole picture in ms, frames per second while panning, by a headless browser"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport=dict(width=1280, height=800))
        page.goto(ADDRESS)
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        page.wait_for_function("performance.getEntriesByType('paint').length > 0")
        paint = page.evaluate("performance.getEntriesByType('paint')[0].startTime")
        whole = page.evaluate("performance.getEntriesByName('map')[0].startTime")
        frames = page.evaluate(PAN, 60)
        renderer = page.evaluate(RENDERER)
        browser.close()
    return dict(first_paint_ms=round(paint), map_ms=round(whole), frames_per_second=round(frames, 1), renderer=renderer)


def load(clients, path, turns=4):
    "95% of the answers come within so many ms, when so many clients ask one after the other; and how many failed"
    def client(i):
        took = []
        with httpx.Client(base_url=ADDRESS, timeout=120) as c:
            for turn in range(turns):
                began = time.perf_counter()
                answer = c.get(path.format(f"the history of {i} {turn}"))
                took.append((time.perf_counter() - began, answer.status_code))
        return took
    with ThreadPoolExecutor(clients) as pool: took = [t for part in pool.map(client, range(clients)) for t in part]
    return round(1000*float(np.quantile([t for t, _ in took], .95))), sum(status != 200 for _, status in took)


def measure(documents=100_000, clients=50):
    "All of it"
    with tempfile.TemporaryDirectory() as home:
        subprocess.run([sys.executable, __file__, "save", home, str(documents)], check=True)
        server = subprocess.Popen([sys.executable, "-c", SERVER, home, str(PORT)], stderr=subprocess.DEVNULL)
        try:
            began = time.perf_counter()
            while True:
                try:
                    if httpx.get(f"{ADDRESS}/healthz").status_code == 200: break
                except httpx.TransportError: time.sleep(.2)
                if time.perf_counter() - began > 300 or server.poll() is not None: sys.exit("the server did not start")
            found = dict(documents=documents, start_s=round(time.perf_counter() - began, 1), **browse())
            httpx.get(f"{ADDRESS}/api/search?q=warm", timeout=120)
            for name, path in (("map", "/api/map"), ("search", "/api/search?q={}")):
                found[f"{name}_p95_ms"], found[f"{name}_errors"] = load(clients, path)
            found["memory_mb"] = round(psutil.Process(server.pid).memory_info().rss/1e6)
        finally: server.terminate(); server.wait()
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["save"]: save_models(Path(sys.argv[2]), int(sys.argv[3]))
    else: print(json.dumps(measure(*map(int, sys.argv[1:])), indent=1))
