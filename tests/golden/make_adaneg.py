#!/usr/bin/python3
"""AdaNeg by its definition, in numpy's double: /usr/bin/python3 tests/golden/make_adaneg.py

A memory [C + M, 1 + slots, D] whose first slot is the text, proxies made as vectors, one image after the other. Writes
adaneg/positive.npy, negative.npy, images.npy, and for every variant adaneg/NAME.npy with a row for each image: S, class, outcome
(0 not considered, 1 learned from, 2 confident and not taken), S_nl.
"""
import pathlib

import numpy as np
import torch

OUT = pathlib.Path(__file__).parent / "adaneg"
C, M, D, N, SCALE = 5, 23, 12, 150, 12.0
rng = np.random.default_rng(12)


def unit(m):
    return m / np.linalg.norm(m, axis=-1, keepdims=True)


positive = unit(rng.normal(size=(C, D)))
negative = unit(rng.normal(size=(M, D)))
# Images around three classes and four negatives, so that labels fill up, with noise of different size.
centre = np.concatenate([positive[:3], negative[:4]])
images = unit(centre[rng.integers(0, len(centre), N)] + rng.uniform(0.1, 0.6, (N, 1)) * rng.normal(size=(N, D)))


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def grouped(z, groups):
    id_part, other = z[:C], z[C:]
    other = other[: len(other) - len(other) % groups]
    if groups > 1:
        torch.manual_seed(0)
        other = other[torch.randperm(len(other)).numpy()]
    return np.mean([softmax(np.concatenate([id_part, g]))[:C].sum() for g in other.reshape(groups, -1)])


def run(groups=5, slots=3, lam=0.1, beta=5.0, sample=True, window=None, gap=0.5, gamma=0.5, weight=0.1, among_all=True, batch=1):
    text = np.concatenate([positive, negative])
    memory = np.zeros((C + M, 1 + slots, D))
    memory[:, 0] = text
    entropy, filled = np.zeros((C + M, slots)), np.zeros(C + M, int)
    recent = [1, 0] * 100
    rows = np.zeros((N, 4))
    for first in range(0, N, batch):
        some = range(first, min(N, first + batch))
        z = {i: SCALE * text @ images[i] for i in some}
        s_nl = {i: grouped(z[i], groups) for i in some}
        high, low = gamma + gap * (1 - gamma), gamma - gap * gamma
        if window:
            for side in (1, 0):
                for i in some:
                    if (s_nl[i] > high) if side else (s_nl[i] < low):
                        if len(recent) >= window:
                            recent.pop(0)
                        recent.append(side)
            r = sum(recent) / len(recent)
            if r > 0.5:
                low = gamma - r * gamma
            elif r < 0.5:
                high = gamma + (1 - r) * (1 - gamma)
        for side in (1, 0):
            for i in some:
                if not ((s_nl[i] > high) if side else (s_nl[i] < low)):
                    continue
                logits = z[i][:C] if side else z[i][C:]
                label = int(np.argmax(logits)) + (0 if side else C)
                p = softmax(logits)
                h = max(0.0, -(p * np.log(p + 1e-8)).sum())
                if filled[label] < slots:
                    t = filled[label]
                    filled[label] += 1
                elif h < entropy[label].max():
                    t = int(np.argsort(entropy[label], kind="stable")[-1])
                else:
                    rows[i, 2] = 2
                    continue
                memory[label, 1 + t], entropy[label, t] = images[i], h
                rows[i, 2] = 1
        for i in some:
            weights = np.exp(-beta * (1 - memory @ images[i]))[..., None] if sample else 1.0
            # Empty slots are zero vectors, so their weight does not matter.
            q = unit((weights * memory).sum(axis=1))
            adaptive = SCALE * q @ images[i]
            rows[i, 0] = grouped(adaptive, groups) + lam * s_nl[i]
            if among_all:
                p = softmax(z[i])[:C] + weight * softmax(adaptive)[:C]
            else:
                p = softmax(z[i][:C]) + weight * softmax(adaptive[:C])
            rows[i, 1] = np.argmax(p)
            rows[i, 3] = s_nl[i]
    return rows


OUT.mkdir(exist_ok=True)
for name, m in (("positive", positive), ("negative", negative), ("images", images)):
    np.save(OUT / f"{name}.npy", m)
for name, options in {
    "sample": {},
    "task": {"sample": False},
    "batch": {"batch": 40, "groups": 1},
    "window": {"window": 210, "lam": 1.0, "weight": 1.0, "among_all": False, "groups": 7},
    "window_batch": {"window": 230, "lam": 1.0, "weight": 1.0, "among_all": False, "batch": 25, "sample": False},
}.items():
    rows = run(**options)
    np.save(OUT / f"{name}.npy", rows)
    print(name, "learned", int((rows[:, 2] == 1).sum()), "not taken", int((rows[:, 2] == 2).sum()), "of", N)
