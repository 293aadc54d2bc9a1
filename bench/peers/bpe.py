"""CLIP's byte-pair tokenizer in the standard library: the input of the peers. ASCII names, no Unicode cleaning."""
import gzip
import re

PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|\d|[^\sa-z\d]+")


def byte_symbols():
    """{byte: how the file writes it}, in the order of the ids."""
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printing}
    for i, b in enumerate(b for b in range(256) if b not in table):
        table[b] = chr(256 + i)
    return table


class Tokenizer:
    def __init__(self, path, merges=None):
        """merges: how many lines of the file count; the published file lists more than CLIP uses (48,894)."""
        with (gzip.open if str(path).endswith('.gz') else open)(path, 'rt', encoding='utf-8') as f:
            lines = f.read().split('\n')[1:]
        pairs = [tuple(line.split()) for line in lines if line.strip()][:merges]
        self.symbols = byte_symbols()
        vocabulary = list(self.symbols.values())
        vocabulary += [v + '</w>' for v in vocabulary] + [a + b for a, b in pairs]
        vocabulary += ['<|startoftext|>', '<|endoftext|>']
        self.id = {token: i for i, token in enumerate(vocabulary)}
        self.rank = {pair: i for i, pair in enumerate(pairs)}
        self.size, self.sos, self.eot = len(vocabulary), len(vocabulary) - 2, len(vocabulary) - 1

    def word(self, word):
        parts = [self.symbols[b] for b in word.encode()]
        parts[-1] += '</w>'
        while len(parts) > 1:
            rank, at = min((self.rank.get(pair, 1 << 30), i) for i, pair in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            pair, joined, i = (parts[at], parts[at + 1]), [], 0
            while i < len(parts):
                if tuple(parts[i:i + 2]) == pair:
                    joined.append(pair[0] + pair[1])
                    i += 2
                else:
                    joined.append(parts[i])
                    i += 1
            parts = joined
        return [self.id[p] for p in parts]

    def encode(self, text):
        return [i for word in PATTERN.findall(text.lower()) for i in self.word(word)]
