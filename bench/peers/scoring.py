"""Peer of bench_scoring: NegLabel's score the way the published code computes it, on PyTorch.

Published: batches of 256 images; image features times all text features, softmax over [positives, negatives], sum of the
positive part. `--mode once` does all images in one product instead. Prints one JSON line.
"""
import argparse
import json
import os
import resource
import sys
import time

TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "60000000000", "OMP_WAIT_POLICY": "passive"}
if any(os.environ.get(k) != v for k, v in TUNED.items()):  # the allocator reads these when the process starts
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **TUNED})

p = argparse.ArgumentParser()
for name, value in dict(images=10000, positive=1000, negative=4000, dim=512, threads=2, repeats=7, batch=256).items():
    p.add_argument(f"--{name}", type=int, default=value)
p.add_argument("--mode", choices=["batches", "once"], default="batches")
a = p.parse_args()
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(a.threads)

import torch  # noqa: E402  (after the thread variables)

torch.set_num_threads(a.threads)
torch.manual_seed(1)
unit = lambda n: torch.nn.functional.normalize(torch.rand(n, a.dim) * 2 - 1, dim=1)
text, images = unit(a.positive + a.negative), unit(a.images)


@torch.inference_mode()
def score():
    size = a.batch if a.mode == "batches" else a.images
    out = []
    for first in range(0, a.images, size):
        logits = 100.0 * images[first:first + size] @ text.t()
        out.append(torch.softmax(logits, dim=1)[:, :a.positive].sum(1))
    return torch.cat(out)


score()
seconds, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_utime
for _ in range(a.repeats):
    begin = time.perf_counter()
    score()
    seconds.append(time.perf_counter() - begin)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(dict(bench="scoring", peer="torch " + torch.__version__, mode=a.mode, images=a.images, texts=a.positive + a.negative,
                      threads=torch.get_num_threads(), repeats=a.repeats, median_s=sorted(seconds)[len(seconds) // 2],
                      user_s=(usage.ru_utime - before) / a.repeats, peak_gb=usage.ru_maxrss / 1e6)))
