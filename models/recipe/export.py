"""Writes the model folder from a checkpoint: fp16 weights, configuration, golden features.

    python3 export.py --checkpoint FILE --out ../demo-clip
"""
import argparse, json, os

import numpy as np
import torch

from negclip import fashion, features_of_images, grey_to_rgb, load_model, save_safetensors
from train import HELD

GOLDEN = ['a photo of a t-shirt.', 'a photo of a ankle boot.', 'the nice golden retriever', "potter's wheel", 'This is a striped photo']


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument('--checkpoint', required=True)
    ap.add_argument('--out', required=True)
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)
    c = torch.load(a.checkpoint, map_location='cpu')
    cfg = dict(c['config'])
    cfg.update(format='negood.demo-clip/1', prompt='a photo of a {}.',
               fashion_mnist_trained_on=[0, HELD], fashion_mnist_held_back=[HELD, 60000], ranges='half open, indices into train-images-idx3-ubyte',
               recipe=dict(steps=c['step'], **{k: c['args'][k] for k in ('seed', 'lr', 'batch', 'minutes', 'steps') if k != 'steps'}))
    json.dump(cfg, open(a.out + '/config.json', 'w'), indent=1)
    state = {k: v.numpy() for k, v in c['state'].items()}
    save_safetensors(a.out + '/model.safetensors', {k: v.astype(np.float32 if v.ndim == 0 else np.float16) for k, v in state.items()}, dict(format='pt', licence='see MODEL_CARD.md'))
    m, tok = load_model(a.out)
    ids = tok(GOLDEN, cfg['context_length'])
    x, _ = fashion('t10k')
    with torch.no_grad():
        t = m.encode_text(ids)
    open(a.out + '/golden_texts.txt', 'w').write('\n'.join(GOLDEN) + '\n')
    open(a.out + '/golden_token_ids.txt', 'w').write('\n'.join(' '.join(map(str, [tok.sos] + tok.encode(g) + [tok.eot])) for g in GOLDEN) + '\n')
    np.save(a.out + '/golden_text_features.npy', t.numpy())
    np.save(a.out + '/golden_image_features.npy', features_of_images(m, grey_to_rgb(x[:3])).numpy())
    print({f: os.path.getsize(f'{a.out}/{f}') for f in sorted(os.listdir(a.out))})


if __name__ == '__main__':
    main()
