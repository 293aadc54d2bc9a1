"""The gates of ../README.md, on the exported model. Prints a Markdown table and JSON.

    python3 evaluate.py --model ../demo-clip --images ../demo-images --words ../demo-words.txt [--json FILE]
"""
import argparse, glob, json, math, os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch
from PIL import Image

from negclip import fashion, features_of_images, features_of_texts, grey_to_rgb, load_model, preprocess
from train import auroc

PROMPT = 'a photo of a {}.'


def test_texture(kind, rng, s=28):
    """Test textures, none of them from the generators of training: uniform noise, checkerboards, square stripes, gradients."""
    y, x = np.mgrid[:s, :s].astype(float)
    if kind == 0:
        return rng.integers(0, 256, (3, s, s)).astype(np.uint8) if rng.random() < 0.5 else np.repeat(rng.integers(0, 256, (1, s, s)), 3, 0).astype(np.uint8)
    if kind == 1:
        p = rng.integers(2, 8)
        t = ((x + rng.integers(8)) // p + (y + rng.integers(8)) // p) % 2
    elif kind == 2:
        a, p = rng.uniform(0, np.pi), rng.uniform(4, 12)
        t = ((x * np.cos(a) + y * np.sin(a) + 40) % p < p / 2).astype(float)
    else:
        a = rng.uniform(0, 2 * np.pi)
        t = x * np.cos(a) + y * np.sin(a)
        t = (t - t.min()) / (t.max() - t.min())
    c0, c1 = rng.uniform(0, 255, (2, 3)) if rng.random() < 0.5 else np.repeat(rng.uniform(0, 255, (2, 1)), 3, 1)
    return (c0[:, None, None] * (1 - t[None]) + c1[:, None, None] * t[None]).astype(np.uint8)


def folder(path, size):
    return np.stack([preprocess(Image.open(f), size) for f in sorted(glob.glob(path + '/*.png'))])


def neglabel(h, words, names, tags, scale, groups=100, share=0.15):
    """The NegLabel score as a function of image features."""
    key = np.quantile((words @ names.T).numpy(), 0.95, axis=1)
    pick = []
    for t in ('n', 'a'):
        i = np.flatnonzero(np.array(tags) == t)
        pick += list(i[np.argsort(key[i], kind='stable')[:int(share * len(i))]])
    order = np.random.default_rng(0).permutation(len(pick))
    size = len(pick) // groups
    neg = words[torch.tensor(pick)[torch.from_numpy(order[:size * groups])]]
    a = torch.logsumexp(scale * h @ names.T, 1, keepdim=True)
    g = torch.logsumexp((scale * h @ neg.T).view(len(h), groups, size), 2)
    return torch.sigmoid(a - g).mean(1), pick


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--model', required=True)
    ap.add_argument('--images', required=True)
    ap.add_argument('--words', required=True)
    ap.add_argument('--json')
    ap.add_argument('--prompt', default=PROMPT)
    a = ap.parse_args()
    torch.set_num_threads(1)
    m, tok = load_model(a.model)
    size, s = m.cfg['image_size'], math.exp(float(m.logit_scale))
    names = [l.strip() for l in open(a.model + '/fashion_names.txt')]
    x, y = fashion('t10k')
    y = torch.from_numpy(y.copy())
    h = features_of_images(m, grey_to_rgb(x))
    t = features_of_texts(m, tok, [a.prompt.format(n) for n in names])
    rng = np.random.default_rng(7)
    sets = dict(letters=folder(a.images + '/letters', size), emoji=folder(a.images + '/emoji', size), textures=np.stack([test_texture(i % 4, rng) for i in range(1000)]))
    far = {n: features_of_images(m, v) for n, v in sets.items()}
    words, tags = zip(*[l.rstrip('\n').split('\t')[:2] for l in open(a.words) if l.split('\t')[0] not in names])
    w = features_of_texts(m, tok, [a.prompt.format(n) for n in words])

    out = dict(prompt=a.prompt, logit_scale=s, top1=float(((h @ t.T).argmax(1) == y).float().mean()),
               per_class={n: float(((h[y == i] @ t.T).argmax(1) == i).float().mean()) for i, n in enumerate(names)})

    def scores(f, names_):
        z = f @ names_.T
        return dict(maxcos=z.max(1)[0], energy=torch.logsumexp(s * z, 1), mcm=z.softmax(1).max(1)[0], msp=(s * z).softmax(1).max(1)[0],
                    neglabel=neglabel(f, w, names_, tags, s)[0], neglabel100=neglabel(f, w, names_, tags, 100.0)[0])

    near = {}
    for label, p in (('even', [0, 2, 4, 6, 8]), ('odd', [1, 3, 5, 7, 9]), ('0-4', [0, 1, 2, 3, 4]), ('5-9', [5, 6, 7, 8, 9])):
        k = torch.isin(y, torch.tensor(p))
        q = scores(h, t[p])
        near[label] = {n: auroc(v[k], v[~k]) for n, v in q.items()}
        near[label]['top1'] = float(((h[k] @ t[p].T).argmax(1) == torch.searchsorted(torch.tensor(p), y[k])).float().mean())
    out['near'] = near
    q = scores(h, t)
    out['far'] = {n: {k: auroc(q[k], v) for k, v in scores(f, t).items()} for n, f in far.items()}
    out['far_images'] = {n: len(f) for n, f in far.items()}
    mean = lambda d, k: sum(v[k] for v in d.values()) / len(d)
    out['near_mean'], out['far_mean'] = ({k: mean(d, k) for k in q} for d in (near, out['far']))
    pick = neglabel(h[:2], w, t, tags, s)[1]
    out['negatives'] = dict(count=len(pick), first=[words[i] for i in pick[:8]])
    f = far['emoji']
    labels = [os.path.basename(p)[:-4].replace('_', ' ') for p in sorted(glob.glob(a.images + '/emoji/*.png'))]
    z = f @ features_of_texts(m, tok, [a.prompt.format(n) for n in labels]).T
    out['unseen_style'] = dict(classes=len(labels), top1=float((z.argmax(1) == torch.arange(len(labels))).float().mean()), top5=float((z.argsort(1, descending=True)[:, :5] == torch.arange(len(labels))[:, None]).any(1).float().mean()))
    best = max(('maxcos', 'energy'), key=lambda k: out['far_mean'][k])
    gates = [('1 zero-shot top-1', out['top1'], 0.88), ('2 near-OOD, max cosine', out['near_mean']['maxcos'], 0.75), (f'3 far-OOD, {best}', out['far_mean'][best], 0.90),
             ('4 NegLabel less energy, far-OOD', out['far_mean']['neglabel'] - out['far_mean']['energy'], -0.005)]
    out['gates'] = [dict(gate=g, value=v, wanted=w_, passed=v >= w_) for g, v, w_ in gates]

    print('| gate | value | wanted | |\n|---|---|---|---|')
    for g in out['gates']:
        print(f"| {g['gate']} | {g['value']:.4f} | >= {g['wanted']} | {'passed' if g['passed'] else 'MISSED'} |")
    cols = list(q)
    print('\n| AUROC, % | ' + ' | '.join(cols) + ' |\n|---|' + '---|' * len(cols))
    for n, d in list(out['far'].items()) + [('far mean', out['far_mean'])] + [('near, ID ' + n, d) for n, d in near.items()] + [('near mean', out['near_mean'])]:
        print(f'| {n} | ' + ' | '.join(f'{100 * d[c]:.2f}' for c in cols) + ' |')
    print()
    print(json.dumps(out, indent=1))
    if a.json:
        json.dump(out, open(a.json, 'w'), indent=1)


if __name__ == '__main__':
    main()
