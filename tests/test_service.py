"What no page should hold about the service: choices that follow the score, trips to disk, parts that are missing, bad requests"
import numpy as np, pytest
from datasets import Dataset

from textlab.artifacts import Artifact
from textlab.core import ArtifactError, ConfigError, EmbeddingError, TextlabError
from textlab.maps import (Corrector, EmbeddingToTextRequest, EmbeddingToTextService, Inverter, MapData, MapDocuments,
                          ParametricUMAP, template_sentences, train_service)
from textlab.maps.service import check_space, list_prompt


class Pairs:
    "An embedder of 48 numbers: pairs of letters, hashed"
    name, dim = "pairs", 48

    def __init__(self, step=7): self.step = step

    def encode(self, texts):
        X = np.full((len(texts), self.dim), .01, np.float32)
        for row, text in zip(X, texts):
            for a, b in zip(text, text[1:]): row[(ord(a)*self.step + ord(b)) % self.dim] += 1
        return X/np.linalg.norm(X, axis=1, keepdims=True)


SENTENCES = template_sentences(60, words=4, seed=3)


@pytest.fixture(scope="module")
def parts():
    X = Pairs().encode(SENTENCES)
    space = ParametricUMAP((16,), (16,), epochs=2, embedder=Pairs()).fit(X)
    writer = Corrector(sources="guided neighbour", embedder=Pairs(), calls=8, steps=40, max_length=30)
    writer.fit(SENTENCES, embeddings=X)
    corpus = Dataset.from_dict(dict(id=[f"d{i}" for i in range(60)], text=[s + ". And more." for s in SENTENCES], title=SENTENCES))
    return space, writer, MapDocuments(corpus)


@pytest.fixture
def service(parts): return EmbeddingToTextService(*parts, embedder=Pairs(), llm=None)


def answer(service, **fields):
    x, y = service.space.places_[7]
    return service.generate_text_from_coordinates(dict(x=x, y=y, calls=8) | fields)


# --- to disk and back ----------------------------------------------------------------------------------

def test_the_writer_is_the_librarys_also_after_a_notebook_defined_a_class_of_its_name(service, tmp_path, monkeypatch):
    service.save(tmp_path/"models")
    monkeypatch.setitem(Artifact.known, Corrector.artifact_class, type("Corrector", (), {}))
    again = EmbeddingToTextService(llm=None).load_trained_model(tmp_path/"models")
    assert type(again.writer) is Corrector


def content(folder): return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("wrong", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_save_that_is_cut_leaves_the_models_that_were_there(service, parts, tmp_path, monkeypatch, wrong):
    "A new map with the documents of the old one would show wrong titles"
    service.save(tmp_path/"models")
    (tmp_path/"models"/"notes.txt").write_text("mine")
    before = content(tmp_path)
    space = ParametricUMAP((16,), (16,), epochs=1, seed=1, embedder=Pairs()).fit(Pairs().encode(SENTENCES))
    other = EmbeddingToTextService(space, *parts[1:], embedder=Pairs(), llm=None)
    def save(self, path): raise wrong
    with monkeypatch.context() as m:
        m.setattr(MapDocuments, "save", save)
        with pytest.raises((KeyboardInterrupt, TextlabError)): other.save(tmp_path/"models")
    assert content(tmp_path) == before
    other.save(tmp_path/"models")
    changed = {name.parts[1] for name, data in content(tmp_path).items() if data != before[name]}
    assert "parametric_umap" in changed and content(tmp_path).keys() == before.keys()


@pytest.mark.parametrize("name, epochs", [("vec2text_epochs", 0), ("umap_epochs", -1)])
def test_epochs_of_both_parts_are_looked_at_before_the_first_is_trained(name, epochs, monkeypatch):
    monkeypatch.setattr(ParametricUMAP, "fit", lambda *a, **k: pytest.fail("the map is trained"))
    corpus = Dataset.from_dict(dict(id=list("abc"), text=["one", "two", "three"]))
    data = MapData(corpus, Pairs().encode(corpus["text"][:]), np.zeros((3, 2), np.float32), {})
    with pytest.raises(ConfigError, match=f"{name}={epochs}"): train_service(data, embedder=Pairs(), **{name: epochs})


# --- the choice -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("weight", [0., .2, 5.])
def test_the_chosen_text_has_the_best_score_and_the_score_is_what_it_says(service, weight):
    service.map_weight = weight
    found = answer(service)
    place = np.array([found.x, found.y], np.float32)
    e = service.space.inverse_transform(place[None])[0]
    for c in found.candidates:
        v = service.embedder.encode([c.text])
        lands = service.space.transform(v)[0]
        far = np.linalg.norm(lands - place)
        assert c.cosine == pytest.approx(float(v[0] @ e), abs=1e-4)
        assert (c.x, c.y) == pytest.approx(tuple(lands), abs=1e-3)
        assert c.score == pytest.approx(c.cosine - weight*min(1, far/service.radius), abs=1e-3)
    assert found.chosen.score == max(c.score for c in found.candidates)
    assert found.text_generation_result.title == found.chosen.text
    assert len(found.candidates) <= 8


def test_nearest_documents_are_the_nearest(service):
    found = answer(service, neighbours=60).nearest_documents
    far = np.linalg.norm(service.space.places_ - [answer(service).x, answer(service).y], axis=1)
    assert found[0].row == 7 and found[0].map_distance == pytest.approx(0, abs=1e-4)
    assert [d.map_distance for d in found] == pytest.approx(sorted(far), abs=1e-4)
    assert [d.title for d in found] == [SENTENCES[d.row] for d in found]


def test_the_same_request_gets_the_same_answer_and_a_saved_service_gives_it_too(service, tmp_path):
    first = answer(service).model_dump(exclude={"seconds"})
    assert answer(service).model_dump(exclude={"seconds"}) == first
    loaded = EmbeddingToTextService(embedder=Pairs(), llm=None).load_trained_model(service.save(tmp_path/"models"))
    assert answer(loaded).model_dump(exclude={"seconds"}) == first
    assert not [p for p in (tmp_path/"models").rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".bin")]


# --- a language model ---------------------------------------------------------------------------------------

def test_copies_of_a_language_model_are_not_its_own(service):
    def mixed(prompt, count, seed): return [prompt.splitlines()[-2].removeprefix("- ").upper(), "a boat on the hill", ""]
    service.llm = mixed
    found = answer(service, method="llm_synthesis")
    assert [c.text for c in found.candidates] == ["a boat on the hill"] and found.text_generation_result.composed_by != "extraction"


@pytest.mark.parametrize("llm", [None, lambda prompt, count, seed: []])
def test_without_a_language_model_the_answer_says_extraction(service, llm):
    service.llm = llm
    found = answer(service, method="llm_synthesis")
    assert found.text_generation_result.composed_by == "extraction" and "by extraction" in found.notes[0]
    assert found.chosen.text in SENTENCES[7] + ". And more." or any(found.chosen.text in d.excerpt for d in found.nearest_documents)


def test_the_nearest_text_stands_last_in_the_list():
    assert list_prompt(["near", "far"]).splitlines()[-2:] == ["- near", "-"]


# --- parts that are missing, and bad input ------------------------------------------------------------------

def test_each_part_can_be_missing(parts, tmp_path):
    space, writer, documents = parts
    only_map = EmbeddingToTextService(space, None, documents, embedder=Pairs(), llm=None)
    with pytest.raises(ConfigError, match="needs a writer"): answer(only_map)
    assert answer(only_map, method="llm_synthesis").chosen.source == "extraction"
    only_writer = EmbeddingToTextService(None, writer, None, embedder=Pairs())
    found = only_writer.generate_text_from_text(SENTENCES[3], calls=8)
    assert found.chosen.cosine > .9 and found.x is None and found.nearest_documents == []
    with pytest.raises(ConfigError, match="no map is loaded"): only_writer.generate_text_from_coordinates(dict(x=0, y=0))
    with pytest.raises(ConfigError, match="needs the documents"): only_writer.generate_text_from_text("a boat", method="llm_synthesis")
    with pytest.raises(ConfigError, match="no documents"): only_writer.points()
    with pytest.raises(ArtifactError, match="neither parametric_umap nor vec2text"):
        EmbeddingToTextService().load_trained_model(tmp_path)
    (tmp_path/"vec2text").mkdir()
    with pytest.raises(ArtifactError): EmbeddingToTextService().load_trained_model(tmp_path)
    few = MapDocuments(documents.corpus().select(range(9)))
    with pytest.raises(ArtifactError, match="60 points, and there are 9"): EmbeddingToTextService(space, None, few)


@pytest.mark.parametrize("wrong, message", [
    (dict(x=float("nan"), y=0), "x=nan"), (dict(x=0, y=float("inf")), "y=inf"), (dict(y=0), "Field required"),
    (dict(x=0, y="up"), "y='up'"), (dict(x=0, y=0, method="poem"), "method='poem'"), (dict(x=0, y=0, calls=0), "calls=0"),
    (dict(x=0, y=0, neighbours=0), "neighbours=0"), (dict(x=0, y=0, colour="red"), "colour='red'"), ("here", "request='here'")])
def test_a_bad_request_is_one_line(service, wrong, message):
    with pytest.raises(ConfigError, match=message) as e: service.generate_text_from_coordinates(wrong)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("vector", [np.ones(47), np.full(48, np.nan), np.ones((2, 48))])
def test_a_vector_that_does_not_fit_is_refused(service, vector):
    with pytest.raises(EmbeddingError): service.generate_text_from_embedding(vector)


def test_another_embedder_is_refused(parts, tmp_path):
    saved = EmbeddingToTextService(*parts, embedder=Pairs()).save(tmp_path/"models")
    other = EmbeddingToTextService(embedder=Pairs(step=11)).load_trained_model(saved)
    for use in (lambda: answer(other), lambda: other.search("boat"), lambda: other.generate_text_from_text("a boat")):
        with pytest.raises(EmbeddingError, match="makes others"): use()


def folder(X, **columns):
    n = len(X)
    rows = dict(id=[str(i) for i in range(n)], text=SENTENCES[:n], title=[""]*n) | columns
    return MapData(Dataset.from_dict(rows), X, np.full((n, 2), np.nan, np.float32))


def test_vectors_of_another_embedder_are_no_data_folder(parts):
    X = Pairs().encode(SENTENCES[:12])
    for bad in (Pairs(step=11).encode(SENTENCES[:12]), X[:, :20]):
        with pytest.raises(EmbeddingError, match="none: texts are then written without being checked"):
            train_service(folder(bad), embedder=Pairs())
    check_space(service_embedder(), folder(X))


def service_embedder():
    from textlab.embed import as_embedder
    return as_embedder(Pairs())


def test_a_folder_without_texts_trains_no_writer():
    with pytest.raises(ConfigError, match="0 documents have a title or a text"):
        train_service(folder(np.eye(12, 48, dtype=np.float32), text=[""]*12), embedder=None, skip_umap=True)


def test_coordinates_of_the_folder_are_the_places_of_the_map():
    X, C = Pairs().encode(SENTENCES[:40]), np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    data = MapData(folder(X).corpus, X, C)
    service, measured = train_service(data, embedder=Pairs(), umap_epochs=2, skip_vec2text=True)
    np.testing.assert_array_equal(service.space.places_, C)
    assert service.writer is None and list(measured) == ["umap"]
    assert {"coordinate_mse", "coordinate_mae", "embedding_mse", "embedding_mae", "avg_cosine_similarity"} <= measured["umap"].keys()


def test_without_an_embedder_nothing_is_claimed(parts):
    X = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)
    service, _ = train_service(folder(X), embedder=None, umap_epochs=1, vec2text_epochs=1)
    assert isinstance(service.writer, Inverter)
    found = service.generate_text_from_coordinates(EmbeddingToTextRequest(x=0, y=0))
    assert found.chosen.cosine is None and found.chosen.x is None and "was not checked" in found.notes[-1]
    with pytest.raises(TextlabError, match="no embedder"): service.generate_text_from_text("a boat")


# --- search --------------------------------------------------------------------------------------------------

def test_search_finds_by_words_and_by_vectors(service):
    word = SENTENCES[20].split()[2]
    by_words = service.search(word, 60, "words")
    assert all(word in SENTENCES[r] for r in by_words["row"]) and len(by_words) == sum(word in s.split() for s in SENTENCES)
    assert service.search(SENTENCES[20], 1, "vectors")["row"][0] == 20 and service.search(SENTENCES[20], 1)["row"][0] == 20
    assert list(service.search("boat", 2)) == ["row", "id", "title", "x", "y", "score"]
    with pytest.raises(ConfigError, match="did you mean 'vectors'"): service.search("boat", mode="vector")
