"""THETA where a page cannot go: killed processes, two processes, a new process, a disk that is full."""
import json, os, signal, subprocess, sys
from pathlib import Path

import numpy as np
import pytest
import torch

from textlab.artifacts import load_artifact
from textlab.core import ArtifactError, TextlabError, TrainingError
from textlab.corpus import load_corpus
from textlab.theta import TopicModel

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'TEXTLAB_PROGRESS': '0', 'TEXTLAB_DEVICE': 'cpu'}
HEAD = '''
import os, signal, sys
import numpy as np
from fastai.callback.core import Callback
from textlab.corpus import load_corpus
from textlab.theta import TopicModel
news = load_corpus('lee')
X = np.load(sys.argv[1])
'''


def run(body: str, *args: str, launcher: tuple[str, ...] = (), check: bool = True) -> subprocess.CompletedProcess:
    script = Path(args[0]).parent/'job.py'
    script.write_text(HEAD + body)
    command = [sys.executable, *launcher, str(script), *args]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=300)
    if check: assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope='module')
def news(): return load_corpus('lee')


@pytest.fixture(scope='module')
def vectors(tmp_path_factory):
    "Vectors with the structure of the corpus that need no MiniLM: a random projection of the words"
    from textlab.vocab import Vocabulary, tfidf
    counts = Vocabulary(min_df=2).fit_transform(load_corpus('lee')['text'])
    X = (tfidf(counts) @ np.random.default_rng(0).normal(size=(counts.shape[1], 64))).astype(np.float32)
    path = tmp_path_factory.mktemp('vectors')/'x.npy'
    np.save(path, X)
    return path


def same_weights(a: Path, b: Path) -> bool:
    a, b = (torch.load(p, weights_only=True) for p in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


KILLED = '''
class Kill(Callback):
    order = 90
    def after_batch(self):
        if self.training and self.learn.train_iter == 47: os.kill(os.getpid(), signal.SIGKILL)
TopicModel(num_topics=8, epochs=5, seed=1).fit(news, embeddings=X, checkpoint_dir=sys.argv[2], cbs=[Kill()])
'''


def test_killed_in_mid_epoch_and_resumed_ends_with_the_same_weights(news, vectors, tmp_path, capsys):
    whole, broken, X = tmp_path/'whole', tmp_path/'broken', np.load(vectors)
    def fit(folder, seed=1):
        return TopicModel(num_topics=8, epochs=5, seed=seed).fit(news, embeddings=X, checkpoint_dir=folder)

    unbroken = fit(whole)
    assert run(KILLED, str(vectors), str(broken), check=False).returncode == -signal.SIGKILL
    left = sorted(p.name for p in broken.iterdir())
    assert left == ['best_model.pt', 'last_model.pt', 'training_history.json', 'training_state.pt']
    finished = json.loads((broken/'training_history.json').read_text())['epoch']
    assert len(finished) == 2, 'step 47 lies within the third epoch of 17 steps'
    assert not same_weights(whole/'last_model.pt', broken/'last_model.pt')
    with pytest.raises(TrainingError, match='other data or options'): fit(broken, seed=2)
    resumed = fit(broken)
    assert 'resuming' in capsys.readouterr().err
    for name in ('best_model.pt', 'last_model.pt'): assert same_weights(whole/name, broken/name)
    assert np.array_equal(unbroken.theta_, resumed.theta_)
    history = [json.loads((d/'training_history.json').read_text()) for d in (whole, broken)]
    assert history[0]['train_loss'] == history[1]['train_loss'] and history[1]['epoch'] == [0, 1, 2, 3, 4]


OPTIONS = dict(num_topics=6, epochs=30, batch_size=128, seed=0)
TWO = f'''
model = TopicModel(**{OPTIONS}).fit(news, embeddings=X, checkpoint_dir=sys.argv[2])
if os.environ['RANK'] == '0': np.savez(sys.argv[2] + '.npz', theta=model.theta_, loss=model.history_['valid_loss'][-1])
'''


def test_two_processes_give_the_result_of_one(news, vectors, tmp_path):
    one = TopicModel(**OPTIONS).fit(news, embeddings=np.load(vectors), checkpoint_dir=tmp_path/'one')
    launcher = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2')
    run(TWO, str(vectors), str(tmp_path/'two'), launcher=launcher)
    two = np.load(tmp_path/'two.npz')
    assert abs(one.history_['valid_loss'][-1]/float(two['loss']) - 1) < .01
    assert (one.theta_.argmax(1) == two['theta'].argmax(1)).mean() > .85
    assert sorted(p.name for p in (tmp_path/'two').iterdir()) == sorted(p.name for p in (tmp_path/'one').iterdir())


READ = 'np.save(sys.argv[3], TopicModel.load(sys.argv[2]).transform(news, X))'


def test_a_new_process_reads_the_same_topics(news, vectors, tmp_path):
    X = np.load(vectors)
    model = TopicModel(num_topics=8, epochs=2).fit(news, embeddings=X)
    model.save(tmp_path/'model')
    run(READ, str(vectors), str(tmp_path/'model'), str(tmp_path/'theta.npy'))
    assert np.array_equal(np.load(tmp_path/'theta.npy'), model.transform(news, X))


def test_topics_of_a_document_are_independent_of_the_batch(news, vectors):
    X = np.load(vectors)
    model = TopicModel(num_topics=8, epochs=2).fit(news, embeddings=X)
    order = np.random.default_rng(0).permutation(300)
    assert np.allclose(model.transform(news.select(order), X[order]), model.theta_[order], atol=1e-6)
    for i in (0, 17, 299):
        assert np.allclose(model.transform(news.select([i]), X[i:i + 1])[0], model.theta_[i], atol=1e-5)


def test_documents_without_a_known_word_still_get_topics(news, vectors):
    X = np.load(vectors)
    model = TopicModel(num_topics=8, epochs=2).fit(news, embeddings=X)
    theta = model.transform(['the of and', 'zzzz qqqq'], X[:2])
    assert np.isfinite(theta).all() and np.allclose(theta.sum(1), 1, atol=1e-5)


FULL = '''
import resource
from textlab.core import TextlabError
model = TopicModel.load(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for folder in sys.argv[2:]:
    try: model.save(folder)
    except TextlabError as e: print(e)
'''


def test_a_disk_that_is_full_leaves_the_old_model(news, vectors, tmp_path):
    X = np.load(vectors)
    model = TopicModel(num_topics=8, epochs=2).fit(news, embeddings=X)
    model.save(tmp_path/'model')
    before = {p.name: p.read_bytes() for p in (tmp_path/'model').iterdir()}
    done = run(FULL, str(vectors), str(tmp_path/'model'), str(tmp_path/'new'))
    assert [line[:12] for line in done.stdout.splitlines()] == ['cannot write']*2
    assert {p.name: p.read_bytes() for p in (tmp_path/'model').iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['model'], 'no litter beside it, and no new one'


@pytest.mark.parametrize('harm', ['flip', 'truncate', 'pickle'])
def test_a_damaged_model_is_refused_by_name(news, vectors, tmp_path, harm):
    TopicModel(num_topics=8, epochs=1).fit(news, embeddings=np.load(vectors)).save(tmp_path/'model')
    file = tmp_path/'model'/'model.safetensors'
    data = bytearray(file.read_bytes())
    if harm == 'flip': data[len(data)//2] ^= 1
    if harm == 'truncate': data = data[:len(data)//2]
    if harm == 'pickle':
        import pickle
        data = pickle.dumps({'weights': [1.]})
    file.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match='model.safetensors'): load_artifact(tmp_path/'model')


def test_labels_missing_in_part_are_no_class(news, vectors):
    X, labels = np.load(vectors), np.random.default_rng(0).choice(['sport', 'world', '', '-1'], 300)
    model = TopicModel(num_topics=8, epochs=2, mode='supervised')
    model.fit(news.add_column('label', labels.tolist()), embeddings=X)
    assert list(model.classes_) == ['sport', 'world']
    with pytest.raises(TextlabError, match='at least two classes'):
        model.fit(news.add_column('label', ['sport']*300), embeddings=X)
