// Feature maps: what is exact at initialisation, what residuals save, labels that nearly cancel, and bad input.
#include "catch.hpp"
#include "code_of.hpp"

#include "loss/krnft_cases.hpp"

#include <negood/train/random.hpp>

#include <cstring>

using namespace krnft_test;
namespace {

using reference_double = reference::context<double>;
using eigen_float = eigen::context<float>;

/// Unit rows with a common direction and two outlying entries, as CLIP's text features have: mean cosine about 0.6.
matrix text_features(index_type rows, index_type width, std::uint64_t seed) {
  matrix m(rows, width);
  random_sequence draw(seed, random_purpose::test, 1), common(99, random_purpose::test, 2);
  std::vector<double> centre;
  for (index_type d = 0; d < width; ++d) centre.push_back(common.next_normal());
  centre[3] = 12, centre[7] = -9;
  double size = 0;
  for (const double v : centre) size += v * v;
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    for (index_type d = 0; d < width; ++d) {
      m(r, d) = std::sqrt(0.6) * centre[static_cast<std::size_t>(d)] / std::sqrt(size) +
                std::sqrt(0.4 / double(width)) * draw.next_normal();
      n += m(r, d) * m(r, d);
    }
    for (double& v : m.row(r)) v = static_cast<double>(static_cast<float>(v / std::sqrt(n)));
  }
  return m;
}

matrix noise(index_type rows, index_type cols, double size, std::uint64_t seed) {
  matrix m(rows, cols);
  random_sequence draw(seed, random_purpose::test, 3);
  for (double& v : m.values()) v = static_cast<double>(static_cast<float>(size * draw.next_normal()));
  return m;
}

/// KR-NFT without networks at work: alpha - 1 and beta given for both partitions.
golden_case constant_map(index_type n, index_type m, index_type d, const matrix& delta, const matrix& shift) {
  golden_case c;
  c.name = "nft";
  c.model = feature_models::nft;
  c.classes = text_features(n, d, 1);
  c.negatives = text_features(m, d, 2);
  c.rows = text_features(4, d, 3);
  c.conditions = c.rows;
  c.condition_of.assign(4, 0);
  c.labels = {0, n - 1, -1, -1};
  c.weights.assign(4, 0.5);
  c.groups = 1;
  c.parameters = initial_feature_parameters<double>(c.model, d, 0);
  for (auto& part : c.parameters.parts) part.scale = delta, part.shift = shift;
  return c;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double t = 0;
  for (std::size_t i = 0; i < a.size(); ++i) t += a[i] * b[i];
  return t;
}

}  // namespace

TEST_CASE("a new map changes nothing: NegLabel's loss, L_kr and its gradient exactly zero", "[krnft]") {
  for (const auto& model : {feature_models::kr_nft, feature_models::coft, feature_models::nft, feature_models::ssf,
                            feature_models::task_res}) {
    auto c = constant_map(7, 23, 16, matrix(1, 16), matrix(1, 16));
    c.model = model;
    c.groups = 5;
    if (model.conditional) c.condition_of = {0, 1, 2, 3};
    const std::vector<index_type> counts =
        model.parts() == 2 ? std::vector<index_type>{7, 23} : std::vector<index_type>{30};
    const auto start = initial_feature_parameters<double>(model, 16, 3, counts);
    const auto check = [&](auto& ctx) {
      INFO(format_feature_model(model));
      auto silent = c;
      silent.weights.assign(4, 0.0);  // only the knowledge loss speaks
      const auto zero = evaluate(ctx, silent, start);
      CHECK(zero.loss == 0);
      CHECK(zero.knowledge == 0);
      for (const auto& g : zero.gradients)
        for (const double v : g.values()) CHECK(v == 0);
      // L_p and L_n of plain cosines.
      double id = 0, outlier = 0;
      for (index_type r = 0; r < 4; ++r)
        for (index_type g = 0; g < 5; ++g) {
          const auto z = [&](const matrix& t, index_type i) {
            return 100 * dot(c.rows.row(r), t.row(i)) / std::sqrt(dot(t.row(i), t.row(i)));
          };
          double inside = 0, outside = 0;
          for (index_type i = 0; i < 7; ++i) inside += std::exp(z(c.classes, i) - 50);
          for (index_type j = 0; j < 4; ++j) outside += std::exp(z(c.negatives, g * 4 + j) - 50);
          const index_type y = c.labels[static_cast<std::size_t>(r)];
          if (y >= 0)
            id -= 0.1 * std::log(std::exp(z(c.classes, y) - 50) / (inside + outside));
          else
            outlier += 0.1 * std::log(inside / (inside + outside));
        }
      const auto plain = evaluate(ctx, c, start);
      using real = real_t<std::remove_reference_t<decltype(ctx)>>;
      const double rounding = 4000 * double(std::numeric_limits<real>::epsilon());
      CHECK(plain.id == Approx(id).epsilon(rounding));
      CHECK(plain.outlier == Approx(outlier).epsilon(rounding));
    };
    reference_double exact;
    eigen_float fast;
    check(exact);
    check(fast);
  }
}

TEST_CASE("the first step gives the first layers of the networks no gradient, the second layers one", "[krnft]") {
  auto c = constant_map(5, 11, 8, matrix(1, 8), matrix(1, 8));
  c.model = feature_models::kr_nft;
  c.condition_of = {0, 1, 2, 3};
  reference_double ctx;
  const auto got = evaluate(ctx, c, initial_feature_parameters<double>(c.model, 8, 4));
  for (const std::size_t part : {0u, 1u})
    for (const std::size_t w1 : {2u, 3u, 6u, 7u})
      for (const double v : got.gradients[10 * part + w1].values()) CHECK(v == 0);
  for (const std::size_t w2 : {4u, 8u, 14u, 18u}) {
    double size = 0;
    for (const double v : got.gradients[w2].values()) size += std::abs(v);
    CHECK(size > 0);
  }
}

TEST_CASE("numbers of parameters are the paper's", "[krnft]") {
  const auto count = [](index_type hidden) {
    return initial_feature_parameters<float>(feature_models::kr_nft, 512, hidden).count();
  };
  CHECK(count(64) == 266496);
  CHECK(count(8) == 36896);
  CHECK(count(1) == 8196);
  CHECK(initial_feature_parameters<float>(feature_models::nft, 512, 0).count() == 2048);
  const auto start = initial_feature_parameters<float>(feature_models::kr_nft, 512, 8);
  float largest = 0;
  for (const float v : start.parts[0].scale_net.w1.values()) largest = std::max(largest, std::abs(v));
  CHECK(largest == Approx(1 / std::sqrt(512.0)).epsilon(1e-2));
  CHECK(largest <= 1 / std::sqrt(512.0f));
  CHECK(!(start.parts[0].scale_net.w1 == start.parts[0].shift_net.w1));
  CHECK(!(start.parts[0].scale_net.w1 == start.parts[1].scale_net.w1));
}

TEST_CASE("near initialisation the knowledge loss keeps its digits in float, where 1 - cos has none", "[krnft]") {
  constexpr index_type n = 100, m = 300, d = 512;
  const auto c = constant_map(n, m, d, noise(1, d, 1e-4, 5), noise(1, d, 1e-4 / std::sqrt(512.0), 6));
  reference_double exact;
  eigen_float fast;
  const double wanted = evaluate(exact, c, c.parameters, feature_evaluation::direct).knowledge;
  CHECK(wanted > 1e-10);
  CHECK(wanted < 1e-7);
  CHECK(evaluate(fast, c, c.parameters).knowledge == Approx(wanted).epsilon(1e-5));
  // The direct form: q = (a o a).E + 2 (a o b).C + |b|^2, 1 - <c, u>/sqrt(q), all in float.
  double direct = 0;
  for (index_type i = 0; i < n; ++i) {
    float q = 0, w = 0, s2 = 0;
    for (index_type j = 0; j < d; ++j) {
      const auto x = static_cast<float>(c.classes(i, j)), a = 1 + static_cast<float>(c.parameters.parts[0].scale(0, j)),
                 b = static_cast<float>(c.parameters.parts[0].shift(0, j));
      q += a * a * x * x + 2 * a * b * x + b * b;
      w += a * x * x + b * x;
      s2 += x * x;
    }
    direct += double(1 - w / std::sqrt(q * s2)) / double(n);
  }
  CHECK(std::abs(direct - wanted) > 0.5 * wanted);
  // Its gradient has its digits as well.
  auto silent = c;
  silent.weights.assign(4, 0.0);
  const auto got = evaluate(fast, silent, c.parameters), right = evaluate(exact, silent, c.parameters);
  for (std::size_t i = 0; i < right.gradients.size(); ++i)
    CHECK(relative_difference(got.gradients[i], right.gradients[i]) < 1e-4);
}

TEST_CASE("with split bfloat16 products the knowledge loss keeps its digits and logits move little", "[krnft]") {
  constexpr index_type d = 512;
  const auto c = constant_map(60, 200, d, noise(1, d, 1e-3, 5), noise(1, d, 1e-3 / std::sqrt(512.0), 6));
  reference_double exact;
  eigen_float split({.precision = precision::bf16x3}), rough({.precision = precision::bf16});
  const auto wanted = evaluate(exact, c, c.parameters);
  const auto near = evaluate(split, c, c.parameters), far = evaluate(rough, c, c.parameters);
  CHECK(near.knowledge == Approx(wanted.knowledge).epsilon(1e-5));
  CHECK(near.id == Approx(wanted.id).margin(2e-3));
  CHECK(far.knowledge == Approx(wanted.knowledge).epsilon(1e-2));
  CHECK(far.id == Approx(wanted.id).margin(0.5));
  for (std::size_t i = 0; i < wanted.gradients.size(); ++i)
    CHECK(relative_difference(near.gradients[i], wanted.gradients[i]) < 1e-3);
}

TEST_CASE("labels whose feature nearly cancels are computed again: logits and gradients keep their digits", "[krnft]") {
  constexpr index_type d = 512;
  const auto probe = constant_map(20, 60, d, matrix(1, d), matrix(1, d));
  auto shift = noise(1, d, 1e-2 / std::sqrt(double(d)), 8);  // |u| = 1e-2 for class 4: kappa 4e4
  for (index_type j = 0; j < d; ++j) shift(0, j) = double(float(shift(0, j) - probe.classes(4, j)));
  auto c = constant_map(20, 60, d, matrix(1, d), shift);
  c.labels[0] = 4;
  reference_double exact;
  eigen_float fast;
  const auto wanted = evaluate(exact, c, c.parameters, feature_evaluation::direct);
  const auto got = evaluate(fast, c, c.parameters);
  CHECK(got.conditioning.recomputed >= 1);
  CHECK(got.conditioning.flagged >= 1);
  CHECK(got.conditioning.largest_kappa > 1e4);
  CHECK(got.conditioning.clamped == 0);
  CHECK(got.id == Approx(wanted.id).margin(1e-3));
  CHECK(got.knowledge == Approx(wanted.knowledge).epsilon(1e-5));
  for (std::size_t i = 0; i < wanted.gradients.size(); ++i)
    CHECK(relative_difference(got.gradients[i], wanted.gradients[i]) < 1e-4);
  auto trusting = c;
  trusting.options.conditioning.recompute_from = 1e30;
  const auto wrong = evaluate(fast, trusting, c.parameters);
  CHECK(wrong.conditioning.recomputed == 0);
  CHECK(std::abs(wrong.id - wanted.id) > 10 * std::abs(got.id - wanted.id));
  CHECK(std::abs(wrong.id - wanted.id) > 2e-3);
}

TEST_CASE("a feature that cancels altogether is clamped, counted, and passes no gradient through its length",
          "[krnft]") {
  const auto probe = constant_map(6, 10, 16, matrix(1, 16), matrix(1, 16));
  matrix shift(1, 16);
  for (index_type j = 0; j < 16; ++j) shift(0, j) = -probe.classes(2, j);
  auto c = constant_map(6, 10, 16, matrix(1, 16), shift);
  reference_double exact;
  eigen_float fast;
  for (const auto how : {feature_evaluation::products, feature_evaluation::direct}) {
    const auto a = evaluate(exact, c, c.parameters, how);
    const auto b = evaluate(fast, c, c.parameters, how);
    for (const auto* e : {&a, &b}) {
      CHECK(e->conditioning.clamped == 1);
      CHECK(std::isfinite(e->loss));
      for (const auto& g : e->gradients)
        for (const double v : g.values()) CHECK(std::isfinite(v));
    }
  }
  const auto products = evaluate(exact, c, c.parameters, feature_evaluation::products);
  const auto direct = evaluate(exact, c, c.parameters, feature_evaluation::direct);
  CHECK(products.knowledge == Approx(direct.knowledge).epsilon(1e-10));
  for (std::size_t i = 0; i < direct.gradients.size(); ++i)
    CHECK(relative_difference(products.gradients[i], direct.gradients[i]) < 1e-9);
}

TEST_CASE("a map to the opposite side has a knowledge loss of 2", "[krnft]") {
  const matrix delta(1, 16, std::vector<double>(16, -2.0));  // u = -c
  const auto c = constant_map(6, 10, 16, delta, matrix(1, 16));
  reference_double ctx;
  for (const auto how : {feature_evaluation::products, feature_evaluation::direct})
    CHECK(evaluate(ctx, c, c.parameters, how).knowledge == Approx(2).epsilon(1e-12));
}

TEST_CASE("the same bytes on any number of threads and for any portion of rows at once", "[krnft]") {
  auto c = constant_map(50, 333, 32, noise(1, 32, 0.1, 1), noise(1, 32, 0.1, 2));
  c.model = feature_models::kr_nft;
  c.groups = 7;
  c.parameters = initial_feature_parameters<double>(c.model, 32, 5);
  for (auto& part : c.parameters.parts)
    for_each_tensor(part, [](const char*, matrix& p) { p = noise(p.rows(), p.cols(), 0.1, 4); });
  c.rows = text_features(41, 32, 9);
  c.conditions = text_features(9, 32, 10);
  c.condition_of.clear(), c.labels.clear(), c.weights.clear();
  for (index_type r = 0; r < 41; ++r) {
    c.condition_of.push_back(r * 5 % 9);
    c.labels.push_back(r % 3 ? r : -1);
    c.weights.push_back(1.0 / 20);
  }
  eigen_float one({.threads = 1});
  const auto expected = evaluate(one, c, c.parameters);
  for (const index_type threads : {2, 4}) {
    eigen_float ctx({.threads = threads});
    const auto got = evaluate(ctx, c, c.parameters);
    CHECK(got.loss == expected.loss);
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) CHECK(got.gradients[i] == expected.gradients[i]);
  }
  // Portions change the order of sums over rows, and nothing but rounding.
  const auto portions = evaluate(one, c, c.parameters, feature_evaluation::automatic, 16);
  CHECK(portions.loss == Approx(expected.loss).epsilon(1e-6));
  for (std::size_t i = 0; i < expected.gradients.size(); ++i)
    CHECK(relative_difference(portions.gradients[i], expected.gradients[i]) < 1e-5);
}

TEST_CASE("a map per label may be conditional too: gradients follow central differences", "[krnft]") {
  auto c = constant_map(4, 9, 6, matrix(1, 6), matrix(1, 6));
  c.options.scale = 10;
  c.model = {parameter_scope::per_label, parameter_scope::per_label, true, label_partition::binary};
  c.condition_of = {0, 1, 2, 2};
  c.parameters = initial_feature_parameters<double>(c.model, 6, 2, {4, 9});
  for (auto& part : c.parameters.parts)
    for_each_tensor(part, [](const char*, matrix& p) { p = noise(p.rows(), p.cols(), 0.2, 4); });
  reference_double ctx;
  const auto got = evaluate(ctx, c, c.parameters);
  auto moved = c.parameters;
  std::size_t which = 0;
  for (auto& part : moved.parts)
    for_each_tensor(part, [&](const char*, matrix& p) {
      const auto& g = got.gradients[which++];
      for (index_type i = 0; i < p.size(); i += 5) {
        const double kept = p.data()[i], h = 1e-5;
        p.data()[i] = kept + h;
        const double above = evaluate(ctx, c, moved).loss;
        p.data()[i] = kept - h;
        const double below = evaluate(ctx, c, moved).loss;
        p.data()[i] = kept;
        CHECK(g.data()[i] == Approx((above - below) / (2 * h)).epsilon(1e-6).margin(1e-6));
      }
    });
  CHECK(code_of([&] { evaluate(ctx, c, c.parameters, feature_evaluation::products); }) == "negood.krnft.7");
}

TEST_CASE("a map goes through named tensors and comes back to the bit", "[krnft]") {
  auto p = initial_feature_parameters<float>(feature_models::kr_nft, 6, 2);
  for (auto& part : p.parts)
    for_each_tensor(part,
                    [](const char*, host_matrix<float>& m) { m = cast<float>(noise(m.rows(), m.cols(), 1e-6, 12)); });
  auto tensors = p.tensors();
  CHECK(tensors.size() == 20);
  CHECK(tensors.front().first == "pos.alpha");
  CHECK(tensors.back().first == "neg.shift.b2");
  CHECK(tensors.front().second(0, 0) == 1.0 + double(p.parts[0].scale(0, 0)));
  CHECK(feature_parameters_of<float>(p.model, tensors, 6, 2) == p);
  tensors[3].second = matrix(2, 1, tensors[3].second.values());  // a vector of a file may stand upright
  CHECK(feature_parameters_of<float>(p.model, tensors, 6, 2) == p);
  const auto load = [&] { feature_parameters_of<float>(p.model, tensors, 6, 2); };
  tensors[0].second(0, 2) = std::nan("");
  CHECK(code_of(load) == "negood.krnft.3");
  tensors[0].second = matrix(1, 5);
  CHECK(code_of(load) == "negood.krnft.3");
  tensors.erase(tensors.begin());
  CHECK(code_of(load) == "negood.krnft.3");
  CHECK(parse_feature_model("krnft") == feature_models::kr_nft);
  CHECK(code_of([] { parse_feature_model("kr-nft"); }) == "negood.krnft.1");
  CHECK(code_of([] { initial_feature_parameters<float>(feature_models::kr_nft, 6, 0); }) == "negood.krnft.2");
  CHECK(code_of([] { initial_feature_parameters<float>(feature_models::task_res, 6, 0); }) == "negood.krnft.2");
}

TEST_CASE("label sets that cannot be are refused; duplicate classes are named", "[krnft]") {
  reference_double ctx;
  const auto model = feature_models::kr_nft;
  auto classes = text_features(5, 8, 1);
  const auto negatives = text_features(11, 8, 2);
  const auto make = [&](index_type groups, std::vector<index_type> order) {
    return make_label_set(ctx, model, classes.view(), negatives.view(), {.groups = groups, .permutation = order});
  };
  CHECK(make(3, {}).group_size == 3);
  CHECK(make(3, {}).duplicates.empty());
  CHECK(code_of([&] { make(0, {}); }) == "negood.krnft.5");
  CHECK(code_of([&] { make(12, {}); }) == "negood.krnft.5");
  CHECK(code_of([&] { make(3, {0, 1, 2}); }) == "negood.krnft.5");
  CHECK(code_of([&] { make(3, {0, 1, 2, 3, 4, 5, 6, 7, 7}); }) == "negood.krnft.5");
  CHECK(code_of([&] { make(3, {0, 1, 2, 3, 4, 5, 6, 7, 9}); }) == "negood.krnft.5");
  const auto permuted = make(3, {8, 7, 6, 5, 4, 3, 2, 1, 0});
  CHECK(std::ranges::equal(permuted.blocks[1].c.row(0), negatives.row(8)));
  CHECK(std::ranges::equal(permuted.blocks[1].c.row(10), negatives.row(10)));  // in no group
  std::ranges::copy(classes.row(1), classes.row(3).begin());
  CHECK(make(1, {}).duplicates == std::vector<index_type>{3});
  std::ranges::fill(classes.row(2), 0.0);
  CHECK(code_of([&] { make(1, {}); }) == "negood.krnft.4");
  CHECK(code_of([&] { make_label_set(ctx, model, negatives.view(), {}); }) == "negood.krnft.5");
  CHECK(code_of([&] { make_label_set(ctx, model, matrix(0, 8).view(), negatives.view()); }) == "negood.krnft.4");
  const auto narrow = text_features(3, 7, 1);
  CHECK(code_of([&] { make_label_set(ctx, model, narrow.view(), negatives.view()); }) == "negood.shape.2");
}
