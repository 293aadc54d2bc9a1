// Detector and prompt files: what is written, what a hand may write, and what is refused.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/backend/reference.hpp>
#include <negood/io/detector.hpp>

using namespace negood;
namespace {

using io_test::code_of;
using backend = reference::context<double>;

host_matrix<float> axes(index_type rows, index_type cols, index_type first = 0) {
  host_matrix<float> out(rows, cols);
  for (index_type r = 0; r < rows; ++r) out(r, (first + r) % cols) = 1;
  return out;
}

detector_record full_record() {
  detector_record r;
  r.method = "negprompt";
  r.labels = {"chow", "\xe7\x8a\xac \"quoted\"", "a,b\nc"};
  r.positive = axes(3, 6);
  r.negative = axes(6, 6, 1);
  r.logit_scale = 100.00000000000001;
  r.temperature = 0.1;
  r.threshold = -1.0 / 3;
  r.threshold_policy = "id_recall=0.95 n=10";
  r.encoder_fingerprint = "abc";
  r.seed = 18446744073709551615u;
  r.options = R"({"beta":0.1})";
  r.ctx_positive = axes(2, 4);
  r.ctx_negative = axes(4, 4);
  r.ctx_prompts = 2;
  r.suffix = ".";
  return r;
}

/// The four required metadata and the one required tensor, as a hand would write them.
safetensors_writer by_hand(const std::string& format = "negood.detector/1", const std::string& method = "mcm") {
  safetensors_writer w;
  w.metadata("format", format);
  w.metadata("method", method);
  w.metadata("labels", R"(["a","b"])");
  w.metadata("logit_scale", "100");
  return w;
}
std::string code_when_read(safetensors_writer& w, host_matrix<float> positive = axes(2, 3)) {
  w.add("positive", positive);
  const auto bytes = w.bytes();
  return code_of([&] { parse_detector(safetensors_file::parse(byte_view(bytes))); });
}

}  // namespace

TEST_CASE("F-09 one class: refused where the score would be constant 1, allowed elsewhere") {
  auto r = full_record();
  r.labels = {"chow"};
  r.positive = axes(1, 6);
  for (const char* method : {"mcm", "msp", "coop"}) {
    r.method = method;
    CHECK(code_of([&] { check_record(r); }) == "negood.detector.7");
  }
  for (const char* method : {"maxcosine", "maxlogit", "energy", "neglabel", "negprompt"}) {
    r.method = method;
    CHECK_NOTHROW(check_record(r));
  }
}

TEST_CASE("a detector made from a bank with permuted groups scores as the bank does") {
  backend ctx;
  const auto images = axes(2, 6, 1), text = axes(1, 6);
  auto negatives = axes(5, 6, 1);
  negatives(4, 0) = 0.5F;
  const auto device = [&](const host_matrix<float>& m) { return ctx.from_host(cast<double>(m).view()); };
  const auto bank = make_prompt_bank(ctx, device(text), device(negatives), 3.0, 2, {2, 0, 3, 1});
  const auto wanted = ctx.to_host(neg_label{}(ctx, device(images), bank));
  const auto got = make_detector(ctx, bank, {"a"}, neg_label{}).score(cast<double>(images));
  for (index_type i = 0; i < 2; ++i)
    CHECK(got[static_cast<std::size_t>(i)] == Approx(probability_of_log_odds(wanted(i, 0))).epsilon(1e-12));
}

TEST_CASE("a detector file gives back every field, and the same bytes when saved again") {
  const io_test::scratch_folder dir;
  const auto r = full_record();
  save(r, dir / "d.safetensors");
  const auto back = load_detector_record(dir / "d.safetensors");
  CHECK(back.method == r.method);
  CHECK(back.labels == r.labels);
  CHECK(back.positive == r.positive);
  CHECK(back.negative == r.negative);
  CHECK(back.logit_scale == r.logit_scale);
  CHECK(back.temperature == r.temperature);
  CHECK(back.threshold == r.threshold);
  CHECK(back.threshold_policy == r.threshold_policy);
  CHECK(back.encoder_fingerprint == r.encoder_fingerprint);
  CHECK(back.labels_sha256 == labels_sha256(r.labels));
  CHECK(back.seed == r.seed);
  CHECK(back.ctx_positive == r.ctx_positive);
  CHECK(back.ctx_negative == r.ctx_negative);
  CHECK(back.ctx_prompts == 2);
  CHECK(back.suffix == ".");
  CHECK(parse_json(back.options)["beta"] == 0.1);
  save(back, dir / "again.safetensors");
  CHECK(read_file(dir / "again.safetensors") == read_file(dir / "d.safetensors"));

  const auto file = safetensors_file::read(dir / "d.safetensors");
  CHECK(file.info("ctx_negative").shape == std::vector<std::uint64_t>{2, 2, 4});
  CHECK(*file.find_metadata("format") == "negood.detector/1");
  CHECK(*file.find_metadata("logit_scale") == "100.00000000000001");
}

TEST_CASE("a loaded detector scores and decides as the saved one") {
  const io_test::scratch_folder dir;
  backend ctx;
  const detector<backend> d(ctx, full_record());
  save(d, dir / "d.safetensors");
  const auto back = load_detector(ctx, dir / "d.safetensors");
  host_matrix<double> images(3, 6);
  for (index_type i = 0; i < images.size(); ++i) images.data()[i] = std::sin(static_cast<double>(i + 1));
  CHECK(back.score(images) == d.score(images));
  CHECK(back.decide_all(images)[1].label == d.decide_all(images)[1].label);
}

TEST_CASE("a hand-made file with the required fields alone loads, its rows made unit rows") {
  auto w = by_hand();
  w.add("positive", host_matrix<float>(2, 3, std::vector<float>{3, 0, 4, 0, 2, 0}));
  const auto bytes = w.bytes();
  const auto r = parse_detector(safetensors_file::parse(byte_view(bytes)));
  CHECK(r.labels == std::vector<std::string>{"a", "b"});
  CHECK(r.logit_scale == 100);
  CHECK(r.temperature == 1);
  CHECK(r.groups == 1);
  CHECK_FALSE(r.threshold);
  CHECK(r.positive(0, 0) == Approx(0.6));
  CHECK(r.positive(1, 1) == 1);
  CHECK(r.negative.rows() == 0);
}

TEST_CASE("a threshold of minus infinity, which accepts everything, survives") {
  const io_test::scratch_folder dir;
  auto r = full_record();
  r.threshold = -std::numeric_limits<double>::infinity();
  save(r, dir / "d.safetensors");
  CHECK(load_detector_record(dir / "d.safetensors").threshold == r.threshold);
}

TEST_CASE("F-32 another major version is refused with both versions, a newer minor loads") {
  auto newer = by_hand("negood.detector/2");
  newer.add("positive", axes(2, 3));
  const auto bytes = newer.bytes();
  try {
    parse_detector(safetensors_file::parse(byte_view(bytes)));
    FAIL("accepted");
  } catch (const error& e) {
    CHECK(e.code() == "negood.file.2");
    CHECK(e.category() == error_category::artifact);
    CHECK(std::string(e.what()).find("negood.detector/2") != std::string::npos);
    CHECK(std::string(e.what()).find("negood.detector/1") != std::string::npos);
  }
  auto minor = by_hand("negood.detector/1.7");
  minor.metadata("something_new", "7");
  CHECK(code_when_read(minor).empty());
  for (const std::string format : {"negood.detector/", "negood.detector/x", "negood.detector/0", "other/1", ""}) {
    auto w = by_hand(format);
    CHECK(code_when_read(w) == "negood.file.1");
  }
}

TEST_CASE("a detector file that cannot be right is refused") {
  const auto with = [](const std::string& key, const std::string& value, const std::string& method = "mcm") {
    auto w = by_hand("negood.detector/1", method);
    w.metadata(key, value);
    return code_when_read(w);
  };
  CHECK(with("method", "no such") == "negood.detector.1");
  CHECK(with("labels", R"(["a"])") == "negood.detector.4");
  CHECK(with("labels", R"(["a",1])") == "negood.file.3");
  CHECK(with("labels", R"({"a":1})") == "negood.file.3");
  CHECK(with("labels", "[\"a\"") == "negood.file.3");
  CHECK(with("logit_scale", "") == "negood.file.3");
  CHECK(with("logit_scale", "nan") == "negood.file.3");
  CHECK(with("logit_scale", "1e400") == "negood.file.3");
  CHECK(with("logit_scale", "0", "energy") == "negood.detector.8");
  CHECK(with("logit_scale", "-3", "msp") == "negood.detector.8");
  CHECK(with("groups", "x") == "negood.file.3");
  CHECK(with("groups", "0") == "negood.detector.10");
  CHECK(with("threshold", "nan") == "negood.file.3");
  CHECK(with("threshold", "inf") == "negood.file.3");
  CHECK(with("options", "[]") == "negood.file.3");
  CHECK(with("options", R"({"temperature":"1"})") == "negood.file.3");
  CHECK(with("options", R"({"temperature":0})") == "negood.detector.9");
  CHECK(with("options", R"({"temperature":1,"temperature":2})") == "negood.file.3");
  CHECK(with("labels_sha256", "00") == "negood.file.7");
  CHECK(with("method", "neglabel") == "negood.detector.6");
  for (const char* key : {"method", "labels", "logit_scale"}) {
    safetensors_writer w;
    w.metadata("format", "negood.detector/1");
    for (const auto& [k, v] :
         {std::pair{"method", "mcm"}, std::pair{"labels", R"(["a","b"])"}, std::pair{"logit_scale", "1"}})
      if (std::string(k) != key) w.metadata(k, v);
    CHECK(code_when_read(w) == "negood.file.3");
  }
  auto nan = by_hand();
  auto rows = axes(2, 3);
  rows(1, 2) = std::nanf("");
  CHECK(code_when_read(nan, rows) == "negood.file.5");
  auto zero = by_hand();
  CHECK(code_when_read(zero, host_matrix<float>(2, 3)) == "negood.feature.3");
  auto wide = by_hand("negood.detector/1", "neglabel");
  wide.add("negative", axes(2, 4));
  CHECK(code_when_read(wide) == "negood.detector.5");
  auto flat = by_hand();
  flat.add<float>("positive", {6}, axes(2, 3).view().values());
  const auto bytes = flat.bytes();
  CHECK(code_of([&] { parse_detector(safetensors_file::parse(byte_view(bytes))); }) == "negood.file.4");
}

TEST_CASE("every prefix of a detector file is refused") {
  const io_test::scratch_folder dir;
  save(full_record(), dir / "d.safetensors");
  const auto bytes = read_file(dir / "d.safetensors");
  for (std::size_t n = 0; n < bytes.size(); ++n)
    if (code_of([&] { parse_detector(safetensors_file::parse(byte_view(bytes).first(n))); }).empty())
      FAIL("accepted a prefix of " << n << " of " << bytes.size() << " bytes");
  SUCCEED();
}

TEST_CASE("learned prompts are saved without class names and come back, shared and class-specific") {
  const io_test::scratch_folder dir;
  for (const bool csc : {false, true}) {
    learned_prompts<float> p;
    p.scope = csc ? context_scope::class_specific : context_scope::shared;
    p.context_length = 2;
    p.negatives = 3;
    const index_type classes = csc ? 4 : 1;
    p.positive = axes(classes * 2, 5);
    p.negative = axes(classes * 6, 5, 2);
    p.suffix = csc ? "" : ".";
    p.encoder_fingerprint = "abcdef";
    p.logit_scale = 15.5;
    p.seed = 7;
    save(p, dir / "p.safetensors");
    const auto back = load_prompts(dir / "p.safetensors");
    CHECK(back.positive == p.positive);
    CHECK(back.negative == p.negative);
    CHECK(back.context_length == 2);
    CHECK(back.negatives == 3);
    CHECK(back.suffix == p.suffix);
    CHECK(back.scope == p.scope);
    CHECK(back.encoder_fingerprint == "abcdef");
    CHECK(back.logit_scale == 15.5);
    CHECK(back.seed == 7);
    CHECK(code_of([&] { back.require_encoder("other"); }) == "negood.prompt.2");
    CHECK(code_of([&] { back.require_suffix("!"); }) == "negood.prompt.3");
    CHECK(safetensors_file::read(dir / "p.safetensors").find_metadata("labels") == nullptr);
  }
}

TEST_CASE("a detector of learned prompts gives its contexts back for other names") {
  const io_test::scratch_folder dir;
  for (const bool csc : {false, true}) {
    learned_prompts<double> p;
    p.scope = csc ? context_scope::class_specific : context_scope::shared;
    p.context_length = 2;
    p.negatives = 2;
    p.positive = cast<double>(axes(csc ? 6 : 2, 4));
    p.negative = cast<double>(axes(csc ? 12 : 4, 4, 1));
    p.suffix = "!";
    p.encoder_fingerprint = "tower";
    p.logit_scale = 100;
    auto r = full_record();
    attach_prompts(r, p);
    save(r, dir / "d.safetensors");
    for (const auto& back :
         {prompts_of(load_detector_record(dir / "d.safetensors")), load_prompts(dir / "d.safetensors")}) {
      CHECK(cast<double>(back.positive) == p.positive);
      CHECK(cast<double>(back.negative) == p.negative);
      CHECK(back.context_length == 2);
      CHECK(back.negatives == 2);
      CHECK(back.scope == p.scope);
      CHECK(back.suffix == "!");
      CHECK(back.encoder_fingerprint == "tower");
    }
  }
  auto plain = full_record();
  plain.ctx_positive = plain.ctx_negative = host_matrix<float>();
  CHECK(code_of([&] { prompts_of(plain); }) == "negood.file.8");
}

TEST_CASE("F-34 a save that fails at any system call leaves the old detector whole") {
  struct failing : file_system {
    int left = 0;
    bool spend() {
      if (left-- > 0) return false;
      errno = ENOSPC;
      return true;
    }
    ssize_t write(int fd, const void* data, std::size_t size) override {
      return spend() ? -1 : file_system::write(fd, data, size);
    }
    int fsync(int fd) override { return spend() ? -1 : file_system::fsync(fd); }
    int rename(const char* from, const char* to) override { return spend() ? -1 : file_system::rename(from, to); }
  };
  const io_test::scratch_folder dir;
  auto old = full_record();
  save(old, dir / "d.safetensors");
  const auto before = read_file(dir / "d.safetensors");
  auto changed = old;
  changed.threshold = 0.75;
  bool done = false;
  for (int calls = 0; !done; ++calls) {
    REQUIRE(calls < 100);
    failing disk;
    disk.left = calls;
    try {
      save(changed, dir / "d.safetensors", disk);
      done = true;
    } catch (const error& e) {
      CHECK(e.exit_code() == 5);
    }
    const auto now = read_file(dir / "d.safetensors");
    const bool is_old = now == before;
    if (!is_old) CHECK(load_detector_record(dir / "d.safetensors").threshold == 0.75);
    CHECK(dir.entries() == 1);
  }
}
