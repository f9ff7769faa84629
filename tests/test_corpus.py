"Bad inputs and odd sources of textlab.corpus, beyond those that its page shows"
import gzip, json, os, pickle, subprocess, sys, time, warnings
from pathlib import Path
import datasets, numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, pytest
from datasets import Dataset, DatasetDict, IterableDataset
from datasets.distributed import split_dataset_by_node
from hypothesis import HealthCheck, example, given, settings, strategies as st
from textlab import corpus
from textlab.core import ConfigError, CorpusError, TextlabError
from textlab.corpus import BUILTIN, corpus_fingerprint, corpus_info, lee_similarity, load_corpus, plain_pickle, strip_post
from textlab.vocab import Vocabulary


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv('TEXTLAB_DATA', raising=False)


@pytest.fixture
def write(tmp_path):
    def write(name, data):
        path = tmp_path/name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = data.encode() if isinstance(data, str) else data
        path.write_bytes(gzip.compress(data) if name.endswith('.gz') else data)
        return path
    return write


def error(*args, **kwargs):
    with pytest.raises(CorpusError) as e: load_corpus(*args, **kwargs)
    message = str(e.value)
    assert '\n' not in message and e.value.__suppress_context__ in (True, False)
    return message


@pytest.mark.parametrize('suffix', ['csv', 'tsv', 'json', 'jsonl', 'jsonl.gz', 'csv.gz', 'txt', 'txt.gz'])
def test_empty_file_is_named(write, suffix):
    message = error(write(f'e.{suffix}', ''))
    assert f'e.{suffix}' in message and ('rows' in message or 'empty' in message)
    with pytest.raises(CorpusError): load_corpus(write(f'e.{suffix}', ''), streaming=True)


@pytest.mark.parametrize('name, data, parts', [
    ('a.csv', b'id,text\n1,ok\n2,caf\xe9\n', ['a.csv, line 3, byte 18', '0xe9']),
    ('a.jsonl.gz', b'{"text": "ok"}\n{"text": "\xff"}\n', ['a.jsonl.gz, line 2', 'not UTF-8']),
    ('a.txt', 'ok'.encode('utf-16'), ['a.txt', 'UTF-16']),
    ('a.jsonl', b'{"text": "ok"}\nnonsense\n', ['a.jsonl, line 2', 'not JSON']),
    ('a.jsonl', b'{"text": "ok"}\n["list"]\n', ['a.jsonl, line 2', 'expected an object']),
    ('a.json', b'{"text": "one"}', ['a.json', 'expected a list']),
    ('a.json', b'[{"text": "one"}, 3]', ['a.json, row 1', 'int']),
    ('a.json', b'{"text": ["one"], "id": ["1", "2"]}', ['different lengths']),
    ('a.json', b'[' * 100_000, ['a.json', 'not JSON']),
    ('a.csv', b'id,text\n1,a\n2\n', ['a.csv, line 3', '1 fields where the header has 2']),
    ('a.csv', b'id,text\n1,"a\n2,b\n', ['a.csv, line 3', 'malformed']),
    ('a.csv', b'text,text\na,b\n', ['a.csv, line 1', 'appears twice']),
    ('a.tsv', b'id\tbody\n1\ta\n', ['a.tsv', "no column 'text'", 'id, body']),
    ('a.jsonl', b'{"id": "x", "text": "a"}\n\n{"id": "x", "text": "b"}\n', ['a.jsonl, line 3', "'x'", 'line 1']),
    ('a.csv', b'id,text\n,a\n', ['a.csv, line 2', "column 'id'", 'empty']),
    ('a.jsonl', b'{"text": {"a": 1}}\n', ['a.jsonl, line 1', "column 'text'", 'dict']),
    ('a.jsonl', b'{"text": "ok"}\n{"text": "\\ud800"}\n', ['a.jsonl, line 2', 'Unicode']),
    ('a.csv', b'id,text\n1, \n2,\n', ['a.csv', 'all of 2 texts are empty']),
    ('a.parquet', b'PAR1 and then nothing', ['a.parquet', 'not a readable parquet']),
    ('a.jsonl.gz2', b'', ['a.jsonl.gz2', 'unknown kind']),
    ('a.parquet.gz', b'', ['unknown kind']),
])
def test_bad_file(write, name, data, parts):
    message = error(write(name, data))
    for part in parts: assert part in message, message


def test_truncated_gzip_and_plain_text_called_gz(write):
    path = write('a.jsonl.gz', '{"text": "one"}\n'*500)
    path.write_bytes(path.read_bytes()[:-20])
    assert 'truncated gzip' in error(path)
    path.write_text('{"text": "one"}\n')
    assert 'gzip' in error(path)


def test_missing_file_folder_and_name(write, tmp_path):
    write('reviews.csv', 'text\na\n')
    assert "did you mean 'reviews.csv'" in error(tmp_path/'review.csv')
    assert 'there is no folder' in error(tmp_path/'no'/'x.csv')
    (tmp_path/'void').mkdir()
    assert 'without .txt or .parquet files' in error(tmp_path/'void')
    assert "did you mean 'lee'" in error('leee')
    assert "did you mean 'agnews'" in error('ag-news')


@pytest.mark.skipif(hasattr(os, 'geteuid') and os.geteuid() == 0, reason='root reads everything')
def test_unreadable_file(write):
    path = write('a.csv', 'text\na\n'); path.chmod(0)
    assert 'Permission denied' in error(path)


@pytest.mark.parametrize('source', [
    3, None, {'text': ['a']}, 'one\ntext', b'bytes', [1, 2], ['a', None], [], pd.DataFrame({'text': []}),
    pd.DataFrame({'text': [1, 2]}), pd.DataFrame({'other': ['a']})])
def test_not_a_corpus(source):
    assert error(source)


def test_duplicate_columns_of_a_frame():
    assert "'text' appears twice" in error(pd.DataFrame([['a', 'b']], columns=['text', 'text']))


def test_one_column_cannot_play_two_roles():
    assert 'cannot be both' in error(pd.DataFrame({'id': ['a'], 'text': ['b']}), title='text')


@pytest.mark.parametrize('limit', [0, -1, 1.5, 'all'])
def test_bad_limit(limit):
    with pytest.raises(ConfigError): load_corpus(['a'], limit=limit)


def test_holes_of_a_spreadsheet():
    frame = pd.DataFrame({'id': [1., 2., 3.], 'text': ['one', np.nan, 'three'], 'label': [0., np.nan, np.nan],
                          'when': pd.to_datetime(['2001-01-01', None, '2001-01-03'])})
    with pytest.warns(UserWarning, match='dropped 1 of 3 texts'): ds = load_corpus(frame)
    assert ds['id'][:] == ['1', '3'] and ds['label'][:] == ['0', ''] and ds['when'][0].year == 2001


def test_one_warning_however_many_gaps(write):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        load_corpus(write('a.txt', 'one\n\n\ntwo\n \n'))
    assert len(caught) == 1 and 'dropped 3 of 5' in str(caught[0].message) and caught[0].filename == __file__


def test_row_numbers_stay_when_rows_are_dropped(write):
    path = write('a.jsonl', '\n'.join(json.dumps({'text': t}) for t in ['a', '', 'c']))
    with pytest.warns(UserWarning): assert load_corpus(path)['id'][:] == ['0', '2']
    assert [r['id'] for r in load_corpus(path, streaming=True)] == ['0', '2']


def test_mixed_extra_columns_and_nested_values(write):
    path = write('a.jsonl', '{"text": "a", "x": 1, "tags": ["u"]}\n{"text": "b", "x": [2]}\n{"text": "c", "y": {"z": 1}}\n')
    ds = load_corpus(path)
    assert ds['x'][:] == ['1', '[2]', None] and ds[0]['tags'] == ['u'] and ds[2]['y'] == {'z': 1}


def test_limit_counts_only_full_texts_of_the_split(write):
    rows = [{'text': t, 'split': s} for t, s in [('a', 'test'), ('', 'train'), ('b', 'train'), ('c', 'train'), ('d', 'train')]]
    path = write('a.jsonl', '\n'.join(map(json.dumps, rows)) + '\nbroken after what is needed')
    with pytest.warns(UserWarning): assert load_corpus(path, split='train', limit=2)['text'][:] == ['b', 'c']
    assert 'line 6' in error(path)


def test_split_messages(write):
    path = write('a.csv', 'text,split\na,train\nb,test\n')
    assert load_corpus(path, split='test')['id'][:] == ['1']
    assert "'train' (1 rows)" in error(path, split='dev')
    assert 'dev' in error(path, split='dev', streaming=True)
    assert "no column 'split'" in error(write('b.csv', 'text\na\n'), split='train')


def test_huge_field_and_carriage_returns(write):
    long = 'word '*60_000
    ds = load_corpus(write('a.csv', f'id,text\r\n1,"{long}"\r\n2,short\r\n'))
    assert ds['text'][:] == [long, 'short']
    assert load_corpus(write('b.txt', 'one\r\ntwo\r\n'))['text'][:] == ['one', 'two']


def test_parquet_keeps_class_names_and_types(tmp_path):
    features = datasets.Features({'text': datasets.Value('string'), 'label': datasets.ClassLabel(names=['no', 'yes']),
                                  'score': datasets.Value('float32')})
    table = {'text': ['a', 'b', 'c'], 'label': [1, 0, -1], 'score': [.5, 1., 2.]}
    Dataset.from_dict(table, features=features).to_parquet(tmp_path/'a.parquet')
    ds = load_corpus(tmp_path/'a.parquet')
    assert ds['label'][:] == ['yes', 'no', ''] and ds['score'][:] == [.5, 1., 2.]
    assert [r['text'] for r in load_corpus(tmp_path/'a.parquet', streaming=True)] == ['a', 'b', 'c']
    pq.write_table(pa.table({'text': pa.array(['x'], pa.large_string())}), tmp_path/'large.parquet')
    assert load_corpus(tmp_path/'large.parquet')[0] == {'id': '0', 'text': 'x'}


def test_dataset_sources_are_left_alone(tmp_path):
    ds = Dataset.from_dict({'doc': [3, 4], 'body': ['a', 'b']})
    out = load_corpus(ds, text='body', id='doc')
    assert out.to_list() == [{'id': '3', 'text': 'a'}, {'id': '4', 'text': 'b'}] and ds.column_names == ['doc', 'body']
    assert load_corpus(out).to_list() == out.to_list()
    both = DatasetDict(train=out, test=out.select([0]))
    assert 'already used' in error(both)
    assert load_corpus(both, split='test').num_rows == 1
    both.save_to_disk(tmp_path/'saved')
    assert load_corpus(tmp_path/'saved', split='train')['text'][:] == ['a', 'b']


def test_stream_is_lazy_repeatable_and_divides(write):
    path = write('a.jsonl.gz', '\n'.join(json.dumps({'id': i, 'text': f'text {i}'}) for i in range(10)))
    stream = load_corpus(path, streaming=True)
    assert isinstance(stream, IterableDataset)
    parts = [[r['id'] for r in split_dataset_by_node(stream, rank, 2)] for rank in range(2)]
    assert sorted(sum(parts, []), key=int) == [str(i) for i in range(10)] and set(parts[0]).isdisjoint(parts[1])
    assert [r['id'] for r in stream] == [r['id'] for r in stream]
    late = write('late.jsonl', '{"text": "a"}\n{"text": 5}\n')
    with pytest.raises(CorpusError, match='row 1'): list(load_corpus(late, streaming=True))


def test_nothing_is_written_for_local_sources(write, tmp_path):
    path = write('a.jsonl', '{"text": "a"}\n')
    home = tmp_path/'home'; home.mkdir()
    code = (f"from textlab.corpus import load_corpus; load_corpus({str(path)!r}); load_corpus(['a']); "
            f"list(load_corpus({str(path)!r}, streaming=True)); load_corpus('polarity-mini')")
    env = {**os.environ, 'HOME': str(home), 'HF_HOME': str(home/'hf'), 'HF_DATASETS_CACHE': str(home/'hf'/'d')}
    strict = [sys.executable, '-W', 'error::UserWarning:textlab', '-c', code]
    subprocess.run(strict, check=True, env=env, cwd=Path(corpus.__file__).resolve().parent.parent)
    files = [p for p in home.rglob('*') if p.is_file() and 'matplotlib' not in p.parts]
    assert not files, files


def test_offline_answer_is_quick_and_names_the_way_out():
    code = "from textlab.corpus import load_corpus\ntry: load_corpus('agnews')\nexcept ValueError as e: print(e)"
    env = {**os.environ, 'HF_HUB_OFFLINE': '1', 'HF_HOME': os.devnull + '-none'}
    here = Path(corpus.__file__).resolve().parent.parent
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, env=env, cwd=here)
    assert 'TEXTLAB_DATA' in out.stdout and 'agnews' in out.stdout and 'fancyzhx/ag_news' in out.stdout, out.stderr
    assert not out.stderr.strip(), out.stderr


def test_local_sources_never_ask_the_hub(write, monkeypatch):
    def called(*args, **kwargs): raise AssertionError('the network was asked')
    monkeypatch.setattr(corpus, 'hub_problem', called); monkeypatch.setattr(corpus, 'load_dataset', called)
    load_corpus('lee', limit=2); load_corpus(write('a.csv', 'text\na\n')); load_corpus(['a'])
    error('missing.csv'); error('nonsense')
    with pytest.raises(AssertionError): load_corpus('owner/name')


def test_hub_errors_are_corpus_errors(monkeypatch):
    def broken(*args, **kwargs): raise ValueError("BuilderConfig 'x' not found")
    monkeypatch.setattr(corpus, 'hub_problem', lambda repo: ''); monkeypatch.setattr(corpus, 'load_dataset', broken)
    assert 'BuilderConfig' in error('owner/name')


def test_data_folder_shadows_but_never_leaves_itself(write, tmp_path, monkeypatch):
    write('data/sub/agnews.jsonl.gz', '{"text": "mine"}\n'); write('outside.jsonl.gz', '{"text": "not mine"}\n')
    monkeypatch.setenv('TEXTLAB_DATA', str(tmp_path/'data'))
    assert load_corpus('agnews')['text'][:] == ['mine'] and load_corpus('sub/agnews')['text'][:] == ['mine']
    assert corpus.shadow('../outside') is None and corpus.shadow('sub/../../outside') is None and corpus.shadow('*') is None
    monkeypatch.setenv('TEXTLAB_DATA', str(tmp_path/'gone'))
    with pytest.raises(ConfigError, match='gone'): load_corpus('agnews')


class Harm:
    def __init__(self, path): self.path = path
    def __reduce__(self): return (open, (str(self.path), 'w'))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_malicious_pickle_is_refused(tmp_path, protocol):
    with pytest.raises(CorpusError, match='refused'): plain_pickle(pickle.dumps([Harm(tmp_path/'owned')], protocol))
    assert not (tmp_path/'owned').exists()


@settings(max_examples=300, deadline=None)
@example(b'\x95\x00\x00\x00\x00\x00\x00\x00\x80')  # a frame longer than memory can be
@given(st.binary(max_size=60))
def test_no_bytes_make_the_unpickler_do_anything_but_refuse(data):
    try: plain_pickle(data)
    except CorpusError: pass


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=['Cs']), min_size=1, max_size=40)
                .filter(lambda t: t.strip() and '\x00' not in t), min_size=1, max_size=8))
def test_texts_survive_every_format(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp('formats')
    frame = pd.DataFrame({'id': [f'd{i}' for i in range(len(texts))], 'text': texts})
    (folder/'a.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in frame.to_dict('records')), encoding='utf-8')
    (folder/'a.json').write_text(json.dumps(frame.to_dict('list'), ensure_ascii=False), encoding='utf-8')
    frame.to_parquet(folder/'a.parquet')
    for name in ('a.jsonl', 'a.json', 'a.parquet'): assert load_corpus(folder/name)['text'][:] == texts, name
    assert load_corpus(texts)['text'][:] == load_corpus(frame)['text'][:] == texts


def test_builtin_corpora_are_what_the_page_says():
    sizes = {name: load_corpus(name).num_rows for name in BUILTIN}
    assert [sizes[name] for name in ('lee', 'wiki-mini', 'polarity-mini')] == [300, 105, 200]
    assert sizes['newsgroups-mini'] > 190 and sizes['wiki-mini-passages'] > 2500
    stories, ratings = lee_similarity()
    assert len(stories) == 50 and ratings.shape == (50, 50)
    assert corpus_fingerprint(load_corpus('lee', limit=3)) != corpus_fingerprint(load_corpus('lee', limit=4))
    assert [r['id'] for r in load_corpus('lee', streaming=True, limit=2)] == ['lee-0', 'lee-1']


def test_info_of_an_empty_dataset():
    with pytest.raises(TextlabError): corpus_info(Dataset.from_dict({'id': [], 'text': []}))


@pytest.mark.skipif('TEXTLAB_DATA' not in os.environ, reason='needs the public data sets')
def test_twenty_newsgroups(monkeypatch):
    monkeypatch.setenv('TEXTLAB_DATA', DATA)
    ds = load_corpus('20ng', split='train')
    counts = Vocabulary(5000, min_df=10).fit_transform(strip_post(t, 'marked') for t in ds['text'][:])
    assert len(ds) == 11314 and abs((np.diff(counts.indptr) >= 5).sum() - 11105) < 20


DATA = os.environ.get('TEXTLAB_DATA', '')
