#!/usr/bin/python3
"""Modality inversion in plain PyTorch, as published: a pseudo-word in "a photo of", 77 padded tokens through the whole text
tower, autograd to the word, AdamW, ten steps, and one more pass for the feature.

    bench/peers/inversion.py --images 8 --steps 10 --threads 2
"""
import argparse

import peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=8)
    parser.add_argument('--steps', type=int, default=10)
    peer.add_name_options(parser)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    tok = peer.tokenizer(args.vocabulary)
    tower = peer.TextTower(args, tok.size)
    before = [tok.sos] + tok.encode('a photo of')
    ids = tower.pad([before + [0, tok.eot]])[0]
    embedded = tower.tokens[ids].expand(args.images, -1, -1)
    at, end = len(before), torch.full((args.images,), len(before) + 1)
    g = torch.Generator().manual_seed(args.seed + 1)
    images = F.normalize(torch.randn(args.images, 512, generator=g), dim=1)

    def features(word):
        rows = torch.cat([embedded[:, :at], word.to(tower.dtype)[:, None], embedded[:, at + 1:]], 1)
        return F.normalize(tower(rows, end).float(), dim=1)

    def step():
        word = (torch.randn(args.images, tower.width, generator=g) * 0.02).requires_grad_()
        optimiser = torch.optim.AdamW([word], lr=0.02, weight_decay=0.01)
        for _ in range(args.steps):
            optimiser.zero_grad()
            (1 - (features(word) * images).sum(1)).mean().backward()
            optimiser.step()
        with torch.no_grad():
            return (features(word) * images).sum(1).mean().item()

    measured = peer.measure(step, args.repeats)
    measured['mean_cosine'] = measured.pop('result')
    peer.report('inversion', args, environment, s_per_image=measured['median_s'] / args.images, **measured)


if __name__ == '__main__':
    main()
