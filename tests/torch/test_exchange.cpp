// What comes in and goes out: tensors of the program, DLPack, TorchScript modules.
#include <negood/backend/torch.hpp>
#include <negood/backend/torch/dlpack.hpp>
#include <negood/backend/torch/module_encoder.hpp>
#include <negood/backend/torch/script_function.hpp>

#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "code_of.hpp"

namespace {

using context = negood::libtorch::context<float>;
using matrix = negood::libtorch::tensor<float>;

/// Two layers, so that the gradient is not a constant.
torch::jit::Module small_module() {
  torch::jit::Module m("encoder");
  m.register_parameter("w1", at::sin(at::arange(12, at::kFloat)).reshape({6, 2}).t().contiguous(), false);
  m.register_parameter("w2", at::cos(at::arange(10, at::kFloat)).reshape({2, 5}), false);
  m.define("def forward(self, x):\n  return torch.tanh(x.flatten(1) @ self.w1.t()) @ self.w2\n");
  return m;
}

}  // namespace

TEST_CASE("a program's tensor is taken without a copy, and a copy only where it must be") {
  at::Tensor mine = at::arange(6, at::kFloat).reshape({2, 3});
  const auto t = matrix::adopt(mine);
  CHECK(t.data() == mine.data_ptr<float>());
  mine.index_put_({0, 1}, 40.0F);
  context ctx;
  CHECK(ctx.to_host(t)(0, 1) == 40.0F);
  const auto own = ctx.clone(t);
  mine.zero_();
  CHECK(ctx.to_host(own)(0, 1) == 40.0F);

  const auto transposed = matrix::adopt(at::arange(6, at::kFloat).reshape({2, 3}).t());
  CHECK(transposed.rows() == 3);
  CHECK(ctx.to_host(transposed)(2, 1) == 5.0F);
  CHECK(matrix::adopt(at::arange(4, at::kFloat)).cols() == 1);
  CHECK(code_of([] { matrix::adopt(at::zeros({2, 2}, at::kDouble)); }) == "negood.torch.1");
  CHECK(code_of([] { matrix::adopt(at::zeros({2, 2, 2}, at::kFloat)); }) == "negood.torch.1");
}

TEST_CASE("DLPack goes out and comes in over the same memory") {
  context ctx;
  const negood::host_matrix<float> values(2, 2, std::vector<float>{1, 2, 3, 4});
  auto t = ctx.from_host(values.view());
  const float* where = t.data();
  DLManagedTensor* managed = negood::libtorch::to_dlpack(t);
  CHECK(managed->dl_tensor.data == where);
  CHECK(managed->dl_tensor.ndim == 2);
  t = ctx.zeros(1, 1);  // the DLPack tensor keeps the memory alive
  const auto back = negood::libtorch::from_dlpack<float>(managed);
  CHECK(back.data() == where);
  CHECK(ctx.to_host(back) == values);
}

TEST_CASE("a TorchScript module encodes to unit rows, with gradients to its input") {
  context ctx;
  const negood::libtorch::module_encoder encoder(negood::libtorch::script_function(small_module()), {3, 2});
  const negood::host_matrix<float> x(2, 6, std::vector<float>{1, 2, -1, 0, 1, 1, -2, 1, 0, 1, 2, -1});
  const auto value = ctx.to_host(encoder(ctx, ctx.from_host(x.view())));
  REQUIRE(value.rows() == 2);
  REQUIRE(value.cols() == 5);
  for (negood::index_type r = 0; r < 2; ++r) {
    double length = 0;
    for (const float v : value.row(r)) length += double(v) * double(v);
    CHECK(length == Approx(1).margin(1e-6));
  }
  const auto linear = encoder.linearize(ctx, ctx.from_host(x.view()));
  CHECK(ctx.to_host(linear.value) == value);
  const negood::host_matrix<float> dy(2, 5, std::vector<float>{1, 0, -1, 2, 0, 0, 1, 1, 0, -1});
  const auto dx = ctx.to_host(linear.pullback(ctx, ctx.from_host(dy.view())));
  CHECK(ctx.to_host(linear.pullback(ctx, ctx.from_host(dy.view()))) == dx);
  const auto total = [&](const negood::host_matrix<float>& at) {
    const auto y = ctx.to_host(encoder(ctx, ctx.from_host(at.view())));
    double sum = 0;
    for (negood::index_type i = 0; i < y.size(); ++i) sum += double(y.data()[i]) * double(dy.data()[i]);
    return sum;
  };
  for (negood::index_type i = 0; i < x.size(); ++i) {
    auto above = x, below = x;
    above.data()[i] += 1e-2F;
    below.data()[i] -= 1e-2F;
    CHECK(dx.data()[i] == Approx((total(above) - total(below)) / 2e-2).margin(2e-3));
  }
}

TEST_CASE("a module from a file, and what is refused") {
  const std::string file = "module_encoder.pt";
  small_module().save(file);
  context ctx;
  using negood::libtorch::module_encoder, negood::libtorch::script_function;
  const module_encoder encoder(script_function::load(file));
  CHECK(ctx.to_host(encoder(ctx, ctx.zeros(1, 6))).cols() == 5);
  std::ofstream("no_module.pt") << "nothing";
  CHECK(code_of([] { script_function::load("no_module.pt"); }) == "negood.torch.2");
  torch::jit::Module flat("flat"), list("list");
  flat.define("def forward(self, x):\n  return x.sum()\n");
  CHECK(code_of([&] { module_encoder(script_function(flat))(ctx, ctx.zeros(2, 6)); }) == "negood.torch.3");
  list.define("def forward(self, x):\n  return [x]\n");
  CHECK(code_of([&] { module_encoder(script_function(list))(ctx, ctx.zeros(2, 6)); }) == "negood.torch.3");
}
