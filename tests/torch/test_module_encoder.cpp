// Modules of torch::nn and plain functions as encoders.
#include <negood/backend/torch.hpp>
#include <negood/backend/torch/module_encoder.hpp>
#include <negood/backend/torch/optim.hpp>

#include <ATen/core/grad_mode.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>

#include "catch.hpp"

using namespace negood;

namespace {

using libtorch::module_encoder;

/// Two layers in double with fixed weights, and a dropout that must not drop.
torch::nn::Sequential small_network() {
  torch::nn::Sequential net(torch::nn::Linear(6, 7), torch::nn::Tanh(),
                            torch::nn::Dropout(torch::nn::DropoutOptions(0.5)), torch::nn::Linear(7, 5));
  net->to(at::kDouble);
  double phase = 0;
  for (auto& p : net->parameters()) {
    const at::NoGradGuard guard;
    p.copy_(at::sin(at::arange(p.numel(), at::kDouble) * 1.7 + phase++).reshape(p.sizes()));
  }
  return net;
}

const host_matrix<double>& input() {
  static const host_matrix<double> x(
      3, 6, std::vector<double>{1, 2, -1, 0, 1, 1, -2, 1, 0, 1, 0.2, -1, .5, .25, .1, -1, -2, 1});
  return x;
}

/// The pullback of a fixed cotangent beside central differences.
template <class B>
void check_gradient(B& ctx, const module_encoder& encoder) {
  const host_matrix<double> dy(3, 5, std::vector<double>{1, 0, -1, 2, 0, 0, 1, 1, 0, -1, 0.5, -0.5, 1, 0, 2});
  const auto linear = encoder.linearize(ctx, ctx.from_host(input().view()));
  CHECK(ctx.to_host(linear.value) == ctx.to_host(encoder(ctx, ctx.from_host(input().view()))));
  const auto dx = ctx.to_host(linear.pullback(ctx, ctx.from_host(dy.view())));
  const auto total = [&](const host_matrix<double>& at) {
    const auto y = ctx.to_host(encoder(ctx, ctx.from_host(at.view())));
    double sum = 0;
    for (index_type i = 0; i < y.size(); ++i) sum += y.data()[i] * dy.data()[i];
    return sum;
  };
  constexpr double h = 1e-5;
  for (index_type i = 0; i < input().size(); ++i) {
    auto above = input(), below = input();
    above.data()[i] += h;
    below.data()[i] -= h;
    CHECK(dx.data()[i] == Approx((total(above) - total(below)) / (2 * h)).epsilon(1e-7).margin(1e-9));
  }
}

}  // namespace

TEST_CASE("a torch::nn module encodes in evaluation mode, and only the input gets a gradient") {
  auto net = small_network();
  REQUIRE(net->is_training());
  libtorch::context<double> ctx;
  const module_encoder encoder(net);
  CHECK(!net->is_training());
  check_gradient(ctx, encoder);
  for (const auto& p : net->parameters()) {
    CHECK(!p.requires_grad());
    CHECK(!p.grad().defined());
  }
}

TEST_CASE("a function of ATen's operations is an encoder, on any context of LibTorch's") {
  const at::Tensor w = at::cos(at::arange(15, at::kDouble)).reshape({3, 5});
  const auto function = [w](const at::Tensor& x) { return at::matmul(at::sin(x.select(1, 0)) + x.select(1, 1), w); };
  const module_encoder encoder(function, {2, 3});
  libtorch::context<double> ctx({.kernels = false});
  check_gradient(ctx, encoder);
  libtorch::optim_context<double> other;
  check_gradient(other, encoder);
}
