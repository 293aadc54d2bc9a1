// Scoring with a feature map: under each image's own condition, equal to features made one by one, for any batch.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/feature/tuned_scorer.hpp>
#include <negood/score/scores.hpp>

using namespace negood;
namespace {

using matrix = host_matrix<double>;
using reference_double = reference::context<double>;

matrix random_rows(index_type rows, index_type cols, double size, std::uint64_t index, bool unit) {
  matrix m(rows, cols);
  random_sequence draw(21, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (double& v : m.row(r)) v = size * draw.next_normal(), n += v * v;
    for (double& v : m.row(r)) v = double(float(unit ? v / std::sqrt(n) : v));
  }
  return m;
}

template <class Real>
feature_parameters<Real> random_map(const feature_model& model, index_type d, std::vector<index_type> counts = {}) {
  auto p = initial_feature_parameters<Real>(model, d, 4, counts);
  std::uint64_t index = 100;
  for (auto& part : p.parts)
    for_each_tensor(part, [&](const char*, host_matrix<Real>& m) {
      m = cast<Real>(random_rows(m.rows(), m.cols(), 0.1, index++, false));
    });
  return p;
}

constexpr index_type n = 7, m = 23, d = 12;

/// Features made as the paper writes them, and the statistics of one image.
struct by_hand {
  double maximum = -1e300, id = 0;
  std::vector<double> groups;
  index_type predicted = 0;
};
by_hand score_by_hand(const feature_parameters<double>& p, const matrix& classes, const matrix& negatives,
                      std::span<const double> v, index_type groups, double scale) {
  const auto value = [&](const meta_net_weights<matrix>& net, index_type j) {
    if (net.w1.empty()) return 0.0;
    double out = net.b2(0, j);
    for (index_type h = 0; h < net.w1.rows(); ++h) {
      double before = net.b1(0, h);
      for (std::size_t k = 0; k < v.size(); ++k) before += net.w1(h, index_type(k)) * v[k];
      out += net.w2(j, h) * std::max(0.0, before);
    }
    return out;
  };
  const auto logit = [&](const map_parameters<matrix>& part, std::span<const double> c) {
    double q = 0, num = 0;
    for (index_type j = 0; j < d; ++j) {
      const double a = 1 + (part.scale.empty() ? 0 : part.scale(0, j)) + value(part.scale_net, j);
      const double b = (part.shift.empty() ? 0 : part.shift(0, j)) + value(part.shift_net, j);
      const double u = a * c[std::size_t(j)] + b;
      q += u * u, num += u * v[std::size_t(j)];
    }
    return scale * num / std::sqrt(q);
  };
  by_hand out;
  for (index_type i = 0; i < n; ++i) {
    const double z = logit(p.parts.front(), classes.row(i));
    if (z > out.maximum) out.maximum = z, out.predicted = i;
    out.id += std::exp(z);
  }
  out.id = std::log(out.id);
  for (index_type g = 0; g < groups; ++g) {
    double sum = 0;
    for (index_type j = 0; j < m / groups; ++j)
      sum += std::exp(logit(p.parts.back(), negatives.row(g * (m / groups) + j)));
    out.groups.push_back(std::log(sum));
  }
  return out;
}

}  // namespace

TEST_CASE("scores are those of features made one by one, for every model without parameters per label", "[krnft]") {
  const auto classes = random_rows(n, d, 1, 1, true), negatives = random_rows(m, d, 1, 2, true),
             images = random_rows(9, d, 1, 3, true);
  const auto check = [&](auto&& ctx, double allowed) {
    using real = real_t<std::remove_reference_t<decltype(ctx)>>;
    for (const auto& model : {feature_models::identity, feature_models::ssf, feature_models::nft, feature_models::coft,
                              feature_models::kr_nft})
      for (const index_type groups : {1, 5}) {
        INFO(format_feature_model(model) << ", groups " << groups);
        const auto p = random_map<double>(model, d);
        const tuned_features<real> features{random_map<real>(model, d), 20.0, 1, {}};
        const auto here = [](const matrix& a) { return cast<real>(a); };
        const auto c = here(classes), neg = here(negatives), v = here(images);
        const auto scorer = features.bind(ctx, c.view(), neg.view(), {.groups = groups}, {.images_at_once = 4});
        const auto s = scorer(ctx, v.view());
        const auto odds = grouped_log_odds(s), largest = largest_probabilities(s);
        for (index_type r = 0; r < 9; ++r) {
          const auto wanted = score_by_hand(p, classes, negatives, images.row(r), groups, 20.0);
          CHECK(s.id_maximum(r, 0) == Approx(wanted.maximum).margin(allowed));
          CHECK(s.id_logsumexp(r, 0) == Approx(wanted.id).margin(allowed));
          CHECK(s.predicted[std::size_t(r)] == wanted.predicted);
          double mean = 0;
          for (index_type g = 0; g < groups; ++g) {
            CHECK(s.groups(r, g) == Approx(wanted.groups[std::size_t(g)]).margin(allowed));
            mean += 1 / (1 + std::exp(wanted.groups[std::size_t(g)] - wanted.id)) / double(groups);
          }
          CHECK(probability_of_log_odds(odds[std::size_t(r)]) == Approx(mean).margin(allowed));
          CHECK(largest[std::size_t(r)] == Approx(std::exp(wanted.maximum - wanted.id)).margin(allowed));
        }
      }
  };
  check(reference_double(), 1e-12);
  check(eigen::context<double>(), 1e-12);
  check(eigen::context<float>(), 2e-5);
}

TEST_CASE("the map that changes nothing scores as NegLabel does", "[krnft]") {
  eigen::context<float> ctx;
  const auto classes = cast<float>(random_rows(n, 64, 1, 1, true)),
             negatives = cast<float>(random_rows(m, 64, 1, 2, true)),
             images = cast<float>(random_rows(40, 64, 1, 3, true));
  const auto bank = make_prompt_bank(ctx, ctx.from_host(classes.view()), ctx.from_host(negatives.view()), 100.0);
  const auto wanted = ctx.to_host(neg_label{}(ctx, ctx.from_host(images.view()), bank));
  const tuned_features<float> features{initial_feature_parameters<float>(feature_models::kr_nft, 64, 8), 100.0, 1, {}};
  const auto scorer = features.bind(ctx, classes.view(), negatives.view());
  const auto s = scorer(ctx, images.view());
  const auto odds = grouped_log_odds(s);
  for (index_type r = 0; r < 40; ++r) CHECK(odds[std::size_t(r)] == Approx(double(wanted(r, 0))).margin(1e-4));
  CHECK(s.predicted == predict(ctx, ctx.from_host(images.view()), bank));
  CHECK(s.conditioning.recomputed == 0);
  CHECK(s.conditioning.largest_delta == 0);
}

TEST_CASE("scores are the same bytes for any batch and any number of threads", "[krnft]") {
  const index_type count = 150;
  const auto classes = cast<float>(random_rows(n, d, 1, 1, true)),
             negatives = cast<float>(random_rows(m, d, 1, 2, true)),
             images = cast<float>(random_rows(count, d, 1, 3, true));
  for (const auto& model : {feature_models::kr_nft, feature_models::nft}) {
    const tuned_features<float> features{random_map<float>(model, d), 100.0, 1, {}};
    const auto run = [&](index_type threads, index_type batch) {
      eigen::context<float> ctx({.threads = threads});
      const auto scorer = features.bind(ctx, classes.view(), negatives.view(), {.groups = 3});
      std::vector<double> all;
      for (index_type first = 0; first < count; first += batch) {
        const auto s = grouped_log_odds(scorer(ctx, images.view().slice_rows(first, std::min(batch, count - first))));
        all.insert(all.end(), s.begin(), s.end());
      }
      return all;
    };
    const auto expected = run(1, count);
    for (const index_type threads : {1, 2, 4})
      for (const index_type batch : {1, 7, 64, 150}) CHECK(run(threads, batch) == expected);
  }
}

TEST_CASE("a map is bound to other labels; one with parameters per label is not", "[krnft]") {
  reference_double ctx;
  const auto classes = random_rows(n, d, 1, 1, true), negatives = random_rows(m, d, 1, 2, true),
             images = random_rows(3, d, 1, 3, true);
  const auto other = random_rows(4, d, 1, 5, true), mined = random_rows(9, d, 1, 6, true);
  const tuned_features<double> features{random_map<double>(feature_models::kr_nft, d), 20.0, 1, {}};
  const auto s = features.bind(ctx, other.view(), mined.view(), {.groups = 2})(ctx, images.view());
  CHECK(s.groups.cols() == 2);
  // A class that is in both sets has the same logit in both: a label's feature depends on the image alone.
  auto first = other;
  std::ranges::copy(classes.row(0), first.row(0).begin());
  const tuned_scorer<reference_double> a(
      ctx, features.parameters,
      make_label_set(ctx, feature_models::kr_nft, classes.view().slice_rows(0, 1), negatives.view()), 20.0),
      b(ctx, features.parameters,
        make_label_set(ctx, feature_models::kr_nft, first.view().slice_rows(0, 1), mined.view()), 20.0);
  for (index_type r = 0; r < 3; ++r)
    CHECK(a(ctx, images.view()).id_maximum(r, 0) == b(ctx, images.view()).id_maximum(r, 0));

  const tuned_features<double> residuals{random_map<double>(feature_models::task_res, d, {n}), 20.0, 1, {}};
  const auto scorer = residuals.bind(ctx, classes.view(), {});
  const auto statistics = scorer(ctx, images.view());
  CHECK(code_of([&] { grouped_log_odds(statistics); }) == "negood.score.1");
  CHECK(code_of([&] { residuals.bind(ctx, other.view(), {}); }) == "negood.krnft.7");
  const auto narrow = random_rows(3, d - 1, 1, 5, true);
  CHECK(code_of([&] { features.bind(ctx, narrow.view(), narrow.view()); }) == "negood.shape.2");
  CHECK(code_of([&] { scorer(ctx, narrow.view()); }) == "negood.shape.2");
  CHECK(code_of([&] {
          tuned_scorer<reference_double>(
              ctx, features.parameters, make_label_set(ctx, feature_models::coft, classes.view(), negatives.view()), 1);
        }) == "negood.krnft.7");
}

TEST_CASE("a map without condition gives a bank for every other score; unnormalised bases keep their length",
          "[krnft]") {
  reference_double ctx;
  auto classes = random_rows(n, d, 1, 1, true);
  for (double& v : classes.row(2)) v *= 7;  // TaskRes: features are not unit rows, residuals are of their size
  const auto images = random_rows(5, d, 1, 3, true);
  const auto p = random_map<double>(feature_models::task_res, d, {n});
  const tuned_scorer<reference_double> scorer(ctx, p, make_label_set(ctx, feature_models::task_res, classes.view(), {}),
                                              20.0);
  const auto s = scorer(ctx, images.view());
  const auto bank = scorer.bank(ctx);
  CHECK(bank.packed_groups.empty());
  const auto mcm_scores = mcm{1 / 20.0}(ctx, images, bank);
  const auto largest = largest_probabilities(s);
  for (index_type r = 0; r < 5; ++r) {
    CHECK(largest[std::size_t(r)] == Approx(mcm_scores(r, 0)).epsilon(1e-12));
    double q = 0, num = 0;
    for (index_type j = 0; j < d; ++j) {
      const double u = classes(2, j) + p.parts[0].shift(2, j);
      q += u * u, num += u * images(r, j);
    }
    CHECK(ctx.matmul_nt(images, bank.positive)(r, 2) == Approx(num / std::sqrt(q)).epsilon(1e-12));
  }
  const tuned_scorer<reference_double> conditional(
      ctx, random_map<double>(feature_models::kr_nft, d),
      make_label_set(ctx, feature_models::kr_nft, classes.view(), classes.view()), 20.0);
  CHECK(code_of([&] { conditional.bank(ctx); }) == "negood.krnft.7");
}

TEST_CASE("log-odds of grouped scores do not tie where the probability is 1", "[krnft]") {
  tuned_statistics s{matrix(3, 1), matrix(3, 1), matrix(3, 2), {}, {}};
  for (index_type r = 0; r < 3; ++r) s.id_logsumexp(r, 0) = 60 + double(r);
  const auto odds = grouped_log_odds(s);
  CHECK(probability_of_log_odds(odds[0]) == 1.0);
  CHECK(odds[1] == Approx(61).epsilon(1e-12));
  CHECK(odds[0] < odds[1]);
  CHECK(odds[1] < odds[2]);
}
