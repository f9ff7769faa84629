"""What an attacker or a bad disk may do to the files of this project: refused by name in one line, or no difference at all.

A longer run, more places in every file: `TEXTLAB_DAMAGE=1000 python -m pytest tests/test_attacks.py`
"""
import hashlib, io, json, os, shutil, struct, zipfile
from pathlib import Path
import numpy as np, pytest, torch
from textlab.artifacts import (State, load_artifact, load_checkpoint, read_artifact, read_config, save_checkpoint, seal,
                               write_artifact)
from textlab.cli.core import only_run
from textlab.core import ArtifactError, ConfigError, EmbeddingError, TextlabError, atomic_write_text, from_json
from textlab.corpus import load_corpus, read_csv
from textlab.embed import Embedder, embed, load_embedder, load_embeddings
from textlab.lm.search import SearchIndex
from textlab.vocab import Vocabulary

PLACES = int(os.environ.get("TEXTLAB_DAMAGE", 12))
DEEP = "[" * 100_000 + "]" * 100_000


# --- harm ------------------------------------------------------------------------------------------

def harms(data, places=PLACES, seed=0):
    "What a disk or a hand does to a file: a flipped bit, a cut, a block of zeros"
    rng = np.random.default_rng(seed)
    for at in rng.integers(len(data), size=places).tolist():
        yield f"bit {at}", data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1:]
        block = data[:at] + bytes(64) + data[at + 64:]
        if block[:len(data)] != data: yield f"zeros {at}", block[:len(data)]
    for size in {0, 1, len(data) // 2, len(data) - 1}: yield f"cut {size}", data[:size]


def refused_or_same(folder, use, want, swap=True):
    "Harm every file below a folder, one at a time: an error in one line that names the place, or the answer as before"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    assert use() == want
    refused, served = 0, []
    for i, file in enumerate(files):
        data = file.read_bytes()
        others = [files[i - 1].read_bytes()] if swap and len(files) > 1 else []
        for what, bad in [*harms(data, seed=i), *(("swapped", other) for other in others if other != data)]:
            file.write_bytes(bad)
            try:
                if use() != want: served.append((file.name, what))
            except TextlabError as e:
                refused += 1
                assert "\n" not in str(e) and str(folder) in str(e), e
        file.write_bytes(data)
    assert not served and use() == want
    return refused


class Letters(Embedder):
    "Counts letters, so that a test needs no network"
    def __init__(self):
        super().__init__("letters", 26, None, weights="letters")
        self.seen = 0

    def encode(self, texts, **options):
        texts = list(texts)
        self.seen += len(texts)
        X = np.array([[t.lower().count(chr(97 + i)) + .1 * (i + 1) for i in range(26)] for t in texts], np.float32)
        return X / np.linalg.norm(X, axis=1, keepdims=True)


TEXTS = [f"{a} and {b}" for a in "copper river garden lantern harbour".split() for b in "winter summer wolf".split()]


# --- whole or absent -------------------------------------------------------------------------------

def thing(n=3, **more): return State(dict(n=n), {"w": torch.ones(n)}, {"words": ["a"]}, {"ids": np.arange(n)}, **more)


def names(folder): return {p.name for p in folder.iterdir()}


def test_a_saved_folder_holds_this_models_files_only(tmp_path):
    "Also over a folder of an older version, whose configuration does not list its checkpoints"
    both = {"best_model.pt": {"w": torch.ones(2)}, "last_model.pt": {"w": torch.ones(2)}}
    plain = {"config.json", "model.safetensors", "words.json", "ids.npy"}
    write_artifact(tmp_path / "m", thing(checkpoints=both), "textlab.testing.Thing")
    assert names(tmp_path / "m") == plain | set(both)
    (tmp_path / "m" / "notes.txt").write_text("mine")
    write_artifact(tmp_path / "m", thing(), "textlab.testing.Thing")
    assert names(tmp_path / "m") == plain | {"notes.txt"}
    config = json.loads((tmp_path / "m" / "config.json").read_bytes())
    del config["sha256"], config["checkpoints"]
    (tmp_path / "m" / "config.json").write_bytes(seal(config))
    for name in ("best_model.pt", "last_model.pt", "lstm_bpe_final.pt"): (tmp_path / "m" / name).write_bytes(b"old")
    read_artifact(tmp_path / "m")  # an older artifact still loads
    write_artifact(tmp_path / "m", thing(), "textlab.testing.Thing")
    assert names(tmp_path / "m") == plain | {"notes.txt"}


def test_a_checkpoint_beside_a_model_is_its_own(tmp_path):
    one, two = ({"best_model.pt": {"w": torch.full((2,), v)}} for v in (1., 2.))
    for name, kept in (("a", one), ("b", two)): write_artifact(tmp_path / name, thing(checkpoints=kept), "textlab.testing.Thing")
    shutil.copy(tmp_path / "b" / "best_model.pt", tmp_path / "a" / "best_model.pt")
    with pytest.raises(ArtifactError, match="best_model.pt is not the file that was saved"): read_artifact(tmp_path / "a")
    (tmp_path / "a" / "best_model.pt").unlink()
    read_artifact(tmp_path / "a")  # whoever shares a model may leave it out


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_are_readable_alike(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_artifact(tmp_path / "m", thing(checkpoints={"best_model.pt": {}}), "textlab.testing.Thing")
        atomic_write_text(tmp_path / "a.txt", "x")
        SearchIndex.build([{"id": str(i), "text": t} for i, t in enumerate(TEXTS)], Letters(), tmp_path / "i")
    finally: os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()} == {mode}


def test_a_second_run_with_the_same_out_is_told_so(tmp_path, mistake):
    with only_run(tmp_path / "m"):
        for command in ("theta fit lee", "lm tokenizer train lee", "search build lee", "codes pretrain lee --overwrite"):
            out = tmp_path / ("m.pt" if "codes" in command else "m")
            with only_run(out) if "codes" in command else open(os.devnull):
                line = mistake(*command.split(), "--out", out)
            assert f"another run is writing {out}; let it end first, or give another folder" in line
    assert names(tmp_path) == set()


def test_two_fits_do_not_share_a_folder_of_checkpoints(tmp_path):
    from textlab.core import only_writer
    from textlab.train import make_learner, tensor_dataloaders, train
    x = torch.randn(20, 3)
    dls = tensor_dataloaders(x, x[:, :1], train_rows=np.arange(15), valid_rows=np.arange(15, 20), device="cpu")
    learn = lambda: make_learner(dls, torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    with only_writer(tmp_path), pytest.raises(ConfigError, match="another run is writing"): train(learn(), 1, folder=tmp_path)
    train(learn(), 1, folder=tmp_path)


# --- nothing runs from a file ----------------------------------------------------------------------

PART = "sentence_transformers.sentence_transformer.modules."


@pytest.mark.parametrize("file, config", [
    ("modules.json", [dict(idx=0, name="0", path="", type="custom_mod.Custom")]),
    ("modules.json", [dict(idx=0, name="0", path="", type=PART + "Transformer"), dict(idx=1, name="1", path="1", type="os.system")]),
    ("modules.json", [dict(idx=0, name="0", path="", type="sentence_transformers.base.model.pickle")]),
    ("1_Router/router_config.json", dict(types={"query_0": "custom_mod.Custom"}, structure={}, parameters={})),
    ("0_WordEmbeddings/wordembedding_config.json", dict(tokenizer_class="custom_mod.Custom")),
    ("2_Dense/config.json", dict(in_features=3, activation_function="custom_mod.Custom")),
    ("modules.json", [dict(idx=0, name="0", path="", type="owner/repo--custom_mod.Custom")]),
])
def test_a_model_folder_may_not_name_code_of_its_own(tmp_path, monkeypatch, file, config):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "model"))
    (tmp_path / "model" / file).parent.mkdir(parents=True)
    (tmp_path / "model" / "custom_mod.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Custom: load = None\n")
    (tmp_path / "model" / "modules.json").write_text(json.dumps([dict(idx=0, name="0", path="", type=PART + "Transformer")]))
    (tmp_path / "model" / file).write_text(json.dumps(config))
    with pytest.raises(EmbeddingError, match=f"{Path(file).name} names '.*', which is not part of sentence-transformers"):
        load_embedder(str(tmp_path / "model"))
    assert not (tmp_path / "ran").exists()


def corpus(): return load_corpus([{"id": f"p{i}", "title": "", "text": t} for i, t in enumerate(TEXTS)])


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    SearchIndex.build(corpus(), Letters(), path := tmp_path_factory.mktemp("index") / "i")
    return path


def reseal(file, **changes):
    "As an attacker would: an edit with a valid checksum"
    said = {k: v for k, v in json.loads(file.read_bytes()).items() if k != "sha256"}
    file.write_bytes(seal(said | changes))


@pytest.mark.parametrize("place", ["/somewhere/model", "../model", "model", "lm:../model", "lm:model", "./model", "~/model"])
def test_an_index_may_not_choose_a_folder(index, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    shutil.copytree(index, tmp_path / "i")
    reseal(tmp_path / "i" / "index.json", load=place)
    with pytest.raises(ConfigError, match="a folder outside of it; if you trust that folder, name it"): SearchIndex.load(tmp_path / "i")
    assert len(SearchIndex.load(tmp_path / "i", embedder=Letters())) == len(TEXTS)  # the user's word


def test_a_model_may_not_choose_a_folder(tmp_path, monkeypatch):
    from textlab.theta.topics import TopicModel
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    fit = dict(num_topics=2, epochs=1, min_df=1, hidden_dim=8, mode="unsupervised")
    TopicModel(**fit, embedder="minilm").fit(corpus(), embeddings=Letters().encode(TEXTS)).save(tmp_path / "t")
    config = json.loads((tmp_path / "t" / "config.json").read_bytes())["config"]
    config["fitted"]["embedder"] = "model"
    reseal(tmp_path / "t" / "config.json", config=config)
    loaded = TopicModel.load(tmp_path / "t")
    with pytest.raises(ConfigError, match="this TopicModel asks for the embedder in 'model', a folder outside of it"):
        loaded.transform(TEXTS)
    loaded.set_params(embedder=Letters())
    assert loaded.transform(TEXTS).shape == (len(TEXTS), 2)


# --- damage ----------------------------------------------------------------------------------------

def test_a_damaged_cache_is_never_served(tmp_path):
    want = Letters().encode(TEXTS).tolist()
    cache, saved = tmp_path / "cache", tmp_path / "saved"
    embed(TEXTS, Letters(), cache_dir=cache, shard_size=4)
    shutil.copytree(cache, saved)
    joined = next(saved.glob("*/embeddings.npy"))
    for what, bad in harms(joined.read_bytes(), 30):
        shutil.rmtree(cache); shutil.copytree(saved, cache)
        next(cache.glob("*/embeddings.npy")).write_bytes(bad)
        assert np.array_equal(embed(TEXTS, Letters(), cache_dir=cache), want), what
    flipped = bytearray(joined.read_bytes()); flipped[130] ^= 1
    next(cache.glob("*/embeddings.npy")).write_bytes(flipped)
    assert np.array_equal(embed(TEXTS, e := Letters(), cache_dir=cache), want) and e.seen == 4  # the other shards were right


def test_a_damaged_or_swapped_shard_is_made_again(tmp_path, monkeypatch):
    import textlab.embed as E
    with monkeypatch.context() as m:
        m.setattr(E, "join_shards", lambda run: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt): embed(TEXTS, Letters(), cache_dir=tmp_path, shard_size=5)
    shards = sorted(tmp_path.glob("*/shard-*.npy"))
    first, second = (p.read_bytes() for p in shards[:2])
    shards[0].write_bytes(second); shards[1].write_bytes(first)
    last = bytearray(shards[2].read_bytes()); last[140] ^= 8; shards[2].write_bytes(last)
    assert np.array_equal(embed(TEXTS, e := Letters(), cache_dir=tmp_path), Letters().encode(TEXTS)) and e.seen == 15


def test_an_older_cache_is_served_with_a_note(tmp_path, capfd):
    embed(TEXTS, Letters(), cache_dir=tmp_path)
    folder = next(tmp_path.iterdir())
    np.save(folder / "embeddings.npy", Letters().encode(TEXTS))
    manifest = {k: v for k, v in json.loads((folder / "manifest.json").read_bytes()).items() if k not in ("format", "sha256")}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert np.array_equal(embed(TEXTS, e := Letters(), cache_dir=tmp_path), Letters().encode(TEXTS)) and e.seen == 0
    assert "cannot be verified; remove its folder to embed again" in capfd.readouterr().err


def test_a_damaged_index_is_refused(index, tmp_path):
    shutil.copytree(index, tmp_path / "i")
    def ask():
        found = SearchIndex.load(tmp_path / "i", embedder=Letters())
        return [found.search("copper wolf", 5, mode) for mode in found.modes]
    assert refused_or_same(tmp_path / "i", ask, ask()) > 20


def test_an_older_index_and_store_still_open(index, tmp_path):
    shutil.copytree(index, tmp_path / "i")
    want = SearchIndex.load(tmp_path / "i", embedder=Letters()).search("copper wolf")
    for name in ("index.json", "store/store.json"):
        file = tmp_path / "i" / name
        new = ("sha256", "files", "version") + (("format",) if name == "index.json" else ())
        said = {k: v for k, v in json.loads(file.read_bytes()).items() if k not in new}
        file.write_text(json.dumps(said | ({} if name == "index.json" else dict(format=1))))
    assert SearchIndex.load(tmp_path / "i", embedder=Letters()).search("copper wolf") == want


@pytest.mark.parametrize("weight", [1e308, 1e39, 1e7, float("inf"), float("nan"), -1])
def test_a_weight_that_ends_in_infinity_is_refused(index, tmp_path, weight):
    with pytest.raises(ConfigError, match="weight"): SearchIndex.build(corpus(), Letters(), tmp_path / "n", weight=weight)
    if not np.isfinite(weight): return
    shutil.copytree(index, tmp_path / "i")
    reseal(tmp_path / "i" / "index.json", weight=weight)
    with pytest.raises(ArtifactError, match="index.json: the weight"): SearchIndex.load(tmp_path / "i", embedder=Letters())


def vouch(folder):
    "Seal the configuration anew for the files as they are"
    files = json.loads((folder / "config.json").read_bytes())["files"]
    reseal(folder / "config.json", bytes={}, files={f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files})


def test_nested_json_is_one_line_everywhere(index, tmp_path):
    shutil.copytree(index, tmp_path / "i")
    load = lambda: SearchIndex.load(tmp_path / "i", embedder=Letters())
    for name in ("index.json", "store/store.json", "bm25/config.json", "bm25/words.json"):
        file = tmp_path / "i" / name
        data = file.read_bytes()
        file.write_text(DEEP)
        if name == "bm25/words.json": vouch(file.parent)
        with pytest.raises(ArtifactError, match=file.name) as e: load()
        assert "\n" not in str(e.value)
        shutil.rmtree(tmp_path / "i"); shutil.copytree(index, tmp_path / "i")
    embed(TEXTS, Letters(), cache_dir=tmp_path / "c")
    for name in ("embeddings.npy", "manifest.json"): next((tmp_path / "c").glob(f"*/{name}")).write_text(DEEP)
    assert np.array_equal(embed(TEXTS, Letters(), cache_dir=tmp_path / "c"), Letters().encode(TEXTS))
    with pytest.raises(ValueError, match="too deep"): from_json(DEEP)


HEADERS = ["", "{", "[" * 5000, "{'descr': '<f4'}", "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "\x00" * 40, "{" * 300,
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", "{'descr': 'nope', 'fortran_order': 0, 'shape': 3}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "{'descr': [('a', '<f4', 9**9)], 'fortran_order': 1, 'shape': ()}",
           "{'descr': '<f4', 'fortran_order': False, 'shape': ('a',)}", "1/0", "{'descr': ['x'], 'fortran_order': [], 'shape': {}}"]


@pytest.mark.parametrize("header", HEADERS)
def test_a_malformed_header_of_an_array(tmp_path, header):
    text = header.encode("latin-1").ljust(118 if len(header) < 118 else len(header) + 1)[:60_000] + b"\n"
    bad = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(8)
    write_artifact(tmp_path / "m", thing(), "textlab.testing.Thing")
    (tmp_path / "m" / "ids.npy").write_bytes(bad)
    vouch(tmp_path / "m")
    with pytest.raises(ArtifactError, match="ids.npy is not an array") as e: read_artifact(tmp_path / "m")
    (tmp_path / "x.npy").write_bytes(bad)
    with pytest.raises(EmbeddingError, match="x.npy") as f: load_embeddings(tmp_path / "x.npy")
    assert "\n" not in str(e.value) + str(f.value)


def repacked(path, change, compress=zipfile.ZIP_STORED):
    "The records of a torch file, changed and written again with right checksums"
    with zipfile.ZipFile(path) as z: records = {i.filename: z.read(i) for i in z.infolist()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as z:
        for name, data in change(records).items(): z.writestr(name, data)
    return out.getvalue()


def test_malformed_pickles_in_a_checkpoint(tmp_path):
    file = save_checkpoint(tmp_path / "c.pt", dict(w=torch.arange(6.), n=3, words=["a", "ö"], deep=dict(x=[1., None])))
    name = next(n for n in zipfile.ZipFile(file).namelist() if n.endswith("data.pkl"))
    plain = zipfile.ZipFile(file).read(name)
    whole, refused = file.read_bytes(), 0
    rng = np.random.default_rng(0)
    for at in range(len(plain)):
        for byte in rng.integers(256, size=max(1, PLACES // 6)).tolist():
            file.write_bytes(whole)
            bad = plain[:at] + bytes([byte]) + plain[at + 1:]
            file.write_bytes(repacked(file, lambda r: r | {name: bad}))
            try: load_checkpoint(file)
            except ArtifactError as e:
                refused += 1
                assert "\n" not in str(e) and "c.pt" in str(e)
    assert refused > len(plain) / 3


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    file = save_checkpoint(tmp_path / "c.pt", dict(w=torch.zeros(2_000_000)))
    file.write_bytes(repacked(file, dict, zipfile.ZIP_DEFLATED))
    assert file.stat().st_size < 100_000
    with pytest.raises(ArtifactError, match=r"c.pt is refused: it would unpack to 8,\d{3},\d{3} bytes"): load_checkpoint(file)


def test_a_tensor_larger_than_its_record_is_refused(tmp_path):
    save_checkpoint(tmp_path / "c.pt", dict(w=torch.zeros(1).expand(10**9)))
    with pytest.raises(ArtifactError, match=r"c.pt is damaged: a tensor of \[1000000000\] is not in it"): load_checkpoint(tmp_path / "c.pt")


# --- texts that a terminal or a spreadsheet would obey ---------------------------------------------

HOSTILE = "copper \x1b]0;gone\x07\x1b[2J\x9b31m \u202ecod.exe \x7f\r wolf"


def test_escape_sequences_in_texts_do_not_reach_the_terminal(tmp_path, say):
    rows = [dict(id=f"p{i}\x1b[8m", title=f"\x1b[41m {i}", text=f"{HOSTILE} {t}") for i, t in enumerate(TEXTS)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encoder = tmp_path / "e"
    assert say("lm", "encoder", "train", tmp_path / "p.jsonl", "--epochs", "1", "--budget", "20000", "--out", encoder)[0] == 0
    assert say("search", "build", tmp_path / "p.jsonl", "--embedder", encoder, "--out", tmp_path / "i")[0] == 0
    obeyed = [chr(c) for c in [*range(9), 11, 12, 13, *range(14, 32), *range(127, 160), 0x202e]]
    for json_too in ((), ("--json",)):
        status, out, err = say("search", "query", tmp_path / "i", "copper wolf", *json_too)
        assert status == 0 and not [c for c in obeyed if c in out + err]
        if json_too: assert any("\x1b" in hit["id"] for hit in json.loads(out)["hits"])  # reads back as it was
        else: assert r"\x1b[8m" in out
    status, out, err = say("theta", "topics", tmp_path / "no\x1b[2Jwhere")
    assert status == 2 and "\x1b" not in err and r"\x1b[2J" in err


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-x", "@SUM(1)", "'=1", "\t=1", "plain", "it's"])
def test_cells_that_a_spreadsheet_would_run(tmp_path, name):
    import csv
    from textlab.cli.core import write_rows
    from textlab.cli.theta import write_shares
    write_rows(tmp_path / "a.csv", [dict(id=name, label=name, probability=-.5)])
    write_shares(tmp_path / "b.csv", np.array([[.25, .75]]), [name], ["x", name], [False])
    for file, column in (("a.csv", "label"), ("b.csv", "name")):
        with open(tmp_path / file, newline="") as f: rows = list(csv.DictReader(f))
        assert all(not rows[0][c].startswith(("=", "+", "-", "@", "\t")) for c in ("id", column))
        assert [(row["id"], row[column]) for _, row in read_csv(tmp_path / file)] == [(name, name)]
    assert rows and "-0.5" in (tmp_path / "a.csv").read_text()  # a number stays a number


# --- files that vouch for themselves and make no sense ---------------------------------------------

@pytest.fixture(scope="module")
def models(tmp_path_factory):
    "A small model of each kind, and what is done with one"
    from textlab.lm.encoder import DocumentEncoder
    from textlab.lm.retrieval import BM25
    from textlab.lm.transformer import LanguageModel
    from textlab.theta.topics import TopicModel
    from textlab.tokenizer import BPETokenizer
    folder, X = tmp_path_factory.mktemp("models"), Letters().encode(TEXTS)
    y = [t.split()[2] for t in TEXTS]
    TopicModel(num_topics=2, epochs=1, min_df=1, hidden_dim=8, mode="supervised").fit(corpus(), y, embeddings=X).save(folder / "theta")
    BM25().fit(corpus()).save(folder / "bm25")
    DocumentEncoder(budget=20_000, epochs=1).fit(corpus()).save(folder / "encoder")
    small = dict(dim=16, num_layers=1, epochs=1, vocab_size=280, seq_len=16, batch_size=4)
    LanguageModel(**small).fit(TEXTS * 3, valid=TEXTS * 2).save(folder / "lm")
    BPETokenizer.train(TEXTS, 280).save(folder / "tokens")

    from textlab.topicgcn import LDA, TopicGCN, TopicSpace
    TopicGCN(2, doc_features="tfidf", epochs=1, lda_passes=1).fit(TEXTS, y).save(folder / "topicgcn")
    TopicSpace(2, embedding_dim=4, epochs=1, max_iter=1).fit(TEXTS).save(folder / "space")
    counts = Vocabulary(min_df=1).fit_transform(TEXTS)
    LDA(2, max_iter=1).fit(counts).save(folder / "lda")

    from textlab.codes.filter import BookCodes, CellCodes
    from textlab.maps.umap import ParametricUMAP
    points = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    ParametricUMAP(epochs=1, n_neighbors=5).fit(points).save(folder / "map")
    BookCodes(4, 4).fit(points).save(folder / "books")
    CellCodes(4).fit(points).save(folder / "cells")

    from textlab.maps.vec2text import Inverter
    tiny, vectors = dict(dim=16, num_layers=1, num_heads=2, n_prefix=2, vocab_size=280, epochs=1), Letters().encode(TEXTS[:8])
    Inverter(embedder=Letters(), **tiny).fit(TEXTS[:8], embeddings=vectors).save(folder / "inverter")

    def use_theta(m):
        m.transform(TEXTS[:3], embeddings=X[:3]); m.topic_words(3); m.topic_info(); m.representative_docs(0); m.hierarchy()
    uses = dict(theta=use_theta, bm25=lambda m: m.scores(["copper wolf"]), encoder=lambda m: m.encode(["copper wolf"]),
                lm=lambda m: m.generate("copper", 3), tokens=lambda m: m.encode("copper"),
                topicgcn=lambda m: (m.predict(["copper wolf"]), m.topic_words(2), m.graph_.stats()),
                space=lambda m: (m.transform(["copper wolf"]), m.topic_words(2)), lda=lambda m: m.transform(counts),
                map=lambda m: m.inverse_transform(m.transform(points[:3])),
                books=lambda m: (m.encode(points[:3]), m.weigh(points[:3])),
                cells=lambda m: (m.encode(points[:3]), m.weigh(points[:3])),
                inverter=lambda m: (m.check_embedder(Letters()), m.predict(vectors[:2], max_length=6)))
    return folder, uses


def nonsense(a):
    "Other arrays in the place of one"
    a = np.asarray(a)
    yield from (a.ravel(), np.zeros((), a.dtype), np.full(a.shape, "x"))
    if a.ndim: yield from (a[:-1], a[:0], np.concatenate([a, a], -1))
    if a.dtype.kind == "f": yield from (np.full_like(a, np.nan), np.full_like(a, np.inf), a.astype(complex))
    if a.dtype.kind in "iu": yield from (np.full_like(a, 2**31 - 1), np.full_like(a, -5), a.astype(float) + .5)


@pytest.mark.parametrize("kind", ["theta", "bm25", "encoder", "lm", "tokens", "topicgcn", "space", "lda",
                                  "map", "books", "cells", "inverter"])
def test_arrays_that_make_no_sense_are_refused(models, tmp_path, kind):
    from safetensors.torch import load_file, save_file
    from textlab.artifacts import describe
    folder, use = models[0] / kind, models[1][kind]
    use(load_artifact(folder))
    tensors, jobs = load_file(folder / "model.safetensors"), []
    for file in sorted(folder.glob("*.npy")): jobs += [(file.name, bad) for bad in nonsense(np.load(file))]
    for name, t in tensors.items():
        jobs += [(name, bad) for bad in nonsense(t.numpy()) if bad.dtype.kind in "fiu"][:None if PLACES > 100 else 5]
    for file in sorted(folder.glob("*.json")):
        if file.name != "config.json": jobs += [(file.name, bad) for bad in (None, [], {}, 3, ["x"])]
    refused = 0
    for name, bad in jobs:
        shutil.rmtree(tmp_path / "m", ignore_errors=True); shutil.copytree(folder, tmp_path / "m")
        if name.endswith(".npy"): np.save(tmp_path / "m" / name, bad)
        elif name.endswith(".json"): (tmp_path / "m" / name).write_text(json.dumps(bad))
        else:
            changed = tensors | {name: torch.from_numpy(np.ascontiguousarray(bad).reshape(bad.shape)).clone()}
            save_file(changed, tmp_path / "m" / "model.safetensors")
            reseal(tmp_path / "m" / "config.json", tensors={k: describe(t) for k, t in changed.items()})
        vouch(tmp_path / "m")
        try: use(load_artifact(tmp_path / "m"))
        except TextlabError as e:
            refused += 1
            assert "\n" not in str(e), e
    assert refused >= len(jobs) / 2, (refused, len(jobs))
