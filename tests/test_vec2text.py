"""Inverting embeddings: files, resuming, foreign models, wrong input"""
import os, subprocess, sys
from pathlib import Path

import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from textlab.artifacts import load_artifact
from textlab.core import ArtifactError, ConfigError, CorpusError, EmbeddingError
from textlab.embed import as_embedder
from textlab.maps import Corrector, Inverter, cross_fit, template_sentences
from textlab.maps.vec2text import decode_tokens, load_base, plain_text, token_loss, token_table
from textlab.tokenizer import BPETokenizer


class Words:
    "Sums a vector for every word, with a little of its place, so that a test needs no network"
    name, dim = "words", 48
    def __init__(self, seed=0): self.seed = seed
    def vector(self, word): return np.random.default_rng([self.seed, *word.encode()]).normal(size=self.dim)
    def encode(self, texts, **options):
        placed = [[(1 + .1 * i) * self.vector(w) for i, w in enumerate(t.split())] for t in texts]
        X = np.stack([sum(vectors, np.full(self.dim, .1)) for vectors in placed])
        return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


SENTENCES = template_sentences(160, words=4)
SMALL = dict(embedder=Words(), vocab_size=330, dim=32, num_layers=1, epochs=3, batch_size=32, max_tokens=24)


def fitted(folder=None, cbs=(), **options):
    return Inverter(**SMALL | options).fit(SENTENCES[:120], checkpoint_dir=folder, device="cpu", cbs=cbs)


def same(a, b):
    a, b = a.network_.state_dict(), b.network_.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def inverter(): return fitted()


@pytest.fixture(scope="module")
def vectors(): return Words().encode(SENTENCES[120:])


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    "A GPT-2 as save_pretrained leaves it: DialoGPT's architecture, its end token doubling as filler"
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = BPETokenizer.train([" " + t for t in SENTENCES], 330)
    config = GPT2Config(vocab_size=tokenizer.vocab_size, n_embd=32, n_layer=1, n_head=2, n_positions=48,
                        bos_token_id=tokenizer.eos_id, eos_token_id=tokenizer.eos_id)
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.to_transformers().save_pretrained(folder)
    return folder


# --- files ---------------------------------------------------------------------------------------

def test_a_saved_model_writes_the_same_bit_for_bit(inverter, vectors, tmp_path):
    path = inverter.save(tmp_path / "model")
    assert {p.suffix for p in path.iterdir()} <= {".json", ".npy", ".safetensors"}
    again = load_artifact(path)
    assert same(inverter, again)
    options = dict(num_beams=3, num_return=3, max_length=20)
    assert again.generate(vectors, **options) == inverter.generate(vectors, **options)
    assert same(again, Inverter.load(again.save(tmp_path / "second")))


def test_a_changed_file_is_refused(inverter, tmp_path):
    path = inverter.save(tmp_path / "model")
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (path / "model.safetensors").write_bytes(data)
    with pytest.raises(ArtifactError, match="not the file that was saved"): Inverter.load(path)


def test_the_same_seed_gives_the_same_model(inverter):
    assert same(fitted(), inverter)
    assert not same(fitted(seed=1), inverter)


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_vec2text import *
from fastai.callback.core import Callback
class Die(Callback):
    order = 99
    def after_epoch(self):
        if self.epoch == 1: os._exit(9)
fitted(sys.argv[2] + "/run", [Die()] if sys.argv[3] == "die" else []).save(sys.argv[2] + "/model")
"""


def test_a_killed_training_goes_on_to_the_same_end(tmp_path, quiet, inverter):
    (tmp_path / "job.py").write_text(KILLED)
    def job(how):
        argv = [sys.executable, tmp_path / "job.py", Path(__file__).parent, tmp_path, how]
        return subprocess.run([str(a) for a in argv], capture_output=True, text=True, env=quiet, timeout=300)
    assert job("die").returncode == 9 and not (tmp_path / "model").exists()
    assert (tmp_path / "run" / "training_state.pt").exists()
    after = job("live")
    assert after.returncode == 0 and "resuming" in after.stderr, after.stderr[-2000:]
    assert same(Inverter.load(tmp_path / "model"), inverter)


# --- texts and tokens ----------------------------------------------------------------------------

TOKENIZER = BPETokenizer.train(SENTENCES, 300).to_transformers()
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)


@settings(max_examples=60)
@given(st.lists(ANY, min_size=1, max_size=4))
def test_any_text_comes_back_from_its_tokens(texts):
    tokenizer = TOKENIZER
    texts = [plain_text(t) for t in texts]
    table, lengths = token_table(tokenizer, texts, 4096)
    assert decode_tokens(tokenizer, table) == texts
    assert [row[n - 1] for row, n in zip(table, lengths)] == [tokenizer.eos_token_id] * len(texts)


def test_the_true_end_is_learned_and_the_filler_is_not():
    ids, lengths = torch.tensor([[1, 2, 0, 0, 0], [1, 2, 2, 2, 0]]), torch.tensor([3, 5])
    logits = torch.randn(2, 5, 4, requires_grad=True)
    token_loss(logits, ids, lengths).backward()
    touched = logits.grad.abs().sum(2) > 0
    assert touched.tolist() == [[True, True, True, False, False], [True] * 5]


def test_a_row_alone_equals_the_row_in_a_batch(inverter, vectors):
    together = inverter.predict(vectors, max_length=20)
    assert [inverter.predict(v[None], max_length=20)[0] for v in vectors[:6]] == together[:6]
    assert inverter.predict(vectors, max_length=20, batch_size=3) == together


# --- language models that others made ---------------------------------------------------------------

def test_a_causal_model_learns_to_stop(gpt2, tmp_path):
    model = fitted(base_model=gpt2, epochs=20, learning_rate=5e-3)
    text = model.predict(Words().encode(SENTENCES[:20]), max_length=40)
    assert max(len(t.split()) for t in text) < 14 and model.network_.start is None
    assert Inverter.load(model.save(tmp_path / "m")).predict(Words().encode(SENTENCES[:20]), max_length=40) == text


def test_a_checkpoint_of_torch_loads_as_data_and_never_as_code(gpt2, tmp_path):
    folder, ran = tmp_path / "bin", tmp_path / "ran"
    folder.mkdir()
    for path in gpt2.iterdir():
        if path.suffix == ".json": (folder / path.name).write_bytes(path.read_bytes())
    model, _ = load_base(gpt2)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    again, tokenizer = load_base(folder)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    class Evil:
        def __reduce__(self): return os.mkdir, (str(ran),)
    torch.save({"transformer.wte.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="holds no language model"): load_base(folder)
    assert not ran.exists()


def test_lora_trains_thin_matrices_alone_and_knows_its_base(gpt2, tmp_path):
    model = fitted(base_model=gpt2, lora_rank=2, epochs=1)
    base, now = load_base(gpt2)[0].state_dict(), model.network_.lm.state_dict()
    assert all(torch.equal(t, now[k.replace("c_attn.", "c_attn.base_layer.")]) for k, t in base.items())
    assert any(t.abs().sum() > 0 for k, t in now.items() if "lora_B" in k)
    path = model.save(tmp_path / "m")
    again = Inverter.load(path)
    assert same(model, again)
    moved = gpt2.rename(gpt2.with_name("other"))
    try:
        other, tokenizer = load_base(moved)
        with torch.no_grad(): next(other.parameters()).add_(1)
        other.save_pretrained(gpt2); tokenizer.save_pretrained(gpt2)
        with pytest.raises(ArtifactError, match="other weights"): Inverter.load(path)
    finally:
        for p in gpt2.iterdir(): p.unlink()
        gpt2.rmdir()
        moved.rename(gpt2)


# --- wrong input ---------------------------------------------------------------------------------

def test_what_cannot_be_read_is_named(inverter, vectors, tmp_path):
    broken = vectors.copy()
    broken[3, 2] = np.nan
    with pytest.raises(EmbeddingError, match="row 3 holds NaN"): inverter.predict(broken)
    with pytest.raises(EmbeddingError, match="width 40 where 48"): inverter.predict(vectors[:, :40])
    with pytest.raises(EmbeddingError, match="NaN"): Inverter(**SMALL).fit(SENTENCES[120:], embeddings=broken)
    with pytest.raises(CorpusError, match="row 1 is empty"): Inverter(**SMALL).fit(["a b", " "], embeddings=vectors[:2])
    with pytest.raises(ConfigError, match="holds no language model"): fitted(base_model=tmp_path)
    with pytest.raises(ConfigError, match="has none"): Inverter(lora_rank=4)


def test_the_vectors_of_another_embedder_are_refused(inverter, vectors, tmp_path):
    with pytest.raises(EmbeddingError, match="makes others"): inverter.check_embedder(Words(1))
    again = Inverter.load(inverter.save(tmp_path / "m"))
    with pytest.raises(EmbeddingError, match="makes others"): again.check_embedder(Words(1))
    assert again.check_embedder(Words()).name == "words"
    with pytest.raises(EmbeddingError, match="not those of words"):
        Inverter(**SMALL).fit(SENTENCES[:40], embeddings=Words(1).encode(SENTENCES[:40]))


# --- correction ----------------------------------------------------------------------------------

class Counting(Words):
    "Words, counting what it is asked for"
    asked = 0
    def encode(self, texts, **options):
        self.asked += len(texts)
        return super().encode(texts)


OPTIONS = dict(embedder=Words(), steps=40, pairs=50, max_length=20, rounds=3, calls=12, start=6)


@pytest.fixture(scope="module")
def corrector(inverter): return Corrector(**OPTIONS).fit(SENTENCES[:120], inverter=inverter)


def test_calls_are_counted_and_never_exceeded(corrector, vectors):
    words = Counting()
    embedder, words.asked = as_embedder(words), 0
    found = corrector.variant(tolerance=0.).correct(vectors, embedder)
    assert all(0 < c.calls <= 12 for c in found)
    probes = 3                                            # texts that tell whose vectors these are
    assert words.asked == sum(c.calls for c in found) + probes


def test_an_item_stops_by_itself(corrector, vectors):
    strict, loose = (corrector.variant(tolerance=t).correct(vectors, Words()) for t in (0., 2.))
    assert all(c.converged and c.iterations == 0 and c.calls <= 6 for c in loose)
    assert sum(c.calls for c in strict) > sum(c.calls for c in loose)
    mixed = corrector.variant(tolerance=.1).correct(vectors, Words())
    assert all(c.converged == (c.distance <= .1) for c in mixed)
    assert all(abs(c.distance - np.sqrt(max(0., 2 - 2 * c.cosine))) < 1e-3 for c in mixed)


def test_more_calls_are_never_worse(corrector, vectors):
    near = [[c.cosine for c in corrector.variant(calls=n, price=0.).correct(vectors, Words())] for n in (6, 12)]
    assert (np.array(near[1]) >= np.array(near[0]) - 1e-6).all()


def test_a_saved_corrector_writes_the_same(corrector, inverter, vectors, tmp_path):
    path = corrector.save(tmp_path / "vec2text")
    assert {p.suffix for p in path.iterdir()} <= {".json", ".npy", ".safetensors"}
    again = load_artifact(path)
    assert again.correct(vectors, Words()) == corrector.correct(vectors, Words())
    with pytest.raises(EmbeddingError, match="makes others"): again.correct(vectors, Words(1))
    with pytest.raises(EmbeddingError, match="width 20 where 48"): again.correct(vectors[:, :20], Words())


def test_a_trained_corrector_is_saved_too(vectors, tmp_path):
    options = SMALL | dict(epochs=1)
    model = Corrector(**OPTIONS | dict(trained=True)).fit(SENTENCES[:60], inverter=Inverter(**options))
    again = Corrector.load(model.save(tmp_path / "m"))
    assert again.correct(vectors[:8], Words()) == model.correct(vectors[:8], Words())
    alone = model.variant(kinds="", sources="neighbour", start=1)
    assert any(c.calls > 1 for c in alone.correct(vectors, Words()))   # only the trained corrector proposes more


def test_hypotheses_are_written_by_models_that_have_not_seen_the_text(monkeypatch):
    seen = []
    def fit(self, X, *, embeddings, checkpoint_dir=None):
        self.seen = {tuple(v) for v in embeddings}
        return self
    def predict(self, V, **options):
        seen.append(any(tuple(v) in self.seen for v in V))
        return ["a"] * len(V)
    monkeypatch.setattr(Inverter, "fit", fit)
    monkeypatch.setattr(Inverter, "predict", predict)
    assert cross_fit(Inverter(**SMALL), SENTENCES[:20], Words().encode(SENTENCES[:20])) == ["a"] * 20
    assert seen == [False, False]
