"""score --stream: memories, guards, replay, signals and locks, on the embedded model.

Standard library only. Usage: test_streams.py PATH_TO_NEGOOD
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_cli import HAVE_MODEL, MODEL, PICTURES, PROGRAM, SOURCE, Case, read_npy, write_npy_raw


def rows_of(path):
    """Rows of a two-dimensional float32 .npy file, as bytes, and their width."""
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<H", data[8:10])[0]
    shape = data[10:10 + n].decode().split("(")[1].split(")")[0].split(",")
    width = int(shape[1])
    body = data[10 + n:]
    return [body[i:i + 4 * width] for i in range(0, len(body), 4 * width)], width


@unittest.skipUnless(HAVE_MODEL, "needs models/")
class Stream(Case):
    def setUp(self):
        super().setUp()
        names = ["spider", "poodle", "ox"]
        self.write("names.txt", "\n".join(names) + "\n")
        for n in names:
            os.makedirs(self.path("train/" + n))
            shutil.copy(os.path.join(PICTURES, n + ".png"), self.path("train/" + n))
        words = os.path.join(SOURCE, "models", "demo-words.txt")
        out = self.json_("fit", "--method", "interneg", "--model", MODEL, "--names", "names.txt", "--train", "train", "--mine",
                         words, "-m", "50", "--out", "i.safetensors")
        self.assertEqual(out["negatives"], 50)
        self.json_("encode", "--model", MODEL, "--images", PICTURES + "/..", "--out", "all.npy")

    def stream(self, *more, detector="i.safetensors", **kw):
        return self.json_("score", "--detector", detector, "--features", "all.npy", "--model", MODEL, "--stream", "--beta",
                          "0.9", "-k", "20", *more, **kw)

    def bytes_of(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def repeat(self, times):
        """all.npy, every image `times` times."""
        rows, width = rows_of(self.path("all.npy"))
        rows = rows * times
        write_npy_raw(self.path("all.npy"), b"".join(rows), "(%d, %d)" % (len(rows), width), "<f4")
        return len(rows)

    def test_from_words_to_memory(self):
        common = ["score", "--detector", "i.safetensors", "--features", "all.npy"]
        self.json_(*common, "--out", "static.npy")
        a = self.stream("--guards", "off", "--out", "a.npy", "--log-out", "log.jsonl", "--memory-out", "with.safetensors",
                        "--threads", "1")
        self.stream("--guards", "off", "--out", "b.npy", "--threads", "2")
        static, adaptive = read_npy(self.path("static.npy"))[0], read_npy(self.path("a.npy"))[0]
        self.assertEqual(adaptive, read_npy(self.path("b.npy"))[0])
        self.assertEqual(len(adaptive), len(static))
        for x, y in zip(adaptive, static):
            self.assertLessEqual(x, y + 1e-9)
        self.assertEqual(a["memory"], 20)
        self.assertEqual(sum(a["outcomes"].values()), len(static))
        self.assertEqual(a["memory_version"], a["outcomes"]["admitted"])
        with open(self.path("log.jsonl")) as f:
            log = [json.loads(line) for line in f]
        self.assertEqual([line["score"] for line in log], adaptive)
        frozen = self.stream("--admission", "frozen", "--out", "f.npy")
        self.assertEqual(frozen["memory"], 0)
        for x, y in zip(read_npy(self.path("f.npy"))[0], static):
            self.assertAlmostEqual(x, y, places=5)
        deferred = self.stream("--guards", "off", "--admission", "deferred", "--out", "g.npy")
        self.assertEqual(read_npy(self.path("g.npy"))[0], read_npy(self.path("f.npy"))[0])
        self.assertEqual(deferred["memory"], 20)

    def test_fit_says_what_a_stream_starts_from(self):
        words = os.path.join(SOURCE, "models", "demo-words.txt")
        self.write("templates.txt", "a photo of {}\na picture of $\n")
        self.json_("fit", "--method", "interneg", "--model", MODEL, "--names", "names.txt", "--train", "train", "--mine", words,
                   "-m", "50", "-k", "20", "--beta", "0.9", "--steps", "3", "--templates", "templates.txt", "--out", "own.safetensors")
        args = ["score", "--detector", "own.safetensors", "--features", "all.npy", "--model", MODEL, "--stream"]
        own = self.json_(*args, "--out", "own.npy")
        self.assertEqual(own["settings"]["steps"], 3)
        self.assertEqual(own["settings"]["memory"], 20)
        self.assertEqual(len(own["settings"]["templates"]), 2)
        self.stream("--steps", "3", "--templates", "a photo of {}", "a picture of {}", "--out", "said.npy")
        self.assertEqual(self.bytes_of("own.npy"), self.bytes_of("said.npy"))
        self.assertEqual(self.json_(*args, "--steps", "4", "--out", "x.npy")["settings"]["steps"], 4)

    def test_memory_goes_on_where_it_ended(self):
        rows, width = rows_of(self.path("all.npy"))
        write_npy_raw(self.path("one.npy"), b"".join(rows[:70]), "(70, %d)" % width, "<f4")
        write_npy_raw(self.path("two.npy"), b"".join(rows[70:]), "(%d, %d)" % (len(rows) - 70, width), "<f4")
        whole = self.stream("--guards", "off", "--out", "whole.npy", "--memory-out", "whole.safetensors")
        args = ["score", "--model", MODEL, "--stream", "--guards", "off"]
        self.json_(*args, "--detector", "i.safetensors", "--beta", "0.9", "-k", "20", "--features", "one.npy", "--out", "one.out",
                   "--memory-out", "one.safetensors")
        # Beta, size and the rest are in the detector now.
        self.json_(*args, "--detector", "one.safetensors", "--features", "two.npy", "--out", "two.out", "--memory-out",
                   "two.safetensors")
        self.assertEqual(self.bytes_of("two.safetensors"), self.bytes_of("whole.safetensors"))
        scores = [read_npy(self.path(n))[0] for n in ("one.out", "two.out", "whole.npy")]
        self.assertEqual(scores[0] + scores[1], scores[2])
        # The memory counts wherever the detector scores.
        self.json_("score", "--detector", "whole.safetensors", "--features", "all.npy", "--out", "with.npy")
        self.json_("score", "--detector", "i.safetensors", "--features", "all.npy", "--out", "without.npy")
        with_, without = read_npy(self.path("with.npy"))[0], read_npy(self.path("without.npy"))[0]
        self.assertTrue(all(a <= b + 1e-6 for a, b in zip(with_, without)))
        self.assertLess(sum(with_), sum(without) - 1)
        self.assertEqual(whole["memory"], self.json_("inspect", "whole.safetensors")["memory"]["rows"])
        # A memory cannot be moved to other texts.
        damaged = bytearray(self.bytes_of("whole.safetensors"))
        damaged[-1] ^= 1
        self.write("damaged.safetensors", bytes(damaged))
        self.run_("score", "--detector", "damaged.safetensors", "--features", "all.npy", "--out", "x.npy", code=4)

    def test_replay_builds_the_same_memory(self):
        self.stream("--guards", "off", "--out", "a.npy", "--attempts-out", "at.safetensors", "--memory-out", "a.safetensors")
        again = ["score", "--stream", "--replay", "at.safetensors", "--detector", "i.safetensors", "--model", MODEL, "--beta",
                 "0.9", "-k", "20", "--guards", "off"]
        self.json_(*again, "--memory-out", "b.safetensors")
        a, b = self.bytes_of("a.safetensors"), self.bytes_of("b.safetensors")
        self.assertEqual(a, b)
        self.run_(*again, code=2)

    def test_guards(self):
        n = self.repeat(3)
        off = self.stream("--guards", "off", "--out", "a.npy")
        safe = self.stream("--out", "b.npy", "--window", "100", "--window-share", "0.1")
        self.assertEqual(sum(safe["outcomes"].values()), n)
        windows = -(-n // 100)
        self.assertLessEqual(safe["outcomes"]["admitted"], 2 * windows)  # 10 % of 20 rows a window
        self.assertGreater(off["outcomes"]["admitted"], safe["outcomes"]["admitted"])
        self.assertGreater(safe["outcomes"]["refused_window"], 0)
        # One source may not fill the memory.
        self.write("sources.txt", "".join("%d\n" % (i % 2) for i in range(n)))
        capped = self.stream("--guards", "off", "--sources", "sources.txt", "--source-cap", "3", "--out", "c.npy")
        self.assertEqual(capped["memory"], 6)
        twice = self.stream("--guards", "off", "--sources", "sources.txt", "--sightings", "2", "--out", "q.npy")
        self.assertGreater(twice["outcomes"]["quarantined"], 0)
        self.write("few.txt", "1\n")
        self.run_("score", "--detector", "i.safetensors", "--features", "all.npy", "--model", MODEL, "--stream", "--sources",
                  "few.txt", "--out", "x.npy", code=3)
        # A memory that turns known images stops, and says so.
        drift = self.json_("score", "--detector", "i.safetensors", "--features", "all.npy", "--model", MODEL, "--stream",
                           "--guards", "off", "--drift-limit", "0", "--beta", "0.9", "--out", "d.npy")
        self.assertTrue(drift["drifted"])
        free = self.json_("score", "--detector", "i.safetensors", "--features", "all.npy", "--model", MODEL, "--stream",
                          "--guards", "off", "--beta", "0.9", "--out", "e.npy")
        self.assertLess(drift["memory_version"], free["memory_version"])

    def test_adaneg_and_clipscope(self):
        words = os.path.join(SOURCE, "models", "demo-words.txt")
        fit = ["fit", "--model", MODEL, "--names", "names.txt", "--mine", words, "--mine-count", "100"]
        self.json_(*fit, "--method", "adaneg", "--out", "a.safetensors")
        self.json_(*fit, "--method", "clipscope", "--rank", "1", "--out", "c.safetensors")
        for detector in ("a", "c"):  # neither needs a model to stream features
            args = ["score", "--detector", detector + ".safetensors", "--features", "all.npy"]
            self.json_(*args, "--out", "static.npy")
            self.json_(*args, "--stream", "--out", "one.npy", "--threads", "1")
            self.json_(*args, "--stream", "--out", "two.npy", "--threads", "2")
            self.assertEqual(self.bytes_of("one.npy"), self.bytes_of("two.npy"))
            self.assertNotEqual(self.bytes_of("one.npy"), self.bytes_of("static.npy"))
            self.run_(*args, "--stream", "--memory-out", "m.safetensors", "--out", "x.npy", code=2)
        args = ["score", "--detector", "a.safetensors", "--features", "all.npy", "--stream"]
        task = self.json_(*args, "--proxies", "task", "--gap-rule", "window", "--semantics", "reference-batch:64", "--out", "t.npy")
        self.assertGreater(task["outcomes"]["admitted"], 0)
        self.assertGreater(task["memory_bytes"], 0)
        self.run_(*args, "--gamma", "2", "--out", "x.npy", code=2)

    def test_reference_batches_and_wrong_options(self):
        a = self.stream("--semantics", "reference-batch:32", "--groups", "5", "--out", "a.npy")
        b = self.stream("--semantics", "reference-batch:32", "--groups", "5", "--threads", "2", "--out", "b.npy")
        self.assertEqual(a["outcomes"], b["outcomes"])
        self.assertEqual(self.bytes_of("a.npy"), self.bytes_of("b.npy"))
        self.stream("--semantics", "reference-batch:64", "--groups", "5", "--out", "c.npy")
        self.assertNotEqual(self.bytes_of("a.npy"), self.bytes_of("c.npy"))
        for wrong in (["--groups", "5"], ["--semantics", "batches"], ["--semantics", "reference-batch:0"], ["--beta", "2"],
                      ["--beta", "threshold"], ["--sightings", "0"], ["--window", "-1"], ["--guards", "some"],
                      ["--templates", "a photo"], ["--shard", "1/2"],
                      ["--semantics", "reference-batch:32", "--memory-out", "m.safetensors"]):
            self.run_("score", "--detector", "i.safetensors", "--features", "all.npy", "--model", MODEL, "--stream", *wrong,
                      "--out", "x.npy", code=2)
        self.assertFalse(os.path.exists(self.path("x.npy")))

    def test_a_signal_leaves_a_checkpoint_and_resume_goes_on(self):
        self.repeat(40)
        args = ["score", "--detector", "i.safetensors", "--features", "all.npy", "--model", MODEL, "--stream", "--beta", "0.9",
                "-k", "20", "--guards", "off", "--out", "s.npy", "--threads", "1", "--json"]
        run = subprocess.Popen([PROGRAM, *args, "--checkpoint-every", "256", "--progress", "plain"], cwd=self.folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        began = time.time()
        while not os.path.exists(self.path("s.npy.checkpoint")) and run.poll() is None and time.time() - began < 60:
            time.sleep(0.01)
        # Another run that would write the same file is turned away meanwhile.
        if run.poll() is None:
            self.run_(*args[:-1], code=5)
        run.send_signal(signal.SIGTERM)
        stopped = time.time()
        error = run.communicate(timeout=60)[1].decode()
        self.assertLess(time.time() - stopped, 5)
        self.assertEqual(run.returncode, 8, error)
        self.assertIn("--resume", error)
        self.assertFalse(os.path.exists(self.path("s.npy")))
        self.assertEqual([n for n in os.listdir(self.folder) if n.endswith(".lock")], [])
        self.run_(*args[:-1], "--resume", "--steps", "9", code=2)  # another run's checkpoint
        resumed = self.json_(*args[:-1], "--resume")
        self.assertFalse(os.path.exists(self.path("s.npy.checkpoint")))
        os.rename(self.path("s.npy"), self.path("resumed.npy"))
        whole = self.json_(*args[:-1])
        self.assertEqual(resumed["outcomes"], whole["outcomes"])
        self.assertEqual(self.bytes_of("resumed.npy"), self.bytes_of("s.npy"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
