"""Shared parts of the recipe: the CLIP model, its tokenizer, preprocessing, safetensors files.

Runs on Debian's python3-torch (1.13), numpy and Pillow; nothing else.
"""
import gzip, html, json, math, re, struct
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

# ---------------------------------------------------------------- tokenizer

HEADER = '#version: 0.2 - negood demo, BPE merges in the layout of bpe_simple_vocab_16e6.txt'
PATTERN = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\w\s]|_)+")


def byte_symbols():
    """The 256 byte symbols in vocabulary order, as {byte: character}."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = [(b, chr(b)) for b in keep], 0
    for b in range(256):
        if b not in keep:
            table.append((b, chr(256 + extra)))
            extra += 1
    return OrderedDict(table)


def words_of(text):
    text = html.unescape(html.unescape(text)).strip()
    return PATTERN.findall(re.sub(r'\s+', ' ', text).strip().lower())


class Tokenizer:
    def __init__(self, path):
        merges = [tuple(l.split()) for l in open(path, encoding='utf-8').read().split('\n')[1:] if l.strip()]
        self.bytes = byte_symbols()
        vocab = list(self.bytes.values())
        vocab += [v + '</w>' for v in vocab] + [a + b for a, b in merges]
        vocab += ['<|startoftext|>', '<|endoftext|>']
        self.id = {v: i for i, v in enumerate(vocab)}
        self.rank = {m: i for i, m in enumerate(merges)}
        self.size, self.sos, self.eot = len(vocab), len(vocab) - 2, len(vocab) - 1
        self.cache = {}

    def bpe(self, word):
        if word in self.cache:
            return self.cache[word]
        s = [self.bytes[b] for b in word.encode('utf-8')]
        s[-1] += '</w>'
        while len(s) > 1:
            best = min(zip(s, s[1:]), key=lambda p: self.rank.get(p, 1 << 30))
            if best not in self.rank:
                break
            out, i = [], 0
            while i < len(s):
                if i + 1 < len(s) and (s[i], s[i + 1]) == best:
                    out.append(s[i] + s[i + 1])
                    i += 2
                else:
                    out.append(s[i])
                    i += 1
            s = out
        self.cache[word] = r = [self.id[x] for x in s]
        return r

    def encode(self, text):
        return [t for w in words_of(text) for t in self.bpe(w)]

    def pack(self, ids, context):
        """Rows SOS ids EOT, padded with 0 to the longest (at most context)."""
        ids = [i[:context - 2] for i in ids]
        n = max(map(len, ids)) + 2
        out = np.zeros((len(ids), n), np.int64)
        for r, i in zip(out, ids):
            r[:len(i) + 2] = [self.sos] + i + [self.eot]
        return torch.from_numpy(out)

    def __call__(self, texts, context):
        return self.pack([self.encode(t) for t in texts], context)


# ---------------------------------------------------------------- model

class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.h = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * d, d))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * d))
        self.out_proj = nn.Linear(d, d)
        nn.init.normal_(self.in_proj_weight, std=d ** -0.5)

    def forward(self, x, mask):
        n, l, d = x.shape
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).view(n, l, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
        a = (q * (d // self.h) ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            a = a + mask
        return self.out_proj((a.softmax(-1) @ v).transpose(1, 2).reshape(n, l, d))


class MLP(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.c_fc = nn.Linear(d, 4 * d)
        self.c_proj = nn.Linear(4 * d, d)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.attn, self.ln_1, self.mlp, self.ln_2 = Attention(d, heads), nn.LayerNorm(d), MLP(d), nn.LayerNorm(d)

    def forward(self, x, mask=None):
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, d, layers, heads):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(d, heads) for _ in range(layers))
        for b in self.resblocks:
            nn.init.normal_(b.attn.out_proj.weight, std=d ** -0.5 * (2 * layers) ** -0.5)
            nn.init.zeros_(b.attn.out_proj.bias)
            nn.init.normal_(b.mlp.c_fc.weight, std=(2 * d) ** -0.5)
            nn.init.normal_(b.mlp.c_proj.weight, std=d ** -0.5 * (2 * layers) ** -0.5)

    def forward(self, x, mask=None):
        for b in self.resblocks:
            x = b(x, mask)
        return x


class Vision(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, p = c['vision_width'], c['patch_size']
        n = (c['image_size'] // p) ** 2
        self.p = p
        self.conv1 = nn.Conv2d(3, d, p, p, bias=False)
        self.class_embedding = nn.Parameter(d ** -0.5 * torch.randn(d))
        self.positional_embedding = nn.Parameter(d ** -0.5 * torch.randn(n + 1, d))
        self.ln_pre, self.ln_post = nn.LayerNorm(d), nn.LayerNorm(d)
        self.transformer = Transformer(d, c['vision_layers'], c['heads']['vision'])
        self.proj = nn.Parameter(d ** -0.5 * torch.randn(d, c['embed_dim']))

    def forward(self, x, keep=None):
        """x: normalised [N,3,S,S]; keep: number of patches kept at random (training only)."""
        n, _, s, _ = x.shape
        p, g = self.p, s // self.p
        x = x.view(n, 3, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(n, g * g, 3 * p * p)
        x = F.linear(x, self.conv1.weight.flatten(1)) + self.positional_embedding[1:]
        if keep is not None and keep < g * g:
            i = torch.rand(n, g * g).argsort(1)[:, :keep]
            x = x.gather(1, i[:, :, None].expand(-1, -1, x.shape[2]))
        c = (self.class_embedding + self.positional_embedding[0]).expand(n, 1, -1)
        x = self.transformer(self.ln_pre(torch.cat([c, x], 1)))
        return self.ln_post(x[:, 0]) @ self.proj


class CLIP(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c['text_width']
        self.cfg = c
        self.visual = Vision(c)
        self.transformer = Transformer(d, c['text_layers'], c['heads']['text'])
        self.token_embedding = nn.Embedding(c['vocab_size'], d)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(c['context_length'], d))
        self.ln_final = nn.LayerNorm(d)
        self.text_projection = nn.Parameter(d ** -0.5 * torch.randn(d, c['embed_dim']))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(15.0)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.register_buffer('mask', torch.full((c['context_length'],) * 2, float('-inf')).triu(1), persistent=False)

    def encode_image(self, x, keep=None):
        return F.normalize(self.visual(x, keep), dim=-1)

    def encode_text(self, t):
        l = t.shape[1]
        x = self.token_embedding(t) + self.positional_embedding[:l]
        x = self.transformer(x, self.mask[:l, :l])
        e = (t == self.cfg['vocab_size'] - 1).long().argmax(1)  # first end of text
        return F.normalize(self.ln_final(x[torch.arange(len(t)), e]) @ self.text_projection, dim=-1)


# ---------------------------------------------------------------- preprocessing

def preprocess(img, size):
    """CLIP's: RGB, short side to `size` with Pillow's bicubic, centre crop. uint8 [3,S,S]."""
    from PIL import Image
    img = img.convert('RGB')
    w, h = img.size
    if min(w, h) != size:
        w, h = (size, int(size * h / w)) if w <= h else (int(size * w / h), size)
        img = img.resize((w, h), Image.BICUBIC)
    x, y = int(round((w - size) / 2.0)), int(round((h - size) / 2.0))
    return np.asarray(img.crop((x, y, x + size, y + size))).transpose(2, 0, 1).copy()


def normalise(u8, cfg):
    x = torch.as_tensor(u8).float().div_(255)
    return (x - torch.tensor(cfg['mean']).view(1, 3, 1, 1)) / torch.tensor(cfg['std']).view(1, 3, 1, 1)


def features_of_images(model, u8, batch=500):
    with torch.no_grad():
        return torch.cat([model.encode_image(normalise(u8[i:i + batch], model.cfg)) for i in range(0, len(u8), batch)])


def features_of_texts(model, tok, texts, batch=256):
    with torch.no_grad():
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = torch.empty(len(texts), model.cfg['embed_dim'])
        for i in range(0, len(order), batch):
            o = order[i:i + batch]
            out[o] = model.encode_text(tok([texts[j] for j in o], model.cfg['context_length']))
        return out


# ---------------------------------------------------------------- files

def read_idx(path):
    raw = gzip.open(path, 'rb').read()
    n = raw[3]
    shape = struct.unpack('>' + 'I' * n, raw[4:4 + 4 * n])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n).reshape(shape)


def fashion(split, root='/usr/share/datasets/fashion-mnist'):
    """(grey uint8 [N,28,28], labels) of 'train' or 't10k'."""
    return (read_idx(f'{root}/{split}-images-idx3-ubyte.gz'), read_idx(f'{root}/{split}-labels-idx1-ubyte.gz').astype(np.int64))


def grey_to_rgb(x):
    return np.repeat(x[:, None], 3, 1)


DTYPES = {'float32': 'F32', 'float16': 'F16', 'int64': 'I64'}


def save_safetensors(path, tensors, metadata):
    head, off, blobs = {'__metadata__': metadata}, 0, []
    for k in sorted(tensors):
        a = np.asarray(tensors[k], order='C')
        head[k] = {'dtype': DTYPES[a.dtype.name], 'shape': list(a.shape), 'data_offsets': [off, off + a.nbytes]}
        off += a.nbytes
        blobs.append(a.tobytes())
    j = json.dumps(head, separators=(',', ':')).encode()
    j += b' ' * (-len(j) % 8)  # data starts at a multiple of 8
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(j)) + j + b''.join(blobs))


def load_safetensors(path):
    raw = open(path, 'rb').read()
    n = struct.unpack('<Q', raw[:8])[0]
    head, out = json.loads(raw[8:8 + n]), {}
    for k, v in head.items():
        if k != '__metadata__':
            dt = np.dtype({b: a for a, b in DTYPES.items()}[v['dtype']])
            a, b = v['data_offsets']
            out[k] = np.frombuffer(raw[8 + n + a:8 + n + b], dt).reshape(v['shape'])
    return out


def load_model(folder):
    cfg = json.load(open(f'{folder}/config.json'))
    m = CLIP(cfg)
    m.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in load_safetensors(f'{folder}/model.safetensors').items()})
    return m.eval(), Tokenizer(f'{folder}/bpe_simple_vocab.txt')
