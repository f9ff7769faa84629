"What people hand in: tables, labels, separated values and numbers as they come, and as many rows out as in"
import gzip, json, pickle, subprocess, sys, uuid, warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from textlab.core import ConfigError, CorpusError, EmbeddingError, TextlabError
from textlab.corpus import has_label, load_corpus
from textlab.embed import as_embedder, load_embedder
from textlab.estimator import number_labels, read
from textlab.theta import TopicModel
from textlab.topicgcn import TopicGCN
from textlab.topicgcn.topics import TopicSpace

GARDEN, BREAD = "rose garden soil petal bloom tulip seed".split(), "dough oven bread flour yeast bake crust".split()
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(GARDEN if i % 2 else BREAD, 12)) for i in range(40)]
LABELS = ["garden" if i % 2 else "bread" for i in range(40)]
VECTORS = np.stack([RNG.normal(3*(i % 2), 1, 8) for i in range(40)]).astype(np.float32)


class Letters:
    "An object that embeds: how often some letters occur"
    def encode(self, texts): return np.array([[t.count(c) for c in "aeiordgs"] + [1] for t in texts], np.float32)


def judge(**options): return TopicGCN(2, doc_features="tfidf", epochs=1, lda_passes=1, **options)


@pytest.fixture(scope="module")
def models():
    return [TopicModel(2, embedder=Letters(), epochs=1).fit(TEXTS), judge().fit(TEXTS, LABELS),
            TopicSpace(2, embedding_dim=4, epochs=1, max_iter=1).fit(TEXTS)]


# --- as many rows out as in ---------------------------------------------------------------------

ROWS = ["rose", "", "dough", " \n"]
FORMS = dict(list=ROWS, holes=["rose", None, "dough", float("nan")], array=np.array(ROWS), series=pd.Series(ROWS),
        frame=pd.DataFrame({"text": ROWS}),
             column={"text": ROWS}, dicts=[{"text": t} for t in ROWS], dataset=Dataset.from_dict({"text": ROWS}),
             corpus=Dataset.from_dict({"id": list("abcd"), "text": ["rose", None, "dough", ""]}),
             frame_holes=pd.DataFrame({"text": ["rose", None, "dough", np.nan]}), arrow=pa.table({"text": ROWS}),
             stream=Dataset.from_dict({"text": ROWS}).to_iterable_dataset(),
             numpy=Dataset.from_dict({"text": ROWS}).with_format("numpy"),
                     pandas=Dataset.from_dict({"text": ROWS}).with_format("pandas"))


@pytest.mark.parametrize("form", FORMS)
def test_every_row_is_answered_in_order(form, models, capfd):
    topics, classes, space = models
    theta = topics.transform(FORMS[form])
    assert theta.shape == (4, 2) and topics.predict(FORMS[form]).shape == (4,)
    np.testing.assert_allclose(theta[[1, 3]], np.stack([topics.theta_.mean(0)]*2), rtol=1e-5)
    assert "2 of 4 texts are empty" in capfd.readouterr().err
    np.testing.assert_allclose(classes.predict_proba(FORMS[form])[[0, 2]], classes.predict_proba(["rose", "dough"]),
            rtol=1e-5)
    assert classes.predict(FORMS[form]).shape == (4,)
    assert (space.transform(FORMS[form])[[1, 3]] == .5).all() and len(space.transform(FORMS[form])) == 4


def test_no_row_and_one_text(models):
    for model in models:
        assert len(model.transform([]) if hasattr(model, "transform") else model.predict([])) == 0
        assert len(model.transform("lee") if hasattr(model,
                "transform") else model.predict("lee")) == 1  # no corpus of that name


def test_the_command_line_answers_every_row(models, tmp_path, answer):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"id": i, "text": t}) for i, t in enumerate(ROWS)))
    judge_folder = models[1].save(tmp_path / "judge")
    said = answer("topicgcn", "predict", judge_folder, file, "--out", tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert said["documents"] == 4 and table["id"].tolist() == [0, 1, 2, 3] and table["known"].tolist() == [True,
            False]*2
    model = TopicModel(2, embedder=Letters(), epochs=1).fit(TEXTS, embeddings=VECTORS).save(tmp_path / "model")
    np.save(tmp_path / "full.npy", VECTORS[:2])             # as `textlab embed` makes them: without the empty ones
    said = answer("theta", "transform", model, file, "--embeddings", tmp_path / "full.npy", "--out",
            tmp_path / "theta.csv")
    table = pd.read_csv(tmp_path / "theta.csv")
    assert (said["documents"], said["empty"]) == (4, 2) and table["empty"].tolist() == [False, True]*2


# --- labels ---------------------------------------------------------------------------------------

def corpus(labels, features=None):
    columns = {"id": [str(i) for i in range(len(labels))], "text": TEXTS[:len(labels)], "label": labels}
    return Dataset.from_dict(columns, features=features)


CLASSES = Features({"id": Value("string"), "text": Value("string"), "label": ClassLabel(names=["bread", "garden"])})
HOLES = {"none": [None]*4 + LABELS[4:], "empty": [""]*4 + LABELS[4:]}


@pytest.mark.parametrize("form", [corpus, lambda l: corpus(l).to_pandas(), lambda l: corpus(l).to_list(),
        lambda l: corpus(l).to_dict()])
@pytest.mark.parametrize("holes", HOLES)
def test_a_missing_label_is_no_class(form, holes):
    assert judge().fit(form(HOLES[holes])).classes_.tolist() == ["bread", "garden"]
    assert TopicModel(2, mode="supervised", epochs=1).fit(form(HOLES[holes]),
            embeddings=VECTORS).classes_.tolist() == ["bread", "garden"]


def test_class_names_come_through_every_door():
    named = corpus([-1]*4 + [i % 2 for i in range(4, 40)], CLASSES)
    assert set(read(named)[1]) == {"", "bread", "garden"} == set(load_corpus(named)["label"])
    assert judge().fit(named).classes_.tolist() == ["bread", "garden"]
    loaded, direct = (TopicModel(2, epochs=1).fit(x, embeddings=VECTORS).evaluate(x,
            embeddings=VECTORS) for x in (load_corpus(named), named))
    assert loaded["nmi"] == direct["nmi"]
    numbers = corpus([-1]*4 + [i % 3 for i in range(4, 40)])
    loaded, direct = (TopicModel(2, epochs=1).fit(x, embeddings=VECTORS).evaluate(x,
            embeddings=VECTORS) for x in (load_corpus(numbers), numbers))
    assert loaded["nmi"] == direct["nmi"] and judge().fit(numbers).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("labels, known", [([-1, 1], 2), (["-1", "1"], 2), ([-1, 0, 1, 2], 3), (["-1", "0", "1", "2"],
        3),
                                           (["-1", "0", "1"], 3), ([-1, 0, 1], 2), ([-1, -1], 0), ([-1., 1.], 2),
                                           (["a", "-1"], 2)])
def test_minus_one(labels, known):
    "It is a class but among class numbers from 0 on"
    assert has_label(np.array(labels)).sum() == has_label(labels).sum() == known


def test_plus_and_minus_one_are_two_classes(capfd):
    y = [1 if i % 2 else -1 for i in range(40)]
    assert judge().fit(TEXTS, y).classes_.tolist() == [-1, 1] == judge().fit(corpus(y)).classes_.tolist()
    assert set(load_corpus(corpus(y))["label"]) == {"-1", "1"}
    number_labels(np.array([-1, 0, 1]))
    assert "1 labels are -1 beside 0 and 1" in capfd.readouterr().err


@pytest.mark.parametrize("several", [["sports", "world"], ("a", "b"), np.array(["a", "b"])])
def test_several_labels_in_one_cell_are_refused(several):
    labels = [several] + [[l] for l in LABELS[1:]]
    frame = pd.DataFrame({"text": TEXTS, "label": labels})
    for use in (lambda: load_corpus(frame), lambda: load_corpus(frame.to_dict("records")),
            lambda: judge().fit(frame)):
        with pytest.raises(CorpusError, match="row 0.*2 labels in one cell.*choose one"): use()
    with pytest.raises(ConfigError, match="several labels for one document"): judge().fit(TEXTS, labels)
    with pytest.raises(CorpusError, match="2 labels in one cell"): judge().fit(corpus([list(map(str,
            l)) for l in labels]))
    assert judge().fit(corpus([[l] for l in LABELS])).classes_.tolist() == ["bread", "garden"]


@pytest.mark.parametrize("values, classes", [
    (pd.array([1, None, 2] * 14, dtype="Int64")[:40], [1, 2]), (pd.array(["a", None, "b"] * 14, dtype="string")[:40], ["a", "b"]),
    (pd.Categorical((["a", None, "b"] * 14)[:40]), ["a", "b"]), (pd.array(([True, None, False] * 14)[:40], dtype="boolean"), [False, True]),
    ([1., np.nan, 2.] * 13 + [1.], [1, 2]), ([b"a", b"b"] * 20, ["a", "b"])])
def test_a_hole_of_pandas_is_no_class_and_labels_keep_their_type(values, classes):
    "As y, and as a column of the table"
    frame = pd.DataFrame({"text": TEXTS, "label": values})
    assert judge().fit(frame).classes_.tolist() == classes
    if not isinstance(values, list): assert judge().fit(TEXTS, values).classes_.tolist() == classes
    assert set(load_corpus(frame)["label"]) - {""} == {str(c) for c in classes}


def test_an_object_is_no_label():
    with pytest.raises(CorpusError, match="row 0.*an object .* is no label"): load_corpus([{"text": "a", "label": {"topic": "b"}}])


def test_a_text_that_pandas_misses_is_an_empty_row(models):
    topics, classes, _ = models
    texts = pd.Series(["rose", pd.NA, "dough"], dtype="string")
    assert topics.transform(texts).shape == (3, 2) and len(classes.predict(texts)) == 3


# --- separated values -------------------------------------------------------------------------------

def texts_of(tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return load_corpus(path, **options)["text"][:]


def test_a_tsv_is_read_without_quoting(tmp_path):
    rows = ['"an open one', 'two', 'a "third" one', '"four"', 'five"', "six"]
    content = "id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in enumerate(rows))
    assert texts_of(tmp_path, "a.tsv", content) == rows
    assert texts_of(tmp_path, "b.tsv", 'id\ttext\n1\t"two\nlines"\n', quoting="quotes") == ["two\nlines"]


@pytest.mark.parametrize("content", ['id,text\n1,"one\n2,two\n3,three"\n4,four\n',
        'id,text\n1,one\n2,"two\n3,three\n4,four\n5,"five"\n6,six\n'])
def test_a_csv_swallows_no_row_in_silence(tmp_path, content):
    with pytest.raises(CorpusError, match=r"line \d.*(quotation mark|malformed)"): texts_of(tmp_path, "a.csv",
            content)
    assert len(texts_of(tmp_path, "a.csv", content, quoting="none")) == content.count("\n") - 1


def test_quoted_lines_are_read_and_noted_where_they_look_like_rows(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts_of(tmp_path, "a.csv", 'id,text\n1,"a poem\nof two lines"\n2,b\n') == ["a poem\nof two lines",
                "b"]
    with pytest.warns(UserWarning, match=r"1 quoted fields run over lines that look like rows \(lines 2-3\)"):
        assert texts_of(tmp_path, "a.csv",
                'id,text\na,"Paris\nor Rome, perhaps"\nb,c\n') == ["Paris\nor Rome, perhaps", "c"]


@pytest.mark.parametrize("sign, name", [(";", "semicolons"), ("\t", "tabs"), ("|", "pipes")])
def test_the_delimiter_is_recognised_and_said(tmp_path, sign, name):
    content = f"id{sign}text\n1{sign}one, two\n2{sign}three, four, five\n"
    with pytest.warns(UserWarning, match=f"separated by {name}"): assert texts_of(tmp_path, "a.csv",
            content) == ["one, two", "three, four, five"]
    with pytest.warns(UserWarning, match=f"separated by {name}"):
        assert len(texts_of(tmp_path, "b.csv", f"sep={sign}\n{content}")) == 2
    assert texts_of(tmp_path, "c.csv", content, delimiter=sign) == ["one, two", "three, four, five"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert texts_of(tmp_path, "d.csv", f'id,text\n1,"one{sign} two"\n2,a{sign}b\n') == [f"one{sign} two",
                f"a{sign}b"]


def test_delimiter_and_quoting_on_the_command_line(tmp_path, answer, mistake):
    (tmp_path / "a.csv").write_text('id~text\n1~"one\n2~two\n')
    assert answer("corpus", "info", tmp_path / "a.csv", "--delimiter", "~", "--quoting", "none")["documents"] == 2
    assert "delimiter" in mistake("corpus", "info", tmp_path / "a.csv", "--delimiter", "~~")
    assert "quoting" in mistake("corpus", "info", tmp_path / "a.csv", "--quoting", "some")
    (tmp_path / "a.txt").write_text("one\n")
    assert "only a .csv or .tsv" in mistake("corpus", "info", tmp_path / "a.txt", "--delimiter", ";")


@pytest.mark.parametrize("content, rows", [("id,text\r1,one\r2,two\r", ["one", "two"]), ("\n\nid,text\n1,one\n\n2,two\n", ["one", "two"]),
                                           ("\ufeff\nid;text\n1;one\n", ["one"])])
def test_old_line_ends_and_blank_lines_above_the_header(tmp_path, content, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert texts_of(tmp_path, "a.csv", content) == rows


def test_swallowed_rows_that_hold_the_delimiter_are_found(tmp_path):
    with pytest.raises(CorpusError, match="line 3: a quotation mark opens a field that runs on to line 5"):
        texts_of(tmp_path, "a.csv", '\nid,text\n1,"one\n2,two, or 2\n3,three, or 3"\n4,four\n')
    with pytest.warns(UserWarning, match=r"run over lines that look like rows \(lines 2-4\)"):
        assert len(texts_of(tmp_path, "b.csv", 'text\n"one\ntwo\nthree"\nfour\n')) == 2


def test_kinds_of_files_that_people_have(tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "text": ["one", "two"]})
    table.to_json(tmp_path / "a.ndjson", orient="records", lines=True)
    table.to_csv(tmp_path / "a.tab", sep="\t", index=False)
    table.to_excel(tmp_path / "a.xlsx", index=False)
    (tmp_path / "A.JSONL.GZ").write_bytes(gzip.compress((tmp_path / "a.ndjson").read_bytes()))
    for year in (2023, 2024):
        (tmp_path / "parts" / f"year={year}").mkdir(parents=True)
        part = table if year == 2023 else table.replace({"id": {"a": "c", "b": "d"}})
        part.to_parquet(tmp_path / "parts" / f"year={year}" / "0.parquet")
    for name in ("a.ndjson", "a.tab", "a.xlsx", "A.JSONL.GZ"):
        for streaming in (False, True):
            assert [r["text"] for r in load_corpus(tmp_path / name, streaming=streaming)] == ["one", "two"], name
    parts = load_corpus(tmp_path / "parts")
    assert parts["id"][:] == list("abcd") and parts["year"][:] == [2023, 2023, 2024, 2024]
    assert len(load_corpus(tmp_path / "parts", limit=3)) == 3


@pytest.mark.parametrize("given, rows", [("one\ntwo\n", 2), ('{"text": "one"}\n{"text": "two"}\n', 2), ('["one"]', 1)])
def test_the_standard_input_is_a_corpus(given, rows):
    done = subprocess.run([sys.executable, "-m", "textlab", "corpus", "info", "-", "--json"], input=given, text=True, capture_output=True)
    assert done.returncode == 0 and json.loads(done.stdout)["documents"] == rows, done.stderr


def test_files_of_a_folder_that_are_left_out_are_counted(tmp_path):
    for name in ("a.txt", "b.md", "c.md", "d.docx"): (tmp_path / name).write_text("x")
    with pytest.warns(UserWarning, match="there are others .2 .md, 1 .docx"): assert len(load_corpus(tmp_path)) == 1


def test_a_folder_of_files_in_capitals(tmp_path):
    for name in ("A.TXT", "b.txt", "c.Txt", "a.txt"): (tmp_path / name).write_text(name)
    assert sorted(load_corpus(tmp_path)["text"]) == sorted(["A.TXT", "b.txt", "c.Txt", "a.txt"])
    (tmp_path / "b.TXT").write_text("twice")
    assert sorted(load_corpus(tmp_path)["id"]) == ["A", "a", "b.TXT", "b.txt", "c"]


# --- records and columns of all kinds -----------------------------------------------------------------

@pytest.mark.parametrize("record, said", [
    ('{"id": 1e400, "text": "a"}', "infinity is no id"), ('{"text": "a", "label": Infinity}', "infinity is no label"),
    ('{"text": "a", "label": -Infinity}', "infinity is no label"), ('{"text": "a", "x": {"\\ud800": 1}}',
            "surrogate"),
    ('{"text": "a", "x": ["\\ud800"]}', "surrogate"), ('{"text": "a", "\\ud800": 1}', "surrogate"),
    ('{"text": "a", "id": "\\udc00"}', "surrogate"), ('{"text": "a", "label": ["a", "b"]}', "labels in one cell")])
def test_a_record_that_cannot_be_is_refused(tmp_path, record, said):
    path = tmp_path / "a.jsonl"
    path.write_text(record)
    with pytest.raises(CorpusError, match=said): load_corpus(path)


def test_an_endless_title_is_a_title(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "title": [1e400], "n": 1e400}')
    assert load_corpus(tmp_path / "a.jsonl")["title"][:] == ["inf"]


FRAMES = {
    "period": dict(p=pd.period_range("2020-01", periods=3, freq="M")),
            "uuid": dict(u=[uuid.UUID(int=i) for i in range(3)]),
    "interval": dict(i=pd.interval_range(0, 3)), "delta": dict(d=pd.to_timedelta([1, 2, 3], "D")),
            "complex": dict(c=[1j, 2j, 3j]),
    "zone": dict(z=pd.date_range("2020", periods=3, tz="Europe/Berlin")),
            "category": dict(c=pd.Categorical(list("aab"))),
    "sets": dict(s=[{1}, {2}, {3}]), "sparse": dict(s=pd.arrays.SparseArray([0, 0, 1])), "mixed": dict(m=[1, "a",
            [2]])}


@pytest.mark.parametrize("kind", FRAMES)
def test_any_column_comes_along(kind, tmp_path):
    frame = pd.DataFrame({"text": TEXTS[:3]} | FRAMES[kind])
    ds = load_corpus(frame)
    assert ds["text"][:] == TEXTS[:3] and len(ds.column_names) == 3 and len(ds[0]) == 3
    assert load_corpus(frame.convert_dtypes())["text"][:] == TEXTS[:3]
    if kind == "period": assert str(ds["p"][0]) == "2020-01"


def test_columns_of_several_levels():
    frame = pd.DataFrame({("text", ""): TEXTS[:3], ("n", "sum"): [1, 2, 3]})
    assert load_corpus(frame).column_names == ["id", "text", "n_sum"]
    assert len(judge().fit(pd.DataFrame({("text", ""): TEXTS, ("label", ""): LABELS})).classes_) == 2


def test_parquet_of_any_type(tmp_path):
    columns = {"text": TEXTS[:3], "m": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            "d": pa.array([1, 2, 3], pa.decimal128(5, 2)),
               "u": pa.array([uuid.UUID(int=i).bytes for i in range(3)], pa.uuid()), "b": [b"a"]*3, "s": [{"a": 1}]*3}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    for options in ({}, {"limit": 2}): assert load_corpus(tmp_path / "a.parquet", **options)["text"][:2] == TEXTS[:2]
    assert load_corpus(tmp_path / "a.parquet")["m"][0] == '{"a": 1}'
    assert load_corpus(pa.table(columns))["text"][:] == TEXTS[:3]


@pytest.mark.parametrize("kind", ["numpy", "pandas", "torch", "arrow"])
def test_data_sets_with_a_format_of_their_own(kind):
    ds = corpus(LABELS).with_format(kind)
    assert load_corpus(ds)["label"][:] == LABELS and read(ds)[1].tolist() == LABELS
    assert judge().fit(ds).classes_.tolist() == ["bread", "garden"]


class Polars:
    "A frame that speaks Arrow's protocol and nothing of pandas"
    def __init__(self, columns): self.table = pa.table(columns)
    def __arrow_c_stream__(self, schema=None): return self.table.__arrow_c_stream__(schema)


def test_a_frame_that_speaks_arrow(models):
    frame = Polars({"text": pa.array(TEXTS, pa.string_view()), "label": LABELS})
    assert load_corpus(frame)["label"][:] == LABELS and judge().fit(frame).classes_.tolist() == ["bread", "garden"]
    assert len(models[0].predict(frame)) == 40


def test_lists_beside_the_texts_are_saved(tmp_path):
    ds = corpus(LABELS).add_column("tags", [["a", "b"]]*40).add_column("vector", [[.1, .2]]*40).add_column("more",
            [{"a": None}]*40)
    model = TopicModel(2, epochs=1).fit(ds, embeddings=VECTORS)
    again = TopicModel.load(model.save(tmp_path / "model"))
    assert again.documents_["tags"][0] == '["a", "b"]' and (again.theta_ == model.theta_).all()


def test_infinity_beside_the_texts_is_saved(tmp_path):
    frame = pd.DataFrame({"text": TEXTS, "x": [float("inf")] * 20 + [float("nan")] * 20, "n": pd.array([1, None] * 20, dtype="Int64")})
    TopicModel(2, epochs=1).fit(frame, embeddings=VECTORS).save(tmp_path / "m")
    assert TopicModel.load(tmp_path / "m").documents_[["x", "n"]].iloc[[0, -1]].values.tolist()[0] == ["inf", 1]


def test_a_stream_is_a_corpus():
    assert judge().fit(load_corpus(corpus(LABELS), streaming=True)).classes_.tolist() == ["bread", "garden"]
    assert len(TopicModel(2, epochs=1).fit(load_corpus(TEXTS, streaming=True), embeddings=VECTORS).theta_) == 40


# --- options and embedders ------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [dict(num_topics=np.int64(2), epochs=np.int8(1), learning_rate=np.float32(.002)),
        dict(num_topics=2., epochs=1.),
                                     dict(num_topics="2", epochs="1"), dict(num_topics=np.array(2), epochs=1,
                                             warm_start=np.True_)])
def test_numbers_of_any_kind_are_options(options, tmp_path):
    model = TopicModel(**options).fit(TEXTS, embeddings=VECTORS)
    assert TopicModel.load(model.save(tmp_path / "model")).theta_.shape == (40, 2)


def test_anything_that_embeds():
    fitted = make_pipeline(TfidfVectorizer()).fit(TEXTS)
    for embedder in (load_embedder("minilm"), Letters(), fitted, fitted[0]):
        assert TopicModel(2, embedder=embedder, epochs=1).fit(TEXTS).predict(TEXTS[:3]).shape == (3,)
    with pytest.raises(EmbeddingError, match="fit it on texts first"): TopicModel(2,
            embedder=make_pipeline(TfidfVectorizer())).fit(TEXTS)
    with pytest.raises(TextlabError, match="give a name"): as_embedder(7)


def test_a_model_survives_pickle():
    for embedder in ("minilm", load_embedder("minilm"), Letters()):
        model = TopicModel(2, embedder=embedder, epochs=1).fit(TEXTS)
        assert (pickle.loads(pickle.dumps(model)).predict(TEXTS) == model.predict(TEXTS)).all()
    from textlab.embed import Embedder
    own = Embedder("mine", 4, lambda: None, weights="v1")
    with pytest.raises(ConfigError, match="cannot be pickled.*save\\(\\)"): pickle.dumps(TopicModel(2, embedder=own))


def test_a_pipeline_hands_labels_on():
    piped = make_pipeline(TopicModel(2, embedder=Letters(), epochs=1, mode="supervised")).fit(TEXTS, LABELS)
    assert piped[0].classes_.tolist() == ["bread", "garden"]
    with pytest.raises(ConfigError, match="one label per document"): TopicModel(2).fit(TEXTS, np.eye(2)[[0, 1]*20])
