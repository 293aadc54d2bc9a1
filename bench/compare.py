#!/usr/bin/python3
"""Runs a benchmark and its peer side by side and prints the ratio.

    bench/compare.py negprompt_step [--threads 2] [--rounds 5] [--bin build/bin/bench] [-- options for both]

Ours and the peer's processes alternate, `--rounds` times each; the figure is the median over the rounds of each side's own
median, so that whatever else the machine does falls on both. Every thread variable is pinned and printed.
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
ROWS = {  # name: [(label, our program and options, peer and options)]
    "negprompt_step": [
        (f"NegPrompt step, K={k}, {precision}", ["bench_negprompt_step", "--classes", str(k), "--precision", precision, "--repeats", "5"],
         ["negprompt_step.py", "--classes", str(k), "--repeats", "3"])
        for k in (50, 100) for precision in ("f32", "bf16x3", "bf16")],
    "scoring": [
        (f"scoring, {precision}, peer {mode}", ["bench_scoring", "--precision", precision], ["scoring.py", "--mode", mode])
        for precision in ("f32", "bf16x3") for mode in ("batches", "once")],
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
    environment = dict(os.environ, OMP_NUM_THREADS=a.threads, OPENBLAS_NUM_THREADS=a.threads, OMP_WAIT_POLICY="passive")
    print(f"# {platform.processor() or platform.machine()}, threads {a.threads}: OMP_NUM_THREADS={a.threads} "
          f"OPENBLAS_NUM_THREADS={a.threads} OMP_WAIT_POLICY=passive; {a.rounds} rounds, alternating")
    for label, ours, peer in ROWS[a.name]:
        if a.only not in label:
            continue
        left, right = [], []
        for _ in range(a.rounds):
            left.append(run([str(a.bin / ours[0]), *ours[1:], "--threads", a.threads], environment))
            right.append(run(["/usr/bin/python3", str(HERE / "peers" / peer[0]), *peer[1:], "--threads", a.threads], environment))
        median = lambda rows, key: statistics.median(r[key] for r in rows)
        print(json.dumps({"row": label, "ours_s": median(left, "median_s"), "peer_s": median(right, "median_s"),
                          "ratio": round(median(right, "median_s") / median(left, "median_s"), 2),
                          "ours_user_s": median(left, "user_s"), "peer_user_s": median(right, "user_s"),
                          "ours_peak_gb": median(left, "peak_gb"), "peer_peak_gb": median(right, "peak_gb"),
                          "rounds": a.rounds}), flush=True)


if __name__ == "__main__":
    main()
