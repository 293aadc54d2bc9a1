"""Golden scores in double precision, straight from the definitions. Run by hand: /usr/bin/python3 make_scores.py"""
import numpy as np
from pathlib import Path

out = Path(__file__).parent / "scores"
out.mkdir(exist_ok=True)
rng = np.random.default_rng(20261121)


def unit(n, d):
    x = rng.standard_normal((n, d)) + 1.5 * rng.standard_normal(d)  # a cone, as CLIP's features are
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    return x


images, positive, negative = unit(9, 16), unit(4, 16), unit(10, 16)
cp, cn, s = images @ positive.T, images @ negative.T, 100.0


def save(name, values):
    np.save(out / f"{name}.npy", np.asarray(values, dtype=np.float64))


def logsumexp(z):
    m = z.max(axis=1, keepdims=True)
    return (m + np.log(np.exp(z - m).sum(axis=1, keepdims=True)))[:, 0]


def grouped(order, groups):
    kept = len(order) // groups * groups
    runs = np.array_split(np.array(order[:kept]), groups)
    odds = [logsumexp(s * cp) - logsumexp(s * cn[:, run]) for run in runs]
    return np.mean([1 / (1 + np.exp(-m)) for m in odds], axis=0)


save("images", images)
save("positive", positive)
save("negative", negative)
save("max_cosine", cp.max(1))
save("max_logit", s * cp.max(1))
for name, scale in (("mcm", 1.0), ("mcm_tau_0.1", 10.0), ("msp", s)):
    z = scale * cp
    e = np.exp(z - z.max(1, keepdims=True))
    save(name, (e / e.sum(1, keepdims=True)).max(1))
save("energy", logsumexp(s * cp))
save("negprompt", np.exp(cp).max(1) / (np.exp(cp).sum(1) + np.exp(cn).sum(1)))
save("neglabel_1", grouped(list(range(10)), 1))
save("neglabel_3", grouped(list(range(10)), 3))  # the last of ten is dropped
save("neglabel_5", grouped([4, 1, 7, 5, 3, 9, 0, 8, 6, 2], 5))
