#!/usr/bin/python3
"""Makes the tiny pictures in images/ and what Pillow reads from them: NAME.{png,jpg} and NAME.npy, uint8 [H, W, 3].

Run with Debian's python3-pil and python3-numpy. PNG files are put together by hand where Pillow cannot write a
depth or colour type; the expected pixels always come from Image.open(f).convert("RGB").
"""
import io
import os
import struct
import zlib

import numpy as np
from PIL import Image

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
os.makedirs(here, exist_ok=True)
rng = np.random.default_rng(7)


def smooth(h, w, c):
    """A picture with edges and gradients, so that chroma upsampling and the transform matter."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [127 + 90 * np.sin(x / (3 + i) + i) * np.cos(y / (4 + i)) + 30 * ((x + 2 * y) % 7 > 3) for i in range(c)]
    return np.clip(np.stack(planes, -1) + rng.normal(0, 6, (h, w, c)), 0, 255).astype(np.uint8)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pack(samples, depth):
    """Rows of samples [h, w * channels] as filter byte 0 and big-endian packed bits."""
    rows = []
    for row in samples:
        if depth == 16:
            body = row.astype(">u2").tobytes()
        elif depth == 8:
            body = row.astype(np.uint8).tobytes()
        else:
            bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).ravel()
            body = np.packbits(bits).tobytes()
        rows.append(b"\0" + body)
    return b"".join(rows)


def png(name, samples, depth, colour, channels, extra=b""):
    h, w = samples.shape[0], samples.shape[1] // channels
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, 0)) + extra
    save(name, data + chunk(b"IDAT", zlib.compress(pack(samples, depth), 9)) + chunk(b"IEND", b""))


def adam7(name, samples, channels, colour):
    """An interlaced 8-bit PNG."""
    h, w = samples.shape[0], samples.shape[1] // channels
    pixels = samples.reshape(h, w, channels)
    body = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = pixels[y0::dy, x0::dx]
        if part.size:
            body += pack(part.reshape(part.shape[0], -1), 8)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, colour, 0, 0, 1))
    save(name, data + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND", b""))


def save(name, data):
    with open(os.path.join(here, name), "wb") as f:
        f.write(data)
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.save(os.path.join(here, os.path.splitext(name)[0] + ".npy"), pixels)


def jpeg(name, picture, **options):
    f = io.BytesIO()
    picture.save(f, "JPEG", **options)
    save(name, f.getvalue())


rgb = smooth(19, 23, 3)
jpeg("jpeg_420.jpg", Image.fromarray(rgb), quality=80, subsampling=2)
jpeg("jpeg_422.jpg", Image.fromarray(rgb), quality=85, subsampling=1)
jpeg("jpeg_444.jpg", Image.fromarray(rgb), quality=95, subsampling=0)
jpeg("jpeg_progressive.jpg", Image.fromarray(rgb), quality=75, progressive=True)
jpeg("jpeg_grey.jpg", Image.fromarray(rgb[..., 0]), quality=80)
jpeg("jpeg_cmyk.jpg", Image.fromarray(smooth(17, 20, 4), "CMYK"), quality=90)
exif = Image.Exif()
exif[0x0112] = 6  # rotated; ignored by open()
jpeg("jpeg_exif_rotated.jpg", Image.fromarray(rgb), quality=80, exif=exif)

h, w = 9, 13
for depth in (1, 2, 4, 8, 16):
    png(f"png_grey{depth}.png", rng.integers(0, 2 ** depth, (h, w)), depth, 0, 1)
low = rng.integers(0, 2 ** 16, (h, w)) % 400  # partly below 256: shows how Pillow clips sixteen-bit grey
png("png_grey16_low.png", low, 16, 0, 1)
for depth in (8, 16):
    png(f"png_rgb{depth}.png", rng.integers(0, 2 ** depth, (h, w * 3)), depth, 2, 3)
    png(f"png_grey_alpha{depth}.png", rng.integers(0, 2 ** depth, (h, w * 2)), depth, 4, 2)
    png(f"png_rgb_alpha{depth}.png", rng.integers(0, 2 ** depth, (h, w * 4)), depth, 6, 4)
for depth in (1, 2, 4, 8):
    entries = min(2 ** depth, 200)
    palette = chunk(b"PLTE", rng.integers(0, 256, entries * 3).astype(np.uint8).tobytes())
    png(f"png_palette{depth}.png", rng.integers(0, entries, (h, w)), depth, 3, 1, palette)
palette = chunk(b"PLTE", bytes(range(30))) + chunk(b"tRNS", bytes([0, 128, 255]))
png("png_palette_short_transparent.png", rng.integers(0, 16, (h, w)), 4, 3, 1, palette)
gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
png("png_rgb_gamma_transparent.png", rng.integers(0, 256, (h, w * 3)), 8, 2, 3, gamma)
adam7("png_interlaced.png", rng.integers(0, 256, (h, w * 3)), 3, 2)
adam7("png_interlaced_one_row.png", rng.integers(0, 256, (1, 3)), 3, 2)
