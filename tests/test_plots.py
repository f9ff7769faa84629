"What no page of plots should hold"
import os, subprocess, sys

DRAW = '''
import numpy as np, torch
from textlab.plots import map_2d
map_2d(np.random.default_rng(0).random((60, 8)), 'umap')
print(torch.get_num_threads())
'''

def test_a_map_leaves_the_number_of_threads_as_it_was():
    "numba sets OpenMP's threads when it starts its own, and torch would go on with those"
    env = os.environ | dict(OMP_NUM_THREADS='1', NUMBA_NUM_THREADS='2')
    said = subprocess.run([sys.executable, '-c', DRAW], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ['1']
