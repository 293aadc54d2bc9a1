"""Trains the model on one CPU core.

    python3 train.py --cache CACHE --vocab FILE --out CHECKPOINT (--steps N | --minutes T) [--seed 1]

Towers and a table of concept prototypes are trained together, with softmax losses over unit features:
  image -> prototype, caption -> prototype (all concepts); image <-> caption of the batch, as in CLIP, but with every
  caption of the same concept a positive; WordNet lemma -> gloss or hypernym of the batch; lemma -> prototype where the
  synset lies under a concept; everything -> prototypes of the WordNet lexicographer files (animal, food, artifact, ...).
"""
import argparse, json, math, os, random, time

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
if 'avx512f' in open('/proc/cpuinfo').read():  # Debian's OpenBLAS does not know newer processors by itself: five times slower
    os.environ.setdefault('OPENBLAS_CORETYPE', 'SKYLAKEX')
    os.environ.setdefault('ATEN_CPU_CAPABILITY', 'avx512')

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy.stats import rankdata

from captions import caption, word
from negclip import CLIP, Tokenizer, fashion, features_of_images, features_of_texts, grey_to_rgb, normalise

HELD = 50000  # Fashion-MNIST training images from here on are never trained on
CONFIG = dict(activation='gelu', context_length=32, image_size=28, mean=[0.35, 0.35, 0.35], std=[0.35, 0.35, 0.35], heads=dict(text=2, vision=2), embed_dim=96,
              text_width=128, text_layers=4, vision_width=128, vision_layers=4, patch_size=4)


def affine(x, amount, shift, turn, out=28):
    """Random scale, shift, turn and mirror of [N,C,S,S] by one bilinear sampling."""
    n = len(x)
    s = torch.empty(n).uniform_(1 - amount, 1 + amount)
    a = torch.empty(n).uniform_(-turn, turn)
    still = torch.rand(n) < 0.5
    s[still], a[still] = 1, 0
    t = torch.randint(-shift, shift + 1, (n, 2)).float() * 2 / out
    f = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    m = torch.stack([torch.stack([s * a.cos() * f, -s * a.sin(), t[:, 0]], 1), torch.stack([s * a.sin() * f, s * a.cos(), t[:, 1]], 1)], 1)
    return F.grid_sample(x, F.affine_grid(m, (n, x.shape[1], out, out), align_corners=False), mode='bilinear', align_corners=False)


class Images:
    """Augmented training batches: uint8-scaled floats [N,3,28,28] and concepts."""

    def __init__(self, cache):
        x, y = fashion('train')
        self.fx, self.fy = torch.from_numpy(x[:HELD].copy()), torch.from_numpy(y[:HELD].copy())
        z = np.load(cache + '/emoji.npz')
        k = ~z['val']
        self.ex, self.ey = torch.from_numpy(z['rgba'][k].transpose(0, 3, 1, 2).copy()), torch.from_numpy(z['concept'][k])
        z = np.load(cache + '/letters.npz')
        k = ~z['val']
        self.lx, self.ly = torch.from_numpy(z['grey'][k]), torch.from_numpy(z['concept'][k])
        z = np.load(cache + '/textures.npz')
        self.tx, self.ty = torch.from_numpy(z['rgb']), torch.from_numpy(z['concept'])
        self.order = torch.randperm(HELD)
        self.at = 0

    def fashion_batch(self, n):
        if self.at + n > HELD:
            self.order, self.at = torch.randperm(HELD), 0
        i = self.order[self.at:self.at + n]
        self.at += n
        x = affine(self.fx[i][:, None].float(), 0.1, 1, 0.1)
        x = x * torch.empty(n, 1, 1, 1).uniform_(0.8, 1.15)
        x = x.expand(-1, 3, -1, -1).clone()
        odd = torch.rand(n)
        x[odd < 0.03] = 255 - x[odd < 0.03]
        tint = (odd > 0.97)
        x[tint] *= torch.rand(int(tint.sum()), 3, 1, 1)
        return x, self.fy[i]

    def emoji_batch(self, n):
        i = torch.randint(len(self.ey), (n,))
        x = self.ex[i].float()
        x = affine(torch.cat([x[:, :3] * x[:, 3:] / 255, x[:, 3:]], 1), 0.2, 2, 0.15)  # premultiplied
        rgb, alpha = x[:, :3], x[:, 3:] / 255
        grey = torch.rand(n) < 0.15
        rgb[grey] = rgb[grey].mean(1, keepdim=True)
        rgb = rgb * torch.empty(n, 3, 1, 1).uniform_(0.8, 1.2)
        back = torch.full((n, 3, 1, 1), 255.0)
        r = torch.rand(n)
        back[r < 0.3] = 0
        back[(r >= 0.3) & (r < 0.5)] = torch.rand(int(((r >= 0.3) & (r < 0.5)).sum()), 3, 1, 1) * 255
        return rgb + (1 - alpha) * back, self.ey[i]

    def other_batch(self, n):
        m = n // 2
        i = torch.randint(len(self.ly), (m,))
        k = torch.rand(m, 1, 1, 1)
        x = F.grid_sample(self.lx[i][:, None].float(), F.affine_grid(torch.eye(2, 3)[None] * torch.empty(m, 1, 1).uniform_(0.9, 1.3), (m, 1, 28, 28), align_corners=False), align_corners=False) / 255
        ink, back = torch.full((m, 3, 1, 1), 255.0), torch.zeros(m, 3, 1, 1)
        c = torch.rand(m) < 0.3
        ink[c], back[c] = torch.rand(int(c.sum()), 3, 1, 1) * 255, torch.rand(int(c.sum()), 3, 1, 1) * 255
        x = x * ink + (1 - x) * back
        x = torch.where(k < 0.2, 255 - x, x)
        j = torch.randint(len(self.ty), (n - m,))
        return torch.cat([x, self.tx[j].float()]), torch.cat([self.ly[i], self.ty[j]])


def soft_ce(logits, positive):
    """Cross entropy against the uniform distribution over `positive`; rows without one are left out."""
    p = positive.float()
    k = p.sum(1)
    ok = k > 0
    return -((F.log_softmax(logits, 1) * p).sum(1)[ok] / k[ok]).mean()


class Validation:
    """Held-back data, never test data: Fashion-MNIST 50000-59999, the held-out emoji style, letters of held-back fonts."""

    def __init__(self, cache, concepts):
        x, y = fashion('train')
        self.fx, self.fy = grey_to_rgb(x[HELD::4]), torch.from_numpy(y[HELD::4].copy())
        z = np.load(cache + '/emoji.npz')
        k = z['val']
        from PIL import Image
        pics = []
        for p in z['rgba'][k]:
            q = Image.new('RGBA', p.shape[:2], 'white')
            q.alpha_composite(Image.fromarray(p))
            pics.append(np.asarray(q.convert('RGB').resize((28, 28), Image.BICUBIC)).transpose(2, 0, 1))
        self.ex, self.ey = np.stack(pics), torch.from_numpy(z['concept'][k])
        z = np.load(cache + '/letters.npz')
        self.lx = grey_to_rgb(z['grey'][z['val']])
        self.names = [c['names'][0] for c in concepts]
        self.far = torch.tensor([concepts[i]['group'] in ('Animals & Nature', 'Food & Drink') for i in self.ey.tolist()])

    def __call__(self, m, tok):
        m.eval()
        t = features_of_texts(m, tok, [f'a photo of a {n}.' for n in self.names])
        f, e, l = (features_of_images(m, v) for v in (self.fx, self.ex, self.lx))
        out = dict(fashion=float(((f @ t[:10].T).argmax(1) == self.fy).float().mean()), emoji=float(((e @ t.T).argmax(1) == self.ey).float().mean()))
        s = math.exp(float(m.logit_scale))
        for n, h in (('emoji', e[self.far]), ('letters', l)):
            out[n + '_cos'] = auroc((f @ t[:10].T).max(1)[0], (h @ t[:10].T).max(1)[0])
        near = []
        for a in ([0, 2, 4, 6, 8], [0, 1, 2, 3, 4]):
            b = [i for i in range(10) if i not in a]
            for p, q in ((a, b), (b, a)):
                i = (f @ t[p].T).max(1)[0]
                k = torch.isin(self.fy, torch.tensor(p))
                near.append(auroc(i[k], i[~k]))
        out['near_cos'], out['scale'] = sum(near) / 4, s
        m.train()
        return out


def auroc(pos, neg):
    a, b = np.asarray(pos), np.asarray(neg)
    r = rankdata(np.concatenate([a, b]))[:len(a)].sum()
    return float((r - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--cache', required=True)
    ap.add_argument('--vocab', required=True)
    ap.add_argument('--out', required=True)
    ap.add_argument('--minutes', type=float, help='length of training by the clock')
    ap.add_argument('--steps', type=int, help='length of training in steps (reproducible)')
    ap.add_argument('--seed', type=int, default=1)
    ap.add_argument('--init', help='a checkpoint to go on from')
    ap.add_argument('--lr', type=float, default=1.5e-3)
    ap.add_argument('--batch', type=int, nargs=3, default=[84, 24, 14], help='fashion, emoji, letters and textures')
    ap.add_argument('--set', nargs='*', default=[], help='changes of the configuration, name=number')
    a = ap.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(a.seed)
    rng = random.Random(a.seed)

    cfg = dict(CONFIG, **{k: int(v) for k, v in (s.split('=') for s in a.set)})
    tok = Tokenizer(a.vocab)
    cfg['vocab_size'] = tok.size
    concepts = json.load(open(a.cache + '/concepts.json'))
    wn = json.load(open(a.cache + '/wordnet.json'))
    lex = torch.tensor([c['lex'] for c in concepts])
    # Draw WordNet synsets: mostly nouns; those under a concept more often.
    weight = np.array([(2.5 if s['concept'] >= 0 else 1.0) * (1.0 if s['lex'] > 2 else 0.7) for s in wn])
    draw = np.cumsum(weight / weight.sum())

    data, val = Images(a.cache), Validation(a.cache, concepts)
    m = CLIP(cfg)
    proto = nn.Parameter(F.normalize(torch.randn(len(concepts), cfg['embed_dim']), dim=1))
    lexproto = nn.Parameter(F.normalize(torch.randn(29, cfg['embed_dim']), dim=1))
    decay = [p for n, p in m.named_parameters() if p.ndim >= 2 and 'embedding' not in n]
    rest = [p for n, p in m.named_parameters() if not (p.ndim >= 2 and 'embedding' not in n)] + [proto, lexproto]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.05), dict(params=rest, weight_decay=0.0)], lr=a.lr, betas=(0.9, 0.98), eps=1e-6)
    ema = {k: v.clone() for k, v in m.state_dict().items()}
    evaluated = CLIP(cfg)
    print('parameters', sum(p.numel() for p in m.parameters()), flush=True)

    if a.init:
        c = torch.load(a.init)
        m.load_state_dict(c['state'])
        proto.data, lexproto.data = c['proto'], c['lexproto']
        ema = {k: v.clone() for k, v in c['state'].items()}
    def text_losses(step, img, y, scale, P, L):
        # Captions: two of each class of the ID task, one of every other concept in the batch.
        cap_of = [i for i in range(10) for _ in range(2)] + sorted(set(y[y >= 10].tolist()))
        caps = [tok.encode(caption(rng, concepts[i], 0.12 if i >= 10 else 0.04)) for i in cap_of]
        if step % 12 == 0:  # names must survive long and strange contexts in front of them
            for j in [rng.randrange(10) for _ in range(5)] + rng.sample(range(len(concepts)), 5):
                cap_of.append(j)
                caps.append([rng.randrange(512, tok.sos) for _ in range(rng.randrange(3, 18))] + tok.encode(rng.choice(concepts[j]['names']) + rng.choice(['', '.'])))
        syn = [wn[i] for i in np.searchsorted(draw, np.array([rng.random() for _ in range(24)]))]
        lemmas = [tok.encode(word(rng, rng.choice(s['words']))) for s in syn]
        other = []
        for s in syn:
            r = rng.random()
            if r < 0.35 and s['hyper']:
                other.append(tok.encode(word(rng, rng.choice(wn[rng.choice(s['hyper'])]['words']))))
            elif r < 0.5 and len(s['words']) > 1:
                other.append(tok.encode(word(rng, rng.choice(s['words']))))
            else:
                other.append(tok.encode(s['gloss'])[:22])
        ids = caps + lemmas + other
        long = [i for i in range(len(ids)) if len(ids[i]) > 11]
        short = [i for i in range(len(ids)) if len(ids[i]) <= 11]
        t = torch.cat([m.encode_text(tok.pack([ids[i] for i in part], cfg['context_length'])) for part in (short, long) if part])
        back = torch.empty(len(ids), dtype=torch.long)
        back[torch.tensor(short + long)] = torch.arange(len(ids))
        t = t[back]
        cap, lem, oth = t[:len(caps)], t[len(caps):len(caps) + len(lemmas)], t[len(caps) + len(lemmas):]
        cap_of = torch.tensor(cap_of)
        tied = torch.tensor([s['concept'] for s in syn])
        slex = torch.tensor([s['lex'] for s in syn])

        words, word_of = torch.cat([cap, lem]), torch.cat([cap_of, torch.where(tied >= 0, tied, -2 * torch.ones_like(tied))])
        same = y[:, None] == word_of[None]
        sim = scale * img @ words.T
        loss = 0.5 * F.cross_entropy(scale * cap @ P.T, cap_of)
        loss = loss + 0.5 * soft_ce(sim, same) + 0.5 * soft_ce(sim[:, :len(caps)].T, same[:, :len(caps)].T)
        pair = scale * lem @ oth.T
        ar = torch.arange(len(syn))
        loss = loss + 0.25 * (F.cross_entropy(pair, ar) + F.cross_entropy(pair.T, ar))
        k = tied >= 0
        if k.any():
            loss = loss + 0.3 * F.cross_entropy(scale * lem[k] @ P.T, tied[k])
        loss = loss + 0.2 * F.cross_entropy(scale * lem @ L.T, slex) + 0.1 * F.cross_entropy(scale * oth @ L.T, slex)
        return loss

    start, step, best, log = time.time(), 0, -1.0, 0.0
    next_eval = 1 / 7
    while True:
        done = step / a.steps if a.steps else (time.time() - start) / (60 * a.minutes)
        if done >= 1:
            break
        lr = a.lr * min(1, (step + 1) / 300) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        for g in opt.param_groups:
            g['lr'] = lr
        keep = 25 if done < 0.5 else 36 if done < 0.85 else None  # patches kept: fewer are faster and regularise

        # Two steps of three show pictures to the prototypes only, mostly of the ID task; the third one trains everything.
        full = step % 3 == 0
        n = a.batch if full else [a.batch[0] + 26, a.batch[1] // 2, a.batch[2] // 2]
        batches = [f(k) for f, k in zip((data.fashion_batch, data.emoji_batch, data.other_batch), n)]
        x, y = torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])
        img = m.encode_image(normalise(x.clamp(0, 255), cfg), keep)

        scale = m.logit_scale.exp()
        P, L = F.normalize(proto, dim=1), F.normalize(lexproto, dim=1)
        loss = F.cross_entropy(scale * img @ P.T, y) + 0.1 * F.cross_entropy(scale * img @ L.T, lex[y])
        if full:
            loss = loss + text_losses(step, img, y, scale, P, L)

        opt.zero_grad(set_to_none=True)  # towers that took no part stay as they are
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            m.logit_scale.clamp_(0, math.log(100))
            d = min(0.998, (step + 1) / (step + 10))
            for n, v in m.state_dict().items():
                ema[n].lerp_(v, 1 - d)
        step += 1
        log = 0.95 * log + 0.05 * float(loss.detach()) if full else log
        if step % 200 == 0:
            print(f'{time.time() - start:6.0f}s step {step} loss {log:.3f} lr {lr:.2g}', flush=True)
        done = step / a.steps if a.steps else (time.time() - start) / (60 * a.minutes)
        if done >= next_eval or done >= 1:
            next_eval += 1 / 7
            evaluated.load_state_dict(ema)
            v = val(evaluated, tok)
            mark = v['fashion'] + 0.5 * v['emoji'] + 0.5 * (v['near_cos'] + v['emoji_cos'] + v['letters_cos'])
            print(f'{time.time() - start:6.0f}s step {step}', {n: round(u, 4) for n, u in v.items()}, 'mark', round(mark, 4), flush=True)
            if mark > best:
                best = mark
                torch.save(dict(state=ema, proto=proto.data, lexproto=lexproto.data, config=cfg, args=vars(a), step=step, val=v), a.out)


if __name__ == '__main__':
    main()
