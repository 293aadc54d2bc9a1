#include <negood/backend/xtensor.hpp>

int main() {
  negood::xtensor::context<float> ctx;
  const negood::host_matrix<float> a(2, 2, std::vector<float>{1, 2, 3, 4}),
      square(2, 2, std::vector<float>{7, 10, 15, 22});
  const auto t = ctx.from_host(a.view());
  return ctx.to_host(ctx.matmul(t, t)) == square ? 0 : 1;
}
