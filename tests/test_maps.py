"What no page should hold about maps: odd inputs, other float types, kills, folders, files that other programs read"
import json, re, shutil

import numpy as np, pytest
from datasets import Dataset
from hypothesis import given, settings, strategies as st
from sklearn.base import clone

from textlab.artifacts import load_artifact
from textlab.core import ConfigError, CorpusError, EmbeddingError, TextlabError
from textlab.corpus import load_corpus
from textlab.estimator import NotFitted
from textlab.maps import ParametricUMAP, read_map_data, write_map_data
from textlab.maps.umap import find_neighbours, fuzzy_graph, given_neighbours, memberships, nearest_points


def clusters(n=120, dim=12, seed=0):
    "Three clusters, and which one each row is of"
    rng = np.random.default_rng(seed)
    which = np.arange(n) % 3
    centres = np.random.default_rng(9).normal(size=(3, dim))*4
    return (centres[which] + rng.normal(size=(n, dim))).astype(np.float32), which


def around(corners, which):
    "Two coordinates for each row, near the corner of its cluster"
    return (np.array(corners)[which] + np.random.default_rng(0).normal(size=(len(which), 2))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    X, _ = clusters()
    return ParametricUMAP((16,), (16,), epochs=2).fit(X)


# --- places -----------------------------------------------------------------------------------

def test_new_points_land_in_their_cluster_and_alone_as_in_company(fitted):
    X, which = clusters()
    new, theirs = clusters(60, seed=1)
    places = fitted.transform(new)
    centres = np.array([fitted.places_[which == c].mean(0) for c in range(3)])
    found = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
    assert (found == theirs).mean() > .95
    for refine in (0, 40):
        together = fitted.transform(new, refine=refine)
        alone = np.concatenate([fitted.transform(new[i:i + 1], refine=refine) for i in range(len(new))])
        np.testing.assert_array_equal(alone, together)
        np.testing.assert_array_equal(fitted.transform(new[::-1], refine=refine)[::-1], together)


def test_same_seed_same_map_and_another_seed_another():
    X, _ = clusters(60)
    maps = [ParametricUMAP((8,), (8,), epochs=1, seed=seed).fit(X) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0].transform(X, refine=0), maps[1].transform(X, refine=0))
    np.testing.assert_array_equal(maps[0].places_, maps[1].places_)
    assert not np.array_equal(maps[0].transform(X, refine=0), maps[2].transform(X, refine=0))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from(["cosine", "euclidean"]), st.integers(1, 12))
def test_nearest_points_are_the_nearest(seed, metric, k):
    rng = np.random.default_rng(seed)
    X, pool = (rng.normal(size=(n, 5)).astype(np.float32)*10**rng.uniform(-2, 2) for n in (4, 12))
    if metric == "cosine": X, pool = (A/np.linalg.norm(A, axis=1, keepdims=True) for A in (X, pool))
    indices, distances = nearest_points(X, pool, k, metric)
    if metric == "cosine": truth = 1 - X.astype(float) @ pool.T.astype(float)
    else: truth = np.linalg.norm(X[:, None].astype(float) - pool, axis=2)
    np.testing.assert_allclose(distances, np.sort(truth, axis=1)[:, :k], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1), distances, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(3, 20))
def test_memberships_sum_to_log2_k(seed, m):
    d = np.sort(np.random.default_rng(seed).uniform(.1, 5, size=(6, m)), axis=1)
    w = memberships(d, np.log2(m + 1))
    np.testing.assert_allclose(w.sum(1), np.log2(m + 1), rtol=1e-3)
    assert (np.diff(w, axis=1) <= 0).all() and (w[:, 0] == 1).all()
    np.testing.assert_array_equal(memberships(d[:1], np.log2(m + 1)), w[:1])


def test_the_graph_is_umap_learns():
    import umap
    X, _ = clusters(90)
    theirs = umap.UMAP(n_neighbors=10, metric="euclidean", random_state=0, n_jobs=1, n_epochs=1).fit(X).graph_
    ours = fuzzy_graph(*find_neighbours(X, 10, "euclidean"))
    assert abs(ours - theirs).max() < 1e-5 and ours.nnz == theirs.nnz


# --- bad and odd input --------------------------------------------------------------------------

@pytest.mark.parametrize("X, message", [
    (np.ones((1, 4)), "1 point: a map needs at least 3"),
    (np.ones((40, 4)), "all 40 vectors are the same"),
    (np.r_[np.eye(40), [[np.nan]*40]], "row 40 holds NaN"),
    (np.ones(5), "list of texts has no|expected"),
])
def test_what_cannot_be_mapped_says_why(X, message):
    with pytest.raises(TextlabError, match=message): ParametricUMAP(epochs=1).fit(X)


@pytest.mark.parametrize("n", [3, 4, 10, 29])
def test_few_points_make_a_map_with_a_note(n, capsys):
    X, _ = clusters(n)
    model = ParametricUMAP((8,), (8,), epochs=1).fit(X)
    said = capsys.readouterr().err
    assert "few for UMAP" in said and ("n_neighbors=15 is more" in said) == (n < 16)
    assert np.isfinite(model.places_).all() and np.isfinite(model.transform(X)).all()
    assert model.inverse_transform(model.places_).shape == X.shape


def test_mostly_equal_points_and_zero_rows_stay_finite():
    X, _ = clusters(60)
    X[:40] = X[0]
    X[41] = 0
    for metric in ("cosine", "euclidean"):
        model = ParametricUMAP((8,), (8,), metric=metric, epochs=1).fit(X)
        landed, back = model.transform(X), model.inverse_transform(model.places_)
        for found in (model.places_, landed, model.transform(X, refine=0), back): assert np.isfinite(found).all()


def test_wrong_use_is_named(fitted):
    X, _ = clusters()
    with pytest.raises(NotFitted, match="not fitted"): ParametricUMAP().transform(X)
    with pytest.raises(EmbeddingError, match="width 5 where 12 was expected"): fitted.transform(X[:, :5])
    with pytest.raises(ConfigError, match="method='mlp'"): fitted.inverse_transform([[0, 0]], "mlp")
    with pytest.raises(ConfigError, match="refine=-1"): fitted.transform(X, refine=-1)
    with pytest.raises(EmbeddingError, match="width 3 where 2"): fitted.inverse_transform([[0, 0, 0]])
    with pytest.raises(EmbeddingError, match="fitted on given embeddings"): fitted.transform(["a text"])
    with pytest.raises(ConfigError, match="recipe='three-stage'"): ParametricUMAP(recipe="three-stage")
    with pytest.raises(ConfigError, match="has no decoder"):
        ParametricUMAP((8,), (8,), epochs=1, reconstruction=0).fit(X).inverse_transform([[0, 0]], "network")


class Counts:
    "Embeds a text as numbers of letters"
    def __init__(self, name): self.name = name
    def encode(self, texts): return [[t.count(c) + .1 for c in "abcde"] for t in texts]


def test_texts_need_the_embedder_of_the_map(tmp_path):
    texts = [w*n for w in ("abc ", "cde ", "bad ") for n in range(1, 15)]
    model = ParametricUMAP((8,), (8,), epochs=1, embedder=Counts("counts")).fit(texts)
    assert model.transform(["abc abc"]).shape == (1, 2)
    model.save(tmp_path/"map")
    loaded = ParametricUMAP.load(tmp_path/"map")
    with pytest.raises(EmbeddingError, match="'counts', and 'others' makes others"):
        loaded.set_params(embedder=Counts("others")).transform(["abc"])
    again = ParametricUMAP.load(tmp_path/"map").set_params(embedder=Counts("counts"))
    np.testing.assert_array_equal(again.transform(["abc abc"]), model.transform(["abc abc"]))


def test_given_graph():
    X, _ = clusters()
    D = np.linalg.norm(X[:, None] - X, axis=2)
    order = np.argsort(D, axis=1)
    graph = order[:, 1:30], np.take_along_axis(D, order, 1)[:, 1:30]
    with_own = order[:, :30], np.take_along_axis(D, order, 1)[:, :30]
    for a, b in zip(given_neighbours(graph, 120, 15), given_neighbours(with_own, 120, 15)):
        np.testing.assert_array_equal(a, b)
    options = dict(metric="euclidean", epochs=1)
    own = fuzzy_graph(*find_neighbours(X, 15, "euclidean"))
    assert abs(fuzzy_graph(*given_neighbours(graph, 120, 15)) - own).max() < 1e-3
    assert ParametricUMAP((8,), (8,), **options).fit(X, graph=graph).places_.shape == (120, 2)
    few = graph[0][:, :9], graph[1][:, :9]
    for bad, message in ((few, "only 9 neighbours of some point, and n_neighbors=15 needs 14"),
                         ((graph[0][:9], graph[1][:9]), "for 120 points"),
                         ((np.full((120, 20), -1), graph[1][:, :20]), "leaves −1"),
                         ((graph[0], -graph[1]), "at least 0"), (7, "expected \\(indices, distances\\)")):
        with pytest.raises(ConfigError, match=message): ParametricUMAP(**options).fit(X, graph=bad)


# --- coordinates ----------------------------------------------------------------------------------

def test_coordinates_are_kept_and_free_points_land_among_them():
    X, which = clusters()
    C = around([[0, 0], [100, 0], [0, 100]], which)
    free = np.arange(120) % 4 == 0
    given = np.where(free[:, None], np.nan, C)
    model = ParametricUMAP((32,), (32,), epochs=40).fit(X, coordinates=given)
    np.testing.assert_array_equal(model.places_[~free], C[~free])
    assert np.linalg.norm(model.places_[free] - C[free], axis=1).max() < 30
    new, theirs = clusters(30, seed=3)
    for refine in (0, 40):
        assert np.linalg.norm(model.transform(new, refine=refine) - C[theirs], axis=1).max() < 50
    known = {str(i): C[i].tolist() for i in np.flatnonzero(~free)}
    by_id = ParametricUMAP((32,), (32,), epochs=40).fit(X, coordinates=known)
    np.testing.assert_array_equal(by_id.places_, model.places_)


def test_coordinates_that_do_not_fit():
    X, _ = clusters(40)
    model = ParametricUMAP(epochs=1)
    with pytest.raises(CorpusError, match="2 unknown ids .such as x, y."):
        model.fit(X, coordinates={"x": [0, 0], "y": [1, 1], "0": [0, 0]})
    with pytest.raises(CorpusError, match="shape .39, 2."): model.fit(X, coordinates=np.zeros((39, 2)))
    with pytest.raises(CorpusError, match="0 points have any"): model.fit(X, coordinates=np.full((40, 2), np.nan))
    with pytest.raises(CorpusError, match="39 ids for 40"): model.fit(X, ids=[str(i) for i in range(39)])


def test_two_stage_decoder_reads_another_plane():
    X, which = clusters(150)
    C = around([[5, 5], [-5, 0], [0, -5]], which)
    found = {}
    for recipe in ("joint", "two-stage"):
        model = ParametricUMAP((32,), (32,), metric="euclidean", recipe=recipe, epochs=30).fit(X, coordinates=C)
        found[recipe] = np.square(model.inverse_transform(C, "network") - X).mean()
    assert found["joint"] < found["two-stage"]


# --- memory, kills, disk ---------------------------------------------------------------------------

@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_vectors_may_be_mapped_from_a_file(kind, tmp_path):
    X, _ = clusters(60)
    np.save(tmp_path/"x.npy", X.astype(kind))
    mapped = np.load(tmp_path/"x.npy", mmap_mode="r")
    model = ParametricUMAP((8,), (8,), epochs=1).fit(mapped)
    same = ParametricUMAP((8,), (8,), epochs=1).fit(np.array(mapped))
    np.testing.assert_array_equal(model.places_, same.places_)
    np.testing.assert_array_equal(model.transform(mapped, refine=0), same.transform(np.array(mapped), refine=0))
    if kind != np.float64: assert isinstance(model.vectors_, np.memmap)
    model.save(tmp_path/"map")
    np.testing.assert_array_equal(load_artifact(tmp_path/"map").transform(X), model.transform(X))


def test_a_saved_map_is_the_same_and_holds_no_pickle(fitted, tmp_path):
    X, _ = clusters(50, seed=5)
    fitted.save(tmp_path/"map")
    assert {p.suffix for p in (tmp_path/"map").iterdir()} == {".json", ".npy", ".safetensors"}
    loaded = load_artifact(tmp_path/"map")
    assert type(loaded) is ParametricUMAP and loaded.get_params() == fitted.get_params()
    def answers(m):
        places = m.transform(X)
        return places, m.transform(X, refine=0), m.inverse_transform(places), m.inverse_transform(places, "network")
    for a, b in zip(answers(loaded), answers(fitted)): np.testing.assert_array_equal(a, b)
    assert clone(loaded).get_params() == loaded.get_params()


def test_an_interrupted_training_ends_as_an_unbroken_one(tmp_path):
    from fastai.callback.core import Callback
    class Stop(Callback):
        order = 80
        def after_batch(self):
            if self.training and self.learn.train_iter == 7: raise KeyboardInterrupt
    X, _ = clusters(200)
    def fit(folder, **more): return ParametricUMAP((16,), (16,), epochs=4).fit(X, checkpoint_dir=folder, **more)
    whole = fit(tmp_path/"whole")
    with pytest.raises(KeyboardInterrupt): fit(tmp_path/"cut", cbs=[Stop()])
    np.testing.assert_array_equal(fit(tmp_path/"cut").transform(X, refine=0), whole.transform(X, refine=0))


def test_partial_fit_moves_nothing(fitted, tmp_path):
    fitted.save(tmp_path/"map")
    model, (new, _) = load_artifact(tmp_path/"map"), clusters(30, seed=7)
    before = model.places_.copy()
    model.partial_fit(new)
    np.testing.assert_array_equal(model.places_[:len(before)], before)
    assert len(model.places_) == len(model.vectors_) == len(before) + 30
    np.testing.assert_array_equal(model.places_[len(before):], fitted.transform(new))


def test_onnx_says_the_same(fitted, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    X, _ = clusters(50, seed=5)
    session = runtime.InferenceSession(fitted.export_onnx(tmp_path/"m.onnx").read_bytes())
    for rows in (X, X[:1]):
        [places] = session.run(["places"], {"vectors": rows})
        np.testing.assert_allclose(places, fitted.transform(rows, refine=0), atol=1e-5)


def test_umap_learns_network_comes_over(tmp_path):
    pytest.importorskip("tensorflow")
    X, which = clusters(90)
    model = ParametricUMAP((8,), (8,), metric="euclidean", backend="umap-learn").fit(X)
    np.testing.assert_allclose(model.transform(X, refine=0), model.places_, atol=1e-4)
    model.save(tmp_path/"map")
    np.testing.assert_array_equal(load_artifact(tmp_path/"map").transform(X), model.transform(X))


# --- the data folder ----------------------------------------------------------------------------------

def test_ten_documents_from_folder_to_map(tmp_path):
    corpus, X = load_corpus("lee").select(range(10)), clusters(10)[0]
    write_map_data(tmp_path/"ten", corpus, X, np.random.default_rng(0).normal(size=(10, 2)))
    data = read_map_data(tmp_path/"ten")
    model = ParametricUMAP(recipe="two-stage", epochs=100).fit(data.vectors, coordinates=data.coordinates, ids=data.ids)
    np.testing.assert_array_equal(model.places_, data.coordinates)
    table = model.evaluate(X[:4] + .01, coordinates=data.coordinates[:4])
    pairs = [f"{what}_{error}" for what in ("coordinate", "embedding") for error in ("mse", "mae")]
    for name in (*pairs, "avg_cosine_similarity", "cycle_error"): assert np.isfinite(table[name]).any()


def test_labels_and_other_columns_go_through_a_data_folder(tmp_path):
    columns = dict(id=list("abcd"), text=["A boat.", "A lamp.", "A car.", "A hill."], label=["x", "y", "x", "y"],
                   year=[1993, 1994, 1993, 1994], topic=["1", "2", "1", "2"], tags=[["p"], ["q"], [], []])
    write_map_data(tmp_path/"four", Dataset.from_dict(columns), np.eye(4))
    found = read_map_data(tmp_path/"four").corpus
    assert found["label"][:] == columns["label"] and found["topic"][:] == columns["topic"]
    assert found["year"][:] == ["1993", "1994", "1993", "1994"] and "tags" not in found.column_names
    bare = Dataset.from_dict({name: columns[name] for name in ("id", "text")})
    write_map_data(tmp_path/"bare", bare, np.eye(4))
    assert read_map_data(tmp_path/"bare").corpus.column_names == ["id", "text", "title", "authors"]


def test_columns_that_some_documents_lack_or_that_hold_no_value(tmp_path):
    write_map_data(tmp_path/"three", Dataset.from_dict(dict(id=list("abc"), text=["A.", "B.", "C."])), np.eye(3))
    rows = [dict(document_id="a", content="A.", label="x", id="other", text="other", more={"deep": 1}),
            dict(document_id="b", content="B.", label=None), dict(document_id="c", content="C.", score=.5)]
    (tmp_path/"three"/"all_metadata.json").write_text(json.dumps(rows))
    found = read_map_data(tmp_path/"three").corpus
    assert (found["id"][:], found["text"][:]) == (["a", "b", "c"], ["A.", "B.", "C."])
    assert (found["label"][:], found["score"][:]) == (["x", "", ""], ["", "", "0.5"]) and "more" not in found.column_names


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path/"mine").mkdir()
    (tmp_path/"mine"/"thesis.txt").write_text("six years")
    with pytest.raises(CorpusError, match="holds other files"):
        write_map_data(tmp_path/"mine", load_corpus("lee").select(range(3)), np.eye(3))
    assert [p.name for p in (tmp_path/"mine").iterdir()] == ["thesis.txt"]


# --- from a shell ---------------------------------------------------------------------------------------

def done(line, folder):
    "What a command answers, which must go well"
    from textlab.cli.core import said
    status, out, err = said(line, folder)
    assert status == 0, err
    return out


def colours_of(page):
    "What a page can colour its points by"
    [data] = re.findall(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page.read_text(), re.S)
    return {c["name"]: set(c["names"]) for c in json.loads(data)["colours"]}


def test_ten_documents_from_a_shell_to_a_text_for_a_place(tmp_path):
    "All with its defaults: export, train, invert, and a page that is coloured by the labels of the corpus"
    labels = load_corpus("newsgroups-mini").select(range(0, 200, 20)).to_pandas()
    labels[["id", "text", "label"]].assign(topic=[str(i % 3) for i in range(10)]).to_csv(tmp_path/"ten.csv", index=False)
    done("maps export ten.csv --out data", tmp_path)
    done("maps train --data-dir data --output-dir models", tmp_path)
    answer = json.loads(done("maps invert models --xy 0 0 --calls 4 --json", tmp_path))
    assert answer["text_generation_result"]["title"].strip() and answer["nearest_documents"]
    done("maps export-html models --out map.html", tmp_path)
    assert colours_of(tmp_path/"map.html") == dict(label=set(labels["label"]), topic={"0", "1", "2"})


def test_the_folder_of_a_fit_is_shown_and_writes_without_a_writer(tmp_path):
    from textlab.cli.core import said
    from textlab.maps import EmbeddingToTextService
    from textlab.maps.explorer import atlas_of
    done("maps fit newsgroups-mini --limit 12 --epochs 1 --out map", tmp_path)
    service = EmbeddingToTextService(llm=None).load_trained_model(tmp_path/"map")
    atlas, few = atlas_of(service), load_corpus("newsgroups-mini").select(range(12))
    assert (atlas.ids, atlas.methods, "label" in atlas.colours) == (few["id"][:], ["llm_synthesis"], len(set(few["label"])) > 1)
    assert "No writer was trained" in atlas.note and atlas.read(few["id"][3]) == few["text"][3]
    found = service.generate_text_from_coordinates(dict(zip("xy", service.space.places_[3].tolist()), method="llm_synthesis"))
    assert found.text_generation_result.composed_by == "extraction" and found.nearest_documents[0].id == few["id"][3]
    done("maps export-html map --out map.html", tmp_path)
    done("maps fit newsgroups-mini --limit 11 --epochs 1 --overwrite --out map", tmp_path)       # no document of before is left
    assert len(EmbeddingToTextService(llm=None).load_trained_model(tmp_path/"map").points()) == 11

    shutil.rmtree(tmp_path/"map"/"documents")                                                    # as older fits left it
    done("maps transform map polarity-mini --limit 2 --out places.jsonl", tmp_path)
    done("maps inverse map --x 0 --y 0 --out vector.npy", tmp_path)
    status, _, err = said("maps export-html map --out old.html", tmp_path)
    assert status == 2 and "no documents" in err and "maps fit" in err and not (tmp_path/"old.html").exists()


def test_a_fit_that_meets_a_full_disk_leaves_the_map_that_was_there(tmp_path, monkeypatch):
    from textlab.cli.core import said
    from textlab.maps import MapDocuments
    corpus = load_corpus("newsgroups-mini").select(range(20)).to_pandas()
    corpus[["id", "text"]].to_csv(tmp_path/"few.csv", index=False)
    np.save(tmp_path/"v.npy", np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32))
    fit = "maps fit few.csv --embedder none --embeddings v.npy --epochs 1 --out map"
    done(fit, tmp_path)
    def content(): return {p: p.read_bytes() for p in (tmp_path/"map").rglob("*") if p.is_file()}
    before = content()
    assert any("documents" in p.parts for p in before)
    def save(self, path): raise OSError(28, "No space left on device")
    with monkeypatch.context() as m:
        m.setattr(MapDocuments, "save", save)
        status, _, err = said(fit + " --seed 3 --overwrite", tmp_path)
    assert status == 2 and "the disk is full" in err and content() == before
    done(fit + " --seed 3 --overwrite", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["few.csv", "map", "v.npy"]


def test_vectors_and_embedder_of_a_fit_agree(tmp_path):
    from textlab.cli.core import said
    load_corpus("newsgroups-mini").select(range(12)).to_pandas()[["id", "text"]].to_csv(tmp_path/"few.csv", index=False)
    np.save(tmp_path/"v.npy", np.random.default_rng(0).normal(size=(12, 16)).astype(np.float32))
    np.save(tmp_path/"one.npy", np.zeros(16, np.float32) + 1)
    wrong = {"--embeddings v.npy": "16 wide, and those of minilm 384", "--embedder none": "makes no vectors"}
    for line, message in wrong.items():
        status, _, err = said(f"maps fit few.csv {line} --epochs 1 --out map", tmp_path)
        assert status == 2 and message in err and not (tmp_path/"map").exists()
    done("maps fit few.csv --embedder none --embeddings v.npy --epochs 1 --out map", tmp_path)
    status, _, err = said("maps transform map few.csv --out places.csv", tmp_path)
    assert status == 2 and "fitted on given embeddings (width 16)" in err
    done("maps invert map --embedding one.npy --method llm_synthesis --llm none", tmp_path)  # one vector as a list
    status, _, err = said("maps invert map --embedding v.npy --method llm_synthesis --llm none", tmp_path)
    assert status == 2 and "12 rows where one was expected" in err


def test_a_data_folder_is_replaced_only_where_that_is_asked_for(tmp_path):
    from textlab.cli.core import said
    load_corpus("newsgroups-mini").select(range(4)).to_pandas()[["id", "text"]].to_csv(tmp_path/"few.csv", index=False)
    np.save(tmp_path/"v.npy", np.eye(4, dtype=np.float32))
    done("maps export few.csv --embeddings v.npy --out data", tmp_path)
    (tmp_path/"data"/"coordinates.json").write_text('{"mine": [1, 2]}')
    status, _, err = said("maps export few.csv --embeddings v.npy --out data", tmp_path)
    assert status == 2 and "--overwrite" in err
    assert (tmp_path/"data"/"coordinates.json").read_text() == '{"mine": [1, 2]}'
    done("maps export few.csv --embeddings v.npy --out data --overwrite", tmp_path)
    for line in ("maps export few.csv --embeddings v.npy --out few.csv",
                 "maps train --data-dir few.csv --output-dir models"):
        status, _, err = said(line, tmp_path)
        assert status == 2 and "few.csv is a file" in err
