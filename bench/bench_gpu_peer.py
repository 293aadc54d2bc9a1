#!/usr/bin/env python3
"""The published text step on a device, in plain PyTorch: every class's p prompts padded to 77 tokens through the whole
text tower of ViT-B/16 (random weights), autograd to the contexts. 1,000 classes want 83 GB in f32, so the time of 50 and
100 classes is printed and the latter taken ten times.

    bench/bench_gpu_peer.py --device cuda --prompts 3 --context 16

The last line is what bench_gpu wants: --peer-f32 SECONDS --peer-bf16 SECONDS.
"""
import argparse
import pathlib
import statistics
import sys
import time
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / 'peers'))
import peer


def moved(x, device):
    """Every tensor in x on the device."""
    if hasattr(x, 'to'):
        return x.to(device)
    if isinstance(x, (list, tuple)):
        return type(x)(moved(y, device) for y in x)
    if isinstance(x, dict):
        return {k: moved(v, device) for k, v in x.items()}
    return x


def seconds(args, dtype, classes):
    import torch
    import torch.nn.functional as F
    device, n, p = args.device, args.context, args.prompts
    settings = types.SimpleNamespace(dtype=dtype, seed=1, layers=args.layers, activation='gelu', width=None)
    tower = peer.TextTower(settings, 49408)
    tower.blocks.__dict__.update(moved(tower.blocks.__dict__, device))
    tower.__dict__.update({k: moved(v, device) for k, v in tower.__dict__.items()})
    ids = torch.randint(1000, (classes * p, 77), device=device)
    embedded, end = tower.tokens[ids], torch.full((classes * p,), n + 5, device=device)
    start, rest = embedded[:, :1], embedded[:, 1 + n:]
    contexts = (torch.randn(p, n, tower.width, device=device) * 0.02).requires_grad_()
    slope = torch.randn(classes * p, 512, device=device)
    wait = torch.cuda.synchronize if device.startswith('cuda') else lambda: None

    def step():
        contexts.grad = None
        spliced = contexts.to(tower.dtype).repeat(classes, 1, 1)
        unit = F.normalize(tower(torch.cat([start, spliced, rest], 1), end).float(), dim=1)
        unit.backward(slope)
        wait()

    step()
    times = []
    for _ in range(args.repeats):
        wait()
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--prompts', type=int, default=3)
    parser.add_argument('--context', type=int, default=16)
    parser.add_argument('--classes', type=int, default=100)
    parser.add_argument('--layers', type=int, default=12)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    import torch
    torch.backends.cuda.matmul.allow_tf32 = False
    whole = {}
    for dtype in ('f32', 'bf16'):
        half, full = (seconds(args, dtype, k) for k in (args.classes // 2, args.classes))
        whole[dtype] = full * 1000 / args.classes
        print(f'torch {torch.__version__}, {args.device}, {dtype}, {args.prompts} prompts a class: '
              f'{args.classes // 2} classes {half:.4f} s, {args.classes} classes {full:.4f} s '
              f'({full / half:.2f} times), 1,000 classes {whole[dtype]:.3f} s (extrapolated)')
    print(f'--peer-f32 {whole["f32"]:.5f} --peer-bf16 {whole["bf16"]:.5f}')


if __name__ == '__main__':
    main()
