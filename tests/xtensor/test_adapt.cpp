// A program's xtensor arrays in and out: the same memory, not a copy.
#include <negood/backend/xtensor.hpp>

#include "catch.hpp"
#include "code_of.hpp"

using negood::host_matrix;

TEST_CASE("xtensor's containers are viewed where they are") {
  const xt::xtensor<float, 2> matrix = {{1, 2, 3}, {4, 5, 6}};
  const auto view = negood::xtensor::view(matrix);
  CHECK(view.data == matrix.data());
  CHECK(view.rows == 2);
  CHECK(view.cols == 3);
  CHECK(view(1, 0) == 4.0F);
  const xt::xarray<double> dynamic = {{1, 2}, {3, 4}};
  CHECK(negood::xtensor::view(dynamic)(1, 1) == 4.0);
  const xt::xtensor<float, 1> vector = {7, 8, 9};
  CHECK(negood::xtensor::view(vector).rows == 3);
  CHECK(negood::xtensor::view(vector).cols == 1);
  const xt::xarray<float> cube = xt::zeros<float>({2, 2, 2});
  CHECK(code_of([&] { negood::xtensor::view(cube); }) == "negood.xtensor.1");
}

TEST_CASE("a host matrix is an xtensor expression on the same memory") {
  host_matrix<float> m(2, 2, std::vector<float>{1, 2, 3, 4});
  auto expression = negood::xtensor::adapt(m);
  expression(1, 0) = 30;
  CHECK(m(1, 0) == 30.0F);
  const xt::xtensor<float, 2> twice = 2 * negood::xtensor::adapt(std::as_const(m));
  CHECK(twice(1, 0) == 60.0F);
}

TEST_CASE("an xarray moves into a tensor, and a program's xtensor is a tensor") {
  negood::xtensor::context<float> ctx({.threads = 1});
  xt::xarray<float> a = {{1, 2, 3}, {4, 5, 6}};
  const float* where = a.data();
  const auto t = negood::xtensor::take(std::move(a));
  CHECK(t.data() == where);
  CHECK(ctx.to_host(t) == host_matrix<float>(2, 3, std::vector<float>{1, 2, 3, 4, 5, 6}));
  CHECK(float(t(1, 2)) == 6.0F);  // xtensor reads it by the strides that were given
  xt::xarray<float> row = xt::arange<float>(5, 8).reshape({1, 3});
  const auto one = negood::xtensor::take(std::move(row));
  CHECK(float(one(0, 2)) == 7.0F);
  xt::xarray<float> column = xt::arange<float>(5, 7).reshape({2, 1});
  const auto other = negood::xtensor::take(std::move(column));
  CHECK(float(other(1, 0)) == 6.0F);

  const xt::xtensor<float, 2> mine = {{0, 1}, {1, 0}};
  const auto product = ctx.matmul_nt(mine, mine);
  CHECK(float(product(0, 0)) == 1.0F);
  CHECK(float(product(0, 1)) == 0.0F);
}
