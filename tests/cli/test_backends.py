"""--backend: every backend of the program gives Eigen's results, within rounding.

Standard library only. Usage: test_backends.py PATH_TO_NEGOOD
"""
import os
import random
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_cli import HAVE_MODEL, MODEL, PICTURES, PROGRAM, SOURCE, Case, read_npy, unit, write_npy

LISTED = re.search(r"built in: ([a-z, -]+)\.", re.sub(r"\s+", " ", subprocess.run(
    [PROGRAM, "help", "score"], stdout=subprocess.PIPE).stdout.decode())).group(1).split(", ")
# A device may be missing where the program was built for one.
BACKENDS = [b for b in LISTED if not b.endswith("-cuda") or os.environ.get("NEGOOD_TEST_CUDA") == "1"]
OTHERS = [b for b in BACKENDS if b != "eigen"]


class Backends(Case):
    def setUp(self):
        super().setUp()
        draw = random.Random(5)
        rows = lambda n: [unit([draw.gauss(0, 1) for _ in range(self.D)]) for _ in range(n)]
        self.queries = rows(70)
        write_npy(self.path("negatives.npy"), rows(20))
        write_npy(self.path("queries.npy"), self.queries)

    def near(self, a, b, allowed, what):
        self.assertEqual(len(a), len(b), what)
        worst = max(abs(x - y) for x, y in zip(a, b))
        self.assertLessEqual(worst, allowed, what)

    def on(self, backend, *args):
        return self.json_(*args, "--backend", backend)

    def test_the_help_names_what_there_is(self):
        self.assertEqual(BACKENDS[0], "eigen")
        self.assertIn("reference", BACKENDS)
        for name in ("xtensor", "thrust-omp", "thrust-cuda", "torch", "torch-cuda"):
            if name not in LISTED:
                self.assertIn("not built in", self.run_("fit", "--method", "mcm", "--names", "names.txt", "--text-features",
                                                        "texts.npy", "--out", "x", "--backend", name, code=2))

    def test_scores(self):
        for method in ("mcm", "maxcosine", "energy", "neglabel"):
            more = ["--negative-features", "negatives.npy", "--groups", "4"] if method == "neglabel" else []
            self.fit(method, "d.safetensors", "--logit-scale", "20", *more)
            of = {}
            for b in BACKENDS:
                self.on(b, "score", "--detector", "d.safetensors", "--features", "queries.npy", "--out", "s.npy")
                of[b] = read_npy(self.path("s.npy"))[0]
            for b in OTHERS:
                self.near(of[b], of["eigen"], 2e-6 * (20 if method == "energy" else 1), "%s on %s" % (method, b))

    def test_maps(self):
        write_npy(self.path("outliers.npy"), self.queries[:24])
        of = {}
        for b in BACKENDS:
            self.on(b, "fit", "--method", "krnft", "--names", "names.txt", "--text-features", "texts.npy",
                    "--negative-features", "negatives.npy", "--logit-scale", "20", "--crop-features", "images.npy",
                    "outliers.npy", "--train-labels", "labels.npy", "--steps", "10", "--lr", "0.01", "--hidden", "3",
                    "--groups", "4", "--out", "k.safetensors")
            self.on(b, "score", "--detector", "k.safetensors", "--features", "queries.npy", "--out", "s.npy")
            of[b] = read_npy(self.path("s.npy"))[0]
        for b in OTHERS:
            self.near(of[b], of["eigen"], 1e-4, "krnft on " + b)


@unittest.skipUnless(HAVE_MODEL, "needs models/")
class Towers(Backends):
    NAMES = ["spider", "poodle", "ox"]

    def setUp(self):
        super().setUp()
        self.write("names.txt", "\n".join(self.NAMES) + "\n")
        for n in self.NAMES:
            os.makedirs(self.path("train/" + n))
            shutil.copy(os.path.join(PICTURES, n + ".png"), self.path("train/" + n))
        with open(os.path.join(SOURCE, "models", "demo-words.txt")) as f:
            self.write("words.txt", "".join([line for line in f][:200]))

    test_the_help_names_what_there_is = test_scores = test_maps = None

    def test_encoding_selection_learning_and_memory(self):
        found = {}
        for b in BACKENDS:
            got = found[b] = {}
            self.on(b, "encode", "--model", MODEL, "--images", "train", "--out", "i.npy")
            got["images"] = read_npy(self.path("i.npy"))[0]
            self.on(b, "encode", "--model", MODEL, "--texts", "names.txt", "--out", "t.npy")
            got["texts"] = read_npy(self.path("t.npy"))[0]
            self.on(b, "fit", "--method", "negprompt", "--model", MODEL, "--names", "names.txt", "--train", "train", "--ctx",
                    "2", "--steps", "3", "--stage1-steps", "3", "--batch", "3", "--stage1-batch", "3", "--out",
                    "n.safetensors")
            self.on(b, "score", "--detector", "n.safetensors", "--features", "i.npy", "--out", "s.npy")
            got["negprompt"] = read_npy(self.path("s.npy"))[0]
            got["words"] = self.on(b, "fit", "--method", "interneg", "--model", MODEL, "--names", "names.txt", "--train",
                                   "train", "--mine", "words.txt", "-m", "30", "--out", "w.safetensors")["negatives"]
            stream = self.on(b, "score", "--detector", "w.safetensors", "--features", "i.npy", "--model", MODEL, "--stream",
                             "--beta", "1", "-k", "5", "--guards", "off", "--out", "m.npy")
            got["outcomes"] = stream["outcomes"]
            got["stream"] = read_npy(self.path("m.npy"))[0]
        for b in OTHERS:
            a, e = found[b], found["eigen"]
            self.near(a["images"], e["images"], 2e-6, "images on " + b)
            self.near(a["texts"], e["texts"], 2e-6, "texts on " + b)
            self.near(a["negprompt"], e["negprompt"], 1e-4, "negprompt on " + b)
            self.near(a["stream"], e["stream"], 1e-4, "stream on " + b)
            self.assertEqual((a["words"], a["outcomes"]), (e["words"], e["outcomes"]), b)


if __name__ == "__main__":
    unittest.main()
