"""fit --method krnft, nft, coft, taskres, ssf: crops, outliers, score, decide, transfer, signals, wrong options.

Standard library only. Usage: test_krnft.py PATH_TO_NEGOOD
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_cli import HAVE_MODEL, MODEL, PICTURES, PROGRAM, SOURCE, Case, read_npy, unit, write_npy, write_safetensors

METHODS = ["krnft", "nft", "coft", "taskres", "ssf"]


def without(args, *options):
    """`args` less these options and their values."""
    out, skip = [], False
    for a in args:
        skip = skip and not a.startswith("--")
        skip = skip or a in options
        if not skip:
            out.append(a)
    return out


def but(args, *more):
    """`args` with `more`, which replaces options of the same name."""
    return without(args, *[a for a in more if a.startswith("--")]) + list(more)


class Maps(Case):
    """Feature maps over small features, without a model."""

    def setUp(self):
        super().setUp()
        draw = random.Random(7)

        def rows(n):
            return [unit([draw.gauss(0, 1) for _ in range(self.D)]) for _ in range(n)]

        write_npy(self.path("negatives.npy"), rows(8))
        write_npy(self.path("outliers.npy"), rows(10))
        write_npy(self.path("pos.npy"), [unit([t + 0.2 * draw.gauss(0, 1) for t in self.texts[i // 4 % 3]]) for i in range(24)])
        write_npy(self.path("neg.npy"), rows(24))
        write_npy(self.path("crop_labels.npy"), [i % 3 for i in range(6)], "<i8")
        self.base = ["--names", "names.txt", "--text-features", "texts.npy", "--negative-features", "negatives.npy",
                     "--logit-scale", "20"]
        self.crops = ["--crop-features", "pos.npy", "neg.npy", "--train-labels", "crop_labels.npy"]
        self.quick = ["--steps", "12", "--lr", "0.01", "--hidden", "3", "--groups", "4"]

    def tune(self, method, out, *more, data=None, **kw):
        quick = self.quick if method in ("krnft", "coft") else without(self.quick, "--hidden")
        return self.json_("fit", "--method", method, *self.base, *(self.crops if data is None else data), "--out", out,
                          *but(quick, *more), **kw)

    def scores(self, detector, features="images.npy", *more):
        self.json_("score", "--detector", detector, "--features", features, "--out", "s.npy", *more)
        return read_npy(self.path("s.npy"))[0]

    def bytes_of(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def test_every_map_learns_scores_and_decides(self):
        for method in METHODS:
            out = self.tune(method, "d.safetensors", "--trace", "t.jsonl")
            self.assertEqual(out["method"], method)
            self.assertEqual((out["classes"], out["negatives"], out["groups"], out["train_images"]), (3, 8, 1, 6))
            trace = [json.loads(line) for line in self.bytes_of("t.jsonl").decode().splitlines()]
            self.assertEqual([t["step"] for t in trace], list(range(12)))
            self.assertEqual(trace[0]["knowledge"], 0)
            self.assertGreater(trace[-1]["knowledge"], 0)
            self.assertAlmostEqual(trace[3]["loss"], trace[3]["id"] + 0.3 * trace[3]["outlier"] + 100 * trace[3]["knowledge"],
                                   places=4)
            self.assertEqual(trace[-1]["loss"], out["final_loss"])
            scores = self.scores("d.safetensors")
            self.assertEqual(len(scores), 12)
            self.assertTrue(all(0 <= s <= 1 for s in scores))
            self.json_("calibrate", "--detector", "d.safetensors", "--scores", "s.npy", "--out", "c.safetensors")
            answers = self.json_("decide", "--detector", "c.safetensors", "--features", "images.npy")["images"]
            self.assertEqual([a["score"] for a in answers], scores)
            seen = self.json_("inspect", "d.safetensors")
            self.assertEqual(seen["feature_map"]["parameters"], out["parameters"])
            self.assertEqual(seen["feature_map"]["conditional"], method in ("krnft", "coft"))
            self.assertEqual(seen["options"]["steps"], 12)
            # The same bytes on other numbers of threads, and of scores in shards.
            self.tune(method, "e.safetensors", "--threads", "1")
            self.assertEqual(self.bytes_of("d.safetensors"), self.bytes_of("e.safetensors"))
            parts = [self.scores("d.safetensors", "images.npy", "--shard", "%d/3" % i) for i in (1, 2, 3)]
            self.assertEqual(sum(parts, []), scores)

    def test_no_step_is_neglabel_with_one_group(self):
        self.json_("fit", "--method", "neglabel", *self.base, "--out", "n.safetensors")
        wanted = self.scores("n.safetensors")
        for method in METHODS:
            out = self.tune(method, "d.safetensors", "--steps", "0")
            self.assertIsNone(out["final_loss"])
            for a, b in zip(self.scores("d.safetensors"), wanted):
                self.assertAlmostEqual(a, b, places=5)
        self.json_("fit", "--method", "neglabel", *self.base, "--groups", "3", "--out", "n.safetensors")
        self.tune("krnft", "d.safetensors", "--steps", "0", "--score-groups", "3")
        for a, b in zip(self.scores("d.safetensors"), self.scores("n.safetensors")):
            self.assertAlmostEqual(a, b, places=5)

    def test_data_and_options_change_the_result(self):
        self.tune("krnft", "d.safetensors")
        first = self.bytes_of("d.safetensors")
        for more in (["--anchor", "sample"], ["--seed", "2"], ["--lambda1", "0"], ["--lambda2", "1"], ["--preset", "released"],
                     ["--weight-decay", "0"], ["--batch", "2"], ["--shuffle", "no"], ["--groups", "2"]):
            self.tune("krnft", "e.safetensors", *more)
            self.assertNotEqual(self.bytes_of("e.safetensors"), first, more)
        samples = ["--train-features", "images.npy", "--train-labels", "labels.npy"]
        pooled = self.tune("krnft", "p.safetensors", "--outliers", "4", data=samples + ["--outlier-features", "outliers.npy"])
        self.assertEqual(pooled["train_images"], 12)
        self.assertNotEqual(pooled["final_outlier"], 0)
        alone = self.tune("krnft", "p.safetensors", data=samples)
        self.assertEqual(alone["final_outlier"], 0)
        # A unified map does with classes alone; a map in two parts does not.
        few = ["--names", "names.txt", "--text-features", "texts.npy", "--logit-scale", "20", *samples, "--steps", "3", "--out",
               "t.safetensors"]
        self.assertEqual(self.json_("fit", "--method", "taskres", *few)["negatives"], 0)
        self.assertEqual(len(self.scores("t.safetensors")), 12)
        self.run_("fit", "--method", "nft", *few, code=2)

    def test_init_file(self):
        tensors = {"pos.scale.w1": ([2, self.D], [0.1] * (2 * self.D)), "neg.beta": ([self.D], [0.5] * self.D)}
        write_safetensors(self.path("init.safetensors"), tensors, {})
        args = ["fit", "--method", "krnft", *self.base, *self.crops, *without(self.quick, "--hidden"), "--out", "d.safetensors"]
        out = self.json_(*but(args, "--steps", "0"), "--init-file", "init.safetensors")
        self.assertEqual(out["hidden"], 2)
        self.assertNotEqual(self.scores("d.safetensors"), [])
        self.run_(*args, "--init-file", "init.safetensors", "--hidden", "5", code=2)
        for wrong in ({"all.beta": ([self.D], [0.5] * self.D)}, {"neg.beta": ([self.D + 1], [0.5] * (self.D + 1))},
                      {"other": ([2], [1, 2])}, {"neg.beta": ([self.D], [float("nan")] * self.D)}):
            write_safetensors(self.path("wrong.safetensors"), wrong, {})
            self.run_(*args, "--init-file", "wrong.safetensors", code=4)
        # A detector is as good as a start.
        self.json_(*args)
        self.json_(*but(args, "--out", "again.safetensors", "--steps", "0"), "--init-file", "d.safetensors")
        self.assertEqual(self.scores("again.safetensors"), self.scores("d.safetensors"))

    def test_transfer(self):
        self.write("others.txt", "owl\nhare\n")
        write_npy(self.path("other_texts.npy"), self.texts[:2])
        write_npy(self.path("other_negatives.npy"), self.images[:5])
        to = ["--names", "others.txt", "--text-features", "other_texts.npy", "--negative-features", "other_negatives.npy"]
        for method in METHODS:
            self.tune(method, "d.safetensors")
            bind = ["fit", "--method", method, "--transform", "d.safetensors", *to, "--out", "t.safetensors"]
            if method == "taskres":
                self.assertIn("krnft.7", self.run_(*bind, code=2))
                continue
            out = self.json_(*bind)
            self.assertEqual((out["classes"], out["negatives"]), (2, 5))
            self.assertEqual(out["logit_scale"], 20)
            self.assertEqual(len(self.scores("t.safetensors")), 12)
            # To the same labels again: nothing has changed.
            self.json_("fit", "--method", method, "--transform", "d.safetensors", *self.base, "--out", "same.safetensors")
            self.assertEqual(self.scores("same.safetensors"), self.scores("d.safetensors"))
        self.json_("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "texts.npy", "--out", "m.safetensors")
        for wrong in (["--method", "krnft"], ["--method", "ssf", "--steps", "4"], ["--method", "ssf", *self.crops]):
            self.run_("fit", *wrong, "--transform", "d.safetensors", *to, "--out", "x.safetensors", code=2)
        self.run_("fit", "--method", "ssf", "--transform", "m.safetensors", *to, "--out", "x.safetensors", code=4)
        self.assertFalse(os.path.exists(self.path("x.safetensors")))

    def test_wrong_options_write_nothing(self):
        write_npy(self.path("wide.npy"), [[1.0] * (self.D + 1)] * 24)
        write_npy(self.path("odd.npy"), self.images[:7])
        write_npy(self.path("far.npy"), [9] * 6, "<i8")
        ok = ["fit", "--method", "krnft", *self.base, "--out", "x.safetensors"]
        labels = ["--train-labels", "crop_labels.npy"]
        for more, code in ((["--crop-features", "pos.npy", "neg.npy"], 2), (labels, 2), (self.crops + ["--lambda2", "-1"], 2),
                           (self.crops + ["--preset", "released-oe"], 2), (self.crops + ["--anchor", "crop"], 2),
                           (self.crops + ["--hidden", "0"], 2), (self.crops + ["--groups", "9"], 2),
                           (self.crops + ["--score-groups", "9"], 2), (self.crops + ["--epochs", "3"], 2),
                           (self.crops + ["--outlier-features", "outliers.npy"], 2), (self.crops + ["--crops", "8"], 2),
                           (self.crops + ["--train", "."], 2), (["--train", "."], 2), (self.crops + ["--views", "4"], 2),
                           (self.crops + ["--schedule", "cosine"], 2), (["--crop-features", "pos.npy"], 2),
                           (["--crop-features", "pos.npy", "odd.npy"] + labels, 3),
                           (["--crop-features", "pos.npy", "wide.npy"] + labels, 3),
                           (["--crop-features", "pos.npy", "neg.npy", "--train-labels", "far.npy"], 3),
                           (["--crop-features", "pos.npy", "missing.npy"] + labels, 5)):
            self.run_(*ok, *more, code=code)
        self.run_("fit", "--method", "nft", *self.base, *self.crops, "--hidden", "3", "--out", "x.safetensors", code=2)
        self.run_("fit", "--method", "krnft", *self.base[:-2], *self.crops, "--out", "x.safetensors", code=2)  # no scale
        self.run_(*ok, *self.crops, "--lr", "1e30", "--steps", "5", "--hidden", "2", code=6)
        self.assertFalse(os.path.exists(self.path("x.safetensors")))

    def test_a_signal_leaves_a_checkpoint_and_resume_goes_on(self):
        args = ["fit", "--method", "krnft", *self.base, *self.crops, "--lr", "0.001", "--hidden", "8", "--groups", "4", "--out",
                "d.safetensors", "--trace", "t.jsonl", "--steps", "60000"]
        run = subprocess.Popen([PROGRAM, *args, "--checkpoint-every", "100"], cwd=self.folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
        began = time.time()
        while not os.path.exists(self.path("d.safetensors.checkpoint")) and run.poll() is None and time.time() - began < 60:
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        stopped = time.time()
        error = run.communicate(timeout=60)[1].decode()
        self.assertLess(time.time() - stopped, 5)
        self.assertEqual(run.returncode, 8, error)
        self.assertIn("--resume", error)
        self.assertFalse(os.path.exists(self.path("d.safetensors")))
        done = len(self.bytes_of("t.jsonl").splitlines())
        self.assertLess(done, 60000)
        # Fewer steps for what is left would be another run; so is another rate.
        self.run_(*but(args, "--lr", "0.002"), "--resume", code=2)
        self.run_(*but(args, "--steps", str(done + 40)), "--resume", code=2)

    def test_resumed_equals_uninterrupted(self):
        args = ["fit", "--method", "krnft", *self.base, *self.crops, "--lr", "0.001", "--hidden", "8", "--groups", "4", "--steps",
                "4000", "--out"]
        run = subprocess.Popen([PROGRAM, *args, "d.safetensors", "--trace", "t.jsonl", "--checkpoint-every", "50"],
                               cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(self.path("d.safetensors.checkpoint")) and run.poll() is None:
            time.sleep(0.005)
        run.send_signal(signal.SIGTERM)
        self.assertEqual(run.wait(timeout=60), 8)
        resumed = self.json_(*args, "d.safetensors", "--trace", "t.jsonl", "--resume")
        self.assertFalse(os.path.exists(self.path("d.safetensors.checkpoint")))
        whole = self.json_(*args, "w.safetensors", "--trace", "w.jsonl")
        self.assertEqual(self.bytes_of("d.safetensors"), self.bytes_of("w.safetensors"))
        self.assertEqual(self.bytes_of("t.jsonl"), self.bytes_of("w.jsonl"))
        self.assertEqual(resumed["final_loss"], whole["final_loss"])


@unittest.skipUnless(HAVE_MODEL, "needs models/")
class Pictures(Case):
    """Crops of pictures, on the embedded model."""

    def setUp(self):
        super().setUp()
        names = ["spider", "poodle", "ox"]
        self.write("names.txt", "\n".join(names) + "\n")
        for n in names:
            os.makedirs(self.path("train/" + n))
            shutil.copy(os.path.join(PICTURES, n + ".png"), self.path("train/" + n))
        self.words = os.path.join(SOURCE, "models", "demo-words.txt")
        self.args = ["fit", "--method", "krnft", "--model", MODEL, "--names", "names.txt", "--train", "train", "--mine", self.words,
                     "-m", "60", "--crops", "12", "--keep", "4", "--steps", "10", "--lr", "0.001", "--hidden", "4"]

    def bytes_of(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def test_from_pictures_to_decisions_and_to_other_names(self):
        out = self.json_(*self.args, "--cache", "cache", "--out", "d.safetensors")
        self.assertEqual((out["train_images"], out["negatives"], out["hidden"]), (3, 60, 4))
        again = self.run_(*self.args, "--cache", "cache", "--out", "e.safetensors")
        self.assertIn("60 negatives", again)
        self.assertEqual(self.bytes_of("d.safetensors"), self.bytes_of("e.safetensors"))
        self.json_(*self.args, "--threads", "1", "--out", "f.safetensors")  # without the cache
        self.assertEqual(self.bytes_of("d.safetensors"), self.bytes_of("f.safetensors"))
        files = [f for f in os.listdir(self.path("cache")) if f.endswith(".safetensors")]
        self.assertEqual(len(files), 2)  # words, crops
        self.json_(*but(self.args, "--crops", "14", "--steps", "1"), "--cache", "cache", "--out", "g.safetensors")
        self.assertEqual(len([f for f in os.listdir(self.path("cache")) if f.endswith(".safetensors")]), 3)
        inspected = self.json_("inspect", "d.safetensors")
        self.assertEqual(inspected["options"]["crops_kept"], 4)
        self.assertEqual(inspected["options"]["selection"]["rule"], "percentile")

        self.json_("score", "--detector", "d.safetensors", "--images", PICTURES + "/..", "--model", MODEL, "--out", "s.npy",
                   "--predictions", "p.npy")
        scores = read_npy(self.path("s.npy"))[0]
        self.json_("calibrate", "--detector", "d.safetensors", "--scores", "s.npy", "--out", "c.safetensors")
        picture = os.path.join(PICTURES, "ox.png")
        answer = self.json_("decide", "--detector", "c.safetensors", "--model", MODEL, picture)["images"][0]
        self.assertIn(answer["label"], ["spider", "poodle", "ox"])
        self.assertGreater(len(set(scores)), 10)

        self.write("others.txt", "tiger\nice cream\n")
        moved = self.json_("fit", "--method", "krnft", "--transform", "d.safetensors", "--model", MODEL, "--names", "others.txt",
                           "--mine", self.words, "-m", "80", "--out", "t.safetensors")
        self.assertEqual((moved["classes"], moved["negatives"]), (2, 80))
        self.assertEqual(self.json_("inspect", "t.safetensors")["options"]["transform"], "d.safetensors")
        self.json_("score", "--detector", "t.safetensors", "--images", PICTURES + "/..", "--model", MODEL, "--out", "u.npy")
        self.assertNotEqual(read_npy(self.path("u.npy"))[0], scores)

    def test_wrong_crops(self):
        for more in (["--crops", "7"], ["--keep", "7"], ["--keep", "0"]):
            self.run_(*but(self.args, *more), "--out", "x.safetensors", code=2)
        self.assertFalse(os.path.exists(self.path("x.safetensors")))


if __name__ == "__main__":
    unittest.main(verbosity=1)
