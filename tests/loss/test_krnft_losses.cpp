// KR-NFT's losses and gradients against torch's autograd on materialised features, and against central differences.
#include "catch.hpp"
#include "code_of.hpp"

#include "loss/krnft_cases.hpp"

using namespace krnft_test;
namespace {

using reference_double = reference::context<double>;

const std::vector<golden_case>& cases() {
  static const auto all = read_cases();
  return all;
}

std::vector<feature_evaluation> ways(const golden_case& c) {
  if (c.model.per_label()) return {feature_evaluation::direct};
  return {feature_evaluation::products, feature_evaluation::direct};
}

template <class B>
void check_case(B& ctx, const golden_case& c, feature_evaluation how, double allowed) {
  const auto got = evaluate(ctx, c, c.parameters, how, 3);
  INFO(c.name << ", groups " << c.groups << (how == feature_evaluation::direct ? ", direct" : ", products"));
  const auto close = [&](double a, double b) { return std::abs(a - b) <= allowed * std::max(1.0, std::abs(b)); };
  CHECK(close(got.id, c.id));
  CHECK(close(got.outlier, c.outlier));
  CHECK(close(got.knowledge, c.knowledge));
  CHECK(close(got.loss, c.loss));
  REQUIRE(got.gradients.size() == c.gradients.size());
  for (std::size_t i = 0; i < got.gradients.size(); ++i) {
    CAPTURE(i);
    CHECK(relative_difference(got.gradients[i], c.gradients[i]) <= allowed);
  }
}

}  // namespace

TEST_CASE("losses and gradients of every feature model are those of autograd on materialised features", "[krnft]") {
  REQUIRE(cases().size() == 11);
  reference_double plain;
  eigen::context<double> eigen;
  for (const auto& c : cases())
    for (const auto how : ways(c)) {
      // Products know a squared length to kappa units of rounding; from kappa 100 on it is computed again.
      check_case(plain, c, how, 1e-12);
      check_case(eigen, c, how, 1e-12);
    }
}

TEST_CASE("in float, losses and gradients are those of double to float's rounding", "[krnft]") {
  eigen::context<float> ctx;
  for (const auto& c : cases())
    for (const auto how : ways(c)) check_case(ctx, c, how, 2e-5);
}

TEST_CASE("gradients of every feature model follow central differences of the loss", "[krnft]") {
  reference_double ctx;
  for (const auto& c : cases()) {
    const auto got = evaluate(ctx, c, c.parameters);
    auto moved = c.parameters;
    std::size_t which = 0;
    for (auto& part : moved.parts)
      for_each_tensor(part, [&](const char* name, matrix& p) {
        const auto& gradient = got.gradients[which++];
        double size = 1e-3;
        for (const double g : gradient.values()) size = std::max(size, std::abs(g));
        for (index_type i = 0; i < p.size(); i += 1 + p.size() / 7) {
          const double kept = p.data()[i], h = 1e-5;
          const auto at = [&](double v) {
            p.data()[i] = v;
            return evaluate(ctx, c, moved).loss;
          };
          // Fourth order, so that the step's own error stays below 1e-6 where features nearly cancel.
          const double slope = (8 * (at(kept + h) - at(kept - h)) - (at(kept + 2 * h) - at(kept - 2 * h))) / (12 * h);
          p.data()[i] = kept;
          INFO(c.name << ", groups " << c.groups << ", " << name << " " << i);
          CHECK(std::abs(gradient.data()[i] - slope) <= 1e-6 * size);
        }
      });
  }
}
