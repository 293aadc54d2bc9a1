// Files of a stream: attempts to replay, checkpoints to resume.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/io/stream_files.hpp>

using namespace negood;
using io_test::code_of;

namespace {

detector_record texts() {
  detector_record r;
  r.method = "interneg";
  r.labels = {"a", "b"};
  r.positive = host_matrix<float>(2, 3, {1, 0, 0, 0, 1, 0});
  r.negative = host_matrix<float>(1, 3, {0, 0, 1});
  r.proxies = host_matrix<float>(2, 3, {0.6F, 0.8F, 0, 0, 1, 0});
  r.logit_scale = 10;
  return r;
}

}  // namespace

TEST_CASE("attempts come back as they were") {
  const io_test::scratch_folder folder;
  const stream_attempts wanted{{{3, 1}, {18446744073709551615u, 0}},
                               host_matrix<float>(2, 3, {1, 0, 0, 0, 0.6F, 0.8F})};
  save(wanted, folder / "a.safetensors");
  const auto got = load_attempts(folder / "a.safetensors");
  REQUIRE(got.who.size() == 2);
  CHECK(got.who[1].sequence == 18446744073709551615u);
  CHECK(got.who[0].source == 1);
  CHECK(got.features.values() == wanted.features.values());
  safetensors_writer w;
  w.metadata("format", "negood.attempts/1");
  w.add("features", wanted.features);
  w.add<std::uint64_t>("sequence", {1}, std::vector<std::uint64_t>{1});
  w.add<std::uint64_t>("source", {2}, std::vector<std::uint64_t>{1, 2});
  w.save(folder / "b.safetensors");
  CHECK(code_of([&] { load_attempts(folder / "b.safetensors"); }) == "negood.file.4");
}

TEST_CASE("a checkpoint holds answers and memory, and is of one run") {
  const io_test::scratch_folder folder;
  stream_checkpoint c{"run", {}, {negative_memory(3, 3)}};
  c.learned.memory.insert(std::vector<float>{0, 0.6F, 0.8F}, {0.5, 4, 0});
  c.learned.last_sequence = 5;
  c.answers.push_back({0.25, -1, 1, admission::admitted, 0.125, 0.5, 7});
  c.answers.push_back({1.0 / 3, -0.5, 0, admission::quarantined, 0, 0, 7});
  save(c, texts(), folder / "c.safetensors");
  const auto got = load_stream_checkpoint(texts(), folder / "c.safetensors", "run");
  REQUIRE(got.answers.size() == 2);
  CHECK(got.answers[0].outcome == admission::admitted);
  CHECK(got.answers[1].score == 1.0 / 3);
  CHECK(got.answers[1].outcome == admission::quarantined);
  CHECK(got.answers[0].label_index == 1);
  CHECK(got.answers[0].memory_version == 7);
  CHECK(got.learned.last_sequence == 5u);
  CHECK(got.learned.memory.entries() == c.learned.memory.entries());
  CHECK(code_of([&] { load_stream_checkpoint(texts(), folder / "c.safetensors", "other"); }) == "negood.checkpoint.1");
  auto others = texts();
  others.logit_scale = 11;
  CHECK(code_of([&] { load_stream_checkpoint(others, folder / "c.safetensors", "run"); }) == "negood.file.9");
}
