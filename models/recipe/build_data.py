"""Derives all training and test material from Debian and npm packages into a cache folder.

    python3 build_data.py --cache CACHE [--images DIR]

Deterministic: the same package versions give the same files. --images also writes the far-OOD pictures that ship.
Needs npm and rsvg-convert (librsvg2-bin) on the PATH.
"""
import argparse, glob, io, json, os, random, re, subprocess
from collections import defaultdict

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PACKAGES = {'google': 'emoji-datasource-google@16.0.0', 'twitter': 'emoji-datasource-twitter@16.0.0',
            'fluent3d': '@lobehub/fluent-emoji-3d@1.1.0', 'fluentflat': '@iconify-json/fluent-emoji-flat@1.2.6',
            'notov1': '@iconify-json/noto-v1@1.2.5', 'fxemoji': '@iconify-json/fxemoji@1.2.2'}
STYLES = ['google', 'twitter', 'fluent3d', 'fluentflat', 'notov1']  # fxemoji is for the final test only
SIDE = 36  # emoji are kept a little larger than the model's 28 for random crops
FONTS = '/usr/share/fonts/truetype'

# Subcategories of emoji-datasource that are used, with what a caption may call the whole kind.
KINDS = {
    'animal-mammal': 'animal|mammal', 'animal-bird': 'animal|bird', 'animal-reptile': 'animal|reptile', 'animal-amphibian': 'animal|amphibian',
    'animal-marine': 'animal|sea animal', 'animal-bug': 'animal|insect', 'plant-flower': 'plant|flower', 'plant-other': 'plant',
    'food-fruit': 'food|fruit', 'food-vegetable': 'food|vegetable', 'food-prepared': 'food|meal', 'food-asian': 'food|dish', 'food-sweet': 'food|dessert',
    'food-marine': 'food|seafood', 'drink': 'drink|beverage', 'dishware': 'tableware',
    'transport-ground': 'vehicle', 'transport-water': 'vehicle|boat', 'transport-air': 'vehicle|aircraft', 'place-building': 'building', 'place-religious': 'building|temple',
    'place-geographic': 'landscape', 'place-other': 'place', 'place-map': 'map', 'sky & weather': 'sky|weather', 'time': 'clock', 'hotel': 'thing',
    'sport': 'sport|game', 'game': 'game|toy', 'event': 'celebration', 'award-medal': 'award', 'arts & crafts': 'art',
    'clothing': 'clothing', 'tool': 'tool', 'household': 'household object', 'office': 'office object', 'writing': 'writing tool', 'book-paper': 'paper|document',
    'mail': 'mail', 'money': 'money', 'phone': 'telephone|device', 'computer': 'computer|device', 'light & video': 'device', 'sound': 'sound', 'music': 'music',
    'musical-instrument': 'musical instrument|instrument', 'lock': 'lock', 'medical': 'medical object', 'science': 'scientific instrument', 'other-object': 'object',
    'body-parts': 'body part', 'heart': 'heart', 'emotion': 'feeling', 'face-smiling': 'face|smiling face', 'face-concerned': 'face|sad face', 'face-affection': 'face',
    'face-tongue': 'face', 'face-costume': 'face', 'cat-face': 'face|cat', 'monkey-face': 'face|monkey', 'face-unwell': 'face|sick face', 'face-negative': 'face|angry face',
    'geometric': 'shape', 'arrow': 'arrow|symbol', 'zodiac': 'symbol|zodiac sign', 'religion': 'symbol|religious symbol', 'transport-sign': 'sign', 'warning': 'sign|warning',
    'person-fantasy': 'person|creature', 'person-role': 'person|worker',
}
# The ten classes and the words that training captions may use for them; emoji code points that show the same thing.
FASHION = [('t-shirt|tee shirt|tee|t shirt|top|jersey', '1F455'), ('trouser|trousers|pants|pair of trousers|slacks|jeans', '1F456'), ('pullover|sweater|jumper|slipover', ''),
           ('dress|frock|gown', '1F457'), ('coat|jacket|overcoat', '1F9E5'), ('sandal|sandals|pair of sandals', '1F461'), ('shirt|blouse|button shirt|collared shirt', ''),
           ('sneaker|sneakers|trainer|gym shoe|running shoe|tennis shoe', '1F45F'), ('bag|handbag|purse', '1F45C'), ('ankle boot|boot|ankle boots|boots', '1F462')]
NUMBERS = 'zero one two three four five six seven eight nine'.split()


def fetch(cache):
    for name, spec in PACKAGES.items():
        d = f'{cache}/npm/{name}'
        if not os.path.isdir(d):
            os.makedirs(d)
            tgz = subprocess.run(['npm', 'pack', '--silent', spec], cwd=d, check=True, capture_output=True, text=True).stdout.split()[-1]
            only = {'google': ['package/emoji.json', 'package/img/google/64'], 'twitter': ['package/img/twitter/64']}.get(name, [])
            subprocess.run(['tar', 'xzf', tgz] + only, cwd=d, check=True)
            os.remove(f'{d}/{tgz}')


class Style:
    """Pictures of one emoji style by code point, as RGBA."""

    def __init__(self, cache, name):
        self.name, self.root = name, f'{cache}/npm/{name}/package'
        if name in ('notov1', 'fluentflat', 'fxemoji'):
            self.set = json.load(open(self.root + '/icons.json'))
            chars = json.load(open(self.root + '/chars.json'))
            self.by_char, self.by_name = {}, {}
            for k, v in sorted(chars.items()):
                self.by_char.setdefault(k.lower().replace('-fe0f', ''), v)
            for v in sorted(self.set['icons']):  # notov1 and fxemoji have no code points: go by name
                self.by_name.setdefault(v.replace('-', ''), v)

    def picture(self, code, side, names=()):
        code = code.lower()
        bare = code.replace('-fe0f', '')
        if self.name in ('google', 'twitter', 'fluent3d'):
            sub = '/assets/' if self.name == 'fluent3d' else f'/img/{self.name}/64/'
            for c in (code, bare):
                for ext in ('.png', '.webp'):
                    if os.path.exists(self.root + sub + c + ext):
                        return Image.open(self.root + sub + c + ext).convert('RGBA').resize((side, side), Image.BICUBIC)
            return None
        icon = self.by_char.get(bare) or next((self.by_name[n] for n in (re.sub('[^a-z0-9]', '', m) for m in names) if n in self.by_name), None)
        if icon is None or icon not in self.set['icons']:
            return None
        i = self.set['icons'][icon]
        w, h = i.get('width', self.set.get('width', 16)), i.get('height', self.set.get('height', 16))
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{i.get("left", 0)} {i.get("top", 0)} {w} {h}" width="{w}" height="{h}">{i["body"]}</svg>'
        png = subprocess.run(['rsvg-convert', '-w', str(2 * side), '-h', str(2 * side)], input=svg.encode(), capture_output=True).stdout
        return Image.open(io.BytesIO(png)).convert('RGBA').resize((side, side), Image.BICUBIC) if png else None


def clean(name):
    return re.sub(r'\s+', ' ', re.sub(r'[^a-z0-9\- ]', ' ', name.lower().replace('_', ' ').replace('&', ' and '))).strip()


# ---------------------------------------------------------------- WordNet

LEX = ('adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication noun.event noun.feeling '
       'noun.food noun.group noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation '
       'noun.shape noun.state noun.substance noun.time').split()


def wordnet(root='/usr/share/wordnet'):
    """Noun and adjective synsets: {(pos, offset): dict(words, gloss, hyper, lex)}."""
    out = {}
    for pos, f in (('n', 'noun'), ('a', 'adj')):
        for line in open(f'{root}/data.{f}', encoding='latin-1'):
            if line.startswith('  '):
                continue
            data, _, gloss = line.partition('|')
            t = data.split()
            n = int(t[3], 16)
            words = [re.sub(r'\((a|p|ip)\)$', '', w).replace('_', ' ').lower() for w in t[4:4 + 2 * n:2]]
            p = 4 + 2 * n
            hyper = [t[p + 1 + 4 * i + 1] for i in range(int(t[p])) if t[p + 1 + 4 * i] in ('@', '@i')] if pos == 'n' else []
            lex = int(t[1])
            out[pos, t[0]] = dict(words=words, gloss=gloss.strip(), hyper=hyper, lex=lex if pos == 'n' else min(lex, 1))
    return out


def first_sense(root='/usr/share/wordnet'):
    out = {}
    for line in open(f'{root}/index.noun', encoding='latin-1'):
        if not line.startswith('  '):
            t = line.split()
            out[t[0].replace('_', ' ')] = t[-int(t[2])]
    return out


# ---------------------------------------------------------------- letters and textures

def letter(ch, font, side, rng):
    """One glyph, white on black, centred, of random size."""
    f = ImageFont.truetype(font, int(side * rng.uniform(0.75, 1.1)))
    im = Image.new('L', (2 * side, 2 * side))
    ImageDraw.Draw(im).text((side // 2, side // 4), ch, 255, font=f)
    box = im.getbbox()
    if box is None:
        return None
    im = im.crop(box)
    if max(im.size) > side:
        k = side / max(im.size)
        im = im.resize((max(1, int(im.width * k)), max(1, int(im.height * k))), Image.BICUBIC)
    out = Image.new('L', (side, side))
    out.paste(im, ((side - im.width) // 2, (side - im.height) // 2))
    return np.asarray(out)


def texture(kind, rng, s=28):
    """Training textures: sine stripes, Gaussian noise, dots, rings, soft clouds, plain. The test ones are in evaluate.py."""
    y, x = np.mgrid[:s, :s].astype(float)
    a, f, ph = rng.uniform(0, np.pi), rng.uniform(0.3, 1.8), rng.uniform(0, 6.28)
    if kind == 0:
        v = np.sin(f * (x * np.cos(a) + y * np.sin(a)) + ph)
    elif kind == 1:
        k = rng.integers(1, 4)
        v = np.kron(rng.normal(0, 0.6, (s // k + 1,) * 2), np.ones((k, k)))[:s, :s]
    elif kind == 2:
        p, r = rng.uniform(4, 9), rng.uniform(0.8, 2)
        v = np.where(((x + ph) % p - p / 2) ** 2 + ((y + a) % p - p / 2) ** 2 < r * r, 1.0, -1.0)
    elif kind == 3:
        v = np.sin(f * np.hypot(x - rng.uniform(4, 24), y - rng.uniform(4, 24)) + ph)
    elif kind == 4:
        n = np.fft.fft2(rng.normal(size=(s, s)))
        k = np.hypot(np.fft.fftfreq(s)[:, None], np.fft.fftfreq(s)[None]) + 0.03
        v = np.fft.ifft2(n / k ** rng.uniform(1, 2)).real
        v = v / np.abs(v).max()
    else:
        v = np.zeros((s, s))
    if rng.random() < 0.5:
        c0, c1 = np.repeat(rng.uniform(0, 255, (2, 1)), 3, 1)
    else:
        c0, c1 = rng.uniform(0, 255, (2, 3))
    t = np.clip(v / 2 + 0.5, 0, 1)[None]
    return (c0[:, None, None] * (1 - t) + c1[:, None, None] * t).astype(np.uint8)


TEXTURES = ['stripes|striped pattern|lines', 'noise|static|random noise|grain', 'dots|dotted pattern|spots', 'rings|circles|ripples', 'clouds|fog|blur|smoke', 'blank|plain surface|empty background|nothing']
TRAIN_FONTS = ['liberation', 'noto/NotoSans-', 'noto/NotoSerif-', 'noto/NotoMono-', 'noto/NotoSansMono-', 'noto/NotoSansDisplay-', 'noto/NotoSerifDisplay-']


def font_files(prefixes):
    out = []
    for p in prefixes:
        g = f'{FONTS}/{p}/*.ttf' if '/' not in p else f'{FONTS}/{p}*.ttf'
        out += sorted(glob.glob(g))
    return out


def ship_images(cache, concepts, out):
    fx = Style(cache, 'fxemoji')
    os.makedirs(out + '/emoji', exist_ok=True)
    os.makedirs(out + '/letters', exist_ok=True)
    for c in concepts:
        if c['code'] and c['group'] in ('Animals & Nature', 'Food & Drink') and (c['kind'].startswith('animal') or c['group'] == 'Food & Drink'):
            p = fx.picture(c['code'], 48, c['names'])
            if p is not None:
                q = Image.new('RGBA', p.size, 'white')
                q.alpha_composite(p)
                q.convert('RGB').quantize(64, Image.MEDIANCUT, dither=Image.NONE).save(f'{out}/emoji/{c["names"][0].replace(" ", "_")}.png', optimize=True)
    rng = random.Random(5)
    fonts = ['DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSerif', 'DejaVuSansMono', 'DejaVuSerif-Bold', 'DejaVuSansMono-Bold']
    for i, ch in enumerate('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'):
        name = ('upper_' if ch.isupper() else 'lower_' if ch.islower() else 'digit_') + ch.lower()
        Image.fromarray(letter(ch, f'{FONTS}/dejavu/{fonts[i % len(fonts)]}.ttf', 28, rng)).save(f'{out}/letters/{name}.png', optimize=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--cache', required=True)
    ap.add_argument('--images', help='also write the pictures that ship')
    a = ap.parse_args()
    os.makedirs(a.cache, exist_ok=True)
    fetch(a.cache)

    # Concepts: 0-9 fashion, then emoji, letters and digits, textures.
    wn, first = wordnet(), first_sense()
    concepts, taken = [], {}
    for i, (words, code) in enumerate(FASHION):
        concepts.append(dict(names=words.split('|'), kinds=['clothing', 'garment'] if i not in (5, 7, 8, 9) else ['footwear', 'shoe'] if i != 8 else ['accessory'], code=code, group='Fashion', kind='fashion', lex=6))
        taken[code] = i
    for e in sorted(json.load(open(f'{a.cache}/npm/google/package/emoji.json')), key=lambda e: e['sort_order']):
        if e['subcategory'] not in KINDS or e['unified'] in taken or not (e['has_img_google'] and e['has_img_twitter']):
            continue
        names = []
        for n in [e['name'].split(',')[0]] + e['short_names']:
            n = clean(n)
            if n and n not in names and len(n) < 40:
                names.append(n)
        if not names:
            continue
        if e['short_name'] and clean(e['short_name']) in first:  # prefer a plain word as the first name
            names.sort(key=lambda n: n not in first)
        taken[e['unified']] = len(concepts)
        concepts.append(dict(names=names, kinds=KINDS[e['subcategory']].split('|'), code=e['unified'], group=e['category'], kind=e['subcategory'], lex=-1))
    letters0 = len(concepts)
    for i in range(26):
        ch = chr(97 + i)
        concepts.append(dict(names=[f'letter {ch}', f'character {ch}', f'capital letter {ch}', ch], kinds=['letter', 'character', 'text'], code='', group='Letters', kind='letter', lex=10))
    for i in range(10):
        concepts.append(dict(names=[f'digit {i}', f'number {NUMBERS[i]}', f'number {i}', f'digit {NUMBERS[i]}'], kinds=['digit', 'number', 'numeral'], code='', group='Letters', kind='digit', lex=23))
    textures0 = len(concepts)
    for t in TEXTURES:
        concepts.append(dict(names=t.split('|'), kinds=['texture', 'pattern'], code='', group='Textures', kind='texture', lex=7))

    # Tie concepts to WordNet by the first sense of their names.
    synset_of = {}
    for i, c in enumerate(concepts):
        if c['group'] in ('Letters', 'Textures'):
            continue
        for n in c['names']:
            key = n if n in first else n.replace(' face', '')
            if key in first:
                syn = first[key]
                if c['lex'] < 0:
                    c['lex'] = wn['n', syn]['lex']
                synset_of.setdefault(syn, i)
                if i >= 10:
                    break
    for c in concepts:
        c['lex'] = 6 if c['lex'] < 0 else c['lex']
    order = sorted(wn)
    index = {k: i for i, k in enumerate(order)}

    def nearest(off, depth=0):
        """The nearest concept at or above a noun synset, at most five steps up."""
        if off in synset_of:
            return synset_of[off]
        if depth < 5:
            for h in wn['n', off]['hyper']:
                r = nearest(h, depth + 1)
                if r >= 0:
                    return r
        return -1

    text = []
    for k in order:
        s = wn[k]
        text.append(dict(words=s['words'], gloss=re.split(r'[;"]', s['gloss'])[0].strip(), lex=s['lex'], hyper=[index['n', h] for h in s['hyper']], concept=nearest(k[1]) if k[0] == 'n' else -1))
    json.dump(concepts, open(f'{a.cache}/concepts.json', 'w'), indent=0)
    json.dump(text, open(f'{a.cache}/wordnet.json', 'w'))
    print('concepts', len(concepts), 'synsets', len(text), 'tied', sum(t['concept'] >= 0 for t in text))

    # Emoji; one random style of every concept is for validation.
    rng = random.Random(1)
    pics, cid, sid, val = [], [], [], []
    styles = [Style(a.cache, s) for s in STYLES]
    for i, c in enumerate(concepts):
        if not c['code']:
            continue
        got = [(s, st.picture(c['code'], SIDE, c['names'])) for s, st in enumerate(styles)]
        got = [(s, p) for s, p in got if p is not None]
        held = rng.choice(got)[0] if len(got) > 1 and i >= 10 else -1
        for s, p in got:
            pics.append(np.asarray(p)); cid.append(i); sid.append(s); val.append(s == held)
    np.savez(f'{a.cache}/emoji.npz', rgba=np.stack(pics), concept=np.array(cid), style=np.array(sid), val=np.array(val))
    print('emoji', len(pics), 'validation', sum(val))

    # Letters: one font family file in twelve is for validation.
    rng = random.Random(2)
    pics, cid, val = [], [], []
    for n, f in enumerate(font_files(TRAIN_FONTS)):
        for j, ch in enumerate('abcdefghijklmnopqrstuvwxyz0123456789'):
            for c in (ch, ch.upper()) if j < 26 else (ch,):
                try:
                    p = letter(c, f, 28, rng)
                except OSError:
                    p = None
                if p is not None:
                    pics.append(p); cid.append(letters0 + j); val.append(n % 12 == 5)
    np.savez(f'{a.cache}/letters.npz', grey=np.stack(pics), concept=np.array(cid), val=np.array(val))
    print('letters', len(pics))
    rng = np.random.default_rng(3)
    kinds = rng.integers(0, len(TEXTURES), 6000)
    np.savez(f'{a.cache}/textures.npz', rgb=np.stack([texture(k, rng) for k in kinds]), concept=textures0 + kinds)
    if a.images:
        ship_images(a.cache, concepts, a.images)


if __name__ == '__main__':
    main()
