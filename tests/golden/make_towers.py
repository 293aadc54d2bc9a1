#!/usr/bin/python3
"""Goldens of the CLIP towers: small random checkpoints in several dialects with what they compute, and a few numbers of
the true ViT-B/16 shape. Written from the architecture (Radford et al. 2021; Vaswani et al. 2017) with torch's functions
in double precision; every text is padded to the context length and every gradient is torch's autograd.

    /usr/bin/python3 tests/golden/make_towers.py        writes tests/golden/towers/
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / 'bench' / 'peers'))
from bpe import Tokenizer, byte_symbols  # noqa: E402

torch.set_num_threads(1)
OUT = HERE / 'towers'
NAMES = ['cat', 'an ant hen', 'ant', "potter's", 'a', 'CD 12', 'hen (red)']  # 1 to 8 tokens
TEXTS = ['a photo of a cat.', 'a photo of a hen.', 'a photo of a', 'an ant and a cat', 'b']
MERGES = ['a n', 'an d</w>', 'c a', 'ca t</w>', 'e r', 'h o', 't o</w>', 'o f</w>', 'p ho', 'an t</w>']


# ---------------------------------------------------------------- the network

def layer_norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[name + '.weight'], w[name + '.bias'], 1e-5)


def block(w, p, x, heads, mask, act):
    n, t, d = x.shape
    h = layer_norm(w, p + 'ln_1', x)
    q, k, v = F.linear(h, w[p + 'attn.in_proj_weight'], w[p + 'attn.in_proj_bias']).chunk(3, -1)
    q, k, v = (m.reshape(n, t, heads, d // heads).transpose(1, 2) for m in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(d // heads)
    if mask is not None:
        scores = scores + mask
    o = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, d)
    x = x + F.linear(o, w[p + 'attn.out_proj.weight'], w[p + 'attn.out_proj.bias'])
    f = F.linear(layer_norm(w, p + 'ln_2', x), w[p + 'mlp.c_fc.weight'], w[p + 'mlp.c_fc.bias'])
    f = f * torch.sigmoid(1.702 * f) if act == 'quick_gelu' else F.gelu(f)
    return x + F.linear(f, w[p + 'mlp.c_proj.weight'], w[p + 'mlp.c_proj.bias'])


def text_tower(w, c, rows, end):
    """rows [n, context, d]: embedded tokens, positions not yet added; end [n]: the end token's position."""
    t = rows.shape[1]
    x = rows + w['positional_embedding']
    mask = torch.full((t, t), -math.inf, dtype=x.dtype).triu(1)
    for i in range(c['text_layers']):
        x = block(w, f'transformer.resblocks.{i}.', x, c['text_heads'], mask, c['activation'])
    return layer_norm(w, 'ln_final', x)[torch.arange(len(x)), end] @ w['text_projection']


def image_tower(w, c, pixels):
    x = F.conv2d(pixels, w['visual.conv1.weight'], stride=c['patch']).flatten(2).transpose(1, 2)
    x = torch.cat([w['visual.class_embedding'].expand(len(x), 1, -1), x], 1) + w['visual.positional_embedding']
    x = layer_norm(w, 'visual.ln_pre', x)
    for i in range(c['image_layers']):
        x = block(w, f'visual.transformer.resblocks.{i}.', x, c['image_heads'], None, c['activation'])
    return layer_norm(w, 'visual.ln_post', x[:, 0]) @ w['visual.proj']


def padded(ids, context):
    return torch.tensor([i + [0] * (context - len(i)) for i in ids])


def encode_texts(w, c, tok, texts):
    ids = [[tok.sos] + tok.encode(t) + [tok.eot] for t in texts]
    return text_tower(w, c, w['token_embedding.weight'][padded(ids, c['context'])], [len(i) - 1 for i in ids])


def encode_prompts(w, c, tok, contexts, suffixes):
    """contexts [K, p, n, d] spliced in behind the start token; suffixes: ids of each name, end included. [K p, e]."""
    K, p, n, d = contexts.shape
    ids = [[tok.sos] + [0] * n + s for s in suffixes for _ in range(p)]
    rows = w['token_embedding.weight'][padded(ids, c['context'])]
    rows = torch.cat([rows[:, :1], contexts.reshape(K * p, n, d), rows[:, 1 + n:]], 1)
    return text_tower(w, c, rows, [len(i) - 1 for i in ids])


# ---------------------------------------------------------------- weights

def shapes(c):
    """Every tensor in OpenAI's names, in a fixed order: {name: (shape, kind)}."""
    out = {'token_embedding.weight': ((c['vocabulary'], c['text_width']), 'token'),
           'positional_embedding': ((c['context'], c['text_width']), 'position')}

    def blocks(prefix, layers, d):
        for i in range(layers):
            p = f'{prefix}resblocks.{i}.'
            out[p + 'ln_1.weight'], out[p + 'ln_1.bias'] = ((d,), 'gain'), ((d,), 'bias')
            out[p + 'attn.in_proj_weight'], out[p + 'attn.in_proj_bias'] = ((3 * d, d), 'matrix'), ((3 * d,), 'bias')
            out[p + 'attn.out_proj.weight'], out[p + 'attn.out_proj.bias'] = ((d, d), 'matrix'), ((d,), 'bias')
            out[p + 'ln_2.weight'], out[p + 'ln_2.bias'] = ((d,), 'gain'), ((d,), 'bias')
            out[p + 'mlp.c_fc.weight'], out[p + 'mlp.c_fc.bias'] = ((4 * d, d), 'matrix'), ((4 * d,), 'bias')
            out[p + 'mlp.c_proj.weight'], out[p + 'mlp.c_proj.bias'] = ((d, 4 * d), 'matrix'), ((d,), 'bias')

    blocks('transformer.', c['text_layers'], c['text_width'])
    out['ln_final.weight'], out['ln_final.bias'] = ((c['text_width'],), 'gain'), ((c['text_width'],), 'bias')
    out['text_projection'] = ((c['text_width'], c['embedding']), 'matrix')
    w, g = c['image_width'], c['image_size'] // c['patch']
    out['visual.conv1.weight'] = ((w, 3, c['patch'], c['patch']), 'matrix')
    out['visual.class_embedding'] = ((w,), 'token')
    out['visual.positional_embedding'] = ((g * g + 1, w), 'token')
    out['visual.ln_pre.weight'], out['visual.ln_pre.bias'] = ((w,), 'gain'), ((w,), 'bias')
    blocks('visual.transformer.', c['image_layers'], w)
    out['visual.ln_post.weight'], out['visual.ln_post.bias'] = ((w,), 'gain'), ((w,), 'bias')
    out['visual.proj'] = ((w, c['embedding']), 'matrix')
    return out


def random_weights(c, seed):
    rng, out = np.random.default_rng(seed), {}
    for name, (shape, kind) in shapes(c).items():
        x = rng.standard_normal(shape)
        if kind == 'gain':
            x = 1 + 0.2 * x
        elif kind == 'matrix':
            fan_in = shape[0] if name in ('text_projection', 'visual.proj') else int(np.prod(shape[1:]))
            x = x * fan_in ** -0.5
        else:
            x = {'token': 0.3, 'position': 0.2, 'bias': 0.1}[kind] * x
        out[name] = x.astype(np.float32)
    out['logit_scale'] = np.float32(math.log(50.0))
    return out


def hashed(tensor, count):
    """count floats in [-1/2, 1/2), the same in every language: the upper 24 bits of splitmix64 of (tensor, index)."""
    with np.errstate(over='ignore'):
        z = (np.arange(count, dtype=np.uint64) + (np.uint64(tensor) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float32) * np.float32(2.0 ** -24)) - np.float32(0.5)


def hashed_weights(c):
    """The true shape without a file: value = float(amplitude) * hashed, gains 1 + 0.2 * hashed."""
    out = {}
    for number, (name, (shape, kind)) in enumerate(shapes(c).items()):
        x = hashed(number, int(np.prod(shape)))
        if kind == 'gain':
            x = np.float32(1) + np.float32(0.2) * x
        else:
            x = np.float32({'matrix': 0.125, 'token': 0.0625, 'position': 0.03125, 'bias': 0.0625}[kind]) * x
        out[name] = torch.from_numpy(x.reshape(shape)).double()
    return out


# ---------------------------------------------------------------- dialects

def huggingface(w, c):
    out = {'logit_scale': w['logit_scale'],
           'text_model.embeddings.token_embedding.weight': w['token_embedding.weight'],
           'text_model.embeddings.position_embedding.weight': w['positional_embedding'],
           'text_model.embeddings.position_ids': np.arange(c['context'], dtype=np.int64)[None],
           'text_projection.weight': w['text_projection'].T,
           'vision_model.embeddings.patch_embedding.weight': w['visual.conv1.weight'],
           'vision_model.embeddings.class_embedding': w['visual.class_embedding'],
           'vision_model.embeddings.position_embedding.weight': w['visual.positional_embedding'],
           'visual_projection.weight': w['visual.proj'].T}
    for end in ('weight', 'bias'):
        out['text_model.final_layer_norm.' + end] = w['ln_final.' + end]
        out['vision_model.pre_layrnorm.' + end] = w['visual.ln_pre.' + end]
        out['vision_model.post_layernorm.' + end] = w['visual.ln_post.' + end]
        for a, b, layers in (('transformer.', 'text_model.', c['text_layers']),
                             ('visual.transformer.', 'vision_model.', c['image_layers'])):
            for i in range(layers):
                old, new = f'{a}resblocks.{i}.', f'{b}encoder.layers.{i}.'
                for o, n in (('ln_1.', 'layer_norm1.'), ('ln_2.', 'layer_norm2.'), ('mlp.c_fc.', 'mlp.fc1.'),
                             ('mlp.c_proj.', 'mlp.fc2.'), ('attn.out_proj.', 'self_attn.out_proj.')):
                    out[new + n + end] = w[old + o + end]
                for part, name in zip(np.split(w[old + 'attn.in_proj_' + end], 3), 'qkv'):
                    out[f'{new}self_attn.{name}_proj.{end}'] = part
    return out


def prefixed_text(w, c):
    """OpenCLIP's CustomTextCLIP: the text tower under `text.`, its projection a Linear."""
    out = {}
    for name, x in w.items():
        if name == 'text_projection':
            out['text.text_projection.weight'] = x.T
        elif name.startswith('visual.') or name == 'logit_scale':
            out[name] = x
        else:
            out['text.' + name] = x
    out['text.attn_mask'] = np.triu(np.full((c['context'],) * 2, -np.inf, np.float32), 1)
    out['logit_scale'] = np.array([w['logit_scale']], np.float32)
    return out


def to_bf16(x):
    """float32 -> bits of the nearest bfloat16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def rounded(w, dtype):
    """The weights as the file will hold them, in float32."""
    if dtype == 'F16':
        return {k: v.astype(np.float16).astype(np.float32) for k, v in w.items()}
    if dtype == 'BF16':
        return {k: (to_bf16(v).astype(np.uint32) << 16).view(np.float32).reshape(np.shape(v)) for k, v in w.items()}
    return w


def save_safetensors(path, tensors, dtype=None):
    """dtype: F16 or BF16 stores every float32 tensor so."""
    header, at, blobs = {}, 0, []
    for name in sorted(tensors):
        x = np.asarray(tensors[name])
        kind = {'float64': 'F64', 'float32': 'F32', 'float16': 'F16', 'int64': 'I64'}[x.dtype.name]
        shape = list(x.shape)
        if kind == 'F32' and dtype in ('F16', 'BF16'):
            kind, x = dtype, x.astype(np.float16) if dtype == 'F16' else to_bf16(x)
        elif kind == 'F32' and dtype == 'F64':
            kind, x = dtype, x.astype(np.float64)
        blob = np.ascontiguousarray(x).tobytes()
        header[name] = {'dtype': kind, 'shape': shape, 'data_offsets': [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(struct.pack('<Q', len(text)) + text + b''.join(blobs))


# ---------------------------------------------------------------- the small models

def own_config(c):
    return {'activation': c['activation'], 'context_length': c['context'], 'image_size': c['image_size'],
            'heads': {'text': c['text_heads'], 'vision': c['image_heads']},
            'mean': [0.5, 0.25, 0.75], 'std': [0.5, 0.125, 0.25]}


def huggingface_config(c):
    return {'model_type': 'clip', 'projection_dim': c['embedding'],
            'text_config': {'hidden_act': c['activation'], 'num_attention_heads': c['text_heads'],
                            'max_position_embeddings': c['context'], 'layer_norm_eps': 1e-5},
            'vision_config': {'hidden_act': c['activation'], 'num_attention_heads': c['image_heads'],
                              'image_size': c['image_size'], 'patch_size': c['patch']}}


def openclip_config(c):
    return {'model_cfg': {'embed_dim': c['embedding'], 'quick_gelu': c['activation'] == 'quick_gelu',
                          'vision_cfg': {'image_size': c['image_size'], 'width': c['image_width'],
                                         'head_width': c['image_width'] // c['image_heads'],
                                         'patch_size': c['patch']},
                          'text_cfg': {'context_length': c['context'], 'heads': c['text_heads'],
                                       'width': c['text_width']}},
            'preprocess_cfg': {'mean': [0.4, 0.5, 0.6], 'std': [0.3, 0.2, 0.1]}}


def model(name, seed, dialect, dtype, **c):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    merges = '#version: 0.2\n' + '\n'.join(MERGES) + '\n'
    if dialect == 'huggingface':
        (folder / 'merges.txt').write_text(merges)
        tok = Tokenizer(folder / 'merges.txt')
        (folder / 'vocab.json').write_text(json.dumps(tok.id, ensure_ascii=False))
        (folder / 'config.json').write_text(json.dumps(huggingface_config(c), indent=1) + '\n')
        (folder / 'preprocessor_config.json').write_text(
            json.dumps({'image_mean': [0.1, 0.2, 0.3], 'image_std': [0.6, 0.5, 0.4], 'resample': 3}) + '\n')
    else:
        (folder / 'bpe_simple_vocab.txt').write_text(merges)
        tok = Tokenizer(folder / 'bpe_simple_vocab.txt')
        config = own_config(c) if dialect == 'openai' else openclip_config(c)
        file = 'config.json' if dialect == 'openai' else 'open_clip_config.json'
        (folder / file).write_text(json.dumps(config, indent=1) + '\n')
    c['vocabulary'] = tok.size

    w32 = rounded(random_weights(c, seed), dtype)
    named = {'openai': lambda w, c: w, 'huggingface': huggingface, 'openclip': prefixed_text}[dialect](w32, c)
    save_safetensors(folder / 'model.safetensors', named, dtype)
    w = {k: torch.from_numpy(np.asarray(v)).double() for k, v in w32.items()}

    rng = np.random.default_rng(seed + 1)
    double = lambda *shape: rng.standard_normal(shape).astype(np.float32).astype(np.float64)  # exact in float too
    gold = {'texts': encode_texts(w, c, tok, TEXTS), 'logit_scale': w['logit_scale'].exp().reshape(1, 1)}
    pixels = double(2, 3 * c['image_size'] ** 2)
    gold['pixels'], gold['images'] = pixels, image_tower(
        w, c, torch.from_numpy(pixels).reshape(2, 3, c['image_size'], c['image_size']))
    for p, n, suffix in ((1, 1, ''), (2, 4, '.'), (3, 2, '.')):
        suffixes = [tok.encode(x + suffix) + [tok.eot] for x in NAMES]
        for scope, sets in (('shared', 1), ('class', len(NAMES)))[:2 if p == 2 else 1]:
            key = f'{scope}.{p}.'
            values = 0.3 * double(sets, p, n, c['text_width'])
            contexts = torch.from_numpy(values).requires_grad_()
            out = encode_prompts(w, c, tok, contexts.expand(len(NAMES), -1, -1, -1), suffixes)
            cotangent = torch.from_numpy(double(*out.shape))
            (out * cotangent).sum().backward()
            gold[key + 'contexts'] = values.reshape(-1, c['text_width'])
            gold[key + 'features'], gold[key + 'cotangent'] = out, cotangent
            gold[key + 'gradient'] = contexts.grad.reshape(-1, c['text_width'])
    save_safetensors(folder / 'expected.safetensors',
                     {k: v.detach().numpy() if torch.is_tensor(v) else v for k, v in gold.items()})
    print(name, sum(f.stat().st_size for f in folder.iterdir()), 'bytes')


# ---------------------------------------------------------------- ViT-B/16

VIT_B_16 = dict(text_width=512, text_heads=8, text_layers=12, context=77, vocabulary=49408, embedding=512,
                image_width=768, image_heads=12, image_layers=12, patch=16, image_size=224, activation='quick_gelu')


def vit_b_16():
    """Outputs of the hashed weights: unit features of three prompts and one image, and a context gradient."""
    c = VIT_B_16
    w = hashed_weights(c)
    names = [[2368, 49407], [830, 1579, 7980, 269, 49407], [20629, 626, 344, 568, 7622, 9465, 269, 49407]]
    n, d = 4, c['text_width']

    class Tok:
        sos = 49406

    contexts = (torch.from_numpy(hashed(1000, 2 * n * d)).double() * 0.0625).reshape(1, 2, n, d).requires_grad_()
    out = F.normalize(encode_prompts(w, c, Tok, contexts.expand(3, -1, -1, -1), names), dim=1)
    cotangent = torch.from_numpy(hashed(1001, out.numel())).double().reshape(out.shape)
    (out * cotangent).sum().backward()
    pixels = torch.from_numpy(hashed(1002, 3 * 224 * 224)).double().reshape(1, 3, 224, 224) * 4
    with torch.no_grad():
        image = F.normalize(image_tower(w, c, pixels), dim=1)
    (OUT / 'vit_b_16').mkdir(parents=True, exist_ok=True)
    save_safetensors(OUT / 'vit_b_16' / 'expected.safetensors',
                     {'text': out.detach().float().numpy(), 'gradient': contexts.grad.reshape(-1, d).float().numpy(),
                      'image': image.float().numpy()})
    print('vit_b_16: text norm of gradient', contexts.grad.norm().item(),
          'cosines', (out @ out.T).detach().numpy().round(3).tolist()[0])


if __name__ == '__main__':
    model('openai_f32', 1, 'openai', 'F32', text_width=24, text_heads=3, text_layers=3, context=16, embedding=10,
          image_width=16, image_heads=2, image_layers=2, patch=4, image_size=12, activation='quick_gelu')
    model('huggingface_f32', 2, 'huggingface', 'F32', text_width=16, text_heads=2, text_layers=1, context=77,
          embedding=12, image_width=24, image_heads=3, image_layers=1, patch=5, image_size=10, activation='gelu')
    model('openclip_f16', 3, 'openclip', 'F16', text_width=20, text_heads=5, text_layers=2, context=16, embedding=8,
          image_width=12, image_heads=1, image_layers=3, patch=2, image_size=8, activation='gelu')
    model('openai_bf16', 4, 'openai', 'BF16', text_width=16, text_heads=4, text_layers=4, context=77, embedding=9,
          image_width=16, image_heads=4, image_layers=1, patch=3, image_size=6, activation='quick_gelu')
    if '--small' not in sys.argv:
        vit_b_16()
