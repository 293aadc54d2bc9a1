#!/usr/bin/python3
"""PyTorch's permutations: /usr/bin/python3 tests/golden/make_permutation.py

Writes permutation.txt: lines `all SEED N r_0 ... r_{N-1}`, and for long ones `sum SEED N` with the sum of (i + 1) r_i mod 2^64.
"""
import pathlib

import torch

lines = []
for how, seed, n in (("all", 0, 1), ("all", 0, 2), ("all", 0, 10), ("all", 7, 10), ("all", 0, 777), ("sum", 0, 4000), ("sum", 0, 10000),
                     ("sum", 3, 200003)):
    torch.manual_seed(seed)
    r = torch.randperm(n).tolist()
    values = r if how == "all" else [sum((i + 1) * v for i, v in enumerate(r)) % 2**64]
    lines.append(" ".join(map(str, [how, seed, n, *values])))
(pathlib.Path(__file__).parent / "permutation.txt").write_text("\n".join(lines) + "\n")
