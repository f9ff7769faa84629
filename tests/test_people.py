"Words as people write them: every script, one normalisation, rules of their own, what an older version saved"
import json, shutil, unicodedata

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from textlab.artifacts import write_artifact
from textlab.core import ConfigError, CorpusError
from textlab.estimator import ngram_bounds
from textlab.lm.encoder import DocumentEncoder
from textlab.lm.page import SNIPPET_JS, TERMS_JS, ask_page, in_node, search_page
from textlab.lm.retrieval import BM25
from textlab.lm.search import marks, snippet
from textlab.theta import TopicModel
from textlab.topicgcn import TopicGCN
from textlab.topicgcn.topics import TopicSpace
from textlab.vocab import CLUSTERS, Vocabulary, fold_accents, normalize, terms, tokenize

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node on the PATH")
WORDS = { # a sentence and its words, one a script with marks of its own
    "Hindi": "हिन्दी विश्वविद्यालय किसानों समस्या", "Bengali": "বাংলা ভাষা বিদ্যালয়", "Tamil": "தமிழ் மொழி பள்ளி",
    "Telugu": "తెలుగు విద్యార్థి", "Kannada": "ಕನ್ನಡ ಶಾಲೆಯಲ್ಲಿ", "Malayalam": "മലയാളം വിദ്യാലയം",
            "Gujarati": "ગુજરાતી શાળામાં",
    "Punjabi": "ਪੰਜਾਬੀ ਸਕੂਲਾਂ", "Sinhala": "සිංහල පාසල", "Arabic": "كِتَابٌ مَدْرَسَةٌ",
            "Hebrew": "שָׁלוֹם יְרוּשָׁלַיִם",
    "Vietnamese": "trường tiếng", "decomposed": "e\u0301cole nai\u0308ve"}


@pytest.mark.parametrize("language", WORDS)
def test_a_word_keeps_its_marks(language):
    words = [normalize(w) for w in WORDS[language].split()]
    assert tokenize(WORDS[language]) == words
    assert terms(WORDS[language], fold=False) == words
    assert len(set(terms(WORDS[language]))) == len(words)


@pytest.mark.parametrize("asked, passages", [
    ("दान", ["दिन भर काम", "दान देना"]), ("ปู", ["ปีใหม่", "ปูทะเล"]), ("かき", ["がき", "かき"]), ("茶", ["我们喝水", "我们喝绿茶"]),
    ("学习", ["学生习惯", "机器学习"]), ("C++", ["C is old", "C++ is large", "C# is sharp"]), ("c#", ["C and C++", "C# here"]),
    ("python3.11", ["python3.12 and python3.1", "with python3.11"]), ("й", ["и", "й"]), ("Google+", ["Google",
            "Google+ is gone"]),
])
def test_the_right_passage_comes_first(asked, passages):
    scores = BM25().fit(passages).scores([asked])[0]
    assert [i for i, p in enumerate(passages) if scores[i] == scores.max()] == [
        i for i, p in enumerate(passages) if normalize(asked) in normalize(p)]


@pytest.mark.parametrize("asked, written", [
    ("istanbul", "İstanbul"), ("İSTANBUL", "istanbul"), ("information", "infor\u00admation"), ("cafe", "café"),
            ("café", "cafe"),
    ("كتاب", "كِتَابٌ"), ("שלום", "שָׁלוֹם"), ("STRASSE", "straße"), ("lodz", "Łódź"), ("σοφος", "ΣΟΦΌΣ"), ("елка",
            "Ёлка"),
    ("fine", "ﬁne"), ("ab", "a\u200db"), ("ab", "a\u2060b"), ("अकेला", "अके\u200cला"), ("tieng viet", "Tiếng Việt"),
            ("احمد", "أحمد"),
])
def test_one_spelling_finds_the_other(asked, written):
    assert terms(asked) == terms(written)
    assert BM25().fit([written, "nothing"]).scores([asked])[0].argmax() == 0
    assert marks(written, asked)


def test_an_option_keeps_accents():
    index = BM25(fold_accents=False).fit(["café", "cafe"])
    assert (index.scores(["cafe"]) > 0).tolist() == [[False, True]]
    assert (BM25().fit(["café", "cafe"]).scores(["cafe"]) > 0).all()


@settings(max_examples=100)
@given(st.text(max_size=30))
def test_normalisation_settles_and_knows_no_case(text):
    assert normalize(normalize(text)) == normalize(text)
    assert fold_accents(fold_accents(text)) == fold_accents(text)
    other = text.replace("ı", "i")
    if not any("\u1c80" <= c <= "\u1c88" for c in text): assert terms(other.upper()) == terms(other.lower())


def test_every_letter_is_one_word_with_its_mark():
    "No script's mark cuts a word"
    for c in map(chr, range(0x300, 0x1f000)):
        if unicodedata.category(c) in ("Mn", "Mc") and normalize(c) == c: assert len(terms(f"ab{c}cd",
                fold=False)) == 1, hex(ord(c))


@needs_node
@settings(max_examples=1)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=200, max_size=200))
def test_the_page_cuts_and_marks_alike(texts):
    texts += [*WORDS.values(), "C++17 c# python3.11 喝绿茶 ปูดำ", "كِتَابٌ", "infor\u00admation café 我们学习"]
    assert in_node(TERMS_JS, "given.map(terms)", texts) == [terms(t) for t in texts]
    assert in_node(f"{TERMS_JS}\nfolding = false;", "given.map(terms)", texts) == [terms(t,
            fold=False) for t in texts]
    asked = [[t, q, 20] for t, q in zip(texts, texts[1:] + ["我学习"]) if max(map(ord, t + "a")) < 0x10000]
    assert in_node(TERMS_JS + SNIPPET_JS, "given.map(g => snippet(...g))", asked) == [snippet(*g) for g in asked]


@needs_node
@pytest.mark.parametrize("fold", [True, False])
def test_a_page_folds_accents_as_its_encoder_does(fold):
    texts = ["Un café noir", "Un cafe noir", "हिन्दी में दान", "हिन्दी में दिन"]
    encoder = DocumentEncoder(dim=32, fixed_dim=32, budget=20_000, epochs=0, fold_accents=fold).fit(texts)
    page = search_page(encoder, [dict(id=str(i), text=t) for i, t in enumerate(texts)])
    found = [sorted(h["p"] for h in hits) for hits in ask_page(page, ["cafe", "दान"], "words")]
    assert found == [[0, 1] if fold else [1], [2]]


# --- a vocabulary's own rules -----------------------------------------------------------------

SEGMENTED = "我们 研究 主题 模型 和 机器 学习 的 方法 人工智能 改变 世界 经济 发展 很快"


def test_words_that_somebody_has_cut_are_kept():
    words = [w for w in SEGMENTED.split() if len(w) > 1]
    assert tokenize(SEGMENTED) == words
    assert set(Vocabulary(stop_words=None).fit([SEGMENTED, "机器学习 研究"]).words) == {*words, "机器学习"}
    korean = "한국 학교 에서 학생 들이 공부 한다".split()
    assert tokenize(" ".join(korean)) == korean
    assert tokenize("machine_learning and foo_bar1") == ["machine_learning", "and"]


@pytest.mark.parametrize("text", ["我们研究主题模型和机器学习的方法", "私たちは機械学習を研究しています", "เราศึกษาการเรียนรู้ของเครื่อง"])
def test_a_sentence_without_blanks_is_many_words(text):
    letters = CLUSTERS.findall(normalize(text))
    assert tokenize(text) == [a + b for a, b in zip(letters, letters[1:])]
    icu = Vocabulary(tokenizer="icu", stop_words=None, min_length=1).fit([text])
    assert "".join(icu.analyzer()(text)) == normalize(text) and len(icu) > 3


def test_two_capitals_are_a_word():
    assert tokenize("AI in the EU and UK") == ["ai", "the", "eu", "and", "uk"]
    assert tokenize("IT IS ON\nso it is") == []
    assert Vocabulary().fit(["AI in the EU and UK"]).words == ["ai", "eu", "uk"]


RULES = [
    (dict(min_length=2), "ox to sea", {"ox", "sea"}), (dict(stop_words=["sea"]), "the sea wind", {"the", "wind"}),
    (dict(stop_words="sea,wind"), "the sea wind", {"the"}), (dict(ngram_range=(1, 2)), "red wine", {"red", "wine",
            "red wine"}),
    (dict(ngram_range="2,2"), "red wine", {"red wine"}), (dict(token_pattern=r"[a-z]+[+#]*"), "C++ or C#", {"c++",
            "c#"}),
    (dict(tokenizer=str.split), "C++ , C#", {"c++", "c#"}), (dict(stem="english"), "topics topic", {"topic"}),
    (dict(stop_words="none"), "the sea", {"the", "sea"}), (dict(stop_words=None), "the sea", {"the", "sea"})]


@pytest.mark.parametrize("rules, text, words", RULES)
def test_the_rules_reach_the_estimators(rules, text, words):
    space = TopicSpace(1, min_df=1, embedding_dim=4, epochs=1, max_iter=1, **rules).fit([text, text])
    assert set(space.vocabulary_.words) == words
    model = TopicModel(2, min_df=1, epochs=1, **rules)
    model.count_words(table([text]*4))
    assert set(model.vocabulary_.words) == words
    assert set(TopicGCN(min_df=1, **rules).get_params()) >= set(rules)


def table(texts):
    from datasets import Dataset
    return Dataset.from_dict({"text": texts})


@pytest.mark.parametrize("rules, said", [
    (dict(token_pattern="("), "is no regular expression"), (dict(tokenizer="jieba"), "is not one of icu"),
    (dict(stem="klingon"), "is not one of"), (dict(ngram_range="2,1"), "least is above the most"),
            (dict(ngram_range=9), "at most 5"),
    (dict(stop_words="deutsch"), "is not one of english, none"), (dict(min_length=0), "at least 1"),
    (dict(stop_words="missing.txt"), "cannot be read")])
def test_a_rule_that_cannot_be_is_refused_at_once(rules, said):
    for kind in (TopicModel, TopicSpace, TopicGCN):
        with pytest.raises(ConfigError, match=said): kind(**rules)


@pytest.mark.parametrize("value, bounds", [((1, 2), (1, 2)), ([2, 3], (2, 3)), ("1-3", (1, 3)), (2, (1, 2)),
        (np.int64(2), (1, 2))])
def test_ngram_ranges(value, bounds): assert ngram_bounds(value) == bounds


def test_a_tokenizer_function_is_asked_for_again(tmp_path):
    texts = ["red wine , white wine", "white bread , red wine", "red bread"]
    space = TopicSpace(2, min_df=1, embedding_dim=4, epochs=1, tokenizer=str.split).fit(texts)
    again = TopicSpace.load(space.save(tmp_path / "space"))
    said = r"tokenizer function 'str.split'.*set_params\(tokenizer=…\)"
    with pytest.raises(ConfigError, match=said): again.transform(texts)
    assert (again.set_params(tokenizer=str.split).transform(texts) == space.transform(texts)).all()
    with pytest.raises(CorpusError, match="must give a list of words"): TopicSpace(2, tokenizer=str.upper).fit(texts)


# --- what an older version saved ---------------------------------------------------------------

def test_an_older_vocabulary_cuts_as_it_did():
    saved = dict(settings=dict(vocab_size=9, min_df=1, max_df=1., min_length=3, stop_words="english", max_ngram=1),
                 words=["straße", "हिन"], counts=[1, 1], doc_freq=[1, 1], n_docs=1)
    old = Vocabulary.from_dict(json.loads(json.dumps(saved)))
    assert old.analyzer()("Straße AI foo_bar") == ["straße"]
    assert Vocabulary.from_dict(old.to_dict()).analyzer()("Straße AI") == ["straße"]


def test_an_older_index_and_encoder_answer_as_they_did(tmp_path):
    index = BM25().fit(["x"])
    index.rule_, texts = 1, ["Straße café", "strasse cafe"]
    state = index.fit(texts).to_state()
    index.rule_ = 1
    found = [terms(t, rule=1) for t in texts]
    words = sorted({w for f in found for w in f})
    old = BM25()
    old.rule_, old.index_ = 1, {w: i for i, w in enumerate(words)}
    from textlab.lm.retrieval import term_passage_matrix
    old.matrix_ = term_passage_matrix([[old.index_[w] for w in f] for f in found], len(words), 1.2, .75)
    state = old.to_state()
    for name in ("rule", "fold_accents"): state.config.pop(name)
    again = BM25.load(write_artifact(tmp_path / "bm25", state, BM25.artifact_class))
    assert (again.scores(["café", "straße"]) > 0).tolist() == [[True, False], [True, False]]
    assert (again.scores(["cafe"]) == old.scores(["cafe"])).all()


def test_an_older_encoder_is_loaded_and_a_page_refuses_it(tmp_path):
    texts = ["un café noir", "une tasse de thé", "le pain"]
    encoder = DocumentEncoder(dim=32, fixed_dim=0, budget=20_000, epochs=0).fit(texts)
    state = encoder.to_state()
    for name in ("rule", "fold_accents"): state.config.pop(name)
    old = DocumentEncoder.load(write_artifact(tmp_path / "encoder", state, DocumentEncoder.artifact_class))
    assert old.terms_.rule == 1 and not old.encode(["thé"]).any()  # its words were folded, which rule 1 does not do
    assert old.as_embedder().fingerprint != encoder.as_embedder().fingerprint
    with pytest.raises(ConfigError, match="trained by an older version.*train it again"):
        search_page(old, [dict(id="a", text="un café")])
