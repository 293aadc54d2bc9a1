#include "io_test.hpp"

#include <negood/io/features.hpp>
#include <negood/io/safetensors_writer.hpp>

#include <random>

using namespace io_test;

namespace {

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

host_matrix<float> unit_rows(index_type rows, index_type cols, std::uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  host_matrix<float> m(rows, cols);
  for (index_type i = 0; i < m.size(); ++i)
    m.data()[i] = static_cast<float>(static_cast<double>(random() >> 11) * 0x1p-53 - 0.5);
  check_features(m);
  return m;
}

double norm(std::span<const float> row) {
  long double sum = 0;
  for (const float v : row) sum += static_cast<long double>(v) * v;
  return static_cast<double>(std::sqrt(sum));
}

/// A matrix whose rows 2 and 4 hold `bad`.
host_matrix<float> with_bad(float bad) {
  host_matrix<float> m = unit_rows(6, 8);
  m(2, 3) = bad;
  m(4, 0) = bad;
  return m;
}

void check_policies(float bad, std::string_view word) {
  host_matrix<float> m = with_bad(bad);
  const error e = error_of([&] { check_features(m, {}, "images.npy"); });
  CHECK(e.code() == "negood.feature.2");
  CHECK(e.exit_code() == 3);
  CHECK(mentions(e, "images.npy"));
  CHECK(mentions(e, "row 2, column 3"));
  CHECK(mentions(e, word));
  CHECK(mentions(e, "--nan=skip"));

  m = with_bad(bad);
  const feature_report skipped = check_features(m, {.nan = nan_policy::skip});
  CHECK(skipped.nonfinite_rows == std::vector<index_type>{2, 4});
  CHECK(skipped.zero_rows.empty());
  for (const float v : m.values()) CHECK(std::isfinite(v));
  std::vector<float> scores(6, 0.5f);
  mark_scores<float>(scores, skipped);
  CHECK(std::isnan(scores[2]));
  CHECK(std::isnan(scores[4]));
  CHECK(scores[3] == 0.5f);

  m = with_bad(bad);
  const feature_report lowest = check_features(m, {.nan = nan_policy::ood});
  mark_scores<float>(scores, lowest);
  CHECK(scores[2] == std::numeric_limits<float>::lowest());
  CHECK(scores[4] == std::numeric_limits<float>::lowest());
  CHECK(scores[0] == 0.5f);
}

}  // namespace

TEST_CASE("F-01 NaN in a feature row: reject names the first row, skip and ood do what they say") {
  check_policies(nan_value, "NaN");
}

TEST_CASE("F-02 infinities in a feature row are treated as NaN is") {
  check_policies(infinity, "infinite");
  check_policies(-infinity, "infinite");
}

TEST_CASE("F-03 denormals and 1e38 normalise in double: no overflow, finite unit rows") {
  host_matrix<float> m(
      4, 3, std::vector<float>{3e38f, -3e38f, 3e38f, 1e-45f, 0, 0, 1e-40f, 1e-40f, -1e-40f, 1e38f, 1e-38f, 1e-45f});
  const feature_report r = check_features(m);
  for (index_type i = 0; i < m.rows(); ++i) CHECK(norm(m.row(i)) == Approx(1.0).epsilon(1e-6));
  CHECK(m(0, 0) == Approx(1 / std::sqrt(3.0)).epsilon(1e-6));
  CHECK(m(1, 0) == 1.0f);
  CHECK(r.changed_rows == 4);
  CHECK(r.warn);
  // The ends of the double range, whose squares are no doubles.
  host_matrix<double> d(3, 2, std::vector<double>{3e300, 4e300, 3e-310, 4e-310, 5e-324, 0});
  check_features(d);
  CHECK(d(0, 0) == Approx(0.6).epsilon(1e-14));
  CHECK(d(1, 1) == Approx(0.8).epsilon(1e-12));
  CHECK(d(2, 0) == 1.0);
}

TEST_CASE("F-04 a zero row is refused by default, scored lowest on demand, and never divided") {
  host_matrix<float> m = unit_rows(3, 4);
  for (float& v : m.row(1)) v = 0;
  m(1, 2) = -0.0f;
  host_matrix<float> copy = m;
  const error e = error_of([&] { check_features(copy, {}, "texts.npy"); });
  CHECK(e.code() == "negood.feature.3");
  CHECK(e.exit_code() == 3);
  CHECK(mentions(e, "row 1"));
  const feature_report r = check_features(m, {.zero_norm = zero_norm_policy::ood});
  CHECK(r.zero_rows == std::vector<index_type>{1});
  for (const float v : m.values()) CHECK(std::isfinite(v));
  std::vector<double> scores(3, 1.0);
  mark_scores<double>(scores, r);
  CHECK(scores == std::vector<double>{1.0, std::numeric_limits<double>::lowest(), 1.0});
}

TEST_CASE("F-05 rows that are not unit rows are normalised, unless told not to, with a warning above 1e-3") {
  host_matrix<float> m = unit_rows(5, 16);
  const host_matrix<float> unit = m;
  feature_report r = check_features(m);
  CHECK(r.changed_rows == 0);
  CHECK(m == unit);  // a second call changes no bit
  CHECK_FALSE(r.warn);
  CHECK(r.max_deviation < 1e-6);
  for (float& v : m.row(3)) v *= 1.002f;
  const host_matrix<float> scaled = m;
  r = check_features(m);
  CHECK(r.changed_rows == 1);
  CHECK(r.warn);
  CHECK(r.max_deviation == Approx(0.002).epsilon(1e-3));
  CHECK(norm(m.row(3)) == Approx(1.0).epsilon(1e-6));
  m = scaled;
  r = check_features(m, {.assume_normalized = true});
  CHECK(m == scaled);
  CHECK(r.warn);  // still told
  m = unit;
  for (float& v : m.row(0)) v *= 1.0005f;
  r = check_features(m);
  CHECK(r.changed_rows == 1);
  CHECK_FALSE(r.warn);
  host_matrix<float> none(0, 4);
  CHECK(code_of([&] { check_features(none); }) == "negood.feature.1");
  host_matrix<float> narrow(4, 0);
  CHECK(code_of([&] { check_features(narrow); }) == "negood.feature.1");
}

TEST_CASE("F-06 features of two widths are refused with both") {
  const error e = error_of([] { check_same_width(512, "images.npy", 768, "texts.npy"); });
  CHECK(e.code() == "negood.feature.4");
  for (const char* part : {"512", "768", "images.npy", "texts.npy"}) CHECK(mentions(e, part));
  CHECK_NOTHROW(check_same_width(512, "a", 512, "b"));
}

TEST_CASE("F-07 real dtypes convert with a notice, integers only with a scale") {
  scratch_folder folder;
  const host_matrix<float> m(2, 3, std::vector<float>{0, 0.25f, -1, 2, 0.5f, 4});
  safetensors_writer w;
  w.add("f16", m, scalar_type::f16);
  w.add("bf16", m, scalar_type::bf16);
  w.add("f32", m);
  w.add("f64", m, scalar_type::f64);
  w.add("i64", host_matrix<std::int64_t>(2, 3, std::vector<std::int64_t>{0, 1, -4, 8, 2, 16}));
  w.add<float>("vector", {3}, std::vector<float>{1, 2, 3});
  const std::string file = (folder / "f.safetensors").string();
  w.save(file);
  for (const std::string name : {"f16", "bf16", "f64", "f32"}) {
    const auto f = read_features<float>(file + ":" + name);
    CHECK(f.values == m);
    CHECK(f.notice.empty() == (name == "f32"));
  }
  CHECK(read_features<float>(file + ":bf16").notice.find("BF16 converted to F32") != std::string::npos);
  CHECK(read_features<double>(file + ":f32").values == cast<double>(m));
  const error e = error_of([&] { read_features<float>(file + ":i64"); });
  CHECK(e.code() == "negood.feature.6");
  CHECK(e.exit_code() == 3);
  CHECK(mentions(e, "--dequant"));
  const auto scaled = read_features<float>(file + ":i64", {.dequant_scale = 0.25});
  CHECK(scaled.values == m);
  CHECK(scaled.notice.find("0.25") != std::string::npos);
  CHECK(code_of([&] { read_features<float>(file + ":i64", {.dequant_scale = nan_value}); }) == "negood.feature.6");

  CHECK(code_of([&] { read_features<float>(file); }) == "negood.feature.7");
  CHECK(code_of([&] { read_features<float>(file + ":none"); }) == "negood.safetensors.6");
  CHECK(code_of([&] { read_features<float>(file + ":vector"); }) == "negood.feature.5");
  CHECK(read_features<float>(golden("npy/counting_little_f2.npy").string()).values(2, 3) == 11.0f);
  CHECK(read_features<float>(golden("npy/counting_big_f8.npy").string()).dtype == scalar_type::f64);
  CHECK(code_of([] { read_features<float>(golden("npy/rank1.npy").string()); }) == "negood.feature.5");
  CHECK(code_of([] { read_features<float>(golden("npy/counting_byte_i1.npy").string()); }) == "negood.feature.6");
}
