#!/usr/bin/python3
"""Runs a benchmark and its peer side by side and prints the ratio.

    bench/compare.py negprompt_step [--threads 2] [--rounds 5] [--bin FOLDER] [--only TEXT]

Our processes (one a precision) and the peer's alternate, `--rounds` times each; the figure is the median over the rounds
of each side's own median, so that whatever else the machine does falls on both. Every thread variable is pinned and
printed; both sides have the same allocator settings.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PRECISIONS = ("f32", "bf16x3", "bf16")
STEP = lambda k: ["bench_negprompt_step", "--classes", str(k), "--repeats", "5"]
ROWS = {  # name: [(label, our program, its precisions, peer or nothing)]
    "negprompt_step": [
        (f"NegPrompt step, K={k}", STEP(k), PRECISIONS, ["negprompt_step.py", "--classes", str(k), "--repeats", "3"])
        for k in (50, 100)] + [("NegPrompt step, K=1000", STEP(1000), PRECISIONS, None)],
    "scoring": [
        (f"scoring, peer {mode}", ["bench_scoring"], PRECISIONS, ["scoring.py", "--mode", mode]) for mode in ("batches", "once")],
    "text_tower": [("text features, 100 names", ["bench_text_tower", "--classes", "100"], PRECISIONS,
                    ["text_tower.py", "--classes", "100", "--repeats", "3"])],
    "corpus": [("corpus, 512 words", ["bench_corpus", "--words", "512"], PRECISIONS,
                ["corpus.py", "--words", "512", "--repeats", "1"])],
    "selection": [(f"selection, {m}", ["bench_selection", "--method", m, "--repeats", "5"], ("f32", "bf16x3"),
                   ["selection.py", "--method", m, "--repeats", "3"]) for m in ("lazy", "quota", "percentile")],
    "krnft": [
        ("KR-NFT, 32 images, one view each, peer looped", ["bench_krnft", "--repeats", "7"], ("f32", "bf16x3"),
         ["krnft.py", "--mode", "looped", "--repeats", "1"]),
        ("KR-NFT, 32 images, one view each, peer materialised", ["bench_krnft", "--repeats", "7"], ("f32", "bf16x3"),
         ["krnft.py", "--mode", "materialised", "--repeats", "1"]),
        ("KR-NFT, 4 images of 64 crops, peer looped", ["bench_krnft", "--images", "4", "--crops", "64", "--repeats", "7"],
         ("f32", "bf16x3"), ["krnft.py", "--mode", "looped", "--images", "4", "--crops", "64", "--repeats", "3"]),
        ("KR-NFT, scores of 64 images, peer one by one", ["bench_krnft", "--mode", "score", "--images", "64", "--repeats", "3"],
         ("f32",), ["krnft.py", "--mode", "score", "--images", "64", "--repeats", "1"])],
    "image_tower": [("image features, ViT-B/16", ["bench_image_tower"], PRECISIONS, ["image_tower.py", "--repeats", "3"])],
}


def run(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=ROWS)
    p.add_argument("--threads", default="2")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--bin", type=Path, default=HERE.parent / "build-release/bin/bench")
    p.add_argument("--only", default="", help="rows whose label holds this text")
    a = p.parse_args()
    environment = dict(os.environ, OMP_NUM_THREADS=a.threads, OPENBLAS_NUM_THREADS=a.threads, OMP_WAIT_POLICY="passive",
                       MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_="60000000000")  # both sides keep freed memory
    print(f"# {platform.processor() or platform.machine()}, threads {a.threads}: OMP_NUM_THREADS={a.threads} "
          f"OPENBLAS_NUM_THREADS={a.threads} OMP_WAIT_POLICY=passive; {a.rounds} rounds, alternating")
    median = lambda rows, key: statistics.median(r[key] for r in rows)
    for label, ours, precisions, peer in ROWS[a.name]:
        if a.only not in label:
            continue
        left, right = {p: [] for p in precisions}, []
        for _ in range(a.rounds):
            for p in precisions:
                left[p].append(run([str(a.bin / ours[0]), *ours[1:], "--precision", p, "--threads", a.threads], environment))
            if peer:
                right.append(run(["/usr/bin/python3", str(HERE / "peers" / peer[0]), *peer[1:], "--threads", a.threads], environment))
        for p in precisions:
            row = {"row": f"{label}, {p}", "ours_s": median(left[p], "median_s"), "ours_user_s": median(left[p], "user_s"),
                   "ours_peak_gb": median(left[p], "peak_gb"), "rounds": a.rounds}
            if peer:
                row |= {"peer_s": median(right, "median_s"), "peer_user_s": median(right, "user_s"),
                        "peer_peak_gb": median(right, "peak_gb"),
                        "ratio": round(median(right, "median_s") / median(left[p], "median_s"), 2)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
