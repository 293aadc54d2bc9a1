"""Runs the program on small files: exit codes, JSON, formats, and the faults a user meets first.

Standard library only. Usage: test_cli.py PATH_TO_NEGOOD
"""
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else os.environ["NEGOOD_CLI"])
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(SOURCE, "models", "demo-clip")
PICTURES = os.path.join(SOURCE, "models", "demo-images", "emoji")
HAVE_MODEL = os.path.isfile(os.path.join(MODEL, "model.safetensors")) and os.path.isdir(PICTURES)


def write_npy(path, rows, descr="<f4"):
    """`rows` is a list of lists (two dimensions) or of numbers (one)."""
    code = {"<f4": "f", "<f8": "d", "<i8": "q", "<f2": "e"}[descr]
    nested = bool(rows) and isinstance(rows[0], list)
    flat = [v for r in rows for v in r] if nested else rows
    shape = "(%d, %d)" % (len(rows), len(rows[0])) if nested else "(%d,)" % len(rows)
    write_npy_raw(path, struct.pack("<%d%s" % (len(flat), code), *flat), shape, descr)


def write_npy_raw(path, data, shape, descr):
    header = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def read_npy(path):
    """A one-dimensional .npy file as a list."""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + n].decode()
    descr = re.search(r"'descr': '([^']+)'", header).group(1)
    code, size = {"<f4": ("f", 4), "<f8": ("d", 8), "<i8": ("q", 8)}[descr]
    return list(struct.unpack("<%d%s" % ((len(data) - 10 - n) // size, code), data[10 + n:])), descr


def write_safetensors(path, tensors, metadata):
    """tensors: name -> (shape, floats)."""
    header, data = {"__metadata__": metadata}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack("<%df" % len(values), *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def unit(v):
    n = math.sqrt(sum(x * x for x in v))
    return [x / n for x in v]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="negood-cli-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        draw = random.Random(1)
        self.D = 6
        self.texts = [unit([draw.gauss(0, 1) for _ in range(self.D)]) for _ in range(3)]
        self.images = [unit([t + 0.3 * draw.gauss(0, 1) for t in self.texts[i % 3]]) for i in range(12)]
        self.labels = [i % 3 for i in range(12)]
        write_npy(self.path("texts.npy"), self.texts)
        write_npy(self.path("images.npy"), self.images)
        write_npy(self.path("labels.npy"), self.labels, "<i8")
        self.write("names.txt", "chow\nshiba\nhusky\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return self.path(name)

    def run_(self, *args, code=0, **more):
        done = subprocess.run([PROGRAM, *args], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=300, **more)
        out, err = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(done.returncode, code, "%s\n%s\n%s" % (args, out, err))
        if code > 1:  # one line says what is wrong
            errors = [line for line in err.splitlines() if line.startswith("negood: error: [negood.")]
            self.assertEqual(len(errors), 1, err)
            return errors[0]
        return out

    def json_(self, *args, **more):
        out = self.run_(*args, "--json", **more)
        self.assertEqual(out.count("\n"), 1, out)
        return json.loads(out)

    def fit(self, method="mcm", out="d.safetensors", *more, **kw):
        return self.json_("fit", "--method", method, "--names", "names.txt", "--text-features", "texts.npy", "--out", out,
                          *more, **kw)


class Usage(Case):
    def test_help_names_every_command_and_paper(self):
        text = self.run_("help")
        for command in "demo encode fit select score decide calibrate eval inspect help version".split():
            self.assertIn(command, text)
        fit = self.run_("help", "fit")
        for option in ("--preset --ctx --init --init-file --suffix --negatives --beta --gamma --nis --nnd --stage1-epochs "
                       "--stage2-epochs --steps --batch --lr --momentum --weight-decay --schedule --noise --shuffle "
                       "--train-classes --positives --trace --views --csc --one-stage --checkpoint --resume --epochs "
                       "--train-features --train-labels --text-features --negatives-file --negative-features --mine "
                       "--groups --backend --precision --threads --seed --progress --json --quiet").split():
            self.assertRegex(fit, re.escape(option) + r"\b")
        for paper in ("Ming", "Jiang", "Li et", "Zhou", "Hendrycks"):
            self.assertIn(paper, fit)
        self.assertTrue(self.run_("version").startswith("negood "))
        self.assertIn("negood", self.run_("--version"))

    def test_usage_errors_end_with_2(self):
        self.run_(code=2)
        self.run_("frobnicate", code=2)
        self.run_("help", "frobnicate", code=2)
        self.run_("score", "--bogus", code=2)
        self.run_("score", "--detector", "d", "--out", "s.npy", code=2)
        self.run_("fit", "--method", "nothing", "--names", "names.txt", "--out", "d", code=2)
        self.assertIn("not in this version", self.run_("fit", "--method", "knn", code=2))
        self.run_("fit", "--method", "mcm", "--names", "names.txt", "--out", "d", code=2)
        self.run_("eval", "--id", "labels.npy", "--ood", "a=labels.npy", "--convention", "mine", code=2)
        self.run_("eval", "--id", "labels.npy", "--ood", "a=labels.npy", "--recall", "nan", code=2)
        base = ("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "texts.npy", "--out", "d.safetensors")
        self.assertIn("not built in", self.run_(*base, "--backend", "torch-cuda", code=2))
        self.run_(*base, "--backend", "abacus", code=2)
        self.run_(*base, "--precision", "f8", code=2)
        self.run_(*base, "--threads", "-1", code=2)
        self.run_(*base, "--seed", "x", code=2)
        self.assertFalse(os.path.exists(self.path("d.safetensors")))

    def test_missing_files_end_with_5_and_broken_ones_with_4(self):
        self.run_("inspect", "nowhere.npy", code=5)
        self.fit()
        with open(self.path("d.safetensors"), "rb") as f:
            whole = f.read()
        self.write("cut.safetensors", whole[:-3])
        self.run_("inspect", "cut.safetensors", code=4)
        self.run_("score", "--detector", "cut.safetensors", "--features", "images.npy", "--out", "s.npy", code=4)
        self.write("newer.safetensors", whole.replace(b"negood.detector/1", b"negood.detector/2"))
        line = self.run_("score", "--detector", "newer.safetensors", "--features", "images.npy", "--out", "s.npy", code=4)
        self.assertIn("negood.detector/2", line)
        self.assertIn("negood.detector/1", line)
        self.assertFalse(os.path.exists(self.path("s.npy")))

    def test_a_name_cannot_reach_the_terminal(self):
        self.write("names.txt", "a\x1b[31m\nb\u202e\nb\u202e\n")
        line = self.run_("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "texts.npy", "--out",
                         "d.safetensors", code=3)
        self.assertNotIn("\x1b", line)
        self.assertNotIn("\u202e", line)

    def test_stdout_that_cannot_be_written_ends_with_5(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "help", "fit"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 5)


class ZeroShot(Case):
    def scores(self, method, *more, fit=()):
        self.fit(method, "d.safetensors", *fit)
        self.run_("score", "--detector", "d.safetensors", "--features", "images.npy", "--out", "s.npy", *more)
        values, descr = read_npy(self.path("s.npy"))
        self.assertEqual(descr, "<f8")
        return values

    def test_scores_are_those_of_their_equations(self):
        draw = random.Random(2)
        negatives = [unit([draw.gauss(0, 1) for _ in range(self.D)]) for _ in range(5)]
        write_npy(self.path("negatives.npy"), negatives)
        cos = [[sum(a * b for a, b in zip(i, t)) for t in self.texts] for i in self.images]
        neg = [[sum(a * b for a, b in zip(i, t)) for t in negatives] for i in self.images]
        lse = lambda z: math.log(sum(math.exp(v) for v in z))
        expected = {
            "mcm": lambda c, n: math.exp(max(c) - lse(c)),
            "msp": lambda c, n: math.exp(50 * max(c) - lse([50 * v for v in c])),
            "maxlogit": lambda c, n: 50 * max(c),
            "maxcosine": lambda c, n: max(c),
            "energy": lambda c, n: lse([50 * v for v in c]),
        }
        for method, f in expected.items():
            for more in ((), ("--precision", "f64"), ("--backend", "reference"), ("--threads", "1")):
                got = self.scores(method, *more, fit=("--logit-scale", "50"))
                for g, c, n in zip(got, cos, neg):
                    self.assertAlmostEqual(g, f(c, n), delta=2e-5 * max(1, abs(g)))
        got = self.scores("neglabel", "--backend", "reference",
                          fit=("--logit-scale", "50", "--negative-features", "negatives.npy"))
        for g, c, n in zip(got, cos, neg):
            margin = lse([50 * v for v in c]) - lse([50 * v for v in n])
            self.assertAlmostEqual(g, 1 / (1 + math.exp(-margin)), delta=1e-4)
        temperature = self.scores("mcm", fit=("--temperature", "0.1"))
        for g, c in zip(temperature, cos):
            self.assertAlmostEqual(g, math.exp(10 * max(c) - lse([10 * v for v in c])), delta=1e-5)

    def test_same_bytes_for_threads_and_shards(self):
        self.fit()
        base = ("score", "--detector", "d.safetensors", "--features", "images.npy")
        self.run_(*base, "--out", "one.npy", "--threads", "1")
        self.run_(*base, "--out", "two.npy", "--threads", "3")
        with open(self.path("one.npy"), "rb") as a, open(self.path("two.npy"), "rb") as b:
            self.assertEqual(a.read(), b.read())
        joined = []
        for i in range(1, 6):
            self.run_(*base, "--out", "part.npy", "--shard", "%d/5" % i)
            joined += read_npy(self.path("part.npy"))[0]
        self.assertEqual(joined, read_npy(self.path("one.npy"))[0])
        for bad in ("0/5", "6/5", "x", "1/0", "1"):
            self.run_(*base, "--out", "part.npy", "--shard", bad, code=2)

    def test_predictions_and_json(self):
        self.fit()
        j = self.json_("score", "--detector", "d.safetensors", "--features", "images.npy", "--out", "s.npy", "--predictions",
                       "p.npy")
        self.assertEqual((j["n"], j["method"], j["out"]), (12, "mcm", "s.npy"))
        predictions, descr = read_npy(self.path("p.npy"))
        self.assertEqual(descr, "<i8")
        for p, image in zip(predictions, self.images):
            cos = [sum(a * b for a, b in zip(image, t)) for t in self.texts]
            self.assertEqual(p, cos.index(max(cos)))

    def test_f01_nan_and_f04_zero_rows(self):
        rows = [list(r) for r in self.images]
        rows[4][2] = float("nan")
        rows[7] = [0.0] * self.D
        write_npy(self.path("odd.npy"), rows)
        self.fit()
        base = ("score", "--detector", "d.safetensors", "--features", "odd.npy", "--out", "s.npy")
        self.assertIn("row 4", self.run_(*base, code=3))
        self.assertFalse(os.path.exists(self.path("s.npy")))
        self.assertIn("row 7", self.run_(*base, "--nan", "skip", code=3))
        j = self.json_(*base, "--nan", "skip", "--zero-norm", "ood")
        self.assertEqual((j["nonfinite_rows"], j["zero_rows"]), (1, 1))
        scores = read_npy(self.path("s.npy"))[0]
        self.assertTrue(math.isnan(scores[4]))
        self.assertLess(scores[7], -1e300)
        self.run_(*base, "--nan=ood", "--zero-norm=ood")
        self.assertLess(read_npy(self.path("s.npy"))[0][4], -1e300)
        self.run_(*base, "--nan", "maybe", code=2)
        self.run_(*base, "--nan", "skip", "--zero-norm", "ood")
        evaluate = ("eval", "--id", "s.npy", "--ood", "x=s.npy")
        self.assertIn("row 4", self.run_(*evaluate, code=3))
        self.assertEqual(self.json_(*evaluate, "--nan", "skip")["sets"][0]["n_id"], 11)

    def test_f06_widths_that_differ_name_both_files(self):
        write_npy(self.path("wide.npy"), [[1.0] * 7])
        self.fit()
        line = self.run_("score", "--detector", "d.safetensors", "--features", "wide.npy", "--out", "s.npy", code=3)
        for part in ("wide.npy", "d.safetensors", "7", "6"):
            self.assertIn(part, line)
        line = self.run_("fit", "--method", "neglabel", "--names", "names.txt", "--text-features", "texts.npy",
                         "--logit-scale", "100", "--negative-features", "wide.npy", "--out", "n.safetensors", code=3)
        for part in ("wide.npy", "texts.npy", "7", "6"):
            self.assertIn(part, line)
        self.assertFalse(os.path.exists(self.path("n.safetensors")))

    def test_f08_nothing_to_work_on(self):
        self.write("none.txt", "\n")
        base = ("fit", "--method", "mcm", "--text-features", "texts.npy", "--out", "d.safetensors")
        self.run_(*base, "--names", "none.txt", code=3)
        write_npy_raw(self.path("none.npy"), b"", "(0, 6)", "<f4")
        self.run_("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "none.npy", "--out", "d.safetensors",
                  code=3)
        line = self.run_("fit", "--method", "neglabel", "--names", "names.txt", "--text-features", "texts.npy",
                         "--logit-scale", "100", "--negative-features", "none.npy", "--out", "d.safetensors", code=3)
        self.assertIn("use mcm", line)
        line = self.run_("fit", "--method", "neglabel", "--names", "names.txt", "--text-features", "texts.npy",
                         "--logit-scale", "100", "--out", "d.safetensors", code=2)
        self.assertIn("mcm", line)
        self.assertFalse(os.path.exists(self.path("d.safetensors")))

    def test_f09_one_class(self):
        self.write("one.txt", "chow\n")
        write_npy(self.path("one.npy"), self.texts[:1])
        base = ("--names", "one.txt", "--text-features", "one.npy", "--out", "d.safetensors")
        self.run_("fit", "--method", "mcm", *base, code=4)
        self.run_("fit", "--method", "neglabel", *base, "--logit-scale", "100", "--negative-features", "texts.npy")

    def test_f10_an_empty_set_is_scored_and_not_evaluated(self):
        write_npy_raw(self.path("none.npy"), b"", "(0, 6)", "<f4")
        self.fit()
        for features, out in (("images.npy", "id.npy"), ("none.npy", "ood.npy")):
            self.run_("score", "--detector", "d.safetensors", "--features", features, "--out", out)
        self.assertEqual(read_npy(self.path("ood.npy"))[0], [])
        for first, second in (("id.npy", "ood.npy"), ("ood.npy", "id.npy")):
            done = subprocess.run([PROGRAM, "eval", "--id", first, "--ood", "x=" + second, "--json"], cwd=self.folder,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 3)
            j = json.loads(done.stdout)
            self.assertIsNone(j["sets"][0]["auroc"])
            self.assertIsNone(j["sets"][0]["fpr95"]["id_positive_nearest"])
            self.assertIn("empty", j["sets"][0]["reason"])

    def test_f13_duplicate_names(self):
        self.write("names.txt", "missile\nchow\nmissile\n")
        base = ("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "texts.npy", "--out", "d.safetensors")
        line = self.run_(*base, code=3)
        self.assertIn("line 3", line)
        self.assertIn("line 1", line)
        self.assertEqual(json.loads(self.run_(*base, "--dup=keep", "--json"))["classes"], 3)
        self.assertIn("2 names for 3 rows", self.run_(*base, "--dup=merge", code=3))

    def test_f18_labels_and_rows(self):
        self.write("names.txt", "chow\nshiba\n")
        self.run_("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "texts.npy", "--out", "d", code=3)

    def test_f20_logit_scale(self):
        base = ("fit", "--method", "energy", "--names", "names.txt", "--text-features", "texts.npy", "--out", "d.safetensors")
        self.assertIn("--logit-scale", self.run_(*base, code=2))
        for bad in ("0", "-1"):
            self.run_(*base, "--logit-scale", bad, code=4)
        done = subprocess.run([PROGRAM, *base, "--logit-scale", "4.6"], cwd=self.folder, stderr=subprocess.PIPE,
                              stdout=subprocess.PIPE)
        self.assertIn(b"looks like log", done.stderr)

    def test_f21_another_encoder(self):
        for name, encoder in (("a.safetensors", "a" * 64), ("b.safetensors", "b" * 64)):
            write_safetensors(self.path(name), {"features": ([3, 6], [v for t in self.texts for v in t])},
                              {"encoder_fingerprint": encoder})
        self.run_("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "a.safetensors", "--out",
                  "d.safetensors")
        base = ("score", "--detector", "d.safetensors", "--out", "s.npy", "--features")
        self.assertFalse(self.json_(*base, "a.safetensors:features")["forced_encoder"])
        line = self.run_(*base, "b.safetensors", code=4)
        self.assertIn("aaaaaaaaaaaa", line)
        self.assertIn("bbbbbbbbbbbb", line)
        self.assertTrue(self.json_(*base, "b.safetensors", "--force-encoder")["forced_encoder"])

    def test_f34_a_full_disk_leaves_the_old_file(self):
        self.fit()
        self.run_("score", "--detector", "d.safetensors", "--features", "images.npy", "--out", "s.npy")
        with open(self.path("s.npy"), "rb") as f:
            before = f.read()
        files = set(os.listdir(self.folder))

        def no_space():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        for command in (("score", "--detector", "d.safetensors", "--features", "images.npy", "--out", "s.npy"),
                        ("fit", "--method", "mcm", "--names", "names.txt", "--text-features", "texts.npy", "--out",
                         "d.safetensors")):
            self.run_(*command, code=5, preexec_fn=no_space, restore_signals=False)
        with open(self.path("s.npy"), "rb") as f:
            self.assertEqual(f.read(), before)
        self.assertEqual(set(os.listdir(self.folder)), files)
        self.run_("inspect", "d.safetensors")

    def test_f47_a_comma_locale_changes_nothing(self):
        self.fit(out="a.safetensors")
        env = dict(os.environ, LC_ALL="de_DE.UTF-8", LANG="de_DE.UTF-8")
        self.fit("mcm", "b.safetensors", env=env)
        with open(self.path("a.safetensors"), "rb") as a, open(self.path("b.safetensors"), "rb") as b:
            self.assertEqual(a.read(), b.read())
        self.json_("calibrate", "--detector", "a.safetensors", "--scores", self.some_scores(), "--id-recall", "0.9", "--out",
                   "c.safetensors", env=env)

    def some_scores(self):
        write_npy(self.path("scores.npy"), [i / 100 for i in range(100)], "<f8")
        return "scores.npy"


class CalibrateAndDecide(Case):
    def test_threshold_travels_with_the_detector(self):
        self.fit()
        self.run_("decide", "--detector", "d.safetensors", "--features", "images.npy", code=2)
        self.run_("score", "--detector", "d.safetensors", "--features", "images.npy", "--out", "s.npy")
        j = self.json_("calibrate", "--detector", "d.safetensors", "--scores", "s.npy", "--id-recall", "0.75", "--out",
                       "c.safetensors")
        scores = sorted(read_npy(self.path("s.npy"))[0])
        self.assertEqual(j["threshold"], scores[3])  # nine of twelve at or above
        self.assertEqual((j["n"], j["accepted"], j["policy"]), (12, 9, "id_recall"))
        self.assertLess(j["recall_interval"][0], 0.75)
        self.assertGreater(j["recall_interval"][1], 0.75)
        d = self.json_("decide", "--detector", "c.safetensors", "--features", "images.npy")
        self.assertEqual(d["unknown"], 3)
        self.assertEqual(len(d["images"]), 12)
        self.assertEqual(sum(i["known"] for i in d["images"]), 9)
        self.assertEqual(set(d["images"][0]), {"image", "label", "label_index", "score", "known"})
        self.run_("decide", "--detector", "c.safetensors", "--features", "images.npy", "--fail-on-ood", code=1)
        text = self.run_("decide", "--detector", "c.safetensors", "--features", "images.npy")
        self.assertEqual(text.count("\tunknown\n"), 3)
        self.assertEqual(self.json_("inspect", "c.safetensors")["threshold"], scores[3])

    def test_conformal_and_refusals(self):
        self.fit()
        write_npy(self.path("s.npy"), [i / 100 for i in range(100)], "<f8")
        base = ("calibrate", "--detector", "d.safetensors", "--scores", "s.npy", "--out", "c.safetensors")
        self.assertEqual(self.json_(*base, "--conformal-alpha", "0.1")["threshold"], 0.09)
        self.assertTrue(self.json_(*base, "--conformal-alpha", "0.001")["accepts_everything"])
        self.run_(*base, "--conformal-alpha", "0.1", "--id-recall", "0.9", code=2)
        self.run_(*base, "--id-recall", "0", code=2)
        self.run_(*base, "--id-recall", "nan", code=2)
        write_npy(self.path("s.npy"), [], "<f8")
        self.assertIn("no ID scores", self.run_(*base, code=3))
        write_npy(self.path("s.npy"), [1, 2], "<i8")
        self.run_(*base, code=3)


class Eval(Case):
    def setUp(self):
        super().setUp()
        write_npy(self.path("id.npy"), [0.9, 0.8, 0.8, 0.4], "<f8")
        write_npy(self.path("far.npy"), [0.1, 0.2, 0.8], "<f8")
        write_npy(self.path("near.npy"), [0.85, 0.3], "<f8")
        self.base = ("eval", "--id", "id.npy", "--ood", "far=far.npy", "--ood", "near=near.npy")

    def test_json_is_the_contract(self):
        j = self.json_(*self.base)
        self.assertEqual(set(j) & {"sets", "mean", "ties", "convention_default"},
                         {"sets", "mean", "ties", "convention_default"})
        self.assertEqual(j["convention_default"], "id_positive_nearest")
        far = j["sets"][0]
        self.assertEqual((far["name"], far["n_id"], far["n_ood"]), ("far", 4, 3))
        # pairs: 0.9 beats 3; 0.8 twice beats 2 and ties 1; 0.4 beats 2
        self.assertAlmostEqual(far["auroc"], (3 + 2 * 2.5 + 2) / 12, places=15)
        self.assertEqual(set(far["fpr95"]), {"id_positive_nearest", "id_positive_first", "ood_positive_first"})
        for key in ("aupr_in", "aupr_out", "aupr_in_trapezoid", "aupr_in_step", "aupr_out_trapezoid", "aupr_out_step"):
            self.assertTrue(0 <= far[key] <= 1)
        self.assertEqual(j["ties"], 2)
        self.assertAlmostEqual(j["mean"]["auroc"], (far["auroc"] + j["sets"][1]["auroc"]) / 2, places=15)
        self.assertEqual(json.loads(self.run_(*self.base, "--format", "json")), j)

    def test_tables_name_their_convention_and_escape_names(self):
        for form, mark in (("csv", "fpr95_id_positive_nearest"), ("markdown", "FPR95 \\(ID positive, nearest\\)"),
                           ("latex", "\\begin{tabular}"), ("html", "<table"), ("text", "ID positive, nearest")):
            self.assertIn(mark, self.run_(*self.base, "--format", form))
        self.assertIn("OOD positive, first", self.run_(*self.base, "--convention", "all"))
        hostile = ("eval", "--id", "id.npy", "--ood", "<script>\\input=far.npy", "--ood", "+cmd|calc=near.npy")
        self.assertNotIn("<script>", self.run_(*hostile, "--format", "html"))
        self.assertNotIn("\\input", self.run_(*hostile, "--format", "latex"))
        self.assertIn("'+cmd", self.run_(*hostile, "--format", "csv"))

    def test_accuracy(self):
        write_npy(self.path("l.npy"), [0, 1, 1, 2], "<i8")
        self.write("p.txt", "0\n1\n2\n2\n")
        self.assertEqual(self.json_(*self.base, "--id-labels", "l.npy", "--predictions", "p.txt")["id_accuracy"], 0.75)
        self.write("p.txt", "0\n1\n2\n")
        self.run_(*self.base, "--id-labels", "l.npy", "--predictions", "p.txt", code=3)
        self.run_(*self.base, "--id-labels", "l.npy", code=2)

    def test_refusals(self):
        write_npy(self.path("nan.npy"), [0.5, float("nan")], "<f8")
        self.assertIn("row 1", self.run_("eval", "--id", "id.npy", "--ood", "x=nan.npy", code=3))
        self.run_("eval", "--id", "images.npy", "--ood", "x=far.npy", code=3)
        self.run_("eval", "--id", "id.npy", "--ood", "x=far.npy", "--ood", "x=near.npy", code=2)
        self.run_("eval", "--id", "id.npy", code=2)
        self.run_(*self.base, "--recall", "0", code=2)
        self.run_("eval", "--id", "id.npy", "--ood", "x=missing.npy", code=5)


@unittest.skipUnless(HAVE_MODEL, "the embedded model is not there")
class WithModel(Case):
    def setUp(self):
        super().setUp()
        self.words = ["tiger", "whale", "pear"]
        self.write("names.txt", "\n".join(self.words) + "\n")
        self.write("list.txt", "".join("%s.png %d\n" % (w, i) for i, w in enumerate(self.words)))
        self.encode("f.npy", "--labels-out", "l.npy")

    def encode(self, out, *more):
        return self.json_("encode", "--model", MODEL, "--images", "list.txt", "--root", PICTURES, "--out", out, *more)

    def learn(self, out, *more, method="negprompt", code=0, **kw):
        command = ("fit", "--method", method, "--model", MODEL, "--names", "names.txt", "--train-features", "f.npy",
                   "--train-labels", "l.npy", "--out", out, "--json", *more)
        text = self.run_(*command, code=code, **kw)
        return json.loads(text) if code == 0 else text

    SHORT = ("--ctx", "3", "--stage1-epochs", "2", "--stage2-epochs", "3")

    def test_encode_images_and_texts(self):
        j = self.encode("f.safetensors")
        self.assertEqual(j["rows"], 3)
        info = self.json_("inspect", "f.safetensors")
        self.assertEqual(info["metadata"]["encoder_fingerprint"], j["encoder_fingerprint"])
        self.assertEqual(read_npy(self.path("l.npy"))[0], [0, 1, 2])
        texts = ("encode", "--model", MODEL, "--texts", "names.txt", "--out", "t.npy")
        self.assertTrue(self.json_(*texts, "--template", "a photo of a {}.", "--template", "the {}")["unit"])
        self.run_(*texts, "--template", "no place", code=2)
        self.run_(*texts, "--raw", "--template", "{}", "--template", "a {}", code=2)
        self.run_(*texts, "--images", "list.txt", code=2)
        self.write("broken.png", b"\x89PNG\r\n\x1a\n nothing")
        self.write("bad.txt", "broken.png 0\n")
        self.run_("encode", "--model", MODEL, "--images", "bad.txt", "--out", "x.npy", code=3)
        self.write("bad.txt", "../../etc/passwd 0\n")
        self.run_("encode", "--model", MODEL, "--images", "bad.txt", "--out", "x.npy", code=3)
        self.assertFalse(os.path.exists(self.path("x.npy")))

    def test_f17_a_name_too_long(self):
        self.write("long.txt", "zebra " * 90 + "\nshort\n")
        texts = ("encode", "--model", MODEL, "--texts", "long.txt", "--out", "t.npy")
        line = self.run_(*texts, code=3)
        self.assertIn("32", line)  # the model's context, not 77
        self.assertRegex(line, r"\d{2,} tokens")
        self.run_(*texts, "--truncate")
        self.write("names.txt", "zebra " * 90 + "\nwhale\npear\n")
        self.assertIn("tokens", self.learn("d.safetensors", *self.SHORT, code=3))

    def test_images_and_their_features_score_alike(self):
        self.run_("fit", "--method", "mcm", "--model", MODEL, "--names", "names.txt", "--out", "d.safetensors")
        self.run_("score", "--detector", "d.safetensors", "--features", "f.npy", "--out", "a.npy")
        self.run_("score", "--detector", "d.safetensors", "--images", "list.txt", "--root", PICTURES, "--model", MODEL,
                  "--out", "b.npy")
        self.assertEqual(read_npy(self.path("a.npy")), read_npy(self.path("b.npy")))
        self.run_("calibrate", "--detector", "d.safetensors", "--scores", "a.npy", "--out", "d.safetensors")
        j = self.json_("decide", "--detector", "d.safetensors", "--model", MODEL, os.path.join(PICTURES, "tiger.png"))
        self.assertEqual(j["images"][0]["score"], read_npy(self.path("a.npy"))[0][0])
        self.run_("decide", "--detector", "d.safetensors", "--model", MODEL, "missing.png", code=5)

    def test_neglabel_from_words(self):
        self.write("words.txt", "tiger\nstone\nspoon\nstone\nbridge\n")
        base = ("fit", "--method", "neglabel", "--model", MODEL, "--names", "names.txt", "--out", "d.safetensors")
        done = subprocess.run([PROGRAM, *base, "--negatives-file", "words.txt", "--groups", "3", "--json"], cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["negatives"], 3)  # F-14: a class and a repetition are dropped
        self.assertIn(b"2 words dropped", done.stderr)
        self.assertEqual(self.json_(*base, "--mine", "words.txt", "-m", "2")["negatives"], 2)
        self.run_(*base, "--negatives-file", "words.txt", "--groups", "4", code=4)
        self.write("words.txt", "tiger\n")
        self.assertIn("use mcm", self.run_(*base, "--negatives-file", "words.txt", code=3))

    def test_learned_prompts_move_to_other_names(self):
        j = self.learn("d.safetensors", *self.SHORT, "--prompts-out", "p.safetensors", "--trace", "t.jsonl")
        self.assertEqual((j["classes"], j["negatives"], j["context_length"]), (3, 6, 3))
        with open(self.path("t.jsonl")) as f:
            trace = [json.loads(line) for line in f]
        self.assertEqual([t["stage"] for t in trace], [1, 1, 2, 2, 2])
        for key in ("loss", "nis", "npd", "nnd", "gradient_norm", "mean_cosine"):
            self.assertIsInstance(trace[-1][key], float)
        self.write("names.txt", "cat\ndog\nbird\nfish\n")
        bind = ("fit", "--method", "negprompt", "--model", MODEL, "--names", "names.txt", "--out", "o.safetensors")
        self.assertEqual(self.json_(*bind, "--prompts", "p.safetensors")["negatives"], 8)
        self.assertEqual(self.json_(*bind, "--prompts", "d.safetensors")["negatives"], 8)
        self.run_(*bind, "--prompts", "p.safetensors", "--suffix", "", code=4)
        with open(self.path("p.safetensors"), "rb") as f:
            data = f.read()
        at = data.index(b'"encoder_fingerprint":"') + 23
        self.write("other.safetensors", data[:at] + b"0" * 64 + data[at + 64:])
        self.run_(*bind, "--prompts", "other.safetensors", code=4)
        self.assertTrue(self.json_(*bind, "--prompts", "other.safetensors", "--force-encoder")["forced_encoder"])
        self.write("names.txt", "\n".join(self.words) + "\n")
        self.learn("e.safetensors", "--positives", "other.safetensors", "--steps", "1", code=4)

    def test_positives_of_another_run_are_stage_1(self):
        self.learn("whole.safetensors", *self.SHORT)
        self.learn("coop.safetensors", "--ctx", "3", "--epochs", "2", method="coop")
        self.learn("second.safetensors", "--positives", "coop.safetensors", "--stage2-epochs", "3")
        get = lambda name: self.tensors(name)
        self.assertEqual(get("whole.safetensors"), get("second.safetensors"))

    def tensors(self, name):
        with open(self.path(name), "rb") as f:
            data = f.read()
        return data[8 + struct.unpack("<Q", data[:8])[0]:]

    def test_options_that_make_runs_comparable(self):
        draw = random.Random(3)
        values = lambda n: [draw.gauss(0, 0.02) for _ in range(n)]
        write_safetensors(self.path("init.safetensors"),
                          {"ctx_positive": ([4, 128], values(4 * 128)), "ctx_negative": ([3, 4, 128], values(3 * 4 * 128))},
                          {"note": "contexts"})
        fixed = ("--init-file", "init.safetensors", "--stage1-epochs", "0", "--noise", "0", "--shuffle", "no", "--schedule",
                 "constant", "--steps", "2", "--batch", "2", "--lr", "0.01", "--momentum", "0", "--weight-decay", "0")
        j = self.learn("d.safetensors", *fixed)
        self.assertEqual((j["negatives"], j["context_length"]), (9, 4))
        with open(self.path("init.safetensors"), "rb") as f:
            raw = f.read()
        positive = raw[8 + struct.unpack("<Q", raw[:8])[0]:][:4 * 128 * 4]
        self.assertIn(positive, self.tensors("d.safetensors"))  # taken as they are
        self.learn("e.safetensors", *fixed, "--threads", "3")
        self.assertEqual(self.tensors("d.safetensors"), self.tensors("e.safetensors"))
        self.learn("e.safetensors", *fixed, "--negatives", "2", code=2)
        for more in (("--preset", "released-oe"), ("--preset", "released-msp"), ("--nis", "all"), ("--nis", "multilabel"),
                     ("--nnd", "mean-norm"), ("--one-stage",), ("--csc",), ("--optimizer", "adamw"), ("--views", "1"),
                     ("--init", "a photo of a"), ("--init", "random"), ("--suffix", ""), ("--beta", "-0.5"),
                     ("--gamma", "0"), ("--negatives", "1"), ("--precision", "bf16x3"), ("--schedule", "released")):
            self.learn("v.safetensors", "--stage1-epochs", "1", "--stage2-epochs", "1", *more)
        info = self.json_("inspect", "v.safetensors")
        self.assertEqual(info["options"]["stage2"]["schedule"], "released")
        for bad in (("--preset", "mine"), ("--nis", "some"), ("--lr", "nan"), ("--noise", "-1"), ("--batch", "0"),
                    ("--ctx", "0"), ("--noise", "0"), ("--shuffle", "maybe"), ("--train-classes", "0%"),
                    ("--csc", "--train-classes", "50%"), ("--ctx", "2", "--init", "a b")):
            self.learn("v.safetensors", "--stage1-epochs", "1", *bad, code=2)
        self.learn("v.safetensors", "--stage1-epochs", "1", "--ctx", "40", code=3)

    def test_views_and_part_of_the_classes(self):
        base = ("fit", "--method", "negprompt", "--model", MODEL, "--names", "names.txt", "--train", "list.txt", "--root",
                PICTURES, "--out", "d.safetensors", *self.SHORT)
        self.assertEqual(self.json_(*base, "--views", "3")["views"], 3)
        j = self.json_(*base, "--train-classes", "67%")
        self.assertEqual((j["train_classes"], j["train_images"], j["classes"]), (2, 2, 3))
        self.write("some.txt", "pear\ntiger\n")
        self.assertEqual(self.json_(*base, "--train-classes", "some.txt")["train_classes"], 2)
        self.write("some.txt", "elephant\n")
        self.run_(*base, "--train-classes", "some.txt", code=3)
        for w in self.words:  # class folders follow the names, not their order
            os.makedirs(self.path(os.path.join("folders", w)))
            shutil.copy(os.path.join(PICTURES, w + ".png"), self.path(os.path.join("folders", w)))
        self.run_(*base)
        listed = self.tensors("d.safetensors")
        self.run_("fit", "--method", "negprompt", "--model", MODEL, "--names", "names.txt", "--train", "folders", "--out",
                  "e.safetensors", "--shuffle", "yes", *self.SHORT)
        self.assertEqual(len(listed), len(self.tensors("e.safetensors")))

    def test_bad_training_data(self):
        write_npy(self.path("l.npy"), [0, 1, 3], "<i8")
        self.assertIn("row 2", self.learn("d.safetensors", *self.SHORT, code=3))
        write_npy(self.path("l.npy"), [0, 1], "<i8")
        self.learn("d.safetensors", *self.SHORT, code=3)
        write_npy(self.path("l.npy"), [0, 1, 2], "<i8")
        write_npy(self.path("f.npy"), [[1.0] * 5] * 3)
        self.assertIn("96", self.learn("d.safetensors", *self.SHORT, code=3))
        self.assertFalse(os.path.exists(self.path("d.safetensors")))

    def test_a_rate_that_diverges_ends_with_6(self):
        self.assertIn("diverged", self.learn("d.safetensors", *self.SHORT, "--lr", "1e200", "--precision", "f64",
                                             "--schedule", "constant", code=6))
        self.assertFalse(os.path.exists(self.path("d.safetensors")))

    def test_f36_a_signal_writes_a_checkpoint_and_resume_gives_the_same_bytes(self):
        long = ("--ctx", "3", "--stage1-steps", "200", "--steps", "300", "--seed", "5")
        self.learn("whole.safetensors", *long)
        command = [PROGRAM, "fit", "--method", "negprompt", "--model", MODEL, "--names", "names.txt", "--train-features",
                   "f.npy", "--train-labels", "l.npy", "--out", "d.safetensors", "--trace", "t.jsonl", *long]
        stopped = 0
        for signal_ in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            resume = ["--resume"] if stopped else []
            p = subprocess.Popen(command + resume, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            lines = self.trace_lines()
            deadline = time.time() + 60
            while p.poll() is None and self.trace_lines() < lines + 1 and time.time() < deadline:
                time.sleep(0.005)
            start = time.time()
            p.send_signal(signal_)
            _, err = p.communicate(timeout=60)
            if p.returncode == 0:
                break
            self.assertEqual(p.returncode, 8, err)
            self.assertLess(time.time() - start, 5)
            self.assertTrue(os.path.exists(self.path("d.safetensors.checkpoint")))
            self.assertFalse(os.path.exists(self.path("d.safetensors")))
            stopped += 1
        self.assertGreater(stopped, 0)
        # another seed is another run
        self.learn("d.safetensors", *long[:-1], "6", "--resume", code=2)
        if not os.path.exists(self.path("d.safetensors")):
            self.learn("d.safetensors", *long, "--resume")
        self.assertEqual(self.tensors("d.safetensors"), self.tensors("whole.safetensors"))
        self.assertFalse(os.path.exists(self.path("d.safetensors.checkpoint")))

    def trace_lines(self):
        try:
            return os.path.getsize(self.path("t.jsonl"))
        except OSError:
            return 0

    def test_f48_progress_without_a_terminal(self):
        for style in ("auto", "plain", "json", "off"):
            env = dict(os.environ, TERM="dumb", NO_COLOR="1", COLUMNS="20")
            done = subprocess.run([PROGRAM, "encode", "--model", MODEL, "--images", "list.txt", "--root", PICTURES, "--out",
                                   "x.npy", "--progress", style], cwd=self.folder, env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            self.assertEqual(done.returncode, 0)
            self.assertNotIn(b"\x1b", done.stderr)
            self.assertNotIn(b"\r", done.stderr)
            if style == "json":
                self.assertEqual(json.loads(done.stderr.splitlines()[-1])["total"], 3)
        self.run_("encode", "--model", MODEL, "--images", "list.txt", "--root", PICTURES, "--out", "x.npy", "--progress",
                  "loud", code=2)

    def test_inspect_a_model(self):
        j = self.json_("inspect", MODEL)
        self.assertEqual(j["kind"], "model")
        self.assertEqual(j["text"]["context_length"], 32)
        self.assertEqual(self.json_("inspect", "f.npy")["shape"], [3, 96])


class Negatives(Case):
    def setUp(self):
        super().setUp()
        draw = random.Random(5)
        self.words = [unit([draw.gauss(0, 1) for _ in range(self.D)]) for _ in range(40)]
        write_npy(self.path("words.npy"), self.words)
        self.write("words.txt", "".join("word%d\t%s\n" % (i, "na"[i % 2]) for i in range(40)))
        proxies = []
        for c in range(3):
            rows = [v for v, label in zip(self.images, self.labels) if label == c]
            proxies.append(unit([sum(x) for x in zip(*rows)]))
        self.proxies = proxies
        write_npy(self.path("proxies.npy"), proxies)

    def select(self, *more, **kw):
        self.json_("select", "--candidates", "words.npy", "--words", "words.txt", "--id-text", "texts.npy", "--out", "s.json",
                   *more, **kw)
        with open(self.path("s.json")) as f:
            return json.load(f)

    def test_interneg_keeps_what_is_farther_than_the_name(self):
        dot = lambda a, b: sum(x * y for x, y in zip(a, b))
        base = [dot(e, p) for e, p in zip(self.texts, self.proxies)]
        passed = [i for i, y in enumerate(self.words) if all(dot(y, p) < b for p, b in zip(self.proxies, base))]
        degree = lambda i: sum(b - dot(self.words[i], p) for p, b in zip(self.proxies, base)) / 3
        wanted = sorted(passed, key=lambda i: -degree(i))[:10]
        s = self.select("--method", "interneg", "--proxies", "proxies.npy", "-m", "10", "--quota", "none")
        self.assertEqual([w["row"] for w in s["selected"]], wanted)
        self.assertEqual([w["rank"] for w in s["selected"]], list(range(1, 11)))
        self.assertEqual(s["selected"][0]["word"], "word%d" % wanted[0])
        for w in s["selected"]:
            self.assertAlmostEqual(w["key"], degree(w["row"]), places=6)
        s = self.select("--method", "interneg", "--proxies", "proxies.npy", "-m", "10")
        self.assertEqual(s["passed"], len(passed))
        self.assertEqual(sum(s["vetoes"].values()), 40 - len(passed))
        adjectives = sum(1 for i in passed if i % 2)
        self.assertEqual([w["tag"] for w in s["selected"]].count("a"), 10 * adjectives // len(passed))

    def test_neglabel_takes_a_share_of_each_part_of_speech(self):
        s = self.select("--method", "neglabel", "-m", "9")
        self.assertEqual([w["tag"] for w in s["selected"]], ["a"] * 4 + ["n"] * 5)
        for tag in "an":
            keys = [w["key"] for w in s["selected"] if w["tag"] == tag]
            self.assertEqual(keys, sorted(keys))

    def test_eoe_weighs_imagined_labels(self):
        out = self.fit("eoe", "e.safetensors", "--negative-features", "words.npy", "--beta", "0.5")
        self.assertEqual((out["negatives"], out["groups"]), (40, 1))
        self.json_("score", "--detector", "e.safetensors", "--features", "images.npy", "--out", "s.npy")
        dot = lambda a, b: sum(x * y for x, y in zip(a, b))
        for h, got in zip(self.images, read_npy(self.path("s.npy"))[0]):
            known = [math.exp(dot(h, t)) for t in self.texts]
            imagined = [math.exp(dot(h, t)) for t in self.words]
            self.assertAlmostEqual(got, (max(known) - 0.5 * max(imagined)) / (sum(known) + sum(imagined)), places=6)

    def test_what_is_missing_is_said(self):
        self.run_("select", "--method", "interneg", "--candidates", "words.npy", "--words", "words.txt", "--id-text",
                  "texts.npy", "--out", "s.json", code=2)
        self.write("words.txt", "one\n")
        self.run_("select", "--method", "neglabel", "--candidates", "words.npy", "--words", "words.txt", "--id-text",
                  "texts.npy", "--out", "s.json", code=3)
        self.assertFalse(os.path.exists(self.path("s.json")))
        self.run_("fit", "--method", "interneg", "--names", "names.txt", "--model", "demo", "--out", "d.safetensors", code=2)
        self.fit("mcm", "d.safetensors")
        self.run_("score", "--detector", "d.safetensors", "--features", "images.npy", "--model", "demo", "--stream", "--out",
                  "s.npy", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=1)
