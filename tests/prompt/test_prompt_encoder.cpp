// The exact form of prompt encoding against the padded one, against torch's autograd, and against itself in other
// chunks.
#include "../clip/towers.hpp"
#include "catch.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/io/model.hpp>
#include <negood/prompt/prompt_encoder.hpp>

using namespace negood;
using towers::difference;

namespace {

template <Backend B>
struct encoded {
  host_matrix<real_t<B>> features, gradient;
};

template <Backend B>
encoded<B> encode(B& ctx, const clip::text_tower<B>& tower, const std::vector<std::vector<index_type>>& suffixes,
                  index_type start_token, const host_matrix<real_t<B>>& contexts, index_type prompts, index_type n,
                  const host_matrix<real_t<B>>& cotangent, prompt_encoder_options options = {}) {
  const prompt_encoder<B> encoder(ctx, tower, suffixes, start_token, n, options);
  typename prompt_encoder<B>::state state;
  encoded<B> out;
  out.features = ctx.to_host(encoder.encode(ctx, ctx.from_host(contexts.view()), prompts, &state));
  out.gradient = ctx.to_host(encoder.pullback(ctx, state, ctx.from_host(cotangent.view())));
  return out;
}

struct problem {
  clip::text_config tower;
  index_type classes, longest, prompts, n;
  context_scope scope = context_scope::shared;

  bool class_specific() const { return scope == context_scope::class_specific; }
  index_type context_rows() const { return (class_specific() ? classes : 1) * prompts * n; }
};

clip::text_config shape(index_type width, index_type heads, index_type layers, index_type context,
                        activation_kind activation = activation_kind::quick_gelu) {
  clip::text_config c;
  c.width = width;
  c.heads = heads;
  c.layers = layers;
  c.context_length = context;
  c.vocabulary = 40;
  c.embedding = width - 1;
  c.activation = activation;
  return c;
}

template <class Real>
struct random_problem {
  std::vector<std::vector<index_type>> suffixes;
  host_matrix<Real> contexts, cotangent;

  random_problem(const problem& p, std::uint64_t seed) {
    towers::random_values random(seed);
    suffixes = towers::random_suffixes(p.classes, p.longest, p.tower.vocabulary, seed);
    contexts = random.matrix<Real>(p.context_rows(), p.tower.width, 0.5);
    cotangent = random.matrix<Real>(p.classes * p.prompts, p.tower.embedding);
  }
};

}  // namespace

TEST_CASE("the exact form of prompts equals the padded one in double", "[prompt_encoder]") {
  const auto gelu = activation_kind::gelu;
  const std::vector<problem> problems{
      {shape(12, 3, 3, 77), 1, 1, 1, 1},
      {shape(12, 3, 3, 77), 5, 9, 2, 16},
      {shape(10, 2, 1, 16, gelu), 7, 6, 3, 4},  // a single layer: first and last at once
      {shape(8, 1, 2, 24), 23, 12, 2, 1},
      {shape(8, 2, 2, 77, gelu), 3, 60, 1, 16},  // the longest prompt fills the context
      {shape(12, 3, 3, 24), 5, 9, 2, 4, context_scope::class_specific},
      {shape(10, 2, 1, 16, gelu), 6, 5, 3, 2, context_scope::class_specific},
  };
  reference::context<double> ctx;
  std::uint64_t seed = 100;
  for (const auto& p : problems) {
    CAPTURE(p.classes, p.prompts, p.n, p.tower.width, p.tower.layers);
    const auto tower = towers::random_text_tower(ctx, p.tower, ++seed);
    const random_problem<double> r(p, ++seed);
    const auto expected =
        towers::encode_padded(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, p.class_specific(), r.cotangent);
    const auto found = encode(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, r.cotangent, {.scope = p.scope});
    CHECK(difference(found.features, expected.features) < 1e-12);
    CHECK(difference(found.gradient, expected.gradient) < 1e-12);
  }
}

TEST_CASE("the exact form equals the padded one for a thousand classes", "[prompt_encoder]") {
  const problem p{shape(8, 2, 2, 12), 1000, 7, 2, 3};
  eigen::context<double> ctx;
  const auto tower = towers::random_text_tower(ctx, p.tower, 7);
  const random_problem<double> r(p, 8);
  const auto expected =
      towers::encode_padded(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, false, r.cotangent);
  for (const index_type chunk_rows : {64, 256, 100000}) {
    const auto found =
        encode(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, r.cotangent, {.chunk_rows = chunk_rows});
    CHECK(difference(found.features, expected.features) < 1e-12);
    CHECK(difference(found.gradient, expected.gradient) < 1e-12);
  }
}

TEST_CASE("chunks from one class to all of them give the same features and gradient", "[prompt_encoder]") {
  for (const auto scope : {context_scope::shared, context_scope::class_specific}) {
    const problem p{shape(12, 3, 3, 20), 11, 6, 2, 3, scope};
    reference::context<double> ctx;
    const auto tower = towers::random_text_tower(ctx, p.tower, 21);
    const random_problem<double> r(p, 22);
    const auto whole = encode(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, r.cotangent,
                              {.scope = scope, .chunk_rows = 9999});
    index_type rows = 0;
    for (const auto& s : r.suffixes) rows += static_cast<index_type>(s.size()) + (p.class_specific() ? p.n : 0);
    for (index_type chunks = 1; chunks <= p.classes; ++chunks) {
      CAPTURE(chunks);
      const auto found = encode(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, r.cotangent,
                                {.scope = scope, .chunk_rows = std::max<index_type>(1, rows / chunks)});
      CHECK(found.features == whole.features);
      CHECK(difference(found.gradient, whole.gradient) < 1e-13);  // the sum over chunks has another order
    }
  }
}

TEST_CASE("what is computed again has the bytes of what was kept", "[prompt_encoder]") {
  for (const auto scope : {context_scope::shared, context_scope::class_specific}) {
    const problem p{shape(12, 3, 3, 20), 40, 6, 2, 3, scope};
    eigen::context<float> ctx;
    const auto tower = towers::random_text_tower(ctx, p.tower, 31);
    const random_problem<float> r(p, 32);
    const auto run = [&](std::size_t budget) {
      return encode(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, r.cotangent,
                    {.scope = scope, .chunk_rows = 20, .memory_budget = budget});
    };
    const auto kept = run(std::size_t{1} << 30);
    for (const std::size_t budget : {std::size_t{0}, std::size_t{100000}}) {
      const auto again = run(budget);
      CHECK(again.features == kept.features);
      CHECK(again.gradient == kept.gradient);
    }
  }
}

TEST_CASE("the number of threads does not show in a byte of features or gradient", "[prompt_encoder]") {
  for (const auto scope : {context_scope::shared, context_scope::class_specific}) {
    const problem p{shape(32, 4, 3, 20), 60, 6, 3, 4, scope};
    const random_problem<float> r(p, 42);
    std::vector<encoded<eigen::context<float>>> by_threads;
    for (const index_type threads : {1, 2, 4}) {
      eigen::context<float> ctx({.threads = threads});
      const auto tower = towers::random_text_tower(ctx, p.tower, 41);
      by_threads.push_back(encode(ctx, tower, r.suffixes, 38, r.contexts, p.prompts, p.n, r.cotangent,
                                  {.scope = scope, .chunk_rows = 40}));
    }
    for (const std::size_t i : {std::size_t{1}, std::size_t{2}}) {
      CHECK(by_threads[i].features == by_threads[0].features);
      CHECK(by_threads[i].gradient == by_threads[0].gradient);
    }
  }
}

TEMPLATE_TEST_CASE("features and context gradients are those of torch's autograd", "[prompt_encoder]",
                   reference::context<double>, reference::context<float>, eigen::context<double>,
                   eigen::context<float>) {
  using real = typename TestType::real;
  TestType ctx;
  for (const auto& name : towers::golden_models()) {
    const auto m = clip::load(ctx, towers::golden_folder(name), {.image = false});
    const auto expected = safetensors_file::read(towers::golden_folder(name) + "/expected.safetensors");
    for (const index_type prompts : {1, 2, 3}) {
      std::vector<std::vector<index_type>> suffixes;
      for (const auto& label : towers::golden_names()) {
        const auto ids = m.tokenizer.encode(label + (prompts == 1 ? "" : "."));
        suffixes.emplace_back(ids.begin(), ids.end());
        suffixes.back().push_back(m.tokenizer.eot());
      }
      for (const auto scope : {context_scope::shared, context_scope::class_specific}) {
        const bool shared = scope == context_scope::shared;
        if (!shared && prompts != 2) continue;
        const std::string key = (shared ? "shared." : "class.") + std::to_string(prompts) + ".";
        CAPTURE(name, key);
        const auto found =
            encode(ctx, m.text, suffixes, m.tokenizer.sos(), expected.tensor<real>(key + "contexts"), prompts,
                   prompts == 1   ? 1
                   : prompts == 2 ? 4
                                  : 2,
                   expected.tensor<real>(key + "cotangent"), {.scope = scope});
        CHECK(difference(found.features, expected.tensor<double>(key + "features")) < towers::tolerance<real>());
        CHECK(difference(found.gradient, expected.tensor<double>(key + "gradient")) < towers::tolerance<real>());
      }
    }
  }
}

TEST_CASE("ViT-B/16's text tower and context gradient agree with torch in float", "[prompt_encoder][vit_b_16]") {
  eigen::context<float> ctx;
  clip::text_config c = shape(512, 8, 12, 77);
  c.vocabulary = 49408;
  c.embedding = 512;
  towers::hashed_weights w(0);
  auto tokens = w.tensor(ctx, c.vocabulary, c.width, 0.0625F);
  auto positions = w.tensor(ctx, c.context_length, c.width, 0.03125F);
  std::vector<clip::transformer_layer<eigen::context<float>>> layers;
  for (index_type i = 0; i < c.layers; ++i) layers.push_back(w.layer(ctx, c.width));
  auto ln_final = w.layer_norm(ctx, c.width);
  auto projection = ctx.freeze(w.tensor(ctx, c.width, c.embedding, 0.125F));
  const clip::text_tower<eigen::context<float>> tower{
      c, std::move(tokens), std::move(positions), std::move(layers), std::move(ln_final), std::move(projection), "b16"};

  const std::vector<std::vector<index_type>> suffixes{
      {2368, 49407}, {830, 1579, 7980, 269, 49407}, {20629, 626, 344, 568, 7622, 9465, 269, 49407}};
  host_matrix<float> contexts(2 * 4, 512);
  for (index_type i = 0; i < contexts.size(); ++i)
    contexts.data()[i] = 0.0625F * towers::hashed(1000, static_cast<std::uint64_t>(i));
  host_matrix<float> cotangent(6, 512);
  for (index_type i = 0; i < cotangent.size(); ++i)
    cotangent.data()[i] = towers::hashed(1001, static_cast<std::uint64_t>(i));

  const prompt_encoder<eigen::context<float>> encoder(ctx, tower, suffixes, 49406, 4);
  prompt_encoder<eigen::context<float>>::state state;
  const auto unit = normalise_rows(ctx, encoder.encode(ctx, ctx.from_host(contexts.view()), 2, &state));
  const auto d_raw = normalise_rows_t::pullback(ctx, unit, ctx.from_host(cotangent.view()));
  const auto gradient = ctx.to_host(encoder.pullback(ctx, state, d_raw));
  const auto expected = safetensors_file::read(towers::golden_folder("vit_b_16") + "/expected.safetensors");
  CHECK(difference(ctx.to_host(unit.unit), expected.tensor<double>("text")) < 1e-5);
  CHECK(difference(gradient, expected.tensor<double>("gradient")) < 1e-5);
}

TEST_CASE("prompts that do not fit the context, and contexts of another shape, are refused", "[prompt_encoder]") {
  const problem p{shape(8, 2, 2, 8), 2, 3, 1, 4};
  reference::context<double> ctx;
  const auto tower = towers::random_text_tower(ctx, p.tower, 51);
  const std::vector<std::vector<index_type>> fits{{1, 2, 39}}, too_long{{39}, {1, 2, 3, 39}};
  CHECK_NOTHROW(prompt_encoder<reference::context<double>>(ctx, tower, fits, 38, 4));
  CHECK_THROWS_WITH((prompt_encoder<reference::context<double>>(ctx, tower, too_long, 38, 4)),
                    Catch::Contains("negood.prompt.1") && Catch::Contains("9 tokens") && Catch::Contains("is 8"));
  const prompt_encoder<reference::context<double>> encoder(ctx, tower, fits, 38, 4);
  CHECK_THROWS_WITH(encoder.encode(ctx, ctx.zeros(4, 7), 1),
                    Catch::Contains("negood.shape.2") && Catch::Contains("[4, 7]") && Catch::Contains("[4, 8]"));
}
