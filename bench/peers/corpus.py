#!/usr/bin/python3
"""Features of many words in one template, as published: every text padded to 77 tokens, all positions through ViT-B/16's
text tower in batches, plain PyTorch in inference mode.

    bench/peers/corpus.py --words 512 --batch 64 --threads 2
Words are those of bench_corpus: runs of 64 neighbours in the sorted list of WordNet's nouns and adjectives.
"""
import argparse
import pathlib

import peer


def wordnet(folder):
    words = set()
    for name in ('data.noun', 'data.adj'):
        for line in (folder / name).read_text(encoding='utf-8').splitlines():
            if line.startswith('  '):
                continue
            fields = line.split('|')[0].split(' ')
            for i in range(int(fields[3], 16)):
                word = fields[4 + 2 * i]
                word = word[:word.find('(')] if word.endswith(')') else word  # (a), (p), (ip)
                words.add(word.replace('_', ' ').lower())
    return sorted(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--words', type=int, default=512)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--template', default='The nice {}.')
    parser.add_argument('--wordnet', type=pathlib.Path, default=pathlib.Path('/usr/share/wordnet'))
    peer.add_name_options(parser)
    peer.add_common_options(parser)
    args = parser.parse_args()
    environment = peer.restart_tuned(args.threads, args.dtype)

    import torch
    import torch.nn.functional as F
    torch.set_num_threads(args.threads)
    tok = peer.tokenizer(args.vocabulary)
    tower = peer.TextTower(args, tok.size)
    every, runs = wordnet(args.wordnet), (args.words + 63) // 64
    words = [every[i // 64 * len(every) // runs + i % 64] for i in range(args.words)]
    prompts = [[tok.sos] + tok.encode(args.template.replace('{}', w)) + [tok.eot] for w in words]
    ids, end = tower.pad(prompts), torch.tensor([len(x) - 1 for x in prompts])

    def step():
        with torch.inference_mode():
            out = [tower(tower.tokens[i], e).float() for i, e in zip(ids.split(args.batch), end.split(args.batch))]
            return F.normalize(torch.cat(out), dim=1)

    measured = peer.measure(step, args.repeats)
    features = measured.pop('result')
    peer.report('corpus', args, environment, texts=len(prompts), positions=sum(map(len, prompts)),
                texts_per_s=len(prompts) / measured['median_s'], checksum=features.double().sum().item(), **measured)


if __name__ == '__main__':
    main()
