"The search page: texts that attack it, what it refuses, its words against Python's, and a real browser"
import html, json, os, re, shutil, subprocess, unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from conftest import browse, needs_chromium
from textlab.core import ConfigError, CorpusError, TextlabError
from textlab.embed import Embedder
from textlab.lm.encoder import DocumentEncoder
from textlab.lm.page import MAX_PASSAGES, SNIPPET_JS, TERMS_JS, ask_page, in_node, round_table, search_page
from textlab.lm.retrieval import terms
from textlab.lm.search import snippet
from textlab.web import page_problems, script_json

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node on the PATH")
EVIL = [
    "</script><script>document.title='broken'</script>", "<!-- <script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "--></SCRIPT >", "\u2028]]>&lt;&amp;", "\x00 null", "' \" \\ ${x} `",
]
TEXTS = [
    "Marie Curie was a physicist who discovered radium and won the Nobel Prize twice.",
    "The albedo of fresh snow is high; forests reflect little light.",
    "Apollo 11 landed on the Moon in 1969, and two astronauts walked there.",
    "Amphibians live in water and on land, and lay their eggs in ponds.",
    "An algorithm is a finite list of steps that solves a problem.",
]
CORPUS = [dict(id=f"d{i}", title=t.split()[0], text=t) for i, t in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def encoder(): return DocumentEncoder(dim=32, fixed_dim=32, budget=20_000, epochs=0).fit(TEXTS)


class Elements(HTMLParser):
    "Names of the elements of a page, in order"
    def __init__(self, page):
        super().__init__()
        self.names = []
        self.feed(page)
        self.close()
    def handle_starttag(self, tag, attrs): self.names.append(tag)


def data_of(page): return json.loads(re.search(r'id="data">(.*?)</script>', page, flags=re.S)[1])


# --- texts that attack the page --------------------------------------------------------------------

def test_no_text_adds_an_element_or_an_address(encoder):
    plain = search_page(encoder, CORPUS, title="x", questions=["x"])
    attack = [dict(id=e, title=e, text=f"{e} radium {e}") for e in EVIL]
    page = search_page(encoder, attack, title=" ".join(EVIL), questions=[*EVIL, "half \udc80"])
    assert Elements(page).names == Elements(plain).names and page_problems(page) == []
    assert page.count("</script>") == 2 and "<!--" not in page
    assert data_of(page)["ids"] == [e.strip() for e in EVIL]
    assert data_of(page)["questions"] == [*EVIL, "half \ufffd"]
    page.encode("utf-8")


@given(st.text(st.characters(codec=None), max_size=60))
def test_json_in_a_script_comes_back(text):
    made = script_json([text])
    assert not set("<>&\u2028\u2029") & set(made)
    assert json.loads(made) == [re.sub("[\ud800-\udfff]", "\ufffd", text)]


def test_the_page_forbids_the_network(encoder):
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', search_page(encoder, CORPUS))[1]
    assert "default-src 'none'" in policy
    for word in ("unsafe", "http", "connect-src"): assert word not in policy


# --- what is accepted, and what is not ---------------------------------------------------------------

def test_titles_may_be_missing(encoder):
    bare = data_of(search_page(encoder, [dict(id="a", text="radium"), dict(id="b", text="snow")]))
    assert bare["titles"] == ["", ""] and bare["questions"] == []
    assert data_of(search_page(encoder, CORPUS))["questions"] == [c["title"] for c in CORPUS][:4]


def test_refusals(encoder, tmp_path):
    twice = [dict(id="a", text="x"), dict(id="a", text="y")]
    for corpus, what in (([], None), ([dict(id="a", text="…")], "no letter and no digit"), (twice, "'a'")):
        with pytest.raises(CorpusError, match=what): search_page(encoder, corpus)
    with pytest.raises(TextlabError, match="is not fitted"): search_page(DocumentEncoder(), CORPUS)
    other = Embedder("mine", 4, lambda: (lambda texts: np.ones((len(texts), 4))), weights="v1")
    for bad in (other, "minilm", None, DocumentEncoder):
        with pytest.raises(ConfigError, match="only a DocumentEncoder"): search_page(bad, CORPUS)
    with pytest.raises(ConfigError, match="weight"): search_page(encoder, CORPUS, -1)


def test_too_large(encoder, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    out.write_text("old")
    many = [dict(id=str(i), text="snow") for i in range(MAX_PASSAGES + 1)]
    said = f"{MAX_PASSAGES + 1:,} passages: a page holds {MAX_PASSAGES:,} at most; build a SearchIndex"
    with pytest.raises(ConfigError, match=said): search_page(encoder, many, path=out)
    monkeypatch.setattr("textlab.lm.page.MAX_MB", .02)
    with pytest.raises(ConfigError, match="a page of 0 MB: more than 0.02 .* build a SearchIndex"):
        search_page(encoder, CORPUS, path=out)
    monkeypatch.undo()
    assert out.read_text() == "old"
    page = search_page(encoder, CORPUS, path=out)
    assert out.read_text(encoding="utf-8") == page
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@given(st.integers(0, 10**6))
def test_a_rounded_table_is_near(seed):
    rng = np.random.default_rng(seed)
    table = (rng.standard_normal((20, 16))*10.**rng.integers(-6, 6, (20, 1))).astype(np.float32)
    table[0] = 0
    whole, scales = round_table(table)
    assert np.abs(whole).max() <= 127
    assert (np.abs(whole*scales[:, None] - table) <= np.abs(table).max(1, keepdims=True)/254*1.001).all()


# --- JavaScript and Python ---------------------------------------------------------------------------

ODD = ("aZ09 _-'’.ß ẞ İıIé\u0301\u0308ñΣσς ﬁⅧ½² 東ﾀﾜｰ中हिन्தமไ"
       "😀👩‍🔬𝔘𝟙\u00ad\u200b\ufeff٣①Ǆ\u0345ΰ\udc80\ud83d")
NASTY = st.text(st.sampled_from(ODD), max_size=40)
CATEGORIES = ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd", "Nl", "No", "Pc", "Pd", "Po", "Sm", "So", "Zs", "Cf")


def pairs(text):
    "Two halves that stand beside each other are one letter to JavaScript"
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@needs_node
def test_words_are_cut_alike():
    found = []
    @settings(max_examples=600)
    @given(st.one_of(NASTY, st.text(st.characters(categories=CATEGORIES), max_size=20)))
    def draw(text): found.append(pairs(text))
    draw()
    assert len(found) > 500
    for text, got in zip(found, in_node(TERMS_JS, "given.map(terms)", found)):
        assert got == terms(text), (text, [unicodedata.name(c, "?") for c in text])


@needs_node
def test_snippets_are_cut_alike():
    "Also in windows that are narrower than a word, and in passages of a megabyte"
    found = []
    @settings(max_examples=400)
    @given(st.text("aab b.ß ", max_size=120), st.text("ab ", max_size=6), st.integers(1, 60))
    def draw(text, query, width): found.append([text, query, width])
    draw()
    found += [["ab aab b", "ab aab b", 2]]  # a word longer than the window, between two that are not
    found += [["sea moon "*120_000 + "radium sea sea", "sea radium", 40], ["sea"*300_000, "sea", 40]]
    got = in_node(TERMS_JS + SNIPPET_JS, "given.map(g => snippet(...g))", found)
    assert got == [snippet(*g) for g in found]


@needs_node
def test_one_passage(encoder):
    page = search_page(encoder, CORPUS[:1])
    for mode in ("words", "vectors", "both"):
        [hits, none] = ask_page(page, ["radium", "zzqx"], mode)
        assert [h["id"] for h in hits] == ["d0"] and none == []
        assert hits[0]["words"] == ["radium"] and np.isfinite(hits[0]["score"])


@needs_node
def test_without_a_fixed_part_and_without_beginnings():
    bare = DocumentEncoder(dim=32, fixed_dim=0, prefix=0, budget=20_000, epochs=2, batch_size=4).fit(TEXTS)
    untitled = [dict(id=c["id"], text=c["text"]) for c in CORPUS]
    [hits] = ask_page(search_page(bare, untitled), ["snow and radium"], "vectors")
    S = bare.encode(["snow and radium"]) @ bare.encode(TEXTS).T
    assert [h["p"] for h in hits] == np.argsort(-S[0], kind="stable").tolist()
    np.testing.assert_allclose([h["score"] for h in hits], np.sort(S[0])[::-1], atol=.02)


@needs_node
def test_a_word_that_no_passage_holds_still_has_a_direction(encoder):
    "A question may use words that the encoder knows from other passages"
    page = search_page(encoder, CORPUS[:3])
    [words], [vectors] = (ask_page(page, ["algorithm"], mode) for mode in ("words", "vectors"))
    assert words == [] and len(vectors) == 3
    both, one = ask_page(page, ["snow landed", "snow"], "words")
    assert sorted(h["id"] for h in both) == ["d1", "d2"] and [h["id"] for h in one] == ["d1"]
    S = encoder.encode(["algorithm"]) @ encoder.encode([f"{c['title']}. {c['text']}" for c in CORPUS[:3]]).T
    np.testing.assert_allclose([h["score"] for h in vectors], np.sort(S[0])[::-1], atol=.02)


# --- a real browser ----------------------------------------------------------------------------------

def shown(document, of): return html.unescape(re.sub(r"<[^>]*>", "", re.search(of, document, flags=re.S)[1]))
def names_of(document): return re.findall(r"<h2><button[^>]*>(.*?)</button>", document)
def state_of(document): return shown(document, r'id="state"[^>]*>(.*?)</p>')


@needs_chromium
def test_a_browser_answers_a_link(encoder, tmp_path):
    page = search_page(encoder, CORPUS, title="Five passages")
    seen = browse(page, tmp_path, "#q=fresh+snow&mode=both")
    names = names_of(seen)
    assert names[0] == "The" and len(names) == 5 and state_of(seen).startswith("Best 5 of 5 passages in")
    assert seen.count("<mark>snow</mark>") == seen.count("<mark>fresh</mark>") == 1 and "words: fresh, snow" in seen
    assert "Nothing is sent anywhere" in seen
    [hits] = ask_page(page, ["fresh snow"]) if shutil.which("node") else [[]]
    assert not hits or [CORPUS[h["p"]]["title"] for h in hits] == names
    assert names_of(browse(page, tmp_path, "#q=fresh+snow&mode=words")) == ["The"]
    assert "None of these words is known here" in browse(page, tmp_path, "#q=zzqx&mode=vectors")
    empty = browse(page, tmp_path, "")
    assert "5 passages. Ask a question or give a few words, for example:" in state_of(empty)
    assert "<button type=\"button\">Marie</button>" in empty


KEYS = """<script>
const seen = [], q = document.getElementById('q');
const active = () => document.activeElement;
const key = key => active().dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
const send = event => q.dispatchEvent(new Event(event, {bubbles: true}));
const note = () => seen.push(active().textContent || active().id);
const number = selector => seen.push(document.querySelectorAll(selector).length);

function ask() {
  key('/');
  note();
  q.value = 'water moon';
  send('input');
  setTimeout(walk, 500);
}
function walk() {
  key('ArrowDown');
  send('change');  // a browser sends it when the box is left
  note();
  key('ArrowDown');
  note();
  active().click();
  number('[aria-expanded=true]');
  number('.whole:not([hidden])');
  key('ArrowUp');
  note();
  key('ArrowUp');
  note();
  key('Escape');
  seen.push(q.value, document.getElementById('state').textContent);
  document.title = JSON.stringify(seen);
}
setTimeout(ask, 500);
</script></body>"""


@needs_chromium
def test_a_browser_is_driven_by_keys(encoder, tmp_path):
    page = search_page(encoder, CORPUS).replace("Content-Security-Policy", "X-Nothing").replace("</body>", KEYS)
    seen = json.loads(shown(browse(page, tmp_path, "#q=snow&mode=words"), "<title>(.*?)</title>"))
    assert sorted(seen[1:3]) == ["Amphibians", "Apollo"]
    asked = "5 passages. Ask a question or give a few words, for example:"
    assert seen == ["q", *seen[1:3], 1, 1, seen[1], "q", "", asked]


@needs_chromium
def test_a_browser_runs_nothing_of_a_passage(encoder, tmp_path):
    attack = [dict(id=f"{e}{i}", title=e, text=f"radium {e}") for i, e in enumerate(EVIL)]
    seen = browse(search_page(encoder, attack, title="whole", questions=EVIL), tmp_path, "#q=radium&mode=both")
    assert len(names_of(seen)) == len(EVIL) and seen.count("<script") == 2
    assert "<title>whole</title>" in seen and "<img" not in seen


@needs_chromium
def test_the_policy_stops_a_script_that_slipped_in(encoder, tmp_path):
    slipped = "<script>document.title='broken'</script><div id=\"examples\">"
    page = search_page(encoder, CORPUS, title="whole").replace('<div id="examples">', slipped)
    seen = browse(page, tmp_path, "#q=snow")
    assert "<title>whole</title>" in seen and len(names_of(seen)) == 5
    assert "<title>broken</title>" in browse(page.replace("Content-Security-Policy", "X-Nothing"), tmp_path, "#q=snow")
