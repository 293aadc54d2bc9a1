#!/usr/bin/python3
"""Golden selections by percentile distance, from numpy in double: /usr/bin/python3 tests/golden/make_percentile.py

Vectors are small integers over 8, so every similarity is exact and ties are real; words are a shuffled list. Writes
percentile.txt: `case CANDIDATES ID_TEXTS WIDTH PERCENTILE RULE COUNT`, then candidates, ID texts (integers, row-major),
words, selected rows, keys.
"""
import pathlib

import numpy as np

lines = []
rng = np.random.default_rng(77)
for m, n, d, percentile, rule, count in (
    (50, 20, 6, 0.95, "floor", 20),
    (50, 20, 6, 0.95, "linear", 20),
    (40, 100, 16, 0.95, "floor", 40),
    (40, 67, 16, 0.95, "linear", 11),
    (30, 1, 5, 0.95, "floor", 7),
    (30, 2, 5, 0.95, "floor", 30),
    (30, 2, 5, 0.95, "linear", 30),
    (64, 10, 3, 0.5, "floor", 33),
    (64, 33, 3, 1.0, "floor", 64),
    (64, 33, 3, 0.0, "linear", 64),
):
    candidates = rng.integers(-4, 5, (m, d))
    texts = rng.integers(-4, 5, (n, d))
    words = [f"w{k:02d}" for k in rng.permutation(m)]
    similarity = np.sort((candidates / 8) @ (texts / 8).T, axis=1)
    if rule == "floor":
        keys = similarity[:, min(int(np.floor(percentile * n)), n - 1)]
    else:
        keys = np.quantile(similarity, percentile, axis=1)
    order = sorted(range(m), key=lambda i: (keys[i], words[i]))[:count]
    lines.append(f"case {m} {n} {d} {percentile} {rule} {count}")
    lines += [" ".join(map(str, a)) for a in (candidates.ravel(), texts.ravel(), words, order)]
    lines.append(" ".join(repr(float(keys[i])) for i in order))
(pathlib.Path(__file__).parent / "percentile.txt").write_text("\n".join(lines) + "\n")
