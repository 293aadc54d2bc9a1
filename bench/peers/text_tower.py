#!/usr/bin/python3
"""Zero-shot text features in plain PyTorch: every name in a template, padded to 77 tokens, ViT-B/16's text tower in
batches, inference mode.

    bench/peers/text_tower.py --classes 1000 --batch 64 --threads 2
"""
import argparse

import peer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--classes', type=int, default=100)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--template', default='a photo of a {}.')
    peer.add_name_options(parser)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    tok = peer.tokenizer(args.vocabulary)
    tower = peer.TextTower(args, tok.size)
    prompts = [[tok.sos] + tok.encode(args.template.replace('{}', name)) + [tok.eot]
               for name in peer.read_names(args.names, args.classes)]
    ids, end = tower.pad(prompts), torch.tensor([len(x) - 1 for x in prompts])

    def step():
        with torch.inference_mode():
            out = [tower(tower.tokens[i], e).float() for i, e in zip(ids.split(args.batch), end.split(args.batch))]
            return F.normalize(torch.cat(out), dim=1)

    measured = peer.measure(step, args.repeats)
    features = measured.pop('result')
    peer.report('text_tower', args, environment, texts=len(prompts), tokens=sum(map(len, prompts)),
                texts_per_s=len(prompts) / measured['median_s'], checksum=features.double().sum().item(), **measured)


if __name__ == '__main__':
    main()
