// The fused passes between the products of feature maps against their plain forms, on the same backend.
#include "catch.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/feature/feature_lengths.hpp>
#include <negood/loss/grouped_softmax.hpp>
#include <negood/train/random.hpp>

using namespace negood;
namespace {

template <class B>
tensor_t<B> random(B& ctx, index_type rows, index_type cols, double low, double high, std::uint64_t index) {
  host_matrix<real_t<B>> m(rows, cols);
  random_sequence draw(17, random_purpose::test, index);
  for (auto& v : m.values()) v = static_cast<real_t<B>>(float(draw.next_uniform(low, high)));
  return ctx.from_host(m.view());
}

template <class B>
void check_near(B& ctx, const tensor_t<B>& got, const tensor_t<B>& wanted) {
  const auto a = ctx.to_host(got), b = ctx.to_host(wanted);
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  double worst = 0, size = 1e-30;
  for (index_type i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(double(a.data()[i]) - double(b.data()[i])));
    size = std::max(size, std::abs(double(b.data()[i])));
    if (!std::isfinite(double(a.data()[i]))) worst = INFINITY;
  }
  CHECK(worst <= 200 * double(std::numeric_limits<real_t<B>>::epsilon()) * size);
}

}  // namespace

TEMPLATE_TEST_CASE("lengths, slopes and divided logits: one loop is what the maps are", "[krnft]",
                   eigen::context<float>, eigen::context<double>) {
  using B = TestType;
  static_assert(overrides<B, feature_lengths_t> && overrides<B, length_slopes_t> && overrides<B, divided_logits_t> &&
                overrides<B, divided_logits_pullback_t>);
  B ctx({.threads = 2});
  for (const index_type k : {1, 5, 19})
    for (const index_type n : {1, 13, 64, 2100})
      for (const bool knowledge : {false, true})
        for (const bool scales : {false, true}) {
          CAPTURE(k, n, knowledge, scales);
          const auto model = scales ? feature_models::ssf : feature_models::task_res;
          const auto labels =
              make_label_set(ctx, model, ctx.to_host(random(ctx, n, 6, 0.2, 1, 1)).view(), host_view<real_t<B>>());
          const auto& block = labels.blocks[0];
          const index_type rows = knowledge ? 2 * k : k;
          const length_products<B> p{random(ctx, rows, n, -0.2, 0.3, 2),
                                     random(ctx, scales ? rows : 0, n, -0.2, 0.3, 3),
                                     ctx.zeros(0, 0),
                                     random(ctx, k, 1, 0.5, 1, 4),
                                     ctx.map(element::scale{0.9}, block.s2),
                                     ctx.map(element::sqrt{}, block.s2),
                                     random(ctx, 1, n, 0.5, 1, 5)};
          const auto got = feature_lengths(ctx, block, p, knowledge);
          const auto wanted = feature_lengths_t::generic(ctx, block, p, knowledge);
          check_near(ctx, got.t, wanted.t);
          check_near(ctx, got.ratio, wanted.ratio);
          check_near(ctx, got.w, wanted.w);
          check_near(ctx, got.slope, wanted.slope);
          check_near(ctx, got.distance, wanted.distance);

          const auto pulled = random(ctx, k, n, -1, 1, 6), h = random(ctx, 1, n, 0, 1, 7);
          const auto slopes = length_slopes_of(ctx, got.t, got.w, got.slope, pulled, h);
          const auto plain = length_slopes_t::generic(ctx, got.t, got.w, got.slope, pulled, h);
          check_near(ctx, slopes.p, plain.p);
          check_near(ctx, slopes.p2, plain.p2);

          std::vector<index_type> conditions;
          for (index_type r = 0; r < 11; ++r) conditions.push_back(r * 3 % k);
          const auto on_c = random(ctx, 11, n, -1, 1, 8), constant = random(ctx, 11, 1, -1, 1, 9);
          auto z = ctx.zeros(11, n + 3), z_plain = ctx.zeros(11, n + 3);
          divided_logits(ctx, on_c, constant, got.t, conditions, 2, z);
          divided_logits_t::generic(ctx, on_c, constant, got.t, conditions, 2, z_plain);
          check_near(ctx, z, z_plain);
          const auto dz = random(ctx, 11, n + 3, -1, 1, 10);
          auto sum = ctx.clone(pulled), sum_plain = ctx.clone(pulled);
          const auto a = divided_logits_pullback(ctx, got.t, conditions, 2, z, dz, sum);
          const auto a_plain = divided_logits_pullback_t::generic(ctx, got.t, conditions, 2, z, dz, sum_plain);
          check_near(ctx, a.a, a_plain.a);
          check_near(ctx, a.a_sum, a_plain.a_sum);
          check_near(ctx, sum, sum_plain);
        }
}

TEMPLATE_TEST_CASE("grouped losses: one pass over a row is what the maps are", "[krnft]", eigen::context<float>,
                   eigen::context<double>) {
  using B = TestType;
  static_assert(overrides<B, grouped_losses_t>);
  B ctx({.threads = 2});
  for (const index_type groups : {0, 1, 4, 7})
    for (const double floor : {0.0, 1e-16, 0.01}) {
      CAPTURE(groups, floor);
      const index_type n = 9, m = groups == 0 ? 0 : 60 / groups, total = n + 61;
      const auto z = random(ctx, 20, total, -8, 8, 11);
      std::vector<index_type> labels;
      std::vector<double> weights;
      for (index_type r = 0; r < 20; ++r) {
        labels.push_back(groups == 0 || r % 3 ? r % n : -1);
        weights.push_back(0.1 * double(r + 1));
      }
      const grouped_loss_options options{.outlier_weight = 0.4, .floor = floor};
      const auto got = grouped_losses(ctx, z, {n, groups, m, total}, {labels, weights}, options);
      const auto wanted = grouped_losses_t::generic(ctx, z, {n, groups, m, total}, {labels, weights}, options);
      const double rounding = 50 * double(std::numeric_limits<real_t<B>>::epsilon());
      CHECK(got.id == Approx(wanted.id).epsilon(rounding));
      CHECK(got.outlier == Approx(wanted.outlier).epsilon(rounding));
      check_near(ctx, got.dz, wanted.dz);
    }
}
