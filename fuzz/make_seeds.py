#!/usr/bin/env python3
"""Writes a small seed corpus for every fuzz target: make_seeds.py FOLDER makes FOLDER/fuzz_NAME/*."""
import gzip
import json
import os
import shutil
import struct
import sys

out = sys.argv[1] if len(sys.argv) > 1 else "seeds"
golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden")


def seed(target, name, data):
    folder = os.path.join(out, "fuzz_" + target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


headers = {
    "plain": ({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, 24),
    "metadata": ({"__metadata__": {"format": "pt"}, "a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}}, 8),
    "mixed": ({"h": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]},
               "b": {"dtype": "BF16", "shape": [1, 2, 1], "data_offsets": [8, 12]},
               "i": {"dtype": "I64", "shape": [1], "data_offsets": [12, 20]},
               "u": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [20, 23]}}, 23),
    "empty": ({"e": {"dtype": "F64", "shape": [0, 3], "data_offsets": [0, 0]}}, 0),
}
for name, (header, size) in headers.items():
    text = json.dumps(header).encode()
    seed("safetensors", name + "_header", bytes([0, size]) + text)
    seed("safetensors", name + "_file", b"\1" + struct.pack("<Q", len(text)) + text + bytes(range(size)))

for name in ("counting_little_f2", "counting_big_f8", "counting_byte_u1", "fortran_rank3", "rank0", "version3", "bool",
             "object", "structured"):
    with open(os.path.join(golden, "npy", name + ".npy"), "rb") as f:
        seed("npy", name, b"\1" + f.read())
for name, text, size in (("f4", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 48),
                         ("i8", "{'descr': '>i8', 'fortran_order': True, 'shape': (2,2,2), }", 64)):
    seed("npy", name + "_header", bytes([0, size]) + text.encode())

for name in ("images.idx", "images.idx.gz", "labels.idx", "labels.idx.gz"):
    with open(os.path.join(golden, "idx", name), "rb") as f:
        seed("idx", name, f.read())
seed("idx", "zeros.gz", gzip.compress(struct.pack(">IIII", 0x803, 1, 28, 28) + bytes(784), mtime=0))

for name, text in (("text", "imagenet/val/a b.JPEG 0\nc.png 7\n"), ("csv", "train/a,b.JPEG,3\nc.JPEG,-1\n"),
                   ("crlf", "\ufeffa.png 1\r\n\r\nb.png 2\r\n"), ("climb", "../a.png 1\n"), ("labels", "0\n1\n9\n")):
    seed("image_list", name, text.encode())
for name, text in (("plain", "tench\ngoldfish\ngreat white shark\n"), ("repeated", "crane\ndog\ncrane\n"),
                   ("hostile", "=cmd|' /C calc'!A0\n</script>\n\\input{x}\n\u202eevil\x1b[31m\n"),
                   ("crlf", "\ufeffcr\u00e8me\r\n\u72d0\r\n")):
    seed("names", name, text.encode())
for name in sorted(os.listdir(os.path.join(golden, "images"))):
    if not name.endswith(".npy"):
        os.makedirs(os.path.join(out, "fuzz_image"), exist_ok=True)
        shutil.copy(os.path.join(golden, "images", name), os.path.join(out, "fuzz_image", name))
