"What the page of textlab.artifacts cannot show: any value, any damaged byte, a kill, a full disk, a folder that is not ours to write."
import contextlib, errno, json, os, pickle, resource, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from textlab.artifacts import (Artifact, State, load_artifact, load_checkpoint, read_artifact, save_checkpoint, seal, write_artifact)
from textlab.core import ArtifactError, TextlabError

CLS = 'textlab.testing.Thing'
quick = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = st.from_regex(r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}', fullmatch=True).filter(lambda n: n != 'config')
surrogates = st.text(st.characters(categories=['Cs']))
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | st.text() | surrogates


def nested(inner): return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)


jsons = st.recursive(scalars, nested, max_leaves=8)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
numbers = st.sampled_from(['<f2', '<f4', '<f8', 'i1', 'u1', '<i2', '<i4', '<i8', '?'])
arrays = hnp.arrays(numbers, shapes)
views = st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[..., ::-1] if a.ndim else a, lambda a: np.asfortranarray(a)])


@contextlib.contextmanager
def unprivileged():
    "Give up root for a moment, so that permissions count"
    root = os.geteuid() == 0
    if root: os.seteuid(65534)
    try: yield
    finally:
        if root: os.seteuid(0)


@contextlib.contextmanager
def small_files(size):
    "No file may grow beyond `size` bytes: the nearest thing to a full disk that any machine can stage"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try: yield
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def same(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@quick
@given(st.dictionaries(st.text(max_size=6), jsons, max_size=4), st.dictionaries(names, jsons, max_size=3))
def test_any_json_comes_back(tmp_path, config, files):
    write_artifact(tmp_path/'a', State(config, jsons=files), CLS)
    back = read_artifact(tmp_path/'a')
    assert back.config == config and back.jsons == files
    assert repr(back.config) == repr(config)  # 1 is not 1.0 is not True


@quick
@given(st.dictionaries(st.text(st.characters(codec='utf-8'), max_size=6).filter(lambda n: n != '__metadata__'),
                       st.tuples(arrays, views), max_size=3),
       st.dictionaries(names, st.tuples(arrays, views), max_size=2))
def test_any_array_comes_back_bit_for_bit(tmp_path, tensors, files):
    tensors, files = ({k: view(a) for k, (a, view) in d.items()} for d in (tensors, files))
    write_artifact(tmp_path/'a', State(tensors=tensors, arrays=files), CLS)
    back = read_artifact(tmp_path/'a')
    assert set(back.tensors) == set(tensors) and set(back.arrays) == set(files)
    assert all(same(back.tensors[k].numpy(), v) for k, v in tensors.items())
    assert all(same(back.arrays[k], v) for k, v in files.items())


def test_any_length_of_header(tmp_path):
    "A safetensors file begins with the length of its header; one of 128 bytes begins like a pickle and is none"
    first = set()
    for n in range(1, 80, 7):
        write_artifact(tmp_path/'a', State(tensors={'w'*n: torch.ones(2)}), CLS)
        first.add((tmp_path/'a'/'model.safetensors').read_bytes()[:2])
        assert list(read_artifact(tmp_path/'a').tensors) == ['w'*n]
    assert b'\x80\x00' in first


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_torch_tensors_of_every_kind(tmp_path, dtype):
    base = torch.randint(0, 2, (4, 6)).to(dtype)
    tied = dict(a=base, b=base, row=base[2], column=base[:, 1], turned=base.T, every=base[::2, ::3],
                grown=base[:1].expand(5, 6), param=torch.nn.Parameter(base.clone(), requires_grad=False),
                odd=base.clone().as_subclass(Odd))
    write_artifact(tmp_path/'a', State(tensors=tied), CLS)
    back = read_artifact(tmp_path/'a').tensors
    for k, t in tied.items():
        assert back[k].dtype == dtype and torch.equal(back[k], t), k
    back['a'].zero_()
    assert torch.equal(back['b'], base)  # nothing is shared any more


class Thing(Artifact):
    artifact_class = CLS
    def __init__(self, weights): self.weights = weights
    def to_state(self): return State(dict(n=len(self.weights)), dict(w=self.weights), dict(words=['a', 'ö']), dict(ids=np.arange(3)))
    @classmethod
    def from_state(cls, state): return cls(state.tensors['w'])


@pytest.fixture
def saved(tmp_path): return Thing(torch.randn(6)).save(tmp_path/'thing')


def test_every_flipped_byte_is_noticed(saved):
    "Each byte of each file, one after the other: none may load, and the message names the file"
    count = 0
    for file in sorted(saved.iterdir()):
        data = file.read_bytes()
        for i in range(len(data)):
            file.write_bytes(data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i+1:])
            with pytest.raises(ArtifactError, match=file.name.replace('.', r'\.')): load_artifact(saved)
            count += 1
        file.write_bytes(data)
    assert count > 800
    load_artifact(saved)


def test_every_truncation_is_noticed(saved):
    for file in sorted(saved.iterdir()):
        data = file.read_bytes()
        for n in {0, 1, 4, len(data)//2, len(data) - 1}:
            file.write_bytes(data[:n])
            message = file.name + ('' if file.name == 'config.json' else ' is truncated')
            with pytest.raises(ArtifactError, match=message): load_artifact(saved)
        file.unlink()
        with pytest.raises(ArtifactError, match='missing'): load_artifact(saved)
        file.write_bytes(data)
    load_artifact(saved)


class Trap:
    def __reduce__(self): return Path.touch, (Path(os.environ['TRAP']),)


@pytest.mark.parametrize('file', ['model.safetensors', 'config.json', 'ids.npy', 'words.json'])
@pytest.mark.parametrize('protocol', [0, 2, 5])
def test_no_trap_ever_springs(saved, tmp_path, monkeypatch, file, protocol):
    monkeypatch.setenv('TRAP', str(tmp_path/'sprung'))
    bad = pickle.dumps(Trap(), protocol=protocol)
    (saved/file).write_bytes(bad)
    if protocol and file != 'config.json':  # even with a configuration that vouches for it
        vouch(saved)
    with pytest.raises(ArtifactError, match='pickle' if protocol else file): load_artifact(saved)
    torch.save(Trap(), tmp_path/'trap.pt')
    np.save(tmp_path/'trap.npy', np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactError, match='could run code'): load_checkpoint(tmp_path/'trap.pt')
    shutil.copy(tmp_path/'trap.npy', saved/'ids.npy')
    if protocol and file == 'ids.npy':
        vouch(saved)
        with pytest.raises(ArtifactError, match='without unpickling'): read_artifact(saved)
    assert not (tmp_path/'sprung').exists()
    pickle.loads(bad)
    assert (tmp_path/'sprung').exists()  # the trap is a real one


def vouch(folder):
    "Seal the configuration anew for the files as they are, as an attacker would"
    import hashlib
    config = json.loads((folder/'config.json').read_bytes()); config.pop('sha256')
    config |= dict(files={f: hashlib.sha256((folder/f).read_bytes()).hexdigest() for f in config['files']}, bytes={})
    (folder/'config.json').write_bytes(seal(config))


@pytest.mark.parametrize('cls', [
    'os.system', 'subprocess.Popen', 'antigravity.Model', 'textlab', 'textlab.Path', 'textlab..x', 'textlab.core.Path',
    'textlab.core.TextlabError', 'textlab.artifacts.Artifact.save', 'textlabx.mod.Model', 'textlab.no.such.Thing', '',
    'textlab/../x.Y'])
def test_a_stray_class_is_refused_without_import(saved, cls):
    config = json.loads((saved/'config.json').read_bytes()) | {'class': cls}
    config.pop('sha256'); (saved/'config.json').write_bytes(seal(config))
    before = set(sys.modules)
    with pytest.raises(ArtifactError): load_artifact(saved)
    assert all(m.startswith('textlab') for m in set(sys.modules) - before)


@pytest.mark.parametrize('change', [
    dict(config=[]), dict(files=None), dict(tensors='w'), dict(bytes=3), dict(format='1'), dict(format=2), {'class': 7},
    dict(files={'../x.json': '0'}), dict(files={'/etc/passwd': '0'}), dict(files={'x.pkl': '0'}), dict(files={}),
    dict(tensors={}), dict(tensors={'w': 'float32 [7]'})])
def test_a_configuration_that_makes_no_sense(saved, change):
    config = json.loads((saved/'config.json').read_bytes()) | change
    config.pop('sha256'); (saved/'config.json').write_bytes(seal(config))
    with pytest.raises(ArtifactError): load_artifact(saved)


utf8 = st.characters(codec='utf-8')
plain = st.none() | st.booleans() | st.integers(-2**60, 2**60) | st.floats(allow_nan=False) | st.text(utf8)


def containers(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(utf8, max_size=4) | st.integers(0, 9), inner, max_size=3)


@quick
@given(st.recursive(plain, containers, max_leaves=8))
def test_any_plain_checkpoint_comes_back(tmp_path, obj):
    assert load_checkpoint(save_checkpoint(tmp_path/'c.pt', obj)) == obj


def test_optimizer_and_generator_states_are_plain(tmp_path):
    layer = torch.nn.Linear(3, 2); opt = torch.optim.Adam(layer.parameters()); layer(torch.ones(1, 3)).sum().backward(); opt.step()
    state = dict(model=layer.state_dict(), opt=opt.state_dict(), rng=torch.get_rng_state())
    back = load_checkpoint(save_checkpoint(tmp_path/'c.pt', state))
    assert torch.equal(back['opt']['state'][0]['exp_avg'], opt.state_dict()['state'][0]['exp_avg'])
    opt.load_state_dict(back['opt'])


class Odd(torch.Tensor): pass


@pytest.mark.parametrize('obj', [
    b'bytes', np.ones(2), np.float64(1), {1, 2}, torch.ones(2).as_subclass(Odd), lambda: 0, Path('x'), torch.nn.Linear(2, 2),
    type('D', (dict,), {})()])
def test_what_is_not_plain_is_refused_when_saving(tmp_path, obj):
    with pytest.raises(ArtifactError, match=r"checkpoint\['a'\]\[0\] is a"): save_checkpoint(tmp_path/'c.pt', dict(a=[obj]))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_refused(tmp_path):
    w = torch.arange(256.)
    file = save_checkpoint(tmp_path/'c.pt', dict(w=w)); data = file.read_bytes(); at = data.index(w.numpy().tobytes())
    for i in range(at, at + 1024, 97):
        file.write_bytes(data[:i] + bytes([data[i] ^ 16]) + data[i+1:])
        with pytest.raises(ArtifactError, match=r'c\.pt'): load_checkpoint(file)
    for n in (0, 1, 30, len(data)//2, len(data) - 1):
        file.write_bytes(data[:n])
        with pytest.raises(ArtifactError, match=r'c\.pt'): load_checkpoint(file)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    home = tmp_path/'home'; home.mkdir(); (home/'config.json').write_text('{"model_type": "bert"}'); (home/'thesis.txt').write_text('x')
    with pytest.raises(ArtifactError, match='nothing was changed'): Thing(torch.ones(1)).save(home)
    assert sorted(p.name for p in home.iterdir()) == ['config.json', 'thesis.txt']
    (tmp_path/'file').write_text('x')
    for bad in (tmp_path/'file', tmp_path/'file'/'below'):
        with pytest.raises(TextlabError, match='file'): Thing(torch.ones(1)).save(bad)
    assert (tmp_path/'file').read_text() == 'x'
    empty = tmp_path/'empty'; empty.mkdir(); Thing(torch.ones(1)).save(empty)


def test_what_people_add_stays(saved):
    (saved/'notes').mkdir(); (saved/'notes'/'a.txt').write_text('mine')
    Thing(torch.zeros(2)).save(saved)
    assert (saved/'notes'/'a.txt').read_text() == 'mine' and len(load_artifact(saved).weights) == 2


def test_a_link_to_a_folder_stays_a_link(tmp_path, saved):
    (tmp_path/'latest').symlink_to(saved, target_is_directory=True)
    Thing(torch.zeros(2)).save(tmp_path/'latest')
    assert (tmp_path/'latest').is_symlink() and len(load_artifact(saved).weights) == 2


def tree(path): return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob('*')) if p.is_file()}


def test_a_full_disk_leaves_the_old_model(tmp_path, saved):
    before = tree(tmp_path)
    with small_files(2000), pytest.raises(TextlabError, match='cannot write .*nothing was changed'): Thing(torch.zeros(10_000)).save(saved)
    with small_files(2000), pytest.raises(TextlabError, match='cannot write .*nothing was changed'):
        save_checkpoint(tmp_path/'c.pt', torch.zeros(10_000))
    assert tree(tmp_path) == before and [p.name for p in tmp_path.iterdir()] == ['thing']


def test_no_space_left_is_said_in_english(tmp_path, monkeypatch):
    def full(*args, **kwargs): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(np, 'save', full)
    with pytest.raises(TextlabError, match='the disk is full; nothing was changed'): Thing(torch.zeros(3)).save(tmp_path/'a')
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder(tmp_path):
    os.chmod(tmp_path, 0o755); home = tmp_path/'home'; home.mkdir(); home.chmod(0o555)
    for p in list(tmp_path.parents)[:2]: os.chmod(p, 0o755)
    with unprivileged(), pytest.raises(TextlabError, match='permission denied'): Thing(torch.zeros(3)).save(home/'a')
    with unprivileged(), pytest.raises(TextlabError, match='permission denied'): save_checkpoint(home/'a.pt', torch.zeros(3))
    assert list(home.iterdir()) == []


KILLED = """
import sys, torch
from textlab.artifacts import State, write_artifact
i = 0
while True:
    i += 1
    write_artifact(sys.argv[1], State(dict(i=i), {'w': torch.full((2_000_000,), float(i))}), 'textlab.testing.Thing')
    print(i, flush=True)
"""


def test_sigkill_in_the_middle_of_saving(tmp_path):
    "A process that does nothing but overwrite one artifact is killed at a random moment; what is there is whole"
    for delay in (.013, .029, .041):
        child = subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path/'a')], stdout=subprocess.PIPE)
        child.stdout.readline(); time.sleep(delay)
        child.send_signal(signal.SIGKILL); child.wait(); child.stdout.close()
        place = tmp_path/'a' if (tmp_path/'a').exists() else next(tmp_path.glob('.a.old-*/a'))  # killed between two renames
        state = read_artifact(place)
        assert (state.tensors['w'] == state.config['i']).all()
        shutil.rmtree(tmp_path); tmp_path.mkdir()
