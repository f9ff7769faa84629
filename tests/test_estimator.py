"What no page should hold about the base of all estimators: scikit-learn's own checks, odd inputs, what must not change"
import copy, json, pickle, warnings
from pathlib import Path

import numpy as np, pandas as pd, pytest
from datasets import Dataset
from hypothesis import given, strategies as st
from fastcore.basics import store_attr
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import cross_val_score
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import check_estimator

from conftest import NOT_FOR_TEXTS
from textlab import estimator
from textlab.artifacts import Artifact
from textlab.core import ConfigError, CorpusError, TextlabError
from textlab.corpus import load_corpus
from textlab.embed import as_embedder
from textlab.estimator import Embeds, Estimator, Flag, OneOf, Real, Share, Whole, as_documents, read

PAGE = Path(__file__).resolve().parent.parent/"nbs"/"05b_estimator.ipynb"


def page_names():
    "The names that the page defines: its imports, and the estimator that it builds"
    names = {name: getattr(estimator, name) for name in dir(estimator) if not name.startswith("__")} | {"__name__": __name__}
    sources = ["".join(cell["source"]) for cell in json.loads(PAGE.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    exec(next(source for source in sources if "import make_pipeline" in source), names)
    exec(next(source for source in sources if source.startswith("class CentroidClassifier")), names)
    return names


CentroidClassifier = page_names()["CentroidClassifier"]


# --- scikit-learn's own checks -------------------------------------------------------------------

def as_texts(X):
    "Rows of numbers as texts: one word per feature and level that the number reaches"
    letters = "abcdefghijklmnopqrstuvwxyz"
    def word(j, level): return "w" + letters[j // 26 % 26] + letters[j % 26] + letters[level + 13]
    rows = check_array(X, dtype=float)
    return [" ".join(word(j, level) for j, v in enumerate(row) for level in range(-12, 12) if v > level/3) for row in rows]


def fed_with_numbers():
    "The page's estimator, with each row of numbers turned into a text: scikit-learn's checks know numbers only"
    names = page_names()
    names["read"] = lambda X, y=None, **options: read(as_texts(X), y, **options)
    names["as_documents"] = lambda X: as_documents(as_texts(X))
    return names["CentroidClassifier"]


class Numbers(fed_with_numbers()):
    artifact_class = "textlab.estimator.Numbers"
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags




def test_scikit_learns_checks_pass_but_for_those_named_with_a_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = check_estimator(Numbers(), expected_failed_checks=NOT_FOR_TEXTS, on_skip=None, on_fail=None)
    states = {status: [check["check_name"] for check in done if check["status"] == status] for status in ("passed", "failed", "xfail")}
    assert not states["failed"], states["failed"]
    assert set(states["xfail"]) == set(NOT_FOR_TEXTS), "a check that is named here passes: take it off the list"
    assert len(states["passed"]) >= 40


def test_scikit_learn_leaves_an_estimator_of_texts_alone():
    "check_estimator has nothing to feed it, and says so"
    with pytest.warns(SkipTestWarning, match="requires input"): check_estimator(CentroidClassifier(), on_skip=None)


# --- options -------------------------------------------------------------------------------------

@given(st.one_of(st.integers(-10**9, 10**9), st.floats(-1e9, 1e9, width=32)),
       st.sampled_from([int, float, np.int64, np.float32, np.float64]))
def test_an_option_gives_python_numbers_and_then_the_same_object(value, kind):
    value = kind(value)
    for option in (Whole(), Real()):
        if isinstance(option, Whole) and value != int(value): continue
        kept = option(value, "x")
        assert kept == value and type(kept) in (int, float) and option(kept, "x") is kept
        assert json.loads(json.dumps(option.save(kept))) == kept


@pytest.mark.parametrize("option", [Whole(1), Real(0), OneOf(("a",)), Flag(), Share(), Embeds()])
@pytest.mark.parametrize("value", [None, [], {}, object(), float("nan"), "b" * 9 + "\n"], ids=repr)
def test_what_makes_no_sense_is_one_clear_error(option, value):
    if isinstance(option, Embeds) and isinstance(value, str): return  # any string may be a model's name
    with pytest.raises(ConfigError, match="^embedder="): option(value, "embedder")


class Encodes:
    "The smallest object with `encode`"
    def encode(self, texts): return [[len(t), 1.] for t in texts]


class Nested(Estimator):
    allowed, fitted_by = dict(embedder=Embeds(none=True), size=Whole(1)), "seen_"
    def __init__(self, embedder=None, size=3):
        store_attr()
        self.check_arguments()
    def fit(self, X, y=None, embeddings=None):
        self.seen_ = self.vectors_for(read(X)[0], embeddings).shape
        return self


def test_clones_share_their_embedder_and_nothing_else():
    model = Nested(as_embedder(Encodes())).fit(["a", "bb"])
    twin = clone(model)
    assert twin.embedder is model.embedder and not hasattr(twin, "seen_") and not hasattr(twin, "embedder_")
    assert clone(Nested(np.str_("minilm"))).embedder == "minilm"


def test_an_embedder_of_the_constructor_wins_over_the_name_of_a_loaded_one():
    model = Nested.from_arguments(Nested(Encodes()).saved_arguments())
    model.embedder_, model.seen_ = "not-a-model-anywhere", (1, 2)
    model.set_params(embedder=Encodes())
    assert model.vectors_for(as_documents(["abc"]), dim=2).shape == (1, 2)


def test_a_second_fit_with_another_embedder_uses_it():
    class Wider(Encodes):
        def encode(self, texts): return [[1., 2., 3.] for _ in texts]
    model = Nested(Encodes()).fit(["a"])
    assert model.seen_ == (1, 2) and model.set_params(embedder=Wider()).fit(["a"]).seen_ == (1, 3)
    assert model.embedder_ == "Wider"


def systems():
    "Every estimator that the package defines"
    import textlab.codes, textlab.lm, textlab.maps, textlab.theta, textlab.topicgcn  # noqa: F401  (defines them)
    found = {name: cls for name, cls in Artifact.known.items() if issubclass(cls, Estimator) and cls.__module__.startswith("textlab.")}
    return list(found.values())


@pytest.mark.parametrize("cls", systems(), ids=lambda cls: cls.__name__)
def test_each_estimator_of_the_package_keeps_the_contract(cls):
    model = cls()
    assert clone(model).get_params() == model.get_params() == model.arguments()
    assert json.loads(json.dumps(model.saved_arguments())) == model.saved_arguments()
    assert cls.from_arguments(model.saved_arguments()).arguments() == model.arguments()
    for name, option in cls.allowed.items():
        if isinstance(option, Whole) and getattr(model, name) is not None:
            given = cls(**{name: np.int64(getattr(model, name))})
            assert type(getattr(given, name)) is int and clone(given).arguments() == given.arguments()
    with pytest.raises(ConfigError, match="has no argument 'nonsense'"): model.set_params(nonsense=1)
    with pytest.raises(TextlabError, match=f"this {cls.__name__} is not fitted; call fit"): model.check_fitted()


# --- the intake ----------------------------------------------------------------------------------

words = st.text("abc é\n", max_size=6)


@given(st.lists(words, min_size=1, max_size=12), st.randoms())
def test_labels_stay_with_their_texts(texts, rng):
    labels = [rng.choice(["x", "y", None]) for _ in texts]
    want = [(t, l) for t, l in zip(texts, labels) if t.strip()]
    forms = [texts, pd.Series(texts), pd.DataFrame({"text": texts}), {"text": texts}, [{"text": t, "n": 1} for t in texts]]
    for form in forms:
        if not want: pytest.raises(CorpusError, read, form, labels); continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            corpus, y = read(form, labels)
        assert list(zip(corpus["text"], [None if v is None else str(v) for v in y])) == want
        assert [label or None for label in corpus["label"]] == [l for _, l in want]
    corpus, y = read(texts, labels, keep_empty=True)
    assert corpus["text"][:] == texts and [v for v in y.tolist()] == labels


@given(st.lists(words, max_size=12))
def test_documents_come_out_as_they_went_in(texts):
    for form in (texts, np.array(texts, dtype=object), pd.Series(texts, dtype=object), Dataset.from_dict({"text": texts}), {"text": texts}):
        assert as_documents(form)["text"][:] == texts if texts else len(as_documents(form)) == 0


def test_bytes_and_numbers_are_no_texts():
    for wrong in (b"text", 7, [b"text"], np.zeros(3), object()):
        for take in (read, as_documents):
            with pytest.raises(TextlabError): take(wrong)


def test_a_data_set_with_columns_of_other_names():
    ds = Dataset.from_dict({"id": ["p", "q", "r"], "body": ["x", "", "z"], "stars": [1, 2, 3], "text": ["no"] * 3})
    with pytest.warns(UserWarning, match="dropped 1 of 3"): corpus, y = read(ds, "stars", text="body")
    assert corpus["id"][:] == ["p", "r"] and y.tolist() == [1, 3] and corpus["text"][:] == ["x", "z"]
    assert as_documents(ds, text="body")["text"][:] == ["x", "", "z"]


def test_columns_of_a_corpus_can_be_cross_validated_as_they_are():
    posts = load_corpus("newsgroups-mini")
    assert cross_val_score(CentroidClassifier(), posts["text"], posts["label"], cv=3).mean() > .8
    assert cross_val_score(CentroidClassifier(), posts.to_pandas()["text"], posts.to_pandas()["label"], cv=3).mean() > .8


# --- copies --------------------------------------------------------------------------------------

def test_pickled_and_copied_estimators_predict_the_same():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    model = Numbers(shrink=.1).fit(X, y)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert (twin.predict(X) == model.predict(X)).all() and twin.get_params() == model.get_params()
