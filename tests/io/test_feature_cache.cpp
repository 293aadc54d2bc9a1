// Cached features: what is in the key, and that nothing but the file as written is used.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/io/feature_cache.hpp>

#include <fstream>
#include <limits>
#include <set>

using namespace negood;
using io_test::code_of;

namespace {

const std::vector<std::string> words{"stone", "bridge", "spoon"}, templates{"the {}.", "a {}"};

feature_request request() {
  return {.encoder = "0123",
          .words = words,
          .templates = templates,
          .arithmetic = "eigen f32",
          .template_mean = "unit",
          .width = 4};
}

struct computation {
  host_matrix<float> features{3, 4};
  int runs = 0;
  computation() {
    for (index_type i = 0; i < features.size(); ++i) features.data()[i] = 0.25F * static_cast<float>(i) - 1;
  }
  host_matrix<float> operator()() {
    ++runs;
    return features;
  }
};

std::filesystem::path only_file(const std::filesystem::path& folder) {
  std::filesystem::path out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    REQUIRE(out.empty());
    out = entry.path();
  }
  return out;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const std::filesystem::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

}  // namespace

TEST_CASE("several rows a name: another key, and as many rows as were asked for") {
  const io_test::scratch_folder folder;
  auto r = request();
  const auto key = r.key();
  r.rows_each = 2;
  CHECK(r.key() != key);
  host_matrix<float> six(6, 4, std::vector<float>(24, 0.5F));
  CHECK(cached_features(folder.path(), r, [&] { return six; }).rows() == 6);
  cache_report report;
  CHECK(cached_features(
            folder.path(), r, [&] { return six; }, &report)
            .values() == six.values());
  CHECK(report.hit);
  r.rows_each = 3;
  CHECK(code_of([&] { cached_features(folder.path(), r, [&] { return six; }); }) == "negood.shape.2");
}

TEST_CASE("features are computed once and read afterwards", "[feature_cache]") {
  const io_test::scratch_folder dir;
  const auto folder = dir / "made";
  computation compute;
  cache_report report;
  const auto first = cached_features(folder, request(), std::ref(compute), &report);
  CHECK_FALSE(report.hit);
  CHECK(report.refused.empty());
  CHECK(report.not_written.empty());
  CHECK(only_file(folder).filename() == request().key() + ".safetensors");
  const auto second = cached_features(folder, request(), std::ref(compute), &report);
  CHECK(report.hit);
  CHECK(compute.runs == 1);
  CHECK(first == compute.features);
  CHECK(second == first);
}

TEST_CASE("everything that decides a feature is in the key", "[feature_cache]") {
  const std::vector<std::string> other{"stone", "spoon", "bridge"}, joined{"stonebridge", "spoon"},
      split{"stone", "bridgespoon"}, moved{"stone", "bridge", "spoon", "the {}."};
  std::set<std::string> keys;
  const auto add = [&](auto&& change) {
    auto r = request();
    change(r);
    const auto key = r.key();
    CHECK(key.size() == 64);
    keys.insert(key);
  };
  const auto all = std::span<const std::string>(words), patterns = std::span<const std::string>(templates);
  add([](feature_request&) {});
  add([](feature_request& r) { r.encoder = "0124"; });
  add([](feature_request& r) { r.arithmetic = "eigen bf16"; });
  add([](feature_request& r) { r.template_mean = "raw"; });
  add([](feature_request& r) { r.width = 5; });
  add([&](feature_request& r) { r.words = other; });
  add([&](feature_request& r) { r.words = joined; });
  add([&](feature_request& r) { r.words = split; });
  add([&](feature_request& r) { r.words = all.first(2); });
  add([&](feature_request& r) { r.templates = patterns.first(1); });
  add([&](feature_request& r) { r.templates = patterns.last(1); });
  add([&](feature_request& r) {
    r.words = moved;
    r.templates = patterns.last(1);
  });
  add([](feature_request& r) { r.words = {}; });
  CHECK(keys.size() == 13);
  // Computed with Python's hashlib: a key once written must stay what it is.
  CHECK(request().key() == "b59a33ffd63eeb068fa47deef9f2b4e158de3dfcbc111ee561724e5560f6670e");
}

TEST_CASE("a damaged or foreign file is computed anew and replaced", "[feature_cache]") {
  const io_test::scratch_folder dir;
  computation compute;
  cached_features(dir.path(), request(), std::ref(compute));
  const auto path = only_file(dir.path());
  const auto whole = bytes_of(path);
  const auto again = [&](std::string_view bytes) {
    write(path, bytes);
    cache_report report;
    const auto before = compute.runs;
    CHECK(cached_features(dir.path(), request(), std::ref(compute), &report) == compute.features);
    CHECK(report.hit == (compute.runs == before));
    CHECK(report.hit == report.refused.empty());
    if (!report.hit) CHECK(bytes_of(path) == whole);
    return report;
  };
  for (std::size_t n = 0; n < whole.size(); n += 7) CHECK_FALSE(again(std::string_view(whole).substr(0, n)).hit);
  for (std::size_t n = 0; n < whole.size(); ++n) {  // a changed byte is found, or is one that says nothing (a space)
    auto flipped = whole;
    flipped[n] = static_cast<char>(flipped[n] ^ 0x10);
    again(flipped);
  }
  CHECK_FALSE(again(whole + "x").hit);
  CHECK(again(whole).hit);

  // Well-formed files that are not the features asked for.
  const auto with = [&](const std::string& key, const host_matrix<float>& m, bool hash = true) {
    safetensors_writer writer;
    writer.metadata("format", "negood.features/1");
    writer.metadata("key", key);
    if (hash) writer.metadata("content_sha256", detail::content_hash(m));
    writer.add("features", m);
    const auto bytes = writer.bytes();
    return again(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  };
  const auto key = request().key();
  auto odd = compute.features;
  CHECK(with(key, odd).hit);
  CHECK_THAT(with(key, odd, false).refused, Catch::Contains("another hash"));
  CHECK_THAT(with(std::string(64, '0'), odd).refused, Catch::Contains("its key is another"));
  CHECK_THAT(with(key, host_matrix<float>(4, 3)).refused, Catch::Contains("[3, 4]"));
  odd(1, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THAT(with(key, odd).refused, Catch::Contains("row 1"));
  odd(1, 2) = std::numeric_limits<float>::infinity();
  CHECK_THAT(with(key, odd).refused, Catch::Contains("row 1"));
}

TEST_CASE("features that cannot be kept are still given; a wrong shape is a fault", "[feature_cache]") {
  const io_test::scratch_folder dir;
  write(dir / "file", "in the way");
  computation compute;
  cache_report report;
  CHECK(cached_features(dir / "file", request(), std::ref(compute), &report) == compute.features);
  CHECK_FALSE(report.not_written.empty());
  CHECK_FALSE(report.hit);
  CHECK(code_of([&] { cached_features(dir.path(), request(), [] { return host_matrix<float>(2, 4); }); }) ==
        "negood.shape.2");
  struct stop {};
  CHECK_THROWS_AS(cached_features(dir.path(), request(), []() -> host_matrix<float> { throw stop{}; }), stop);
  CHECK_FALSE(std::filesystem::exists(dir / (request().key() + ".safetensors")));
}
