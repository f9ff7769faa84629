"""THETA where a page cannot go: killed processes, two processes, a full disk, all forms of texts, scikit-learn."""
import json, os, pickle, signal, subprocess, sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import check_estimator

from textlab.artifacts import load_artifact
from textlab.core import ArtifactError, ConfigError, EmbeddingError, TextlabError, TrainingError
from textlab.corpus import load_corpus
from textlab.embed import as_embedder
from textlab.theta import TopicModel
from textlab.theta.topics import at_home

ENV = {**os.environ, 'OMP_NUM_THREADS': '1', 'TEXTLAB_PROGRESS': '0', 'TEXTLAB_DEVICE': 'cpu'}
HEAD = '''
import os, signal, sys
import numpy as np
from fastai.callback.core import Callback
from textlab.corpus import load_corpus
from textlab.theta import TopicModel
from textlab.theta.topics import at_home
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


class Shape:
    "An embedder that sees how long a text is, and which letters it holds"
    def encode(self, texts): return [[len(t), *(t.lower().count(c) for c in 'abcdefghijklmnopqrst')] for t in texts]


QUICK = dict(num_topics=4, epochs=1, min_df=1, seed=0)


@pytest.fixture(scope='module')
def stories(news): return news['text'][:60]


def test_every_form_of_texts_gives_the_same_topics(stories, vectors, tmp_path):
    X, table = np.load(vectors)[:60], pd.DataFrame({'body': stories, 'section': ['a', 'b']*30})
    table.to_csv(tmp_path/'news.csv', index=False)
    expected = TopicModel(**QUICK).fit(stories, embeddings=X).theta_
    series = pd.Series(stories, index=range(7, 67))
    for form in (np.array(stories), np.array(stories, dtype=object), series, tuple(stories)):
        assert np.array_equal(TopicModel(**QUICK).fit(form, embeddings=X).theta_, expected)
    for form in (table, str(tmp_path/'news.csv'), tmp_path/'news.csv'):
        model = TopicModel(**QUICK).fit(form, 'section', X, text='body')
        assert np.array_equal(model.theta_, expected) and list(model.documents_['label'][:2]) == ['a', 'b']
    read = TopicModel(**QUICK).fit(stories, embeddings=X)
    for form in (np.array(stories), series, tuple(stories)):
        assert np.array_equal(read.transform(form, X), read.transform(stories, X))
    assert np.array_equal(read.transform(table, X, text='body'), read.transform(stories, X))
    with pytest.raises(TextlabError, match="no column 'text'"):
        TopicModel(**QUICK).fit(tmp_path/'news.csv', embeddings=X)
    with pytest.raises(ConfigError, match='embeddings='):
        TopicModel(**QUICK).fit(stories, X)


@pytest.mark.parametrize('labels', [['b', 'a'], [7, 3], [True, False]], ids=['words', 'numbers', 'truth values'])
def test_labels_keep_their_type(stories, vectors, tmp_path, labels):
    X, y = np.load(vectors)[:60], np.array(labels*30)
    model = TopicModel(**QUICK, mode='supervised').fit(stories, y, X)
    assert model.classes_.dtype == y.dtype and model.classes_.tolist() == sorted(labels)
    model.save(tmp_path/'model')
    again = TopicModel.load(tmp_path/'model')
    assert again.classes_.dtype == y.dtype and again.classes_.tolist() == sorted(labels)
    assert np.array_equal(again.transform(stories, X), model.transform(stories, X))


def test_more_documents_keep_the_classes(stories, vectors):
    X, y = np.load(vectors)[:60], ['c', 'a', 'b']*20
    model = TopicModel(**QUICK, mode='supervised').fit(stories, y, X)
    model.partial_fit(stories[:20], ['c', '']*10, X[:20], epochs=1)   # one class of the three, and holes
    assert model.classes_.tolist() == ['a', 'b', 'c'] and len(model.theta_) == 80
    with pytest.raises(ConfigError, match='the label z is none of those'):
        model.partial_fit(stories[:20], ['a', 'z']*10, X[:20])


def test_empty_texts_keep_their_row(stories, vectors):
    X, texts = np.load(vectors)[:60], [*stories[:50], *['']*10]
    model = TopicModel(**QUICK)
    theta = model.fit_transform(texts, None, X)
    assert theta.shape == (60, 4) and np.isfinite(theta).all()
    assert np.allclose(model.transform(texts, X), theta, atol=1e-6)


def test_a_scikit_learn_pipeline_of_topics(stories):
    y = np.arange(60) % 2
    pipeline = make_pipeline(TopicModel(**QUICK, embedder=Shape()), LogisticRegression())
    assert pipeline.fit(stories, y).predict(stories[:3]).dtype == y.dtype
    assert len(cross_val_score(pipeline, stories, y, cv=2, error_score='raise')) == 2
    assert list(pipeline[:1].get_feature_names_out()) == pipeline[0].topic_names()
    again = clone(pipeline[0])
    assert not hasattr(again, 'theta_') and again.get_params().keys() == pipeline[0].get_params().keys()


def test_a_scikit_learn_search_over_options(stories, vectors):
    def certainty(model, X, y=None): return float(model.transform(X).max(axis=1).mean())
    def size(model, X, y=None): return model.theta_.shape[1]
    options = {'num_topics': [3, 5], 'alpha': [.1, 1.]}
    own = TopicModel(**QUICK, embedder=Shape())
    found = GridSearchCV(own, options, scoring=certainty, cv=2, error_score='raise').fit(stories)
    assert found.best_estimator_.theta_.shape == (60, found.best_params_['num_topics'])
    search = GridSearchCV(TopicModel(**QUICK), options, scoring=size, cv=2, error_score='raise')
    search.fit(stories, embeddings=np.load(vectors)[:60])   # cut along with the texts
    assert search.best_params_['num_topics'] == 5


def test_an_embedder_that_is_an_object_is_given_again(stories, tmp_path):
    model = TopicModel(**QUICK, embedder=Shape()).fit(stories)
    model.save(tmp_path/'model')
    again = TopicModel.load(tmp_path/'model')
    with pytest.raises(EmbeddingError): again.transform(stories)
    again.set_params(embedder=Shape())
    assert np.array_equal(again.transform(stories), model.transform(stories))


def test_a_model_of_an_older_version_loads(stories, vectors):
    X = np.load(vectors)[:60]
    model = TopicModel(**QUICK, mode='supervised').fit(stories, ['a', 'b']*30, X)
    state = model.to_state()
    state.config['fitted']['classes'] = ['a', 'b']       # a list of names, where there is now a type, too
    state.config['arguments'].pop('exclusivity')          # and an option fewer
    again = TopicModel.from_state(state)
    assert again.classes_.tolist() == ['a', 'b']
    assert np.array_equal(again.transform(stories, X), model.transform(stories, X))


# --- scikit-learn's own checks -------------------------------------------------------------------

def as_texts(X):
    "Rows of numbers as texts, for checks that know numbers only: one word per column and digit"
    def word(j, place, digit): return f"col{chr(97 + j%26)}{chr(97 + place)}{chr(97 + ord(digit) % 26)}"
    def words(j, v): return ' '.join(word(j, place, digit) for place, digit in enumerate(f'{v:.2f}'))
    return [' '.join(words(j, v) for j, v in enumerate(row)) for row in check_array(X, dtype=float)]


class Numbers(TopicModel):
    "A small model of rows of numbers"
    artifact_class = 'textlab.theta.topics.Numbers'
    allowed = {name: TopicModel.allowed[name] for name in ('num_topics', 'epochs', 'seed')}
    def __init__(self, num_topics=2, epochs=1, seed=0):
        super().__init__(num_topics, epochs=epochs, seed=seed, min_df=1)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        return tags

    def find_embedder(self): return as_embedder(Shape())
    def fit(self, X, y=None, embeddings=None, **options): return super().fit(as_texts(X), y, embeddings, **options)
    def partial_fit(self, X, y=None): return super().partial_fit(as_texts(X), y)
    def transform(self, X, embeddings=None): return super().transform(as_texts(X), embeddings)


NO_FEATURES = 'texts have no fixed number of features, so fit remembers none and transform refuses none'
EXPECTED = {
    'check_do_not_raise_errors_in_init_or_set_params': 'options are checked on construction, by design',
    'check_n_features_in': NO_FEATURES,
    'check_n_features_in_after_fitting': NO_FEATURES,
    'check_transformer_general': NO_FEATURES,
    'check_transformer_preserve_dtypes': 'topics are float32, whatever numbers the texts of this check were made of',
    'check_fit2d_1sample': 'the message speaks of documents, not of samples',
    'check_methods_sample_order_invariance': 'float32 sums differ by 3e-6 with the place of a row in its batch',
}


def test_scikit_learns_checks_pass_but_for_those_named_with_a_reason():
    done = check_estimator(Numbers(), expected_failed_checks=EXPECTED, on_skip=None, on_fail=None)
    failed = {check['check_name']: check['exception'] for check in done if check['status'] == 'failed'}
    expected = {check['check_name'] for check in done if check['status'] == 'xfail'}
    assert not failed
    assert expected == set(EXPECTED), 'a check that is named here passes: take it off the list'
    assert sum(check['status'] == 'passed' for check in done) >= 30


def test_a_fitted_model_is_pickled_without_its_embedder(stories):
    model = TopicModel(**QUICK, embedder=Shape()).fit(stories)
    again = pickle.loads(pickle.dumps(model))
    assert not hasattr(again, 'embedder_model_') and np.array_equal(again.transform(stories), model.transform(stories))


# --- more than two topics ----------------------------------------------------------------------------

@pytest.mark.parametrize("K", [3, 4, 7])
@pytest.mark.parametrize("power", [.5, 2.])
def test_a_word_is_at_home_where_it_is_raised_most_whatever_the_others_do(K, power):
    "With two topics the distance to the mean, to the other one and to the strongest are one rule; here they are not"
    beta = np.random.default_rng(K).normal(size=(K, 40))
    score, top = at_home(beta, power), beta.argmax(0)
    np.testing.assert_allclose(score[top, range(40)], beta.max(0))          # the strongest topic pays nothing
    np.testing.assert_allclose(score, (1 + power)*beta - power*beta.max(0)) # each other one its distance to it, no more
    weaker = beta.copy()
    last = beta.argmin(0)
    weaker[last, range(40)] -= 5                                            # a weak topic gets weaker:
    changed = at_home(weaker, power) != score
    assert changed.sum() == 40 and changed[last, range(40)].all()           # nobody else's score moves


def test_words_shown_of_many_topics_are_their_own():
    "A word that two of four topics share is shown of the one that raises it more"
    beta = np.array([[3., 2.9, 0, 0, 0], [2.8, 3., 0, 0, 0], [0, 0, 2., 1.9, 0], [0, 0, 0, 2., 1.]])
    first = at_home(beta, 2.).argmax(1)
    assert first.tolist() == [0, 1, 2, 3]
    assert at_home(beta, 0.).argsort(1)[0, -2:].tolist() == [1, 0]          # without the preference both show it
