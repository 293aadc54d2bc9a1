// The text tower: goldens of four small models and of the true ViT-B/16 shape, prefix sharing, chunks, overflow,
// templates.
#include "catch.hpp"
#include "towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/io/model.hpp>

#include <map>
#include <span>

using namespace negood;

namespace {

using contexts =
    std::tuple<reference::context<double>, reference::context<float>, eigen::context<double>, eigen::context<float>>;

std::span<const std::string> span_of(const std::vector<std::string>& v) { return v; }

template <class Real>
host_matrix<Real> rows_of(const host_matrix<Real>& m, index_type first, index_type count) {
  host_matrix<Real> out(count, m.cols());
  std::copy_n(m.data() + first * m.cols(), out.size(), out.data());
  return out;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("texts of every dialect of checkpoint are encoded as torch does", "[text_tower]", contexts) {
  TestType ctx;
  for (const auto& name : towers::golden_models()) {
    CAPTURE(name);
    const auto m = clip::load(ctx, towers::golden_folder(name), {.image = false});
    const auto expected = safetensors_file::read(towers::golden_folder(name) + "/expected.safetensors");
    const auto found = clip::encode_texts_raw(ctx, m.text, m.tokenizer, span_of(towers::golden_texts()));
    CHECK(towers::difference(found, expected.tensor<double>("texts")) < towers::tolerance<typename TestType::real>());
    CHECK(m.logit_scale == Approx(expected.tensor<double>("logit_scale")(0, 0)).epsilon(1e-12));
  }
}

TEST_CASE("a text's feature depends neither on the other texts nor on the chunks", "[text_tower]") {
  reference::context<double> ctx;
  const auto m = clip::load(ctx, towers::golden_folder("openai_f32"), {.image = false});
  const auto& texts = towers::golden_texts();
  const auto together = clip::encode_texts(ctx, m, span_of(texts));
  for (index_type i = 0; i < together.rows(); ++i) {
    const std::vector<std::string> one{texts[static_cast<std::size_t>(i)]};
    CHECK(towers::difference(clip::encode_texts(ctx, m, span_of(one)), rows_of(together, i, 1)) < 1e-14);
  }
  for (const index_type chunk : {1, 2, 7, 9, 1000})
    CHECK(clip::encode_texts(ctx, m, span_of(texts), {.chunk_rows = chunk}) == together);
  for (index_type i = 0; i < together.rows(); ++i) {
    double square = 0;
    for (const double x : together.row(i)) square += x * x;
    CHECK(square == Approx(1).epsilon(1e-12));
  }
  CHECK(clip::encode_texts(ctx, m, span_of({})).rows() == 0);
}

TEST_CASE("threads and chunks do not show in the bytes of text features", "[text_tower]") {
  std::vector<std::string> texts;
  for (int i = 0; i < 60; ++i) texts.push_back("a photo of a " + std::string(static_cast<std::size_t>(i % 7), 'x'));
  std::map<index_type, host_matrix<float>> by_threads;
  for (const index_type threads : {1, 2, 4}) {
    eigen::context<float> ctx({.threads = threads});
    const auto m = clip::load(ctx, towers::golden_folder("openai_bf16"), {.image = false});
    by_threads[threads] = clip::encode_texts(ctx, m, span_of(texts), {.chunk_rows = 16});
    CHECK(clip::encode_texts(ctx, m, span_of(texts), {.chunk_rows = 200}) == by_threads[threads]);
  }
  CHECK(by_threads[1] == by_threads[2]);
  CHECK(by_threads[1] == by_threads[4]);
}

TEST_CASE("texts that are too long or foreign tokens are refused by name", "[text_tower]") {
  reference::context<double> ctx;
  const auto m = clip::load(ctx, towers::golden_folder("openai_f32"), {.image = false});  // 16 positions
  const std::vector<std::string> texts{"a cat", "zzzzzzzzzzzzzzz"};
  try {
    clip::encode_texts(ctx, m, span_of(texts));
    FAIL("17 tokens fitted into 16");
  } catch (const error& e) {
    CHECK(e.code() == "negood.tokenizer.5");
    CHECK(e.where() == "text 2 of 2");
    CHECK(e.what_happened().find("17 tokens") != std::string::npos);
  }
  const auto cut = clip::encode_texts(ctx, m, span_of(texts), {.overflow = overflow_policy::truncate});
  CHECK(std::isfinite(cut(1, 0)));
  CHECK(cut.rows() == 2);
  const auto tokens = clip::tokenise(m.tokenizer, span_of(texts), 16, overflow_policy::truncate);
  CHECK(tokens[1].size() == 16);
  CHECK(tokens[1].back() == m.tokenizer.eot());

  const std::vector<std::vector<index_type>> foreign{{m.tokenizer.sos(), 49407}};
  CHECK_THROWS_WITH(clip::encode_tokens_raw(ctx, m.text, std::span<const std::vector<index_type>>(foreign)),
                    Catch::Contains("negood.model.14") && Catch::Contains("49407"));
  const std::vector<std::vector<index_type>> empty{{m.tokenizer.sos()}, {}};
  CHECK_THROWS_AS(clip::encode_tokens_raw(ctx, m.text, std::span<const std::vector<index_type>>(empty)), error);
  const std::vector<std::vector<index_type>> long_one{std::vector<index_type>(17, 3), std::vector<index_type>(3, 3)};
  CHECK_THROWS_WITH(clip::encode_tokens_raw(ctx, m.text, std::span<const std::vector<index_type>>(long_one)),
                    Catch::Contains("negood.prompt.1") && Catch::Contains("17 tokens"));
}

TEST_CASE("several templates give the normalised mean of their unit features", "[text_tower]") {
  reference::context<double> ctx;
  const auto m = clip::load(ctx, towers::golden_folder("huggingface_f32"), {.image = false});
  const std::vector<std::string> names{"cat", "an_ant"}, templates{"a photo of a {}.", "the $", "{}"};
  const auto found = clip::encode_texts_with_templates(ctx, m, span_of(names), span_of(templates));
  CHECK(clip::fill_template("a photo of a {}.", "polar_bear") == "a photo of a polar bear.");
  host_matrix<double> mean(2, found.cols());
  for (index_type k = 0; k < 2; ++k) {
    const std::string name = k == 0 ? "cat" : "an ant";
    const std::vector<std::string> texts{"a photo of a " + name + ".", "the " + name, name};
    const auto each = clip::encode_texts(ctx, m, span_of(texts));
    double square = 0;
    for (index_type j = 0; j < found.cols(); ++j) {
      mean(k, j) = each(0, j) + each(1, j) + each(2, j);
      square += mean(k, j) * mean(k, j);
    }
    for (index_type j = 0; j < found.cols(); ++j) mean(k, j) /= std::sqrt(square);
  }
  CHECK(towers::difference(found, mean) < 1e-13);
  const std::vector<std::string> one{"a photo of a {}."}, bad{"a photo"};
  const std::vector<std::string> filled{"a photo of a cat.", "a photo of a an ant."};
  CHECK(clip::encode_texts_with_templates(ctx, m, span_of(names), span_of(one)) ==
        clip::encode_texts(ctx, m, span_of(filled)));
  CHECK_THROWS_WITH(clip::encode_texts_with_templates(ctx, m, span_of(names), span_of(bad)),
                    Catch::Contains("negood.model.15"));
  CHECK_THROWS_WITH(clip::encode_texts_with_templates(ctx, m, span_of(names), span_of({})),
                    Catch::Contains("negood.model.15"));
}
