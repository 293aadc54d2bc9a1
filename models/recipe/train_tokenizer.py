"""Learns the byte-pair merges from WordNet and the concept names; writes bpe_simple_vocab.txt.

    python3 train_tokenizer.py --cache CACHE --out ../demo-clip/bpe_simple_vocab.txt [--merges 4486]
"""
import argparse, json
from collections import Counter, defaultdict

from captions import NAME, WORD
from negclip import HEADER, byte_symbols, words_of


def corpus(cache):
    """Word counts: concept names and templates weigh most, then lemmas, then glosses."""
    n = Counter()
    for c in json.load(open(cache + '/concepts.json')):
        for name in c['names'] + c['kinds']:
            for w in words_of(name):
                n[w] += 40 if c['group'] != 'Fashion' else 1000
    for t in NAME + WORD + ['a photo of a']:
        for w in words_of(t.replace('{}', ' ').replace('{kind}', ' ')):
            n[w] += 2000
    for s in json.load(open(cache + '/wordnet.json')):
        for lemma in s['words']:
            for w in words_of(lemma):
                n[w] += 4
        for w in words_of(s['gloss']):
            n[w] += 1
    return n


def learn(counts, merges):
    table = byte_symbols()
    words, freq = [], []
    for w, c in sorted(counts.items()):
        s = [table[b] for b in w.encode('utf-8')]
        s[-1] += '</w>'
        words.append(s)
        freq.append(c)
    pairs, where = Counter(), defaultdict(set)
    for i, s in enumerate(words):
        for p in zip(s, s[1:]):
            pairs[p] += freq[i]
            where[p].add(i)
    out = []
    while len(out) < merges:
        best = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))[0]
        out.append(best)
        for i in list(where.pop(best)):
            s = words[i]
            for p in zip(s, s[1:]):
                pairs[p] -= freq[i]
                if pairs[p] <= 0:
                    del pairs[p]
            t, j = [], 0
            while j < len(s):
                if j + 1 < len(s) and (s[j], s[j + 1]) == best:
                    t.append(s[j] + s[j + 1])
                    j += 2
                else:
                    t.append(s[j])
                    j += 1
            words[i] = t
            for p in zip(t, t[1:]):
                pairs[p] += freq[i]
                where[p].add(i)
        pairs.pop(best, None)
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--cache', required=True)
    ap.add_argument('--out', required=True)
    ap.add_argument('--merges', type=int, default=4486)
    a = ap.parse_args()
    merges = learn(corpus(a.cache), a.merges)
    with open(a.out, 'w', encoding='utf-8') as f:
        f.write(HEADER + '\n' + ''.join(f'{x} {y}\n' for x, y in merges))
    print('vocabulary', 512 + len(merges) + 2)


if __name__ == '__main__':
    main()
