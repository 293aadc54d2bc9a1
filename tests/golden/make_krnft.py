#!/usr/bin/python3
"""Golden losses and gradients of KR-NFT's feature maps, from torch's autograd in double: /usr/bin/python3 tests/golden/make_krnft.py

Every transformed feature is made as it is written in the paper, [K, n, D], and every group's softmax over [classes, group].
Inputs are multiples of 1/1024. Writes krnft.txt: a line `case MODEL N M D H K R G FLOOR LAMBDA1 LAMBDA2 SCALE TEACHER`, then one
line a matrix, then `L_p L_n L_kr L`, then one line a gradient, in the order of `for_each_tensor`, partition by partition; then
four steps of AdamW on alpha as torch does them.
"""
import pathlib

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
MODELS = {  # scale, shift, conditional, binary
    "identity": ("none", "none", False, False), "taskres": ("none", "per_label", False, False),
    "ssf": ("shared", "shared", False, False), "nft": ("shared", "shared", False, True),
    "coft": ("shared", "shared", True, False), "krnft": ("shared", "shared", True, True)}
rng = np.random.default_rng(11)
lines = []


def grid(*shape, size=1.0):
    return np.round(rng.normal(size=shape) * size * 1024) / 1024


def show(a):
    return " ".join(repr(float(v)) for v in np.asarray(a).ravel())


def near_opposite(c, kappa, n):
    """A shift that nearly cancels label n: |c_n + b| is about 2 |c_n| / sqrt(kappa)."""
    d = rng.normal(size=c.shape[1])
    d -= d @ c[n] / (c[n] @ c[n]) * c[n]
    return np.round((-c[n] + 2 * np.linalg.norm(c[n]) / np.sqrt(kappa) * d / np.linalg.norm(d)) * 2**20) / 2**20


def case(model, groups, *, n=5, m=23, d=6, h=3, images=3, rows=8, floor=0.0, lambda1=0.3, lambda2=100.0, scale=8.0,
         residual=0.2, teacher=False, duplicate=False, kappa=None, own=False, weights=False):
    how_scale, how_shift, conditional, binary = MODELS[model]
    classes, negatives = grid(n, d, size=0.6), grid(m, d, size=0.6)
    if model != "taskres":  # nearly unit rows, as half precision leaves them
        classes /= np.linalg.norm(classes, axis=1, keepdims=True)
        negatives /= np.linalg.norm(negatives, axis=1, keepdims=True)
        classes, negatives = (np.round(x * 1024) / 1024 for x in (classes, negatives))
    if duplicate:
        classes[3] = classes[1]
    used = m // groups * groups
    order = rng.permutation(used)
    taught = np.concatenate([classes, negatives]) + grid(n + m, d, size=0.1 if teacher else 0)
    k = (rows if own else images) if conditional else 1
    values = grid(rows, d, size=0.4)
    conditions = values if own and conditional else grid(k, d, size=0.4)
    condition = np.arange(rows) if own and conditional else rng.integers(0, k, rows)
    labels = rng.integers(0, n, rows)
    labels[1] = 3
    labels[rows // 2:] = -1
    ids = labels >= 0
    weight = np.where(ids, 1 / ids.sum(), 1 / (~ids).sum())
    if weights:
        weight = np.abs(grid(rows)) + 1 / 8
    parts = []
    for size in ([n, m] if binary else [n + m]):
        count = {"none": 0, "shared": 1, "per_label": size}
        net = lambda there: [grid(h, d), grid(1, h), grid(d, h, size=residual), grid(1, d, size=residual)] if there else [
            np.zeros((0, 0))] * 4
        part = [grid(count[how_scale], d, size=residual) if how_scale != "none" else np.zeros((0, 0)),
                grid(count[how_shift], d, size=residual) if how_shift != "none" else np.zeros((0, 0))]
        part += net(conditional and how_scale != "none") + net(conditional and how_shift != "none")
        parts.append(part)
    if kappa:
        parts[0][0] *= 0
        parts[0][1] = near_opposite(classes, kappa, 2)[None]
    lines.append(f"case {model} {n} {m} {d} {h} {k} {rows} {groups} {floor} {lambda1} {lambda2} {scale} {int(teacher)}")
    lines.extend([show(classes), show(negatives), " ".join(map(str, order)), show(taught), show(values), show(conditions),
                  " ".join(map(str, condition)), " ".join(map(str, labels)), show(weight)])
    for part in parts:
        lines.extend(show(p) for p in part)

    learned = [[torch.tensor(p, requires_grad=True) for p in part] for part in parts]
    x, v = torch.tensor(conditions), torch.tensor(values)
    full = np.concatenate([negatives[:used][order], negatives[used:]])
    full_tau = np.concatenate([taught[:n], taught[n:][:used][order], taught[n + used:]])
    c, tau = torch.tensor(np.concatenate([classes, full])), torch.tensor(full_tau)
    blocks = [(0, n), (n, n + m)] if binary else [(0, n + m)]
    out = []
    for (first, last), p in zip(blocks, learned):
        mine = c[first:last]

        def half(static, net, start):
            total = torch.full((k, last - first, d), start)
            if static.numel():
                total = total + static[None] if static.shape[0] == last - first else total + static[:, None]
            if net[0].numel():
                w1, b1, w2, b2 = net
                total = total + (torch.relu(x @ w1.T + b1) @ w2.T + b2)[:, None]
            return total

        u = half(p[0], p[2:6], 1.0) * mine[None] + half(p[1], p[6:10], 0.0)
        out.append(u / u.norm(dim=2, keepdim=True))
    features = torch.cat(out, 1)  # [K, n, D]
    z = scale * (v[:, None] * features[condition]).sum(2)
    cosine = (features * (tau / tau.norm(dim=1, keepdim=True))[None]).sum(2)
    l_kr = 1 - cosine.mean()
    l_p = l_n = torch.zeros(())
    size = m // groups
    for r in range(rows):
        for g in range(groups):
            group = torch.cat([z[r, :n], z[r, n + g * size:n + (g + 1) * size]])
            log_p = torch.log_softmax(group, 0)
            if labels[r] >= 0:
                l_p = l_p - weight[r] / groups * log_p[labels[r]]
            else:
                inside = torch.logsumexp(log_p[:n], 0)
                l_n = l_n + weight[r] / groups * (torch.log(inside.exp() + floor) if floor else inside)
    loss = l_p + lambda1 * l_n + lambda2 * l_kr
    if any(p.numel() for part in learned for p in part):
        loss.backward()
    lines.append(show([l_p.detach(), l_n.detach(), l_kr.detach(), loss.detach()]))
    for part in learned:
        lines.extend(show(p.grad if p.grad is not None else []) for p in part)


case("identity", 7)
case("taskres", 1, lambda2=10.0)
case("ssf", 5)
case("nft", 7, residual=0.5)
case("coft", 10, floor=1e-16, own=True)
case("krnft", 10)
case("krnft", 1, duplicate=True)
case("krnft", 5, teacher=True, weights=True)
case("krnft", 7, own=True, residual=0.01)
case("krnft", 10, floor=1e-3, scale=20.0)
case("nft", 5, kappa=1000.0, scale=2.0)

# AdamW's decay acts on alpha = 1 + delta.
alpha = torch.tensor([1.0, 1.25, 0.5], requires_grad=True)
gradients = grid(4, 3)
optimiser = torch.optim.AdamW([alpha], lr=0.05, weight_decay=0.1)
for g in gradients:
    alpha.grad = torch.tensor(g)
    optimiser.step()
lines.append(f"adamw {show(gradients)} {show(alpha.detach())}")
(pathlib.Path(__file__).parent / "krnft.txt").write_text("\n".join(lines) + "\n")
