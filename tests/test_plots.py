"What no page of plots should hold"
import os, subprocess, sys
import pytest

START = "import numpy as np, torch; X = np.random.default_rng(0).random((4096, 8)).astype(np.float32)"
END = "print(torch.get_num_threads())"


@pytest.mark.parametrize("call", [
    "from textlab.plots import map_2d; map_2d(X[:60], 'umap')",
    "from textlab.maps.umap import find_neighbours; find_neighbours(X, 5, 'euclidean')",
], ids=["map_2d", "find_neighbours"])
def test_umap_leaves_the_number_of_threads_as_it_was(call):
    "numba sets OpenMP's threads when it starts its own, and torch would go on with those"
    env = os.environ | dict(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="2")
    said = subprocess.run([sys.executable, "-c", f"{START}; {call}; {END}"], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1"]
