#!/usr/bin/python3
"""Makes the .npy and idx files that the readers are tested on, and rounding tables for half and bfloat16.

Run with Debian's python3-numpy and python3-torch. Every npy/*.npy holds k = 0, 1, 2 ... in row-major order of its
shape, so a reader that reinterprets instead of transposing or swapping is caught.
"""
import gzip
import os
import struct

import numpy as np
import torch

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "npy")
os.makedirs(out, exist_ok=True)


def save(name, array, version=None):
    with open(os.path.join(out, name), "wb") as f:
        np.lib.format.write_array(f, array, version=version, allow_pickle=True)


counting = np.arange(12).reshape(3, 4)
for kind in ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "<i8", ">i8", "<i4", ">i4", "<i2", ">u2", "|i1", "|u1", "<u4", ">u8"):
    save("counting_%s_%s%s.npy" % ({"<": "little", ">": "big", "|": "byte"}[kind[0]], kind[1], kind[2]), counting.astype(kind))
save("bool.npy", counting % 2 == 1)
save("fortran.npy", np.asfortranarray(counting.astype("<f4")))
save("fortran_big.npy", np.asfortranarray(counting.astype(">f8")))
save("fortran_rank3.npy", np.asfortranarray(np.arange(24).reshape(2, 3, 4).astype("<f4")))
save("rank0.npy", np.float64(7).reshape(()))
save("rank1.npy", np.arange(5, dtype="<f4"))
save("rank3.npy", np.arange(24, dtype="<f4").reshape(2, 3, 4))
save("empty.npy", np.zeros((0, 8), "<f4"))
save("version2.npy", counting.astype("<f4"), (2, 0))
save("version3.npy", counting.astype("<f4"), (3, 0))
save("object.npy", np.array([1, "two", None], dtype=object))
save("structured.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))
save("complex.npy", np.zeros(2, "<c8"))
save("text.npy", np.array(["a", "b"]))

# Doubles that fall on, beside and between half-precision and bfloat16 numbers, and their neighbours' bits.
rng = np.random.default_rng(3)
half = rng.integers(0, 0x7BFF, 500).astype(np.uint16)
low, high = half.view(np.float16).astype(np.float64), (half + 1).view(np.float16).astype(np.float64)
high = np.where(np.isfinite(high), high, 65536.0)
middle = (low + high) / 2
values = np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf), low, -middle,
                         rng.normal(0, 1, 300), 10.0 ** rng.uniform(-12, 6, 300), [65519.999, 65520.0, 1e300, 5e-324, 0.0, -0.0]])
with np.errstate(over="ignore"):
    np.save(os.path.join(out, "half_values.npy"), values)
    np.save(os.path.join(out, "half_bits.npy"), values.astype(np.float16).view(np.uint16))
# torch rounds float to bfloat16, so these doubles are floats.
floats = np.concatenate([rng.normal(0, 1, 300), 10.0 ** rng.uniform(-40, 38, 700)]).astype(np.float32)
ties = ((rng.integers(0, 0x7F7F, 500).astype(np.uint32) << 16) | 0x8000).view(np.float32)
floats = np.concatenate([floats, ties, -ties])
np.save(os.path.join(out, "bfloat16_values.npy"), floats.astype(np.float64))
np.save(os.path.join(out, "bfloat16_bits.npy"), torch.tensor(floats).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16))

# Three pictures of 4 x 5 whose pixel k is (7 k + 1) mod 256, and their labels 0, 9, 3.
pixels = ((7 * np.arange(60) + 1) % 256).astype(np.uint8).tobytes()
images = struct.pack(">IIII", 0x803, 3, 4, 5) + pixels
labels = struct.pack(">II", 0x801, 3) + bytes([0, 9, 3])
for name, data in (("images", images), ("labels", labels)):
    path = os.path.join(here, "idx", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".idx", "wb") as f:
        f.write(data)
    with open(path + ".idx.gz", "wb") as f:
        f.write(gzip.compress(data, mtime=0))
