// The one-pass form of conditioned logits against the three products, and rows that do not depend on each other.
#include "catch.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/feature/conditioned_logits.hpp>

using namespace negood;
namespace {

template <class Real>
host_matrix<Real> random_rows(index_type rows, index_type cols, double size, std::uint64_t index) {
  host_matrix<Real> m(rows, cols);
  random_sequence draw(8, random_purpose::test, index);
  for (Real& v : m.values()) v = static_cast<Real>(float(size * draw.next_normal()));
  return m;
}

struct result {
  host_matrix<double> z;
  conditioning_report report;
};

template <class B>
result run(B&& ctx, index_type images, index_type labels, index_type width, bool plain, double shift = 0.1) {
  using context = std::remove_reference_t<B>;
  using real = real_t<context>;
  const auto model = feature_models::coft;
  const auto c = random_rows<real>(labels, width, 1, 1);
  const auto set = make_label_set(ctx, model, c.view(), {});
  const auto up = [&](const host_matrix<real>& m) { return ctx.from_host(m.view()); };
  auto b = random_rows<real>(images, width, shift, 3);
  if (shift == 0)
    for (index_type k = 0; k < images; ++k)
      for (index_type d = 0; d < width; ++d) b(k, d) = -c(labels / 2, d);
  const residual_map<context> map{up(random_rows<real>(images, width, shift, 2)), up(b), ctx.zeros(0, 0),
                                  ctx.zeros(0, 0)};
  const auto rows = up(random_rows<real>(images, width, 1, 4));
  auto z = ctx.zeros(images, labels);
  result out;
  if (plain)
    conditioned_logits_t::generic(ctx, model, set.blocks[0], map, rows, 10.0, {}, z, out.report);
  else
    conditioned_logits(ctx, model, set.blocks[0], map, rows, 10.0, {}, z, out.report);
  out.z = cast<double>(ctx.to_host(z));
  return out;
}

double difference(const host_matrix<double>& a, const host_matrix<double>& b) {
  double worst = 0;
  for (index_type i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a.data()[i] - b.data()[i]));
  return worst;
}

}  // namespace

TEST_CASE("conditioned logits in one pass agree with three products", "[krnft]") {
  static_assert(overrides<eigen::context<float>, conditioned_logits_t>);
  static_assert(!overrides<reference::context<double>, conditioned_logits_t>);
  for (const index_type images : {1, 3, 9})
    for (const index_type labels : {1, 7, 8, 9, 530})
      for (const index_type width : {1, 5, 16, 37, 64}) {
        CAPTURE(images, labels, width);
        const auto wanted = run(reference::context<double>(), images, labels, width, true);
        const double size = 10 * std::sqrt(double(width));
        CHECK(difference(run(eigen::context<double>(), images, labels, width, false).z, wanted.z) < 1e-12 * size);
        CHECK(difference(run(eigen::context<float>(), images, labels, width, false).z, wanted.z) < 2e-5 * size);
        CHECK(difference(run(eigen::context<float>(), images, labels, width, true).z, wanted.z) < 2e-5 * size);
      }
}

TEST_CASE("an image's logits do not depend on the others, nor on the number of threads", "[krnft]") {
  const auto one = run(eigen::context<float>({.threads = 1}), 33, 1200, 40, false);
  for (const index_type threads : {2, 4})
    CHECK(run(eigen::context<float>({.threads = threads}), 33, 1200, 40, false).z == one.z);
  const auto few = run(eigen::context<float>({.threads = 2}), 5, 1200, 40, false);  // the same first five images
  for (index_type k = 0; k < 5; ++k) CHECK(std::ranges::equal(few.z.row(k), one.z.row(k)));
}

TEST_CASE("one pass clamps, counts and reports as the products do", "[krnft]") {
  const auto products = run(reference::context<double>(), 2, 21, 16, true, 0);
  const auto one_pass = run(eigen::context<float>(), 2, 21, 16, false, 0);
  CHECK(products.report.clamped == 2);
  CHECK(one_pass.report.clamped == 2);
  CHECK(one_pass.report.flagged == 2);
  CHECK(products.report.flagged == 2);
  CHECK(one_pass.report.largest_kappa == Approx(products.report.largest_kappa).epsilon(1e-3));
  for (const double v : one_pass.z.values()) CHECK(std::isfinite(v));
}
