"The command line of language models and search: the whole way once, and a mistake is one line that leaves nothing"
import json, shlex

import pytest
from textlab.cli import run

WIKI = ("wiki-mini-passages", "--limit", 120)
ENCODER = ("--dim", 32, "--fixed_dim", 32)
SMALL = ("--limit", 8, "--dim", 16, "--seq_len", 16, "--vocab_size", 300)
WRITER = ("--limit", 30, "--dim", 32, "--epochs", 2, "--seq_len", 32, "--batch_size", 16)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A folder with a tokenizer, a language model, two encoders, an index and questions"
    folder = tmp_path_factory.mktemp("made")
    lines = (
        ("lm", "tokenizer", "train", "lee", "--limit", 60, "--vocab-size", 400, "--out", folder / "tokens"),
        ("lm", "train", "lee", *WRITER, "--tokenizer", folder / "tokens", "--out", folder / "writer"),
        ("lm", "encoder", "train", *WIKI, *ENCODER, "--epochs", 2, "--out", folder / "encoder"),
        ("lm", "encoder", "train", *WIKI, *ENCODER, "--epochs", 0, "--out", folder / "other"),
        ("search", "build", *WIKI, "--embedder", folder / "encoder", "--out", folder / "index"),
    )
    for line in lines: assert run([str(a) for a in line]) == 0, line
    from textlab.corpus import load_corpus
    from textlab.lm import known_items
    asked = known_items(load_corpus("wiki-mini-passages", limit=120))[1][:30]
    questions(folder / "asked.jsonl", *(q | {"relevant": list(q["relevant"])} for q in asked))
    return folder


@pytest.fixture
def kept(made, tmp_path): return [tmp_path, made]


def questions(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- the whole way, once ---------------------------------------------------------------------------

def test_what_training_leaves(made):
    assert sorted(p.name for p in made.iterdir()) == ["asked.jsonl", "encoder", "index", "other", "tokens", "writer"]
    assert sorted(p.name for p in (made / "writer").iterdir()) == [
        "config.json", "lstm_bpe_best.pt", "lstm_bpe_final.pt", "model.safetensors", "tokenizer.json",
        "training_history.json"]
    saved = json.loads((made / "writer/config.json").read_bytes())["config"]
    assert saved["vocab_size"] == 400  # the given tokenizer's, not the default


def test_evaluate(made, answer):
    row = answer("lm", "evaluate", made / "writer", "lee", "--limit", 3)
    assert row["documents"] == 3 and 1 < row["perplexity"] < 401 and 0 < row["bits_per_byte"] < 8


def test_the_same_seed_writes_the_same_text_in_a_new_process(made, answer, process):
    line = ["lm", "generate", made / "writer", "--prompt", "The war", "--max_tokens", 15, "--seed", 7]
    here = answer(*line)
    there = process("-m", "textlab", *line, "--json")
    assert (there.returncode, json.loads(there.stdout)) == (0, here), there.stderr
    assert here["text"].startswith("The war") and len(here["text"]) > len("The war")
    assert answer(*line[:-1], 8)["text"] != here["text"]
    assert answer(*line, "--max-tokens", 0)["text"] == "The war"


def test_another_architecture_takes_the_place(say, answer, tmp_path):
    small = ("lm", "train", "lee", *SMALL, "--num_layers", 1, "--epochs", 1, "--out", tmp_path / "m")
    assert answer(*small)["arch"] == "lstm"
    status, _, err = say(*small, "--arch", "transformer")
    assert status == 2 and "--overwrite" in err
    assert answer(*small, "--arch", "transformer", "--overwrite")["arch"] == "transformer"
    kept = sorted(p.name for p in (tmp_path / "m").glob("*.pt"))
    assert kept == ["transformer_bpe_best.pt", "transformer_bpe_final.pt"]
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_an_interruption_keeps_the_checkpoint_and_the_same_command_goes_on(goes_on):
    goes_on(0, "lm", "train", "lee", *SMALL, "--epochs", 2)


def test_an_interrupted_encoder_goes_on(goes_on):
    goes_on(0, "lm", "encoder", "train", "wiki-mini-passages", "--limit", 60, *ENCODER, "--epochs", 2)


def test_query(made, answer, say):
    for mode in ("dense", "bm25", "hybrid"):
        found = answer("search", "query", made / "index", "anarchist movement", "--k", 4, "--mode", mode)
        assert found["mode"] == mode and len(found["hits"]) == 4
        assert found["hits"][0].keys() == {"id", "title", "score", "snippet"}
        assert [h["score"] for h in found["hits"]] == sorted((h["score"] for h in found["hits"]), reverse=True)
    best = answer("search", "query", made / "index", "anarchist movement", "--k", 4)
    assert best["hits"] == found["hits"]  # hybrid, where words are indexed
    status, out, err = say("search", "query", made / "index", "anarchist movement", "--k", 2)
    assert (status, err) == (0, "") and found["hits"][0]["id"] in out and out.count("\n") == 4


def test_an_index_needs_no_folder_but_its_own(made, answer, say, tmp_path):
    made.joinpath("encoder").rename(tmp_path / "elsewhere")
    try: assert len(answer("search", "query", made / "index", "anarchist movement")["hits"]) == 10
    finally: (tmp_path / "elsewhere").rename(made / "encoder")


def test_search_evaluate(made, answer):
    line = ("search", "evaluate", "--corpus", *WIKI, "--queries", made / "asked.jsonl", "--embedder", made / "encoder")
    one, both = answer(*line), answer(*line, "--hybrid")
    assert (one["queries"], one["passages"], one["mode"], list(one["systems"])) == (30, 120, "dense", ["dense"])
    assert list(both["systems"]) == ["dense", "bm25", "hybrid"] and both["systems"]["dense"] == one["systems"]["dense"]
    assert both["MRR@10"] == both["systems"]["hybrid"]["MRR@10"] and both["systems"]["bm25"]["R@10"] > .8
    low, high = both["ci"]["MRR@10"]
    assert low <= both["MRR@10"] <= high


def test_a_question_of_unknown_words_has_no_answer_and_is_no_mistake(made, answer, say):
    found = answer("search", "query", made / "index", "zzqxv \udcff", "--mode", "bm25")
    assert found["hits"] == []
    status, out, _ = say("search", "query", made / "index", "zzqxv \udcff", "--mode", "bm25")
    assert (status, out.strip()) == (0, "no answer: the index knows no word of this question")


def test_beir_runs_and_a_saved_index(made, answer, mistake, tmp_path):
    import ir_measures
    from ir_measures import RR, P, R, nDCG
    asked, folder = read_queries(made / "asked.jsonl"), tmp_path / "beir"
    write_beir(folder, load_corpus("wiki-mini-passages", limit=120), asked)
    line = ("search", "evaluate", "--queries", folder, "--embedder", made / "encoder", "--hybrid", "--run", tmp_path / "a.run")
    ours = answer(*line)
    judged = [ir_measures.Qrel(q, d, int(g)) for q, ds in read_qrels(folder / "qrels" / "test.tsv").items() for d, g in ds.items()]
    measures = {"R@1": R@1, "R@10": R@10, "R@100": R@100, "P@10": P@10, "MRR@10": RR@10, "nDCG@10": nDCG@10}
    theirs = ir_measures.calc_aggregate(measures.values(), judged, ir_measures.read_trec_run(str(tmp_path / "a.run")))
    for name, m in measures.items(): assert ours[name] == pytest.approx(theirs[m], abs=1e-9), name
    again = answer("search", "evaluate", "--queries", folder, "--answers", tmp_path / "a.run")
    assert {m: again[m] for m in measures} == {m: ours[m] for m in measures}
    saved = answer("search", "evaluate", "--queries", folder, "--index", made / "index")
    assert list(saved["systems"]) == ["dense", "bm25", "hybrid"] and saved["R@10"] > .8
    ran = answer("search", "run", made / "index", folder, "--k", "5", "--out", tmp_path / "b.run")
    assert (ran["questions"], ran["answers"]) == (30, 150)
    assert "give one of them" in mistake("search", "evaluate", "--queries", folder, "--index", made / "index", "--corpus", "lee")
    assert "holds test" in mistake("search", "evaluate", "--queries", folder, "--qrels", "dev")


def test_answers_that_are_not_there_can_be_left_out(made, answer, mistake, tmp_path):
    question = {"id": "a", "text": "anarchist movement", "relevant": ["wiki-12-0", "nowhere-7"]}
    asked = questions(tmp_path / "q.jsonl", question)
    line = ("search", "evaluate", "--corpus", *WIKI, "--queries", asked, "--embedder", made / "encoder")
    said = mistake(*line)
    assert "'nowhere-7'" in said and "q.jsonl" in said and "unknown: drop" in said
    assert answer(*line, "--unknown", "drop")["queries"] == 1


def test_vectors_alone(made, answer, mistake, tmp_path):
    build = ("search", "build", *WIKI, "--out", tmp_path / "i", "--embedder")
    built = answer(*build, f"lm:{made / 'encoder'}", "--no_hybrid")
    assert built["modes"] == ["dense"] and not (tmp_path / "i/bm25").exists()
    assert "holds no words" in mistake("search", "query", tmp_path / "i", "anarchist", "--mode", "bm25")
    assert "--overwrite" in mistake(*build, made / "encoder")
    assert answer(*build, made / "encoder", "--overwrite")["modes"] == ["dense", "bm25", "hybrid"]


def test_a_page_that_searches(made, answer, tmp_path):
    page = ("search", "page", *WIKI)
    own = answer(*page, "--embedder", made / "encoder", "--title", "Mine & <yours>", "--out", tmp_path / "own.html")
    text = (tmp_path / "own.html").read_text(encoding="utf-8")
    assert own["passages"] == 120 and own["bytes"] == len(text.encode())
    assert "<title>Mine &amp; &lt;yours&gt;</title>" in text
    learned = answer(*page, "--budget", 20_000, "--epochs", 1, "--out", tmp_path / "learned.html")
    assert 0 < learned["parameters"] <= 20_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["learned.html", "own.html"]


def test_search_systems_side_by_side(answer, tmp_path):
    runs = tmp_path / "runs.jsonl"
    line = ("bench", "retrieval", "--sets", "wiki-mini", "--systems", "BM25", "--seeds", 2, "--out", runs)
    first = answer(*line)["runs"]
    assert [(r["system"], r["seed"]) for r in first] == [("BM25", 0)]  # no seed changes it: one run
    assert .3 < first[0]["MRR@10"] < 1
    assert answer(*line)["runs"] == first  # what is there is not run again


# --- bad input -------------------------------------------------------------------------------------

BAD = {
    "an empty question": ("search query {index} '  '", "QUERY is empty"),
    "a mode with a typing error": ("search query {index} x --mode denze", "did you mean 'dense'"),
    "no answers wanted": ("search query {index} x --k 0", "k=0"),
    "no index": ("search query {made}/nothing x", "no such folder"),
    "an encoder for an index": ("search query {encoder} x", "is no search index"),
    "another embedder": ("search query {index} x --embedder {other}", "build the index again"),
    "an architecture with a typing error": ("lm train lee --arch lstn --out {new}", "did you mean 'lstm'"),
    "an option with a typing error": ("lm train lee --epoch 3 --out {new}", "--epochs"),
    "no epochs": ("lm train lee --epochs 0 --out {new}", "epochs=0"),
    "heads that do not divide": ("lm train lee --limit 9 --arch transformer --num_heads 3 --out {new}", "num_heads=3"),
    "a window longer than the text": (
        "lm train lee --limit 3 --tokenizer {tokens} --seq_len 100000 --out {new}", "seq_len"),
    "a model for a tokenizer": (
        "lm train lee --tokenizer {writer} --out {new}", "not a textlab.tokenizer.BPETokenizer"),
    "a tokenizer for a model": ("lm evaluate {tokens} lee", "not a textlab.lm.transformer.LanguageModel"),
    "an index for a model": ("lm generate {index}", "is no textlab artifact"),
    "no model": ("lm generate {made}/nothing", "no such folder"),
    "a probability of two": ("lm generate {writer} --top_p 2", "top_p=2"),
    "a vocabulary below the bytes": ("lm tokenizer train lee --vocab_size 100 --out {new}", "vocab_size=100"),
    "blocks that do not divide": ("lm encoder train lee --blocks 5 --out {new}", "multiple of blocks=5"),
    "a model that is there": ("lm encoder train lee --out {encoder}", "--overwrite"),
    "an index over an encoder": ("search build lee --embedder {encoder} --out {other}", "is no search index"),
    "a tokenizer for an embedder": ("search build lee --embedder {tokens} --out {new}", "embeds no texts"),
    "an embedder that is not there": (
        "search build lee --limit 5 --embedder lm:{made}/nothing --out {new}", "no such folder"),
    "a page that is no page": ("search page lee --out {new}.txt", "must end in .html"),
    "a page by a tokenizer": ("search page lee --embedder {tokens} --out {new}.html", "embeds no texts"),
    "a page by a language model": ("search page lee --limit 9 --embedder {writer} --out {new}.html", "DocumentEncoder"),
    "a page with a negative weight": ("search page lee --weight -1 --out {new}.html", "weight=-1"),
    "a page without parameters": ("search page lee --budget 0 --out {new}.html", "budget=0"),
    "a benchmark with a typing error": ("bench retrieval --sets nq,sqad --out {new}.jsonl", "did you mean 'squad'"),
    "a system with a typing error": (
        "bench retrieval --sets wiki-mini --systems BM52 --out {new}.jsonl", "did you mean 'BM25'"),
    "no questions": (
        "search evaluate --corpus lee --queries {made}/nothing.jsonl --embedder {encoder}", "nothing.jsonl"),
    "a folder for questions": ("search evaluate --corpus lee --queries {made} --embedder {encoder}", "is a folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(made, mistake, tmp_path, name):
    line, says = BAD[name]
    places = dict(made=made, new=tmp_path / "new") | {p.name: p for p in made.iterdir() if p.is_dir()}
    assert says in mistake(*(word.format(**places) for word in shlex.split(line)))


def test_bad_files(made, mistake, tmp_path):
    twice = questions(tmp_path / "twice.jsonl", {"id": "a", "text": "the moon"}, {"id": "a", "text": "the sun"})
    build = ("search", "build", twice, "--embedder", made / "encoder", "--out", tmp_path / "new")
    assert "'a' was already used in line 1" in mistake(*build)
    evaluate = ("search", "evaluate", "--corpus", *WIKI, "--embedder", made / "encoder", "--queries")
    good = {"id": "a", "text": "moon", "relevant": ["wiki-12-0"]}
    for rows, says in (
        ([good | {"text": " "}], "the question is empty"),
        ([{"id": "a", "text": "moon"}], "no 'relevant'"),
        ([good, good], "already used"),
    ): assert says in mistake(*evaluate, questions(tmp_path / "q.jsonl", *rows))


def test_a_build_that_fails_leaves_the_old_index(made, answer, mistake, tmp_path):
    import numpy as np
    line = ("search", "build", *WIKI, "--embedder", made / "encoder", "--out", tmp_path / "i")
    answer(*line)
    before = answer("search", "query", tmp_path / "i", "anarchist")["hits"]
    np.save(tmp_path / "v.npy", np.zeros((7, 64), np.float32))
    assert "7 rows for 120" in mistake(*line, "--overwrite", "--embeddings", tmp_path / "v.npy")
    assert answer("search", "query", tmp_path / "i", "anarchist")["hits"] == before
