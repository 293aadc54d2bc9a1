#!/usr/bin/python3
"""The metrics of an OOD evaluation as published code computes them, on scikit-learn and numpy.

  openood    roc_curve and two precision_recall_curves, areas by `auc`, FPR at the first TPR >= 0.95, OOD positive
  negprompt  roc_auc_score, two average_precision_scores, FPR at the recall nearest to 0.95, ID positive, and the
             TNR / AUROC / detection accuracy / AUIN / AUOUT set from cumulated counts

python3 bench/peers/metrics.py [--n-id N --n-ood M] [--write DIR] [--bench PROGRAM]
With --bench the C++ program is run on the same scores between the peers (interleaved) and its lines are passed on; the
threads of all are one. Prints JSON lines; values are compared where both give them.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import sklearn
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve


def openood(id_scores, ood_scores):
    scores = np.concatenate([id_scores, ood_scores])
    is_ood = np.concatenate([np.zeros(len(id_scores), int), np.ones(len(ood_scores), int)])
    fpr, tpr, _ = roc_curve(is_ood, -scores)
    precision_in, recall_in, _ = precision_recall_curve(1 - is_ood, scores)
    precision_out, recall_out, _ = precision_recall_curve(is_ood, -scores)
    return {
        "auroc": auc(fpr, tpr),
        "fpr95_ood_positive_first": fpr[np.argmax(tpr >= 0.95)],
        "aupr_in_trapezoid": auc(recall_in, precision_in),
        "aupr_out_trapezoid": auc(recall_out, precision_out),
    }


def fpr_at_nearest_recall(labels, scores, recall):
    order = np.argsort(scores, kind="mergesort")[::-1]
    scores, labels = scores[order], labels[order]
    ends = np.r_[np.nonzero(np.diff(scores))[0], len(scores) - 1]
    tps = np.cumsum(labels, dtype=np.float64)[ends]
    fps = 1 + ends - tps
    reached = np.searchsorted(tps, tps[-1])
    recalls = (tps / tps[-1])[reached::-1]
    return fps[reached::-1][np.argmin(np.abs(recalls - recall))] / np.sum(labels == 0)


def cumulated(id_scores, ood_scores):
    scores = np.concatenate([id_scores, ood_scores])
    is_id = np.concatenate([np.ones(len(id_scores)), np.zeros(len(ood_scores))])
    is_id = is_id[np.argsort(scores)]
    tp = len(id_scores) - np.r_[0, np.cumsum(is_id)]
    fp = len(ood_scores) - np.r_[0, np.cumsum(1 - is_id)]
    tpr, fpr = tp / len(id_scores), fp / len(ood_scores)
    tnr = 1 - fpr[np.argmin(np.abs(tpr - 0.95))]
    accuracy = np.max((tpr + 1 - fpr) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision_in = np.where(tp + fp > 0, tp / (tp + fp), 1.0)
        tn, fn = len(ood_scores) - fp, len(id_scores) - tp
        precision_out = np.where(tn + fn > 0, tn / (tn + fn), 1.0)
    return tnr, -np.trapz(tpr, fpr), accuracy, -np.trapz(precision_in, tpr), np.trapz(precision_out, 1 - fpr)


def negprompt(id_scores, ood_scores):
    scores = np.concatenate([id_scores, ood_scores])
    is_id = np.concatenate([np.ones(len(id_scores), int), np.zeros(len(ood_scores), int)])
    cumulated(id_scores, ood_scores)
    return {
        "auroc": roc_auc_score(is_id, scores),
        "aupr_in_step": average_precision_score(is_id, scores),
        "aupr_out_step": average_precision_score(1 - is_id, -scores),
        "fpr95_id_positive_nearest": fpr_at_nearest_recall(is_id, scores, 0.95),
    }


def once(function, id_scores, ood_scores):
    cpu, wall = time.process_time(), time.perf_counter()
    values = function(id_scores, ood_scores)
    return values, 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-id", type=int, default=50_000)
    parser.add_argument("--n-ood", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5, help="of each peer in a round")
    parser.add_argument("--write", help="folder for id.f32 and ood.f32")
    parser.add_argument("--bench", help="the program bench_metrics")
    options = parser.parse_args()

    rng = np.random.default_rng(1)
    id_scores = rng.normal(0.30, 0.05, options.n_id).astype(np.float32)
    ood_scores = rng.normal(0.22, 0.05, options.n_ood).astype(np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(options.write or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        id_scores.tofile(folder / "id.f32")
        ood_scores.tofile(folder / "ood.f32")

        times, values, ours = {}, {}, {}
        for _ in range(options.rounds):
            for function in (openood, negprompt):
                for _ in range(options.repeats):
                    values[function.__name__], wall, cpu = once(function, id_scores, ood_scores)
                    times.setdefault(function.__name__, []).append((wall, cpu))
            if options.bench:
                lines = subprocess.run([options.bench, folder / "id.f32", folder / "ood.f32"], check=True,
                                       capture_output=True, text=True).stdout.splitlines()
                for line in map(json.loads, lines):
                    ours.setdefault((line["name"], line["dtype"]), []).append(line)

    peers = {}
    for name, measured in times.items():
        wall, cpu = np.median(np.array(measured), axis=0)
        peers[name] = wall, cpu
        print(json.dumps({"name": name, "dtype": "float32", "n_id": options.n_id, "n_ood": options.n_ood,
                          "repeats": len(measured), "median_ms": round(wall, 4), "cpu_ms": round(cpu, 4),
                          "sklearn": sklearn.__version__, **{k: float(v) for k, v in values[name].items()}}))
    for (name, dtype), lines in ours.items():
        wall = float(np.median([line["median_ms"] for line in lines]))
        cpu = float(np.median([line["cpu_ms"] for line in lines]))
        difference = max(abs(lines[0][key] - float(values["openood"][key])) for key in
                         ("auroc", "fpr95_ood_positive_first", "aupr_in_trapezoid"))
        print(json.dumps({"name": "negood " + name, "dtype": dtype, "n_id": options.n_id, "n_ood": options.n_ood,
                          "rounds": len(lines), "median_ms": round(wall, 4),
                          "cpu_ms": round(cpu, 4),
                          **{"times_" + peer: round(t / wall, 1) for peer, (t, _) in peers.items()},
                          **{"cpu_times_" + peer: round(t / cpu, 1) for peer, (_, t) in peers.items()},
                          "largest_difference_from_openood": difference}))


main()
