#!/usr/bin/python3
"""Image features of ViT-B/16 in plain PyTorch, from preprocessed pixels, inference mode.

    bench/peers/image_tower.py --images 16 --batch 8 --threads 2
"""
import argparse

import peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=16)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--image-size', type=int, default=224)
    parser.add_argument('--patch', type=int, default=16)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    g = torch.Generator().manual_seed(args.seed)
    dtype = torch.bfloat16 if args.dtype == 'bf16' else torch.float32
    w, tokens = args.width or 768, (args.image_size // args.patch) ** 2 + 1
    blocks = peer.Transformer(w, args.layers, dtype, args.activation, g)
    make = lambda std, *shape: (torch.randn(*shape, generator=g) * std).to(dtype)
    conv = make(0.03, w, 3, args.patch, args.patch)
    class_token, positions, projection = make(0.02, 1, 1, w), make(0.02, tokens, w), make(w ** -0.5, w, 512)
    norm = (torch.ones(w, dtype=dtype), torch.zeros(w, dtype=dtype))
    pixels = torch.randn(args.images, 3, args.image_size, args.image_size, generator=g)

    def encode(x):
        x = F.conv2d(x.to(dtype), conv, stride=args.patch).flatten(2).transpose(1, 2)
        x = torch.cat([class_token.expand(len(x), 1, w), x], 1) + positions
        x = blocks(F.layer_norm(x, (w,), *norm))
        return F.normalize((F.layer_norm(x[:, 0], (w,), *norm) @ projection).float(), dim=1)

    def step():
        with torch.inference_mode():
            return torch.cat([encode(x) for x in pixels.split(args.batch)])

    measured = peer.measure(step, args.repeats)
    features = measured.pop('result')
    peer.report('image_tower', args, environment, s_per_image=measured['median_s'] / args.images,
                checksum=features.double().sum().item(), **measured)


if __name__ == '__main__':
    main()
