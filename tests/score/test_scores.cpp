// Scores against an independent numpy oracle (tests/golden/make_scores.py), and their properties.
#include "catch.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/io/npy.hpp>
#include <negood/score/scores.hpp>

#include <cmath>
#include <numeric>

using namespace negood;
namespace {

host_matrix<double> golden(const std::string& name) {
  return read_npy<double>(std::string(NEGOOD_GOLDEN_DIR) + "/scores/" + name + ".npy");
}

template <class B>
prompt_bank<B> golden_bank(B& ctx, index_type groups, std::vector<index_type> permutation = {}) {
  using real = real_t<B>;
  return make_prompt_bank(ctx, ctx.from_host(cast<real>(golden("positive")).view()),
                          ctx.from_host(cast<real>(golden("negative")).view()), 100.0, groups, std::move(permutation));
}

template <class B, class S>
double worst(B& ctx, const S& scorer, const prompt_bank<B>& bank, const std::string& name) {
  const auto images = ctx.from_host(cast<real_t<B>>(golden("images")).view());
  const auto got = ctx.to_host(scorer(ctx, images, bank));
  const auto wanted = golden(name);
  REQUIRE(got.rows() == wanted.size());
  double out = 0;
  for (index_type i = 0; i < got.rows(); ++i) {
    const double v = static_cast<double>(got(i, 0));
    const double shown = std::is_same_v<S, neg_label> ? probability_of_log_odds(v) : v;
    const double size = std::max(1.0, std::abs(wanted.data()[i]));  // logits are of size 30, the others at most 1
    out = std::max(out, std::abs(shown - wanted.data()[i]) / size);
  }
  return out;
}

template <class B>
void check_all(B& ctx, double tolerance) {
  const auto bank = golden_bank(ctx, 1);
  CHECK(worst(ctx, max_cosine{}, bank, "max_cosine") < tolerance);
  CHECK(worst(ctx, max_logit{}, bank, "max_logit") < tolerance);
  CHECK(worst(ctx, mcm{}, bank, "mcm") < tolerance);
  CHECK(worst(ctx, mcm{0.1}, bank, "mcm_tau_0.1") < tolerance);
  CHECK(worst(ctx, msp{}, bank, "msp") < 10 * tolerance);  // the exponential of logits of size 30
  CHECK(worst(ctx, energy{}, bank, "energy") < tolerance);
  CHECK(worst(ctx, mcm_with_negatives{}, bank, "negprompt") < tolerance);
  CHECK(worst(ctx, neg_label{}, bank, "neglabel_1") < 10 * tolerance);
  const std::vector<index_type> order{4, 1, 7, 5, 3, 9, 0, 8, 6, 2};
  CHECK(worst(ctx, neg_label{}, golden_bank(ctx, 5, order), "neglabel_5") < 10 * tolerance);
  CHECK(worst(ctx, neg_label{}, golden_bank(ctx, 3), "neglabel_3") < 10 * tolerance);
}

}  // namespace

TEST_CASE("scores equal the numpy oracle") {
  SECTION("reference, double") {
    reference::context<double> ctx;
    check_all(ctx, 1e-12);
  }
  SECTION("eigen, float") {
    eigen::context<float> ctx({.threads = 2});
    check_all(ctx, 1e-6);
  }
  SECTION("eigen, double") {
    eigen::context<double> ctx({.threads = 1});
    check_all(ctx, 1e-12);
  }
}

TEST_CASE("NegLabel in log-odds makes no ties where a float sigmoid would") {
  reference::context<float> ctx;
  auto bank = make_prompt_bank(ctx, host_matrix<float>(1, 2, std::vector<float>{1, 0}),
                               host_matrix<float>(1, 2, std::vector<float>{-1, 0}), 100.0F);
  const auto s = neg_label{}(ctx, host_matrix<float>(2, 2, std::vector<float>{0.5F, 0, 0.6F, 0}), bank);
  CHECK(s(0, 0) < s(1, 0));
  CHECK(static_cast<float>(probability_of_log_odds(s(0, 0))) == 1.0F);
}

TEST_CASE("F-08 a score with negatives refuses a bank without them and names the way out") {
  reference::context<float> ctx;
  const auto bank =
      make_prompt_bank(ctx, host_matrix<float>(2, 2, std::vector<float>{1, 0, 0, 1}), host_matrix<float>(0, 2), 100.0);
  try {
    neg_label{}(ctx, host_matrix<float>(1, 2, std::vector<float>{1, 0}), bank);
    FAIL("accepted");
  } catch (const error& e) {
    CHECK(e.code() == "negood.score.1");
    CHECK(e.hint().find("mcm") != std::string::npos);
  }
}

TEST_CASE("banks refuse shapes, groups and permutations that do not fit") {
  reference::context<float> ctx;
  const auto positive = [] { return host_matrix<float>(2, 3, 0.5F); };
  const auto code = [&](auto&& make) {
    try {
      make();
    } catch (const error& e) {
      return e.code();
    }
    return std::string();
  };
  CHECK(code([&] { make_prompt_bank(ctx, host_matrix<float>(0, 3), host_matrix<float>(0, 3), 1.0); }) ==
        "negood.bank.1");
  CHECK(code([&] { make_prompt_bank(ctx, positive(), host_matrix<float>(2, 4), 1.0); }) == "negood.shape.2");
  CHECK(code([&] { make_prompt_bank(ctx, positive(), host_matrix<float>(2, 3), 1.0, 3); }) == "negood.bank.2");
  CHECK(code([&] { make_prompt_bank(ctx, positive(), host_matrix<float>(4, 3), 1.0, 2, {0, 1}); }) == "negood.bank.3");
}

TEST_CASE("prediction takes the first of equal positives and ignores negatives") {
  reference::context<float> ctx;
  const auto bank = make_prompt_bank(ctx, host_matrix<float>(3, 2, std::vector<float>{0, 1, 1, 0, 1, 0}),
                                     host_matrix<float>(1, 2, std::vector<float>{1, 0}), 1.0);
  CHECK(predict(ctx, host_matrix<float>(2, 2, std::vector<float>{1, 0, 0, 1}), bank) == std::vector<index_type>{1, 0});
}

TEST_CASE("EOE: the largest known probability less beta times the largest imagined one, over one softmax") {
  const auto images = golden("images"), positive = golden("positive"), negative = golden("negative");
  const auto by_hand = [&](index_type i, double beta, double tau) {
    std::vector<double> e;
    for (const auto* texts : {&positive, &negative})
      for (index_type t = 0; t < texts->rows(); ++t) {
        double z = 0;
        for (index_type d = 0; d < images.cols(); ++d) z += images(i, d) * (*texts)(t, d);
        e.push_back(std::exp(z / tau));
      }
    const auto split = e.begin() + positive.rows();
    const double sum = std::accumulate(e.begin(), e.end(), 0.0);
    return (*std::max_element(e.begin(), split) - beta * *std::max_element(split, e.end())) / sum;
  };
  reference::context<double> exact;
  eigen::context<float> fast;
  const auto check = [&](auto& ctx, const eoe& scorer, double tolerance) {
    using real = real_t<std::remove_reference_t<decltype(ctx)>>;
    const auto bank = golden_bank(ctx, 1);
    const auto got = ctx.to_host(scorer(ctx, ctx.from_host(cast<real>(images).view()), bank));
    for (index_type i = 0; i < got.rows(); ++i)
      CHECK(double(got(i, 0)) == Approx(by_hand(i, scorer.beta, scorer.temperature)).margin(tolerance));
  };
  for (const eoe scorer : {eoe{}, eoe{0, 1}, eoe{0.5, 0.1}}) {
    check(exact, scorer, 1e-12);
    check(fast, scorer, 1e-6);
  }
  const auto grouped = golden_bank(exact, 2);
  CHECK_THROWS_AS(eoe{}(exact, exact.from_host(images.view()), grouped), error);
}
