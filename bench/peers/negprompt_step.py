#!/usr/bin/python3
"""One stage-2 step of NegPrompt as it was published, in plain PyTorch: every class's p negative prompts padded to 77
tokens through the whole text tower, positives and image features cached, the losses NIS + 0.1 NPD + 0.05 NND, autograd
to the contexts, one SGD update. The losses are written in closed form, which favours the peer: the released code loops
over classes in Python.

    bench/peers/negprompt_step.py --classes 100 --negatives 2 --context 16 --threads 2 --dtype f32

Memory is about 20 MB a prompt (K=100, p=2: 4 GB). Larger K are extrapolated from K=50 and K=100.
"""
import argparse

import peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--classes', type=int, default=100)
    parser.add_argument('--negatives', type=int, default=2)
    parser.add_argument('--context', type=int, default=16)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--suffix', default='.')
    peer.add_name_options(parser)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    K, p, n, e, scale = args.classes, args.negatives, args.context, 512, 100.0
    tok = peer.tokenizer(args.vocabulary)
    tower = peer.TextTower(args, tok.size, e)
    prompts = [[tok.sos] + [0] * n + tok.encode(name + args.suffix) + [tok.eot]
               for name in peer.read_names(args.names, K)]
    ids, end = tower.pad(prompts), torch.tensor([len(x) - 1 for x in prompts])
    embedded = tower.tokens[ids]
    start, rest = embedded[:, :1], embedded[:, 1 + n:]
    # class-major: prompt k p + l
    start, rest = start.repeat_interleave(p, 0), rest.repeat_interleave(p, 0)
    end = end.repeat_interleave(p)

    g = torch.Generator().manual_seed(args.seed + 1)
    contexts = (torch.randn(p, n, tower.width, generator=g) * 0.02).requires_grad_()
    positives = F.normalize(torch.randn(K, e, generator=g), dim=1)
    images = F.normalize(torch.randn(args.batch, e, generator=g), dim=1)

    def step():
        contexts.grad = None
        spliced = contexts.to(tower.dtype).repeat(K, 1, 1)
        features = tower(torch.cat([start, spliced, rest], 1), end).float()
        unit = F.normalize(features, dim=1)
        z = scale * images @ unit.t()
        nis = (z.logsumexp(1) - z.mean(1)).mean()
        by_class = unit.view(K, p, e)
        npd = -(by_class * positives[:, None]).sum(-1).mean()
        total = nis + 0.1 * npd
        nnd = torch.zeros(())
        if p > 1:
            cosines = by_class @ by_class.transpose(1, 2)
            nnd = (cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)).mean() / (p * (p - 1))
            total = total + 0.05 * nnd
        total.backward()
        with torch.no_grad():
            contexts.sub_(0.002 * contexts.grad)
        return {'nis': nis.item(), 'npd': npd.item(), 'nnd': nnd.item(), 'total': total.item(),
                'gradient_norm': contexts.grad.norm().item()}

    measured = peer.measure(step, args.repeats)
    losses = measured.pop('result')
    lengths = [len(x) - 1 - n for x in prompts]
    peer.report('negprompt_step', args, environment, prompts=K * p, suffix_tokens=sum(lengths), losses=losses, **measured)


if __name__ == '__main__':
    main()
