// CLIPScope's score without counts: its definition in long double, and the stream's first answer.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/detector/detector.hpp>
#include <negood/stream/clipscope.hpp>
#include <negood/train/random.hpp>

using namespace negood;

namespace {

template <class Real>
host_matrix<Real> unit_rows(index_type rows, std::uint64_t index) {
  random_sequence draw(3, random_purpose::test, index);
  host_matrix<Real> out(rows, 7);
  for (index_type r = 0; r < rows; ++r) {
    double square = 0;
    for (Real& v : out.row(r)) {
      v = static_cast<Real>(draw.next_normal());
      square += double(v) * double(v);
    }
    for (Real& v : out.row(r)) v = static_cast<Real>(double(v) / std::sqrt(square));
  }
  return out;
}

}  // namespace

TEMPLATE_TEST_CASE("CLIPScope without counts is P_k times p_ID", "[clipscope]", reference::context<double>,
                   eigen::context<float>) {
  using real = typename TestType::real;
  TestType ctx;
  const auto positive = unit_rows<real>(4, 1), negative = unit_rows<real>(9, 2), images = unit_rows<real>(20, 3);
  const double scale = 20;
  const auto bank = [&](index_type groups) {
    return make_prompt_bank(ctx, ctx.from_host(positive.view()), ctx.from_host(negative.view()), scale, groups);
  };
  const auto got = ctx.to_host(clipscope_score{}(ctx, ctx.from_host(images.view()), bank(1)));
  const auto grouped = ctx.to_host(clipscope_score{}(ctx, ctx.from_host(images.view()), bank(3)));
  for (index_type i = 0; i < images.rows(); ++i) {
    long double best = 0, known = 0, unknown = 0;
    const auto term = [&](const host_matrix<real>& m, index_type r) {
      long double dot = 0;
      for (index_type d = 0; d < m.cols(); ++d) dot += static_cast<long double>(m(r, d)) * images(i, d);
      return std::exp(scale * dot);
    };
    for (index_type r = 0; r < 4; ++r) {
      best = std::max(best, term(positive, r));
      known += term(positive, r);
    }
    for (index_type r = 0; r < 9; ++r) unknown += term(negative, r);
    const auto wanted = static_cast<double>(best / known * known / (known + unknown));
    const double limit = sizeof(real) == 8 ? 1e-13 : 2e-5;
    CHECK(std::abs(double(got(i, 0)) - wanted) < limit);
    CHECK(std::abs(double(grouped(i, 0)) - wanted) < limit);  // groups make no difference to one sum
  }
  clipscope_stream<TestType> stream(ctx, bank(1));
  host_matrix<real> one(1, 7);
  std::ranges::copy(images.row(5), one.row(0).begin());
  const std::vector<observation> who{{0, 0}};
  const auto first = stream.observe(one, who).at(0);
  CHECK(first.score == Approx(4 * double(got(5, 0))).epsilon(1e-5));  // every class counts 1 of 4
}

TEST_CASE("detectors of methods csp and clipscope score as they should", "[clipscope]") {
  reference::context<double> ctx;
  detector_record r;
  r.labels = {"a", "b"};
  r.positive = unit_rows<float>(2, 4);
  r.negative = unit_rows<float>(6, 5);
  r.logit_scale = 20;
  const auto images = unit_rows<double>(5, 6);
  const auto scores = [&](const std::string& method) {
    r.method = method;
    return detector<reference::context<double>>(ctx, r).score(images);
  };
  CHECK(scores("csp") == scores("neglabel"));
  const auto s = scores("clipscope");
  for (const double v : s) CHECK((v > 0 && v < 1));
  CHECK(s != scores("csp"));
  r.negative = host_matrix<float>(0, 7);
  for (const char* method : {"csp", "clipscope"}) CHECK(code_of([&] { scores(method); }) == "negood.detector.6");
  r.negative = unit_rows<float>(6, 5);
  r.logit_scale = 0;
  for (const char* method : {"csp", "clipscope"}) CHECK(code_of([&] { scores(method); }) == "negood.detector.8");
}
