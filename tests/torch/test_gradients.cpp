// ATen's autograd as the oracle: every loss written in ATen's operations, its value and gradient beside negood's in
// double; the same for log-sum-exp, softmax, layer norm, activations and attention.
#include <negood/backend/torch.hpp>
#include <negood/loss/multilabel.hpp>
#include <negood/loss/nis.hpp>
#include <negood/loss/nnd.hpp>
#include <negood/loss/npd.hpp>
#include <negood/math/attention.hpp>
#include <negood/math/layer_norm.hpp>
#include <negood/math/normalise.hpp>

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "catch.hpp"

namespace {

using context = negood::libtorch::context<double>;
using matrix = negood::libtorch::tensor<double>;
using negood::index_type;

constexpr double allowed = 1e-12;

/// Rows of length 1, the same on every machine.
at::Tensor unit_rows(index_type rows, index_type cols, double seed) {
  const at::Tensor n = at::arange(rows * cols, at::kDouble).reshape({rows, cols});
  const at::Tensor x = at::sin(n * 12.9898 + seed) * 2;
  return x / at::sqrt(at::sum(x * x, {1}, true));
}
matrix take(const at::Tensor& t) { return matrix::adopt(t.clone()); }
at::Tensor leaf(const at::Tensor& t) { return t.clone().set_requires_grad(true); }

double difference(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.numel() == b.numel());
  return at::max(at::abs(a.detach().reshape({-1}) - b.detach().reshape({-1}))).item<double>();
}
/// The gradient of the scalar `value` to one leaf.
at::Tensor gradient(const at::Tensor& value, const at::Tensor& to) {
  return torch::autograd::grad({value}, {to}, {}, true).front();
}

constexpr index_type batch = 9, classes = 4, p = 3, width = 17;
constexpr double scale = 14;

struct problem {
  at::Tensor images = unit_rows(batch, width, 0.1), positive = unit_rows(classes, width, 0.7),
             negative = unit_rows(classes * p, width, 1.3);
  std::vector<index_type> labels;
  at::Tensor label_tensor;
  problem() {
    for (index_type b = 0; b < batch; ++b) labels.push_back((5 * b + 2) % classes);
    label_tensor = at::tensor(at::ArrayRef<int64_t>(labels.data(), labels.size()), at::kLong);
  }
};

}  // namespace

TEST_CASE("autograd: cross-entropy") {
  context ctx;
  const problem q;
  const auto loss = negood::cross_entropy(ctx, take(q.images), take(q.positive), q.labels, scale);
  const at::Tensor features = leaf(q.positive);
  const at::Tensor wanted = at::cross_entropy_loss(scale * at::mm(q.images, features.t()), q.label_tensor);
  CHECK(difference(loss.value.torch(), wanted) <= allowed);
  CHECK(difference(loss.gradient.torch(), gradient(wanted, features)) <= allowed);
}

TEST_CASE("autograd: negative-image separation") {
  context ctx;
  const problem q;
  const auto loss = negood::nis(ctx, take(q.images), take(q.negative), scale);
  const at::Tensor features = leaf(q.negative);
  const at::Tensor wanted = -at::mean(at::log_softmax(scale * at::mm(q.images, features.t()), 1));
  CHECK(difference(loss.value.torch(), wanted) <= allowed);
  CHECK(difference(loss.gradient.torch(), gradient(wanted, features)) <= allowed);
}

TEST_CASE("autograd: negative-negative distance, both forms") {
  context ctx;
  const problem q;
  const at::Tensor features = leaf(q.negative);
  const at::Tensor by_class = features.reshape({classes, p, width});
  {
    const auto loss = negood::nnd(ctx, take(q.negative), p, negood::nnd_form::pairwise);
    const at::Tensor cosines = at::bmm(by_class, by_class.transpose(1, 2));
    const at::Tensor pairs = at::sum(cosines * (1 - at::eye(p, at::kDouble)));
    const at::Tensor wanted = pairs / static_cast<double>(classes * p * (p - 1));
    CHECK(difference(loss.value.torch(), wanted) <= allowed);
    CHECK(difference(loss.gradient.torch(), gradient(wanted, features)) <= allowed);
  }
  {
    const auto loss = negood::nnd(ctx, take(q.negative), p, negood::nnd_form::mean_norm);
    const at::Tensor wanted = at::mean(at::norm(at::mean(by_class, {1}), 2, {1})) - 1;
    CHECK(difference(loss.value.torch(), wanted) <= allowed);
    CHECK(difference(loss.gradient.torch(), gradient(wanted, features)) <= allowed);
  }
}

TEST_CASE("autograd: negative-positive distance") {
  context ctx;
  const problem q;
  const auto loss = negood::npd(ctx, take(q.positive), take(q.negative), p);
  const at::Tensor positive = leaf(q.positive), negative = leaf(q.negative);
  const at::Tensor wanted = -at::mean(at::sum(at::repeat_interleave(positive, p, 0) * negative, {1}));
  CHECK(difference(loss.value.torch(), wanted) <= allowed);
  CHECK(difference(loss.d_negative.torch(), gradient(wanted, negative)) <= allowed);
  CHECK(difference(loss.d_positive.torch(), gradient(wanted, positive)) <= allowed);
}

TEST_CASE("autograd: the multi-label loss") {
  context ctx;
  const problem q;
  std::vector<std::vector<index_type>> targets;
  at::Tensor chosen = at::zeros({batch, classes}, at::kDouble);
  for (index_type b = 0; b < batch; ++b) {
    targets.push_back({q.labels[static_cast<std::size_t>(b)]});
    chosen.index_put_({b, targets.back()[0]}, 1.0);
  }
  const auto loss = negood::multilabel(ctx, take(q.images), take(q.positive), targets, scale);
  const at::Tensor features = leaf(q.positive);
  const at::Tensor wanted = at::binary_cross_entropy_with_logits(scale * at::mm(q.images, features.t()), chosen);
  CHECK(difference(loss.value.torch(), wanted) <= allowed);
  CHECK(difference(loss.gradient.torch(), gradient(wanted, features)) <= allowed);
}

TEST_CASE("autograd: unit rows, layer norm and activations") {
  for (const bool kernels : {true, false}) {
    context ctx({.kernels = kernels});
    const at::Tensor x = unit_rows(8, 19, 2.1) * 3, dy = unit_rows(8, 19, 2.9);
    const at::Tensor input = leaf(x);
    const auto check = [&](const at::Tensor& value, const matrix& got) {
      CHECK(difference(got.torch(), gradient(at::sum(value * dy), input)) <= allowed);
    };
    check(input / at::sqrt(at::sum(input * input, {1}, true)),
          negood::normalise_rows.pullback(ctx, negood::normalise_rows(ctx, take(x)), take(dy)));
    const at::Tensor gain = unit_rows(1, 19, 3.3), bias = unit_rows(1, 19, 3.7);
    const negood::layer_norm_weights<context> weights{take(gain), take(bias)};
    check(at::layer_norm(input, {19}, gain.reshape({19}), bias.reshape({19}), negood::layer_norm_epsilon),
          negood::layer_norm_pullback(ctx, weights, take(x), take(dy)));
    check(at::gelu(input), negood::activation_pullback(ctx, negood::activation_kind::gelu, take(x), take(dy)));
    check(input * at::sigmoid(1.702 * input),
          negood::activation_pullback(ctx, negood::activation_kind::quick_gelu, take(x), take(dy)));
  }
}

TEST_CASE("autograd: attention over a prefix and ragged sequences") {
  constexpr index_type heads = 2, w = 8, d = heads * w, prefix_rows = 5;
  const std::vector<index_type> lengths{3, 1, 4};
  const auto sequences = negood::ragged_rows::of_lengths(lengths);
  const at::Tensor q = unit_rows(8, d, 0.3) * 4, kv = unit_rows(8, 2 * d, 0.9) * 4,
                   prefix = unit_rows(prefix_rows, 2 * d, 1.7) * 4, d_out = unit_rows(8, d, 2.3);
  const at::Tensor query = leaf(q), own = leaf(kv), shared = leaf(prefix);
  std::vector<at::Tensor> rows;
  for (index_type s = 0; s < 3; ++s) {
    const index_type first = sequences.first(s), length = sequences.length(s);
    const at::Tensor all = at::cat({shared, own.narrow(0, first, length)});
    const auto by_head = [&](const at::Tensor& t) { return t.reshape({-1, heads, w}).transpose(0, 1); };
    const at::Tensor score =
        at::bmm(by_head(query.narrow(0, first, length)), by_head(all.narrow(1, 0, d)).transpose(1, 2));
    const at::Tensor hidden = at::triu(at::ones({length, prefix_rows + length}, at::kDouble), prefix_rows + 1);
    const at::Tensor masked = at::masked_fill(score / std::sqrt(double(w)), hidden.to(at::kBool), -INFINITY);
    const at::Tensor out = at::bmm(at::softmax(masked, 2), by_head(all.narrow(1, d, d)));
    rows.push_back(out.transpose(0, 1).reshape({length, d}));
  }
  const at::Tensor wanted = at::cat(rows);
  const at::Tensor total = at::sum(wanted * d_out);
  const negood::attention_layout layout{sequences, heads, true, negood::query_rows::all};
  for (const bool kernels : {true, false}) {
    context ctx({.kernels = kernels});
    CHECK(difference(negood::attention(ctx, layout, take(q), take(kv), take(prefix)).torch(), wanted) <= allowed);
    auto d_prefix = ctx.zeros(prefix_rows, 2 * d);
    const auto g = negood::attention_pullback(ctx, layout, take(q), take(kv), take(prefix), take(d_out), d_prefix);
    CHECK(difference(g.dq.torch(), gradient(total, query)) <= allowed);
    CHECK(difference(g.dkv.torch(), gradient(total, own)) <= allowed);
    CHECK(difference(d_prefix.torch(), gradient(total, shared)) <= allowed);
  }
}
