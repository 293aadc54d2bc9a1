#!/usr/bin/python3
"""KR-NFT's head in plain PyTorch, as published: transformed features are made, normalised and compared.

    bench/peers/krnft.py --mode looped --images 32 --crops 1 --threads 2
looped: one image after the other, its [N + M, D] features made once and used by all its crops, as the released code does;
materialised: all images at once, [B, N + M, D]; score: images one by one without gradients. Losses, groups, networks and the
knowledge loss are the published ones; gradients by autograd to all parameters.
"""
import argparse

import peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mode', choices=['looped', 'materialised', 'score'], default='looped')
    for name, value in dict(images=32, crops=1, positive=1000, negative=10000, dim=512, hidden=64, groups=10).items():
        parser.add_argument(f'--{name}', type=int, default=value)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    g = torch.Generator().manual_seed(args.seed)
    n, m, d, h = args.positive, args.negative, args.dim, args.hidden
    unit = lambda rows: F.normalize(torch.randn(rows, d, generator=g), dim=1)
    classes, negatives, images = unit(n), unit(m), unit(args.images * args.crops)
    small = lambda *shape: (torch.randn(*shape, generator=g) * 0.003).requires_grad_()
    net = lambda: [(torch.randn(h, d, generator=g) * d ** -0.5).requires_grad_(), small(h), small(d, h), small(d)]
    parts = []
    for _ in range(2):
        alpha = (1 + torch.randn(d, generator=g) * 0.003).requires_grad_()
        parts.append((alpha, small(d), net(), net()))
    parameters = [p for a, b, s, t in parts for p in (a, b, *s, *t)]
    size = m // args.groups

    def maps(v, part):
        alpha, beta, (w1, k1, w2, k2), (u1, l1, u2, l2) = part
        return alpha + F.linear(torch.relu(F.linear(v, w1, k1)), w2, k2), beta + F.linear(
            torch.relu(F.linear(v, u1, l1)), u2, l2)

    def losses(z, ids):
        """z [R, N + M] of one kind of rows; ids: their classes, or nothing for outliers."""
        total = 0
        for i in range(args.groups):
            p = torch.softmax(torch.cat([z[:, :n], z[:, n + i * size:n + (i + 1) * size]], 1), 1)
            total = total + (F.nll_loss(torch.log(p), ids) if ids is not None else torch.log(p[:, :n].sum(1) + 1e-16).mean())
        return total / args.groups

    teacher = torch.cat([classes, negatives])
    labels = torch.arange(args.images * args.crops) % n

    def one_image(k):
        rows = images[k * args.crops:(k + 1) * args.crops]
        features = []
        for text, part in zip((classes, negatives), parts):
            a, b = maps(rows[:1], part)
            features.append(F.normalize(a * text + b, dim=1))
        features = torch.cat(features)
        z = 100.0 * rows @ features.t()
        knowledge = 1 - (features * teacher).sum(1).mean()
        if args.crops == 1:
            id_row = k % 2 == 0
            loss = losses(z, labels[k:k + 1]) if id_row else 0.3 * losses(z, None)
        else:
            half = args.crops // 2
            ids = labels[k * args.crops:k * args.crops + half]
            loss = losses(z[:half], ids) + 0.3 * losses(z[half:], None)
        return loss + 100.0 * knowledge

    def step_looped():
        for p in parameters:
            p.grad = None
        total = 0.0
        for k in range(args.images):
            loss = one_image(k) / args.images
            loss.backward()
            total += float(loss.detach())
        return total

    def step_materialised():
        for p in parameters:
            p.grad = None
        anchors = images[::args.crops]
        features = []
        for text, part in zip((classes, negatives), parts):
            a, b = maps(anchors, part)
            features.append(F.normalize(a[:, None] * text[None] + b[:, None], dim=2))
        features = torch.cat(features, 1)
        rows = images.view(args.images, args.crops, d)
        z = 100.0 * torch.einsum('kqd,knd->kqn', rows, features)
        knowledge = 1 - (features * teacher[None]).sum(2).mean()
        if args.crops == 1:
            z = z[:, 0]
            loss = losses(z[::2], labels[:args.images:2]) + 0.3 * losses(z[1::2], None)
        else:
            half = args.crops // 2
            loss = losses(z[:, :half].reshape(-1, n + m), labels.view(args.images, args.crops)[:, :half].reshape(-1))
            loss = loss + 0.3 * losses(z[:, half:].reshape(-1, n + m), None)
        loss = loss + 100.0 * knowledge
        loss.backward()
        return float(loss.detach())

    def score():
        out = []
        with torch.inference_mode():
            for k in range(args.images):
                v = images[k:k + 1]
                z = torch.cat([F.normalize(a * text + b, dim=1) @ v[0] for text, (a, b) in zip(
                    (classes, negatives), (maps(v, p) for p in parts))])
                out.append(torch.softmax(100.0 * z, 0)[:n].sum())
        return float(out[0])

    work = {'looped': step_looped, 'materialised': step_materialised, 'score': score}[args.mode]
    measured = peer.measure(work, args.repeats)
    peer.report('krnft', args, environment, **measured)


if __name__ == '__main__':
    main()
