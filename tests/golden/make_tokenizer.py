"""Golden token ids from an independent tokenizer of the standard library (unicodedata, html); no ftfy, no regex module.

    /usr/bin/python3 make_tokenizer.py ../../../shared/data

Writes tokenizer.txt: per line the text's UTF-8 bytes in hexadecimal, a tab, the ids; and unicode_digest.txt: SHA-256
over all code points of (code, class, single-character lower case), each as text.
"""
import gzip
import hashlib
import html
import os
import random
import sys
import unicodedata as ud

HERE = os.path.dirname(os.path.abspath(__file__))
SPACES = set(map(chr, [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))


def load(folder):
    lines = gzip.open(folder + '/bpe_simple_vocab_16e6.txt.gz', 'rt', encoding='utf-8').read().split('\n')
    merges = [tuple(l.split()) for l in lines[1:48895]]
    good = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in good]
    symbol = {b: chr(b) for b in good}
    symbol.update({b: chr(256 + i) for i, b in enumerate(rest)})
    base = [symbol[b] for b in good + rest]
    tokens = base + [t + '</w>' for t in base] + [a + b for a, b in merges] + ['<|startoftext|>', '<|endoftext|>']
    assert len(tokens) == len(set(tokens)) == 49408
    return {t: i for i, t in enumerate(tokens)}, {m: i for i, m in enumerate(merges)}, symbol


def clean(text):
    text = html.unescape(html.unescape(text))
    out = ''
    for ch in text:
        c = ord(ch)
        if ch in 'ʼ‘’‚‛':
            ch = "'"
        elif ch in '“”„‟':
            ch = '"'
        elif 0xFF01 <= c <= 0xFF5E:
            ch = chr(c - 0xFEE0)
        elif c == 0xFEFF or 0xFFF9 <= c <= 0xFFFC or 0x206A <= c <= 0x206F or c == 127 or (c < 32 and ch not in '\t\n\r\f'):
            continue
        out += ' ' if ch in SPACES else ch
    return ' '.join(w for w in out.split(' ') if w).lower()


def kind(ch):
    return {'L': 'letter', 'N': 'number'}.get(ud.category(ch)[0], 'space' if ch in SPACES else 'other')


def words(text):
    i = 0
    while i < len(text):
        for literal in ['<|startoftext|>', '<|endoftext|>', "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]:
            if text.startswith(literal, i):
                yield literal
                i += len(literal)
                break
        else:
            k, j = kind(text[i]), i + 1
            if k in ('letter', 'other'):
                while j < len(text) and kind(text[j]) == k:
                    j += 1
            if k != 'space':
                yield text[i:j]
            i = j


def encode(text, ids, ranks, symbol):
    out = []
    for w in words(clean(text)):
        if w in ('<|startoftext|>', '<|endoftext|>'):
            out.append(ids[w])
            continue
        parts = [symbol[b] for b in w.encode('utf-8')]
        parts[-1] += '</w>'
        while True:
            best = min(zip(parts, parts[1:]), key=lambda p: ranks.get(p, 1 << 30), default=None)
            if best not in ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i:i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        out += [ids[p] for p in parts]
    return out


FIXED = [
    '', ' ', '\t\n', 'a', 'X', 'a photo of a cat.', 'A PHOTO OF A CAT .', "it's they're we've I'm she'll he'd don't",
    "rock'n'roll 's 't", "'strange 'tis 'llama 'dog", "O'Brien's", 'aaaaaaaaaaaaaaaaaaaaaaa', 'hahahahahaha', 'mississippi',
    '2021', '3.14159', '10,000th', 'mp3 player', 'w2v', '½ cup', 'x² + y³', 'Ⅻ centuries', '١٢٣', '①②', 'under_score_name',
    '__init__', 'C++', 'a/b\\c', '!!!???...', '(parenthesis) [bracket] {brace}', '#hashtag @user', 'email@example.com',
    'https://example.com/a?b=c&d=e', '100%', '$5.00', '<tag>', 'a < b > c', '&amp; &lt; &gt; &quot; &apos;', '&amp;amp;',
    '&amp;lt;b&amp;gt;', 'fish &amp chips', 'caf&eacute;', 'caf&eacute', '&notit;', '&not;', '&copy2020', '&nbsp;x&nbsp;y', '&#65;&#x42;&#X43',
    '&#8217;', '&#150;', '&#x80;', '&#0;', '&#xD800;', '&#1114112;', '&#99999999999999999999;', '&#;', '&#x;', '&;', '&', '& &', '&unknownthing;',
    '&hellip;&mdash;&ndash;', '&rsquo;s', '&Alpha;&beta;', '&AMP;&COPY;', '&#7;bell', '&amp', '&l', '&lt', '&ltx', '&sup2;&sup2',
    'Café au lait', 'NAÏVE FAÇADE', 'Ångström ÅÄÖ', 'STRASSE straße ẞ', 'İstanbul Iğdır', 'ΣΊΣΥΦΟΣ', 'ΟΔΥΣΣΕΥΣ ΣΑΣ Σ', 'Ελλάδα',
    'Москва ЁЖИК', 'Україна Ґанок', 'ქართული ᲐᲑᲒ', 'Հայաստան', 'עברית שלום', 'العربية', 'हिन्दी', 'ไทย', '日本語のテスト', '中文字符', '한국어',
    'ｆｕｌｌ　ｗｉｄｔｈ！', '🐱', '🐱🐶 cat dog', '👨\u200d👩\u200d👧', '🇩🇪', 'e\u0301 vs \u00e9', 'a\u0300\u0301b', 'zero\u200bwidth', 'soft\u00adhyphen',
    'nb\u00a0space', 'thin\u2009space\u3000wide', 'line\u2028sep\u2029para', 'next\u0085line', '“curly” ‘single’ „low‟ ‚x‛', 'jack-o’-lantern', '\ufeffbom',
    'tab\tnew\nline\r\nend\f', 'bell\x07 and \x7f', 'ʼokina', '—em–en', '…', '•bullet', '™®©', '€100', '№5', '℃', 'ﬁne', 'ſhort', '𝒜𝓑𝒸', '𐐀𐐨 deseret',
    '\U0001F9FF', '\U0010FFFD', '\uE000private', '<|endoftext|>', '<|startoftext|>x<|endoftext|>', 'x<|endoftext|>y', '!<|endoftext|>', '<|ENDOFTEXT|>',
    '<|endoftext', 'a' * 300, 'ab' * 100, '!' * 100, 'xoloitzcuintli', 'supercalifragilisticexpialidocious', 'llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch',
    'ǅ Ǆ ǆ', 'ŉ', 'Ω Å K', 'ᾈ ᾼ', 'Ⓐⓑ', 'Ა', 'ꭰᏸᏰ', "d'artagnan l'eau", 'rock ’n’ roll', "''s '' s'", "'S 'LL", '...and', 'a.b.c.', 'U.S.A.', 'ice-cream', 'no.1',
    'baluster / handrail', 'kite (bird of prey)', 'CD player', "potter's wheel", 'Band-Aid', 'Mexican hairless dog (xoloitzcuintli)',
]


def generated(n):
    draw = random.Random(20)
    pieces = ['cat', 'Dog', ' ', '  ', "'s", "'LL", "'", '-', '.', '_', '7', '42', '²', 'é', 'Ü', 'ß', 'ж', 'Ж', 'Σ', 'ς', 'σ', '猫', 'ー', '🐈', '\u0301', '&amp;',
              '&', '&lt', ';', '’', '“', 'the', 'ing', 'er', 'th', '<', '|', '>', '#', 'x', 'Q', 'zz', '\u00a0', 'ａ', '٣', 'नी', '한', '\t', 'photo of a ', '!!']
    return [''.join(draw.choice(pieces) for _ in range(draw.randint(1, 12))) for _ in range(n)]


def main():
    vocabulary = load(sys.argv[1])
    with open(HERE + '/tokenizer.txt', 'w') as f:
        for text in FIXED + generated(250):
            f.write(text.encode('utf-8').hex() + '\t' + ' '.join(map(str, encode(text, *vocabulary))) + '\n')
    digest = hashlib.sha256()
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        low = chr(c).lower()
        digest.update(f'{c} {kind(chr(c))} {ord(low) if len(low) == 1 else c}\n'.encode())
    with open(HERE + '/unicode_digest.txt', 'w') as f:
        f.write(digest.hexdigest() + '\n')


if __name__ == '__main__':
    main()
