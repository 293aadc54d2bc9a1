// Modality inversion on a tiny random tower: gradient, independence of the batch, what it learns.
#include "catch.hpp"
#include "code_of.hpp"

#include "clip/towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/prompt/invert.hpp>

using namespace negood;
namespace {

const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n$ .</w>\n");
  return t;
}

template <class B>
clip::text_tower<B> small_tower(B& ctx) {
  return towers::random_text_tower(ctx,
                                   {.width = 16,
                                    .heads = 2,
                                    .layers = 3,
                                    .context_length = 32,
                                    .vocabulary = tokenizer().vocabulary_size(),
                                    .embedding = 8},
                                   5);
}

template <class Real>
host_matrix<Real> unit_images(index_type n) {
  auto m = towers::random_values(3).matrix<Real>(n, 8);
  for (index_type r = 0; r < n; ++r) {
    double s = 0;
    for (const Real v : m.row(r)) s += double(v) * double(v);
    for (Real& v : m.row(r)) v = static_cast<Real>(double(v) / std::sqrt(s));
  }
  return m;
}

std::vector<std::uint64_t> numbers(index_type n, std::uint64_t first = 10) {
  std::vector<std::uint64_t> out;
  for (index_type i = 0; i < n; ++i) out.push_back(first + 3 * static_cast<std::uint64_t>(i));
  return out;
}

using reference_double = reference::context<double>;

}  // namespace

TEST_CASE("the gradient of the pseudo-words is that of the whole padded tower, by central differences", "[invert]") {
  reference_double ctx;
  const auto tower = small_tower(ctx);
  const index_type words = 2, images = 3;
  const modality_inverter<reference_double> inverter(
      ctx, tower, tokenizer(), {.templates = {"ab {} cd", "{}", "a photo of a {}."}, .pseudo_words = words});
  towers::random_values random(8);
  const auto v = random.matrix<double>(images * words, 16, 0.3), c = random.matrix<double>(images, 8);
  const std::vector<std::pair<std::string, std::string>> sides{{"ab ", " cd"}, {"", ""}, {"a photo of a ", "."}};
  for (std::size_t k = 0; k < sides.size(); ++k) {
    CAPTURE(k);
    // The plain form: all rows of one padded sequence at once, nothing shared, end tokens repeated behind the first.
    const auto plain = [&](const host_matrix<double>& x) {
      double total = 0;
      std::vector<index_type> before{tokenizer().sos()}, behind;
      for (const int id : tokenizer().encode(sides[k].first)) before.push_back(id);
      for (const int id : tokenizer().encode(sides[k].second)) behind.push_back(id);
      behind.push_back(tokenizer().eot());
      for (index_type i = 0; i < images; ++i) {
        const auto length = static_cast<index_type>(before.size() + behind.size()) + words;
        auto rows = ctx.zeros(length, 16);
        ctx.paste(rows, ctx.gather_rows(tower.token_embedding, before), 0, 0);
        ctx.paste(rows, ctx.block(ctx.from_host(x.view()), i * words, 0, words, 16), index_type(before.size()), 0);
        ctx.paste(rows, ctx.gather_rows(tower.token_embedding, behind), index_type(before.size()) + words, 0);
        const auto layout = ragged_rows::equal(1, length);
        rows = clip::add_positions(ctx, tower, rows, layout, 0);
        const auto entered = clip::enter_suffix(ctx, tower, std::move(rows), layout);
        const auto y = ctx.to_host(clip::run_suffix(ctx, tower, clip::empty_prefix(ctx, tower), entered));
        for (index_type d = 0; d < 8; ++d) total += y(0, d) * c(i, d);
      }
      return total;
    };
    const auto got = inverter.evaluate(ctx, ctx.from_host(v.view()), k, ctx.from_host(c.view()));
    const auto features = ctx.to_host(got.features), gradient = ctx.to_host(got.gradient);
    double value = 0;
    for (index_type i = 0; i < features.size(); ++i) value += features.data()[i] * c.data()[i];
    CHECK(value == Approx(plain(v)).epsilon(1e-12));
    for (index_type r = 0; r < v.rows(); ++r)
      for (index_type d = r % 3; d < 16; d += 5) {
        constexpr double h = 1e-5;
        auto up = v, down = v;
        up(r, d) += h;
        down(r, d) -= h;
        CHECK(gradient(r, d) == Approx((plain(up) - plain(down)) / (2 * h)).epsilon(1e-6).margin(1e-8));
      }
  }
}

TEST_CASE("the loss falls, and zero steps leave the start", "[invert]") {
  reference_double ctx;
  const auto tower = small_tower(ctx);
  const auto images = unit_images<double>(6);
  const auto who = numbers(6);
  const auto after = [&](index_type steps) {
    return modality_inverter<reference_double>(ctx, tower, tokenizer(), {.steps = steps})(ctx, images, who);
  };
  const auto none = after(0), ten = after(10), many = after(60);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(none.first_cosine[i] == none.last_cosine[i]);
    CHECK(ten.first_cosine[i] == none.first_cosine[i]);
    CHECK(ten.last_cosine[i] > ten.first_cosine[i]);
    CHECK(many.last_cosine[i] > ten.last_cosine[i]);
    double norm = 0;
    for (const double v : ten.features.row(static_cast<index_type>(i))) norm += v * v;
    CHECK(norm == Approx(1).epsilon(1e-12));
  }
}

TEMPLATE_TEST_CASE("a batch of one and a batch of many give the same bytes, for any number of threads", "[invert]",
                   reference::context<float>, eigen::context<float>) {
  const index_type n = 131;  // more than two tasks
  const auto images = unit_images<float>(n);
  const auto who = numbers(n);
  for (const auto& templates :
       {std::vector<std::string>{"a photo of {}"}, std::vector<std::string>{"a photo of {}", "ab {} cd", "{}"}}) {
    const auto run = [&](auto&& ctx, index_type first, index_type count, index_type at_once = 32) {
      const auto tower = small_tower(ctx);
      const modality_inverter<TestType> inverter(ctx, tower, tokenizer(),
                                                 {.templates = templates, .steps = 3, .images_at_once = at_once});
      host_matrix<float> some(count, 8);
      for (index_type i = 0; i < count; ++i) std::ranges::copy(images.row(first + i), some.row(i).begin());
      return inverter(ctx, some,
                      std::span(who).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)))
          .features;
    };
    const auto whole = run(TestType(), 0, n);
    for (const index_type i : {0, 64, 130}) {
      const auto one = run(TestType(), i, 1);
      CHECK(std::ranges::equal(one.row(0), whole.row(i)));
    }
    for (const index_type at_once : {7, 131}) CHECK(run(TestType(), 0, n, at_once) == whole);
    if constexpr (std::is_same_v<TestType, eigen::context<float>>)
      for (const index_type threads : {1, 2, 4}) CHECK(run(TestType({.threads = threads}), 0, n) == whole);
  }
}

TEST_CASE("punctuation behind the place cannot swallow it", "[invert]") {
  // "$." is one token of this vocabulary, as it is of CLIP's: with a placeholder in the text the place would be lost.
  reference_double ctx;
  const auto tower = small_tower(ctx);
  const modality_inverter<reference_double> with(ctx, tower, tokenizer(), {.templates = {"a {}."}, .steps = 1});
  const modality_inverter<reference_double> apart(ctx, tower, tokenizer(), {.templates = {"a {} ."}, .steps = 1});
  const auto images = unit_images<double>(2);
  const auto who = numbers(2);
  CHECK(with(ctx, images, who).features == apart(ctx, images, who).features);
}

TEST_CASE("templates without a place, too long ones and options out of range are refused", "[invert]") {
  reference_double ctx;
  const auto tower = small_tower(ctx);
  const auto code = [&](inversion_options o) {
    return code_of([&] { modality_inverter<reference_double>(ctx, tower, tokenizer(), o); });
  };
  CHECK(code({.templates = {"a photo"}}) == "negood.model.15");
  CHECK(code({.templates = {}}) == "negood.invert.1");
  CHECK(code({.pseudo_words = 0}) == "negood.invert.1");
  CHECK(code({.learning_rate = 0}) == "negood.invert.1");
  CHECK(code({.images_at_once = -1}) == "negood.invert.1");
  CHECK(code({.templates = {"ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab {}"}, .pseudo_words = 20}) ==
        "negood.prompt.1");
}
