"""Kills and full disks at every file operation: what is there afterwards is whole, says the truth, and the next run goes on.

A longer run, every operation of every job and many real kills: `TEXTLAB_KILLS=all python -m pytest tests/test_kills.py`
"""
import importlib, json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest

HERE = Path(__file__).resolve().parent
BOUND = .02  # of a topic share between one process and two; the page on TopicModel says why they differ
LONG = os.environ.get("TEXTLAB_KILLS") == "all"
PATHS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.scandir", "os.listdir", "shutil.rmtree",
         "tempfile.mkdtemp", "os.link", "os.symlink", "os.truncate", "shutil.copyfile")
WRITES = ("os.mkdir", "os.rename", "tempfile.mkdtemp", "os.chmod")


class Operations:
    "Counts the file operations below a folder, and does something at one of them"
    def __init__(self, folder, at, act, names=PATHS):
        self.folder, self.at, self.act, self.names, self.count = str(folder), at, act, names, 0
        sys.addaudithook(self)
        if "open" not in names: os.fsync = self.fsync

    def fsync(self, fd, real=os.fsync):
        self("os.mkdir", (os.readlink(f"/proc/self/fd/{fd}"),))
        real(fd)

    def __call__(self, event, args):
        if self.folder is None or event not in self.names and not self.writes(event, args): return
        if not any(isinstance(a, (str, os.PathLike)) and str(a).startswith(self.folder) for a in args): return
        self.step(event)

    def writes(self, event, args):
        return event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)

    def step(self, event):
        self.count += 1
        if self.count == self.at: self.act(event)

    def off(self): self.folder = None


def kill(event): os.kill(os.getpid(), signal.SIGKILL)


def full(event): raise OSError(28, "No space left on device")


# --- the jobs: each writes `folder/m`, over an old one ---------------------------------------------

def thing(i, checkpoints):
    import torch
    from textlab.artifacts import State
    weights = {"best_model.pt": {"w": torch.full((3,), float(i))}}
    if checkpoints: weights["last_model.pt"] = {"w": torch.zeros(2)}
    return State(dict(i=i), {"w": torch.full((20,), float(i))}, {"words": ["a"] * i}, {"ids": np.arange(i)}, weights)


def save_artifact(folder, i):
    from textlab.artifacts import write_artifact
    write_artifact(folder / "m", thing(i, i == 1), "textlab.testing.Thing")


def read_artifact(folder):
    from textlab.artifacts import load_checkpoint, read_artifact, read_config
    state, i = read_artifact(folder / "m"), read_config(folder / "m")["config"]["i"]
    assert (state.tensors["w"] == i).all() and (load_checkpoint(folder / "m" / "best_model.pt")["w"] == i).all()
    names = {p.name for p in (folder / "m").iterdir()}
    own = {"config.json", "model.safetensors", "words.json", "ids.npy", "best_model.pt"}
    assert names == own | ({"last_model.pt"} if i == 1 else set())
    return i


def save_file(folder, i):
    import torch
    from textlab.artifacts import save_checkpoint
    save_checkpoint(folder / "m", {"i": i, "w": torch.full((9,), float(i))})


def read_file(folder):
    from textlab.artifacts import load_checkpoint
    found = load_checkpoint(folder / "m")
    assert (found["w"] == found["i"]).all()
    return found["i"]


def fit_topics(folder, i):
    "The command line: train, save, tidy up; under an older model that an earlier command has saved"
    from textlab.cli import run
    argv = ["theta", "fit", folder.parent / "texts.csv", "--embeddings", folder.parent / "x.npy", "--num_topics", "2", "--epochs", "2",
            "--min_df", "1", "--hidden_dim", "8", "--mode", "unsupervised", "--seed", i, "--out", folder / "m", "--overwrite", "--json"]
    status = run([str(a) for a in argv])
    if status: raise RuntimeError(f"exit status {status}")


def read_topics(folder):
    import torch
    from textlab.artifacts import load_checkpoint
    from textlab.theta.topics import TopicModel
    model = TopicModel.load(folder / "m")
    best = load_checkpoint(folder / "m" / "best_model.pt")
    assert all(torch.equal(v, best[k]) for k, v in model.model_.state_dict().items())
    load_checkpoint(folder / "m" / "last_model.pt")
    return model.seed


NEEDED = dict.fromkeys(("artifact", "file"), ["torch", "textlab.artifacts"])
NEEDED["topics"] = ["textlab.cli", "textlab.theta.topics", "textlab.corpus", "textlab.embed", "textlab.metrics", "pandas"]
JOBS = dict(artifact=(save_artifact, read_artifact), file=(save_file, read_file), topics=(fit_topics, read_topics))


def apart(do):
    "Do something in a fork of this process: its exit status, 9 where it was killed"
    if (pid := os.fork()) == 0:
        status = 1
        try:
            do()
            status = 0
        except BaseException as e:
            print(f"{type(e).__name__}: {e}", file=sys.stderr, flush=True)
        finally: os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def later(save, folder, after):
    "A real SIGKILL, some seconds after the beginning"
    if (pid := os.fork()) == 0:
        try: save(folder, 2)
        finally: os._exit(0)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def worker(folder, job, kind, some):
    "For each operation of a job: kill there (or fill the disk there), look, run again, look again"
    save, read = JOBS[job]
    for module in NEEDED[job]: importlib.import_module(module)  # once, before the forks
    names = WRITES if kind == "full" else PATHS
    def counted():
        ops = Operations(folder / "run", 0, None, names)
        save(folder / "run", 2)
        (folder / "count").write_text(str(ops.count))
    def fresh():
        shutil.rmtree(folder / "run", ignore_errors=True)
        (folder / "run").mkdir()
        assert apart(lambda: save(folder / "run", 1)) == 0
    fresh()
    assert apart(counted) == 0
    count, found, began = int((folder / "count").read_text()), [], time.perf_counter()
    fresh()
    took = time.perf_counter() - began
    steps = range(1, count + 1) if some == 0 else sorted({1 + k * (count - 1) // (some - 1) for k in range(some)})
    for at in steps:
        fresh()
        def broken():
            Operations(folder / "run", at, kill if kind == "kill" else full, names)
            save(folder / "run", 2)
        status = later(save, folder / "run", took * at / count) if kind == "real" else apart(broken)
        def look(name):
            def see(): (folder / name).write_text(str(read(folder / "run")))
            (folder / name).unlink(missing_ok=True)
            return int((folder / name).read_text()) if apart(see) == 0 else None
        row = dict(at=at, status=status, after=look("after"), left=sorted(p.name for p in (folder / "run").iterdir()))
        row["again"] = apart(lambda: save(folder / "run", 2))
        found.append(row | dict(end=look("end"), rest=sorted(p.name for p in (folder / "run").iterdir())))
    print(json.dumps(dict(count=count, rows=found)))


def attack(tmp_path, job, kind, some=0):
    options = dict(capture_output=True, text=True, timeout=3600, cwd=HERE)
    env = os.environ | dict(OMP_NUM_THREADS="1", TEXTLAB_PROGRESS="0", TEXTLAB_DEVICE="cpu", HF_HUB_OFFLINE="1")
    done = subprocess.run([sys.executable, __file__, str(tmp_path), job, kind, str(0 if LONG else some)], env=env, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def corpus(tmp_path):
    rng = np.random.default_rng(0)
    words = "rain sun river stone bird tree wind road lamp ship gold salt".split()
    (tmp_path / "texts.csv").write_text("text\n" + "\n".join(" ".join(rng.choice(words, 12)) for _ in range(40)) + "\n")
    np.save(tmp_path / "x.npy", rng.normal(size=(40, 8)).astype(np.float32))


CASES = [("artifact", "kill", 8), ("file", "kill", 4), ("topics", "kill", 4), ("topics", "real", 2)]


@pytest.mark.parametrize("job, kind, some", CASES)
def test_a_kill_at_any_operation_leaves_the_old_or_the_new(tmp_path, job, kind, some):
    corpus(tmp_path)
    found, said = attack(tmp_path, job, kind, some)
    assert found["count"] >= 8
    for row in found["rows"]:
        assert row["status"] == -9 or kind == "real", (row, said[-2000:])
        assert row["after"] in (1, 2), (row, said[-2000:])
        assert (row["again"], row["end"], row["rest"]) == (0, 2, ["m"]), (row, said[-2000:])
    if kind == "real": return
    assert {row["after"] for row in found["rows"]} == {1, 2}
    assert any(len(row["left"]) > 1 for row in found["rows"])  # a kill does leave things, for the next run to remove


@pytest.mark.parametrize("job, some", [("artifact", 8), ("file", 4), ("topics", 3)])
def test_a_full_disk_at_any_operation_changes_nothing_and_says_so(tmp_path, job, some):
    corpus(tmp_path)
    found, said = attack(tmp_path, job, "full", some)
    failed = [row for row in found["rows"] if row["status"] == 1]  # not every operation is needed
    assert len(failed) >= len(found["rows"]) / 2
    for row in found["rows"]:
        assert (row["status"], row["after"]) in ((1, 1), (0, 2)), (row, said[-2000:])
        # a training that met a full disk leaves its checkpoints, and the next run goes on from them
        kept = {"m.partial"} if job == "topics" and row["status"] else set()
        assert {"m"} <= set(row["left"]) <= {"m"} | kept, (row, said[-2000:])
        assert (row["again"], row["end"], row["rest"]) == (0, 2, ["m"]), (row, said[-2000:])
    lines = [line for line in said.splitlines() if "cannot write" in line]
    assert len(lines) >= len(failed) and all("the disk is full; nothing was changed" in line for line in lines)


# --- several processes -----------------------------------------------------------------------------

def test_processes_of_torchrun_write_one_model_and_one_answer(tmp_path):
    "The command line in two processes: one JSON, every file, nothing else, and the topics of one process"
    from textlab.theta.topics import TopicModel
    corpus(tmp_path)
    argv = ["textlab", "theta", "fit", "texts.csv", "--embeddings", "x.npy", "--num_topics", "3", "--epochs", "5", "--min_df", "1",
            "--hidden_dim", "16", "--mode", "unsupervised", "--json"]
    env = os.environ | dict(OMP_NUM_THREADS="1", TEXTLAB_PROGRESS="0", TEXTLAB_DEVICE="cpu", HF_HUB_OFFLINE="1")
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    for name, more in (("one", []), ("two", launcher)):
        done = subprocess.run([sys.executable, "-m", *more, *argv, "--out", name], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout)["out"] == name and done.stdout.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"texts.csv", "x.npy", "one", "two"}
    one, two = tmp_path / "one", tmp_path / "two"
    assert {p.name for p in one.iterdir()} == {p.name for p in two.iterdir()} >= {"best_model.pt", "last_model.pt"}
    apart = np.abs(TopicModel.load(one).theta_ - TopicModel.load(two).theta_).max()
    print("largest difference of a share", apart)
    assert apart < BOUND


if __name__ == "__main__": worker(Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]))
