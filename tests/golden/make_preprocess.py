"""Golden bytes of Pillow's resize and of CLIP's preprocessing, as SHA-256; the pictures are formulas.

    /usr/bin/python3 make_preprocess.py

Writes preprocess.txt, one case a line:
    resize KIND W H TARGET_W TARGET_H FILTER DIGEST          bytes of Image.resize
    centre KIND W H SIZE FILTER DIGEST DIGEST_FLOAT          bytes of the centre crop, float32 of the tower's input
    view   KIND W H X Y BOX_W BOX_H MIRRORED SIZE DIGEST     bytes of crop, resize, mirror
"""
import hashlib
import os

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
FILTERS = {'bicubic': Image.BICUBIC, 'bilinear': Image.BILINEAR}
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def picture(kind, w, h):
    x, y, c = np.meshgrid(np.arange(w, dtype=np.uint64), np.arange(h, dtype=np.uint64), np.arange(3, dtype=np.uint64), indexing='xy')
    if kind == 'waves':  # smooth with wrap-around edges
        v = (x * 7 + y * 13 + c * 29 + (x * y >> 2) + (x * x * 3 + y * y * 5 >> 4)) & 255
    elif kind == 'noise':
        v = (x * 374761393 + y * 668265263 + c * 2246822519 & 0xFFFFFFFF) * 3266489917 >> 16 & 255
    else:  # 'blocks': black and white squares, where the cubic overshoots
        v = ((x // 3 + y // 2 + c) & 1) * 255
    return Image.fromarray(v.astype(np.uint8), 'RGB')


def digest(data):
    return hashlib.sha256(data).hexdigest()


def centre(img, size, how):
    w, h = img.size
    short, long = (w, h) if w <= h else (h, w)
    scaled = int(size * long / short)
    img = img.resize((size, scaled) if w <= h else (scaled, size), how)
    left, top = int(round((img.width - size) / 2.0)), int(round((img.height - size) / 2.0))
    return img.crop((left, top, left + size, top + size))


def main():
    out = []
    resizes = [(500, 375, 298, 224), (375, 500, 224, 298), (28, 28, 32, 32), (28, 28, 48, 48), (64, 64, 32, 32), (101, 67, 33, 22), (1, 37, 5, 11),
               (37, 1, 11, 5), (1, 1, 7, 3), (17, 19, 17, 40), (17, 19, 40, 19), (17, 19, 17, 19), (17, 19, 17, 5), (17, 19, 4, 19), (640, 480, 1, 1),
               (3, 5, 301, 203), (2, 2, 3, 3), (257, 255, 256, 256), (100, 100, 99, 101), (1200, 40, 13, 41), (48, 48, 24, 24), (90, 60, 45, 20)]
    for w, h, tw, th in resizes:
        for kind in ('waves', 'noise', 'blocks'):
            for name, how in FILTERS.items():
                out.append(f"resize {kind} {w} {h} {tw} {th} {name} {digest(picture(kind, w, h).resize((tw, th), how).tobytes())}")
    centres = [(500, 375, 224), (375, 500, 224), (224, 224, 224), (225, 224, 224), (224, 227, 224), (229, 224, 224), (28, 28, 32), (28, 28, 28), (1, 50, 32), (50, 1, 32),
               (1, 1, 8), (640, 480, 48), (33, 1000, 24), (1000, 33, 24), (301, 300, 299), (333, 500, 31), (72, 64, 36), (64, 72, 1)]
    for w, h, size in centres:
        for kind, name in (('waves', 'bicubic'), ('blocks', 'bicubic'), ('noise', 'bilinear')):
            img = centre(picture(kind, w, h), size, FILTERS[name])
            x = np.asarray(img).astype(np.float32) / np.float32(255)
            x = ((x - MEAN) / STD).transpose(2, 0, 1)
            assert x.dtype == np.float32
            out.append(f"centre {kind} {w} {h} {size} {name} {digest(img.tobytes())} {digest(np.ascontiguousarray(x).astype('<f4').tobytes())}")
    for w, h, x, y, bw, bh, mirrored, size in [(500, 375, 100, 50, 200, 180, 1, 224), (500, 375, 0, 0, 500, 375, 0, 224), (28, 28, 5, 7, 20, 21, 1, 32),
                                               (28, 28, 27, 27, 1, 1, 1, 5), (90, 60, 30, 0, 33, 33, 1, 33), (90, 60, 30, 10, 33, 40, 0, 33), (90, 60, 3, 4, 60, 33, 1, 33)]:
        img = picture('noise', w, h).crop((x, y, x + bw, y + bh)).resize((size, size), Image.BICUBIC)
        if mirrored:
            img = img.transpose(Image.FLIP_LEFT_RIGHT)
        out.append(f"view noise {w} {h} {x} {y} {bw} {bh} {mirrored} {size} {digest(img.tobytes())}")
    with open(HERE + '/preprocess.txt', 'w') as f:
        f.write('\n'.join(out) + '\n')


if __name__ == '__main__':
    main()
