#!/usr/bin/python3
"""Choosing negative words in plain PyTorch, as published: the words x classes matrix of cosines is made, the condition is
looked at for every word and class, and words are sorted (InterNeg), or a quantile is taken for every word (NegLabel).

    bench/peers/selection.py --method lazy --words 69554 --classes 1000 --threads 2
`lazy` and `quota` are InterNeg with one ranking and with one for each part of speech; the published way makes the same matrix
for both.
"""
import argparse

import peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--method', choices=['lazy', 'quota', 'percentile'], default='lazy')
    parser.add_argument('--words', type=int, default=69554)
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--dim', type=int, default=512)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    g = torch.Generator().manual_seed(args.seed)

    def leaning(rows, lean):
        m = torch.randn(rows, args.dim, generator=g) * args.dim ** -0.5
        m[:, 0] += lean
        return F.normalize(m, dim=1)

    texts, proxies, words = leaning(args.classes, 1.0), leaning(args.classes, 1.0), leaning(args.words, 0.1)
    adjective = torch.arange(args.words) % 6 == 0

    def interneg():
        distance, base = 1 - words @ proxies.t(), 1 - (texts * proxies).sum(1)
        rows = torch.nonzero((distance > base).all(1)).squeeze(1)
        degree = (distance[rows] - base).mean(1)
        if args.method == 'lazy':
            return rows[degree.topk(min(2000, len(rows))).indices]
        is_adjective, out = adjective[rows], []
        quota = 2000 * int(is_adjective.sum()) // len(rows)
        for part, count in ((is_adjective, quota), (~is_adjective, 2000 - quota)):
            out.append(rows[part][degree[part].argsort(descending=True)[:count]])
        return torch.cat(out)

    def percentile():
        key = torch.quantile(words @ texts.t(), 0.95, dim=1) if args.words * args.classes <= 16_000_000 else torch.cat(
            [torch.quantile(w @ texts.t(), 0.95, dim=1) for w in words.split(16_000_000 // args.classes)])
        return key.argsort()[:int(0.15 * args.words)]

    with torch.inference_mode():
        measured = peer.measure(percentile if args.method == 'percentile' else interneg, args.repeats)
    measured['selected'] = len(measured.pop('result'))
    peer.report('selection', args, environment, **measured)


if __name__ == '__main__':
    main()
