"""Candidate negative words from WordNet: common short nouns and adjectives with their lexicographer files.

    python3 build_words.py --out ../demo-words.txt [--count 8000]

A word is taken by the tagged frequency of its senses (cntlist.rev), then by how many senses it has, then by length and
alphabet. Its part of speech and file are those of its most frequent sense. Proper names (capital letters) are left out.
"""
import argparse, re
from collections import defaultdict

from build_data import LEX

FILES = dict(enumerate(LEX)) | {44: 'adj.ppl'}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--out', required=True)
    ap.add_argument('--count', type=int, default=8000)
    ap.add_argument('--wordnet', default='/usr/share/wordnet')
    a = ap.parse_args()
    tagged = defaultdict(int)
    for line in open(a.wordnet + '/cntlist.rev'):
        key, sense, n = line.split()
        lemma, _, rest = key.partition('%')
        if rest[0] in '135':
            tagged[lemma, 'n' if rest[0] == '1' else 'a', int(rest.split(':')[1])] += int(n)
    count, senses, lex = defaultdict(int), defaultdict(int), {}
    for pos, f in (('n', 'noun'), ('a', 'adj')):
        for line in open(f'{a.wordnet}/data.{f}', encoding='latin-1'):
            if line.startswith('  '):
                continue
            t = line.split()
            for w in t[4:4 + 2 * int(t[3], 16):2]:
                w = re.sub(r'\((a|p|ip)\)$', '', w)
                if not re.fullmatch(r'[a-z]+([_-][a-z]+)*', w) or not 3 <= len(w) <= 16 or w.count('_') > 1:
                    continue
                n = tagged.get((w, pos, int(t[1])), 0)
                count[w, pos] += n
                senses[w, pos] += 1
                if (w, pos) not in lex or n > lex[w, pos][0]:
                    lex[w, pos] = (n, int(t[1]))
    best = {}
    for (w, pos), n in count.items():
        if w not in best or n > count[w, best[w]]:
            best[w] = pos
    order = sorted(best, key=lambda w: (-count[w, best[w]], -senses[w, best[w]], len(w), w))[:a.count]
    with open(a.out, 'w') as f:
        for w in sorted(order):
            f.write(f'{w.replace("_", " ")}\t{best[w]}\t{FILES[lex[w, best[w]][1]]}\n')
    print(len(order), sum(best[w] == 'a' for w in order), 'adjectives')


if __name__ == '__main__':
    main()
