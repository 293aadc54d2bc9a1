"""fit with negative words: one way to read them for every method, CSP, CLIPScope, templates by part of speech, the cache.

Standard library only. Usage: test_words.py PATH_TO_NEGOOD
"""
import json
import math
import os
import random
import struct
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_cli import HAVE_MODEL, MODEL, PICTURES, PROGRAM, SOURCE, Case, read_npy, write_npy

CLASSES = ["tiger", "spider", "ice cream"]
WORDS = os.path.join(SOURCE, "models", "demo-words.txt")
NOUNS = """  1 The licence.
00001740 03 n 01 entity 0 000 | what is
00002098 05 n 02 Panthera_tigris 0 tiger 0 000 | an animal
00003456 13 n 02 ice_cream 0 ice-cream 0 000 | a food
00003457 06 n 02 spoon 0 bridge 0 000 | things
"""
ADJECTIVES = "00005678 00 a 02 afloat(p) 0 stone 0 000 | borne on water\n00005679 01 s 01 canine 0 000 | of a dog\n"


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def unit(v):
    n = math.sqrt(dot(v, v))
    return [x / n for x in v]


def matrix(path):
    """A two-dimensional float32 .npy file as a list of rows."""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<H", data[8:10])[0]
    shape = [int(x) for x in data[10:10 + n].decode().split("(")[1].split(")")[0].split(",")]
    values = struct.unpack("<%df" % (shape[0] * shape[1]), data[10 + n:])
    return [list(values[i * shape[1]:(i + 1) * shape[1]]) for i in range(shape[0])]


def quantile(values, q):
    values, at = sorted(values), q * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


@unittest.skipUnless(HAVE_MODEL, "needs models/")
class Words(Case):
    def setUp(self):
        super().setUp()
        self.write("names.txt", "\n".join(CLASSES) + "\n")
        self.made = 0

    def fit_words(self, method, *more, code=0):
        args = ["fit", "--method", method, "--model", MODEL, "--names", "names.txt", "--out", "d.safetensors", *more]
        done = subprocess.run([PROGRAM, *args, "--json"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.notes = done.stderr.decode()
        self.assertEqual(done.returncode, code, self.notes)
        return json.loads(done.stdout) if code == 0 else None

    @staticmethod
    def bytes_of(path):
        with open(path, "rb") as f:
            return f.read()

    def detector(self):
        """Metadata options, and rows of `negative`, of the detector that was written."""
        data = self.bytes_of(self.path("d.safetensors"))
        n = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + n])
        rows, cols = header["negative"]["shape"]
        begin, end = header["negative"]["data_offsets"]
        values = struct.unpack("<%df" % (rows * cols), data[8 + n + begin:8 + n + end])
        return json.loads(header["__metadata__"]["options"]), [values[i * cols:(i + 1) * cols] for i in range(rows)]

    def encode(self, texts, *templates, raw=False):
        self.made += 1
        name = "texts%d" % self.made
        self.write(name + ".txt", "\n".join(texts) + "\n")
        more = [x for t in templates for x in ("--template", t)] + (["--raw"] if raw else [])
        self.run_("encode", "--model", MODEL, "--texts", name + ".txt", *more, "--out", name + ".npy", "--dup", "keep")
        return matrix(self.path(name + ".npy"))

    def assert_rows(self, got, wanted, delta=1e-5):
        self.assertEqual(len(got), len(wanted))
        for a, b in zip(got, wanted):
            self.assertLess(max(abs(x - y) for x, y in zip(a, b)), delta)

    def some_words(self, nouns=60, adjectives=40):
        """Lines of the corpus at even distances, tags kept."""
        with open(WORDS) as f:
            lines = [line.rstrip("\n").split("\t") for line in f]
        out = []
        for tag, count in (("n", nouns), ("a", adjectives)):
            of = [line for line in lines if line[1] == tag and line[0] not in CLASSES]
            out += [of[i * len(of) // count] for i in range(count)]
        return out

    def write_words(self, words, name="words.txt"):
        self.write(name, "".join("\t".join(w) + "\n" for w in words))

    # ------------------------------------------------------------------------------------------------ reading

    def test_every_method_drops_class_names_alike(self):
        self.write("words.txt", "Ice-Cream\nTIGER\nstone\nspoon\nStone\nbridge\nspider's\nspiders\n")
        for method in ("neglabel", "csp", "eoe", "clipscope"):
            for source in ("--negatives-file", "--mine"):
                out = self.fit_words(method, source, "words.txt", "-m", "100")
                self.assertEqual(out["negatives"], 5, (method, source))
                self.assertEqual(sorted(self.detector()[0]["negative_words"]),
                                 ["bridge", "spider's", "spiders", "spoon", "stone"])
                self.assertIn("3 words dropped: 2 name a class (Ice-Cream, TIGER), 1 stand twice", self.notes)
            self.assertEqual(self.fit_words(method, "--mine", "words.txt", "-m", "100", "--exact-names")["negatives"], 7)
        self.write("words.txt", "Tiger\n")
        for method in ("neglabel", "csp", "eoe", "clipscope"):
            self.fit_words(method, "--mine", "words.txt", code=3)
            self.assertIn("use mcm", self.notes)

    def test_every_method_takes_a_wordnet_folder(self):
        os.mkdir(self.path("wordnet"))
        self.write("wordnet/data.noun", NOUNS)
        self.write("wordnet/data.adj", ADJECTIVES)
        os.makedirs(self.path("train"))
        everything = ["afloat", "bridge", "canine", "entity", "panthera tigris", "spoon", "stone"]
        nouns = ["bridge", "entity", "panthera tigris", "spoon"]
        for method, wanted in (("neglabel", everything), ("eoe", everything), ("clipscope", nouns)):
            self.fit_words(method, "--mine", "wordnet", "-m", "100")
            self.assertEqual(sorted(self.detector()[0]["negative_words"]), wanted)
            self.fit_words(method, "--mine", "wordnet", "-m", "100", "--exclude-files", "noun.artifact", "noun.animal")
            left = [w for w in wanted if w not in ("bridge", "spoon", "panthera tigris")]
            self.assertEqual(sorted(self.detector()[0]["negative_words"]), [w for w in left])
        self.fit_words("csp", "--mine", "wordnet", "-m", "100")
        words = self.detector()[0]["negative_words"]
        self.assertEqual(sorted(w for w in words if w in everything), nouns)  # adjectives are joined to something
        self.assertEqual(sorted(w.split()[0] for w in words if w not in nouns), ["afloat", "canine", "stone"])
        self.write("wordnet/data.adj", "nothing\n")
        self.fit_words("neglabel", "--mine", "wordnet", code=3)

    def test_each_part_of_speech_has_its_share(self):
        self.write_words(self.some_words(60, 40))
        words, options = [w for w, *_ in self.some_words(60, 40)], ("--mine", "words.txt", "--mine-share", "0.15")
        texts, classes = self.encode(words, "a photo of a {}."), self.encode(CLASSES, "a photo of a {}.")
        key = {w: max(dot(t, c) for c in classes) for w, t in zip(words, texts)}  # floor(0.95 * 3) = 2, the largest
        order = lambda of, n: sorted(of, key=lambda w: (key[w], w))[:n]
        self.assertEqual(self.fit_words("neglabel", *options)["negatives"], 15)
        chosen, selection = self.detector()[0]["negative_words"], self.detector()[0]["selection"]
        self.assertEqual(chosen, order(words[60:], 6) + order(words[:60], 9))
        self.assertEqual((selection["rule"], selection["quota"], selection["candidates"]), ("percentile", "pos", 100))
        self.fit_words("neglabel", *options, "--quota", "none")
        self.assertEqual(self.detector()[0]["negative_words"], order(words, 15))
        self.assertEqual(self.detector()[0]["selection"]["quota"], "none")
        self.fit_words("neglabel", *options, "-m", "10")
        self.assertEqual(self.detector()[0]["negative_words"], order(words[60:], 4) + order(words[:60], 6))
        self.fit_words("neglabel", *options, "--quota", "some", code=2)

    def test_adjectives_have_templates_of_their_own(self):
        self.write_words([["stone", "n"], ["blue", "a"], ["spoon", "n"], ["round", "a"], ["tiny", "a"]])
        more = ("--negative-template", "The nice {}.", "--adjective-template", "This is a {} photo.")
        for method in ("neglabel", "eoe", "clipscope"):
            self.fit_words(method, "--negatives-file", "words.txt", *more)
            options, rows = self.detector()
            self.assertEqual(options["negative_words"], ["stone", "blue", "spoon", "round", "tiny"])
            self.assertEqual(options["negative_templates"],
                             {"words": ["The nice {}."], "adjectives": ["This is a {} photo."]})
            self.assert_rows(rows, self.encode(["The nice stone.", "This is a blue photo.", "The nice spoon.",
                                                "This is a round photo.", "This is a tiny photo."], "{}"))
        self.fit_words("neglabel", "--negatives-file", "words.txt", "--negative-template", "The nice {}.")
        self.assert_rows(self.detector()[1], self.encode(["stone", "blue", "spoon", "round", "tiny"], "The nice {}."))
        self.fit_words("neglabel", "--negatives-file", "words.txt", "--adjective-template", "no place", code=2)

    # ------------------------------------------------------------------------------------------------ CSP, CLIPScope

    def test_csp_ranks_near_words_last_and_means_raw_features(self):
        words = self.some_words(60, 20)
        words[7] = ["tiger!", "n"]  # close to a class, but not its name
        self.write_words(words)
        templates = ["a photo of a {}.", "the {} in the picture", "a drawing of {}"]
        given = [x for t in templates for x in ("--template", t)]
        self.write("categories.txt", "thing\n")
        text = [w + " thing" if tag == "a" else w for w, tag, *_ in words]

        def raw_mean(texts):
            each = [self.encode(texts, t, raw=True) for t in templates]
            return [unit([sum(v) for v in zip(*rows)]) for rows in zip(*each)]

        features, classes = raw_mean(text), raw_mean(CLASSES)
        cos = [[dot(f, c) for c in classes] for f in features]
        limit = sorted(max(c) for c in cos)[-9] - 1e-4  # nine words or so are too near
        key = {t: (max(c) > limit, quantile(c, 0.95), t) for t, c in zip(text, cos)}
        out = self.fit_words("csp", *given, "--mine", "words.txt", "--super-categories", "categories.txt", "--mine-share",
                             "0.5", "--too-near", repr(limit))
        options, rows = self.detector()
        chosen = sorted(text[60:], key=key.get)[:10] + sorted(text[:60], key=key.get)[:30]
        self.assertEqual(options["negative_words"], chosen)
        self.assert_rows(rows, [features[text.index(t)] for t in chosen])
        self.assertEqual(options["selection"]["words_too_near"], sum(1 for k in key.values() if k[0]))
        self.assertGreater(options["selection"]["words_too_near"], 0)
        self.assertEqual((out["negatives"], out["groups"]), (40, 1))  # too few for a hundred groups
        self.run_("score", "--detector", "d.safetensors", "--features", "texts1.npy", "--out", "s.npy")

        # As many groups as the paper's, where there are that many words; scores are NegLabel's.
        self.assertEqual(self.fit_words("csp", "--mine", WORDS, "-m", "120")["groups"], 100)
        self.assertEqual(self.fit_words("csp", "--mine", WORDS, "-m", "120", "--groups", "7")["groups"], 7)
        whole = self.bytes_of(self.path("d.safetensors"))
        size = struct.unpack("<Q", whole[:8])[0]
        header = whole[8:8 + size].replace(b'"csp"', b'"neglabel"')
        self.assertGreater(len(header), size)
        self.write("n.safetensors", struct.pack("<Q", len(header)) + header + whole[8 + size:])
        self.run_("score", "--detector", "d.safetensors", "--features", "texts1.npy", "--out", "c.npy")
        self.run_("score", "--detector", "n.safetensors", "--features", "texts1.npy", "--out", "n.npy")
        self.assertEqual(read_npy(self.path("c.npy")), read_npy(self.path("n.npy")))
        first = self.bytes_of(self.path("d.safetensors"))
        self.fit_words("csp", "--mine", WORDS, "-m", "120", "--groups", "7", "--threads", "1")
        self.assertEqual(self.bytes_of(self.path("d.safetensors")), first)  # the categories drawn depend on the seed alone
        self.fit_words("csp", "--mine", WORDS, "-m", "120", "--groups", "7", "--seed", "2")
        self.assertNotEqual(self.bytes_of(self.path("d.safetensors")), first)

    def test_clipscope_takes_both_ends_of_the_nouns(self):
        words = self.some_words(50, 10)
        self.write_words(words)
        nouns = [w for w, tag, *_ in words if tag == "n"]
        texts, classes = self.encode(nouns, "the {}"), self.encode(CLASSES, "a photo of a {}")
        out = self.fit_words("clipscope", "--template", "a photo of a {}", "--mine", "words.txt", "-m", "21", "--rank", "2")
        key = {w: sorted(dot(t, c) for c in classes)[-2] for w, t in zip(nouns, texts)}
        far = sorted(nouns, key=lambda w: (key[w], w))[:11]
        near = sorted(nouns, key=lambda w: (-key[w], w))[:10]
        options, rows = self.detector()
        self.assertEqual(options["negative_words"], far + near)
        self.assertEqual((options["selection"]["farthest"], options["selection"]["nearest"]), (11, 10))
        self.assert_rows(rows, self.encode(far, "a photo of a {}") + self.encode(near, "a photo of {}"))
        self.assertEqual((out["negatives"], out["groups"]), (21, 1))

        scale = out["logit_scale"]
        self.run_("encode", "--model", MODEL, "--images", os.path.dirname(PICTURES), "--out", "images.npy")
        self.run_("score", "--detector", "d.safetensors", "--features", "images.npy", "--out", "s.npy")
        for image, got in list(zip(matrix(self.path("images.npy")), read_npy(self.path("s.npy"))[0]))[:20]:
            image = unit(image)
            known = [math.exp(scale * (dot(image, c) - 1)) for c in classes]
            unknown = sum(math.exp(scale * (dot(image, r) - 1)) for r in rows)
            wanted = max(known) / sum(known) * sum(known) / (sum(known) + unknown)
            self.assertAlmostEqual(got, wanted, places=3)
        self.fit_words("clipscope", "--mine", "words.txt", "--rank", "0", code=2)

    # ------------------------------------------------------------------------------------------------ the cache

    def test_the_cache_gives_the_same_bytes_and_is_never_trusted(self):
        self.write_words(self.some_words(30, 30))
        base = ("--mine", "words.txt", "-m", "20", "--adjective-template", "This is a {} photo.")
        detector = lambda: self.bytes_of(self.path("d.safetensors"))
        self.fit_words("neglabel", *base)
        without = detector()
        self.assertFalse(os.path.exists(self.path("cache")))
        self.fit_words("neglabel", *base, "--cache", "cache")
        self.assertEqual(detector(), without)
        files = sorted(os.listdir(self.path("cache")))
        self.assertEqual(len(files), 2)  # nouns and adjectives
        self.fit_words("neglabel", *base, "--cache", "cache", "--threads", "1")
        self.assertIn("30 features from cache", self.notes)
        self.assertEqual(detector(), without)
        self.assertEqual(sorted(os.listdir(self.path("cache"))), files)

        kept = os.path.join(self.path("cache"), files[0])
        good = self.bytes_of(kept)
        for bad in (good[:-1], good[:100], b"", good[:-5] + bytes([good[-5] ^ 1]) + good[-4:],
                    self.bytes_of(os.path.join(self.path("cache"), files[1]))):
            with open(kept, "wb") as f:
                f.write(bad)
            self.fit_words("neglabel", *base, "--cache", "cache")
            self.assertIn("computed anew", self.notes)
            self.assertEqual(detector(), without)
            self.assertEqual(self.bytes_of(kept), good)
        # Other words, templates or precision are other files.
        self.fit_words("neglabel", *base, "--cache", "cache", "--negative-template", "the {}")
        self.assertEqual(len(os.listdir(self.path("cache"))), 3)
        self.fit_words("neglabel", *base, "--cache", "cache", "--precision", "f64")
        self.assertEqual(len(os.listdir(self.path("cache"))), 5)
        self.write("file", "in the way")
        self.fit_words("neglabel", *base, "--cache", "file")
        self.assertIn("not kept", self.notes)
        self.assertEqual(detector(), without)

    def test_interneg_uses_the_same_words(self):
        for name in CLASSES[:2]:
            os.makedirs(self.path("train/" + name))
            with open(os.path.join(PICTURES, name + ".png"), "rb") as f:
                self.write("train/%s/1.png" % name, f.read())
        self.write("names.txt", "tiger\nspider\n")
        words = [["Tiger", "n"], ["spider", "n"]] + self.some_words(200, 100)
        self.write_words(words)
        more = ("--train", "train", "--mine", "words.txt", "--negative-template", "The nice {}.", "--adjective-template",
                "This is a {} photo.", "--cache", "cache")
        out = self.fit_words("interneg", *more, "-m", "30")
        options, rows = self.detector()
        self.assertEqual(options["selection"]["class_names_dropped"], 2)
        self.assertEqual(options["selection"]["quota"], "pos")
        self.assertLessEqual(out["negatives"], 30)
        self.assertGreater(out["negatives"], 1)
        tag = {w: t for w, t, *_ in words}
        texts = [("This is a %s photo." if tag[w] == "a" else "The nice %s.") % w for w in options["negative_words"]]
        self.assert_rows(rows, self.encode(texts, "{}"))
        self.fit_words("interneg", *more, "-m", "30")
        self.assertIn("200 features from cache", self.notes)
        self.fit_words("interneg", "--train", "train", "--negatives-file", "words.txt", code=2)


class Selected(Case):
    """`select` from features alone."""

    def setUp(self):
        super().setUp()
        draw = random.Random(8)
        self.words = [unit([draw.gauss(0, 1) for _ in range(self.D)]) for _ in range(50)]
        self.words[3] = list(self.texts[1])
        self.words[4] = list(self.texts[2])
        write_npy(self.path("words.npy"), self.words)
        self.tags = ["na"[i % 2] for i in range(50)]
        self.write("words.txt", "".join("word%02d\t%s\n" % (i, t) for i, t in enumerate(self.tags)))
        self.cosines = [sorted(dot(w, t) for t in self.texts) for w in self.words]

    def select(self, method, *more):
        self.json_("select", "--method", method, "--candidates", "words.npy", "--words", "words.txt", "--id-text", "texts.npy",
                   "--out", "s.json", *more)
        with open(self.path("s.json")) as f:
            return json.load(f)

    def test_csp(self):
        order = sorted(range(50), key=lambda i: (self.cosines[i][-1] > 0.95, quantile(self.cosines[i], 0.95)))
        near = sum(1 for c in self.cosines if c[-1] > 0.95)
        self.assertGreaterEqual(near, 2)
        s = self.select("csp", "-m", "10")
        rows = [w["row"] for w in s["selected"]]
        self.assertEqual(rows, [i for i in order if self.tags[i] == "a"][:5] + [i for i in order if self.tags[i] == "n"][:5])
        self.assertEqual(s["words_too_near"], near)
        s = self.select("csp", "-m", "50", "--quota", "none")
        self.assertEqual([w["row"] for w in s["selected"]], order)

    def test_clipscope(self):
        order = sorted(range(50), key=lambda i: self.cosines[i][0])  # of three classes the 50th-largest is the smallest
        s = self.select("clipscope", "-m", "11")
        self.assertEqual([w["row"] for w in s["selected"]], order[:6] + order[:-6:-1])
        self.assertEqual(s["farthest"], 6)
        self.run_("select", "--method", "other", "--candidates", "words.npy", "--words", "words.txt", "--id-text", "texts.npy",
                  "--out", "s.json", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=1)
