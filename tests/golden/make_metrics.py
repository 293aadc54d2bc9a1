#!/usr/bin/python3
"""Golden metric values from scikit-learn 1.2.1 (Debian 12): /usr/bin/python3 tests/golden/make_metrics.py

Writes metrics.txt: for every case one line `case NAME N_ID N_OOD`, the ID scores and the OOD scores as C hexadecimal
floats (exact in every reader), and one line `value NAME NUMBER` each. Then threshold_confidence.txt: Clopper-Pearson bounds from
scipy's beta quantiles.

AUROC, AUPR and the two "first" FPRs come from scikit-learn's curves. The "nearest" FPR is computed here over all distinct
scores with exact fractions, so that two recalls equally far from 0.95 are recognised as such: then the higher one counts.
"""
import pathlib
from fractions import Fraction

import numpy as np
import scipy.stats
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

HERE = pathlib.Path(__file__).parent


def nearest_fpr(positive, negative, recall):
    """FPR where the recall is nearest; candidates from recall 1 downwards, the first of equal distance wins."""
    best, chosen = None, None
    thresholds = sorted(set(positive) | set(negative))
    full = [t for t in thresholds if np.sum(positive >= t) == len(positive)]
    for t in [full[-1]] + [t for t in thresholds if t > full[-1]]:
        distance = abs(Fraction(int(np.sum(positive >= t)), len(positive)) - recall)
        if best is None or distance < best:
            best, chosen = distance, np.sum(negative >= t) / len(negative)
    return chosen


def first_fpr(labels, ranking, recall):
    fpr, tpr, _ = roc_curve(labels, ranking, drop_intermediate=False)
    return fpr[np.argmax(tpr >= recall)]


def metrics(id_scores, ood_scores, recall=Fraction(95, 100)):
    scores = np.concatenate([id_scores, ood_scores]).astype(np.float64)
    is_id = np.concatenate([np.ones(len(id_scores)), np.zeros(len(ood_scores))])
    out = {"auroc": roc_auc_score(is_id, scores)}
    out["auroc_strict"] = float(np.mean([np.sum(id_scores > s) for s in ood_scores]) / len(id_scores))
    for side, labels, ranking in (("in", is_id, scores), ("out", 1 - is_id, -scores)):
        precision, recalls, _ = precision_recall_curve(labels, ranking)
        out[f"aupr_{side}_trapezoid"] = auc(recalls, precision)
        out[f"aupr_{side}_step"] = average_precision_score(labels, ranking)
    for name, r in (("", recall), ("80", Fraction(8, 10))):
        out["id_positive_nearest" + name] = nearest_fpr(id_scores, ood_scores, r)
        out["id_positive_first" + name] = first_fpr(is_id, scores, float(r))
        out["ood_positive_first" + name] = first_fpr(1 - is_id, -scores, float(r))
    out["tied_pairs"] = int(sum(np.sum(id_scores == s) for s in ood_scores))
    return out


def cases():
    rng = np.random.default_rng(20240611)
    normal = lambda n, mean, sd: rng.normal(mean, sd, n)
    yield "continuous", normal(200, 4, 3), normal(150, -1, 1)
    yield "ties_tenths", np.round(normal(300, 1, 1), 1), np.round(normal(170, 0, 1), 1)
    yield "ties_units", np.round(normal(400, 1, 1)), np.round(normal(90, 0, 1))
    yield "half_precision", (0.25 + 0.05 * normal(300, 1, 1)).astype(np.float16), \
        (0.25 + 0.05 * normal(260, 0, 1)).astype(np.float16)
    yield "all_equal", np.full(20, 0.5), np.full(30, 0.5)
    yield "perfect", np.linspace(1, 2, 40), np.linspace(-1, 0, 25)
    yield "inverted", np.linspace(-1, 0, 40), np.linspace(1, 2, 25)
    yield "single_positive", np.array([0.3]), normal(50, 0, 1)
    yield "single_negative", normal(50, 0, 1), np.array([0.3])
    yield "one_each", np.array([0.25]), np.array([0.25])
    yield "equal_distance", normal(10, 1, 1), normal(40, 0, 1)  # recalls 0.9 and 1.0 are equally far from 0.95
    yield "equal_distance_50", normal(50, 0.5, 1), normal(60, 0, 1)
    # A group of 8 equal ID scores straddles the 95 % recall, OOD scores share it.
    yield "straddling", np.concatenate([np.arange(10, 26, 1.0), np.full(8, 5.0), np.array([1.0, 2.0])]), \
        np.concatenate([np.full(5, 5.0), np.arange(0, 9, 1.0), np.arange(11, 14, 1.0)])
    # OOD scores between two ID scores at the chosen recall.
    yield "gap", np.concatenate([np.arange(20, 115, 1.0), np.array([1.0, 1.5, 2.0, 2.5, 3.0])]), np.linspace(0, 25, 60)
    yield "ood_on_top", normal(40, 0, 1), np.concatenate([normal(20, 0, 1), np.full(7, 9.0)])
    yield "huge", np.array([1e30, -1e30, 3e38, 1.0, 0.0]), np.array([-3e38, 1e30, -1e30, 1e-300, -0.0])
    yield "signed_zero", np.array([0.0, -0.0, 1.0]), np.array([-0.0, 0.0, -1.0])
    yield "tiny_margins", 1.0 - np.abs(normal(150, 0, 1)) * 2.0**-50, 1.0 - np.abs(normal(140, 3, 1)) * 2.0**-50
    yield "imbalanced", np.round(normal(1000, 1, 1), 2), np.round(normal(10, 0, 1), 2)


def main():
    lines = []
    for name, id_scores, ood_scores in cases():
        id_scores, ood_scores = id_scores.astype(np.float64), ood_scores.astype(np.float64)
        lines.append(f"case {name} {len(id_scores)} {len(ood_scores)}")
        lines.append(" ".join(float(s).hex() for s in id_scores))
        lines.append(" ".join(float(s).hex() for s in ood_scores))
        lines += [f"value {key} {value!r}" for key, value in metrics(id_scores, ood_scores).items()]
    (HERE / "metrics.txt").write_text("\n".join(lines) + "\n")

    lines = ["# successes trials confidence lower upper"]
    for k, n in ((0, 1), (1, 1), (0, 20), (20, 20), (19, 20), (95, 100), (950, 1000), (9500, 10000), (47500, 50000), (3, 7)):
        for confidence in (0.9, 0.95, 0.99):
            a = 1 - confidence
            low = 0.0 if k == 0 else scipy.stats.beta.ppf(a / 2, k, n - k + 1)
            high = 1.0 if k == n else scipy.stats.beta.ppf(1 - a / 2, k + 1, n - k)
            lines.append(f"{k} {n} {confidence!r} {low!r} {high!r}")
    (HERE / "threshold_confidence.txt").write_text("\n".join(lines) + "\n")


main()
