// Checkpoints: a run stopped at any step and taken up again is the uninterrupted run, byte by byte.
#include "catch.hpp"

#include "clip/towers.hpp"
#include "io/io_test.hpp"

#include <negood/backend/reference.hpp>
#include <negood/io/checkpoint.hpp>

using namespace negood;
namespace {

using io_test::code_of;
namespace fs = std::filesystem;
using backend = reference::context<double>;

const std::vector<std::string> names{"ab", "cd_ef", "xyz"};

struct run {
  backend ctx;
  bpe_tokenizer tokenizer = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  clip::text_tower<backend> tower;
  training_features<double> train;
  negprompt_options options;

  explicit run(optimizer_kind kind)
      : tower(towers::random_text_tower(ctx,
                                        {.width = 16,
                                         .heads = 2,
                                         .layers = 2,
                                         .context_length = 32,
                                         .vocabulary = tokenizer.vocabulary_size(),
                                         .embedding = 8},
                                        5)) {
    tower.fingerprint = "tower";
    train.features = host_matrix<double>(12, 8);
    random_sequence draw(3, random_purpose::test, 0);
    for (auto& v : train.features.values()) v = draw.next_normal();
    train.features = ctx.to_host(normalise_rows(ctx, train.features).unit);
    for (index_type i = 0; i < 12; ++i) train.labels.push_back(i % 3);
    options.context_length = 3;
    options.stage1 = {.epochs = 3, .batch = 4, .learning_rate = 0.05, .optimizer = {.kind = kind}};
    options.stage2 = {.epochs = 3, .batch = 4, .learning_rate = 0.05, .optimizer = {.kind = kind}};
  }
  learned_prompts<double> fit(const training_start<double>& start = {}, const training_hooks<double>& hooks = {}) {
    return fit_negprompt(ctx, tower, tokenizer, 20.0, names, train, options, start, hooks).prompts;
  }
};

training_checkpoint<double> some_checkpoint(index_type step) {
  training_checkpoint<double> c;
  c.stage = 2;
  c.step = step;
  c.optimizer_steps = step + 1;
  c.positive = host_matrix<double>(2, 3, 0.1 * static_cast<double>(step));
  c.negative = host_matrix<double>(4, 3, -1.0 / 3);
  c.positive_first = c.positive_second = host_matrix<double>(2, 3, 1e-300);
  c.negative_first = c.negative_second = host_matrix<double>(4, 3, 5.0);
  return c;
}

}  // namespace

TEST_CASE("F-35 stopped at every step, saved, loaded and resumed: the bytes of the uninterrupted run") {
  const io_test::scratch_folder dir;
  for (const auto kind : {optimizer_kind::sgd, optimizer_kind::adamw}) {
    run r(kind);
    const auto whole = r.fit();
    for (int stop_after = 1; stop_after <= 18; ++stop_after) {
      int steps = 0;
      training_hooks<double> hooks;
      hooks.on_checkpoint = [&](const training_checkpoint<double>& c) { save_checkpoint(c, dir / "c", "this run"); };
      hooks.stop = [&] { return ++steps == stop_after; };
      CHECK(code_of([&] { r.fit({}, hooks); }) == "negood.train.2");
      training_start<double> start;
      start.resume = load_checkpoint<double>(dir / "c", "this run");
      REQUIRE(start.resume);
      const auto resumed = r.fit(start);
      CHECK(resumed.positive == whole.positive);
      CHECK(resumed.negative == whole.negative);
    }
  }
}

TEST_CASE("the newest valid checkpoint is loaded, whatever a crash left of the newest") {
  const io_test::scratch_folder dir;
  CHECK_FALSE(load_checkpoint<double>(dir / "c"));
  for (index_type step = 1; step <= 3; ++step) save_checkpoint(some_checkpoint(step), dir / "c");
  CHECK(load_checkpoint<double>(dir / "c")->step == 3);
  CHECK(load_checkpoint<double>(previous_checkpoint(dir / "c"))->step == 2);

  const auto good = read_file(dir / "c");
  std::string note;
  for (std::size_t n = 0; n < good.size(); n += 97) {  // torn at any place
    write_file(dir / "c", byte_view(good).first(n));
    REQUIRE(load_checkpoint<double>(dir / "c", {}, &note)->step == 2);
    CHECK_FALSE(note.empty());
  }
  for (std::size_t at = 8; at < good.size(); at += 31) {  // a flipped bit of the header or the values
    auto bad = good;
    bad[at] ^= 0x10;
    write_file(dir / "c", byte_view(bad));
    std::optional<training_checkpoint<double>> c;
    const auto code = code_of([&] { c = load_checkpoint<double>(dir / "c"); });
    const bool previous = c && c->step == 2, same = c && c->step == 3 && c->negative == some_checkpoint(3).negative;
    INFO("byte " << at << ": " << code);
    CHECK((previous || same || code == "negood.checkpoint.1"));
  }
  fs::remove(dir / "c");
  CHECK(load_checkpoint<double>(dir / "c")->step == 2);
  write_file(previous_checkpoint(dir / "c"), "nothing");
  CHECK(code_of([&] { load_checkpoint<double>(dir / "c"); }) == "negood.checkpoint.3");
  remove_checkpoints(dir / "c");
  CHECK_FALSE(load_checkpoint<double>(dir / "c"));
}

TEST_CASE("a checkpoint belongs to its run and precision") {
  const io_test::scratch_folder dir;
  save_checkpoint(some_checkpoint(1), dir / "c", "one");
  CHECK(load_checkpoint<double>(dir / "c", "one")->optimizer_steps == 2);
  CHECK(code_of([&] { load_checkpoint<double>(dir / "c", "two"); }) == "negood.checkpoint.1");
  CHECK(code_of([&] { load_checkpoint<float>(dir / "c", "one"); }) == "negood.checkpoint.1");
}

TEST_CASE("a full disk during a checkpoint leaves one that loads") {
  struct full : file_system {
    int left = 0;
    ssize_t write(int fd, const void* data, std::size_t size) override {
      if (left-- > 0) return file_system::write(fd, data, std::min<std::size_t>(size, 100));
      errno = ENOSPC;
      return -1;
    }
  };
  const io_test::scratch_folder dir;
  save_checkpoint(some_checkpoint(1), dir / "c");
  const auto enough = static_cast<int>(fs::file_size(dir / "c") / 100);
  for (int writes = 0; writes < enough; ++writes) {
    full disk;
    disk.left = writes;
    CHECK(code_of([&] { save_checkpoint(some_checkpoint(2), dir / "c", {}, disk); }) == "negood.io.6");
    CHECK(load_checkpoint<double>(dir / "c")->step == 1);
  }
}
