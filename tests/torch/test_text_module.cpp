// Prompts learned on a text model of LibTorch's: CLIP's text transformer in ATen's operations, differentiated by
// autograd, beside the library's own tower with the same weights.
#include <negood/backend/torch.hpp>
#include <negood/backend/torch/optim.hpp>
#include <negood/backend/torch/text_module.hpp>
#include <negood/prompt/fit_negprompt.hpp>

#include <memory>

#include "catch.hpp"
#include "clip/towers.hpp"
#include "code_of.hpp"

using namespace negood;

namespace {

const std::vector<std::string> names{"ab", "cd_ef", "a b ab"};
const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}
const clip::text_config& shapes() {
  static const clip::text_config c{.width = 16,
                                   .heads = 2,
                                   .layers = 3,
                                   .context_length = 24,
                                   .vocabulary = tokenizer().vocabulary_size(),
                                   .embedding = 8};
  return c;
}

/// x `[S, T, d]` -> the features of the end tokens, every token through every layer.
template <class B>
at::Tensor transformer(const clip::text_tower<B>& w, const at::Tensor& embeddings, const at::Tensor& ends) {
  const index_type s = embeddings.size(0), t = embeddings.size(1), d = embeddings.size(2), h = w.config.heads;
  const auto norm = [&](const layer_norm_weights<B>& n, const at::Tensor& x) {
    return at::layer_norm(x, {d}, n.gain.torch().reshape({d}), n.bias.torch().reshape({d}), layer_norm_epsilon);
  };
  const auto affine = [](const linear_weights<B>& l, const at::Tensor& x) {
    return at::matmul(x, l.weight.values.torch()) + l.bias.torch().reshape({-1});
  };
  const auto heads = [&](const at::Tensor& x) { return x.reshape({s, t, h, d / h}).transpose(1, 2); };
  const at::Tensor later = at::triu(at::ones({t, t}, at::kDouble), 1).to(at::kBool);
  at::Tensor x = embeddings + w.positional_embedding.torch().narrow(0, 0, t);
  for (const auto& l : w.layers) {
    const at::Tensor a = norm(l.ln_1, x), kv = affine(l.key_value, a);
    const at::Tensor score = at::matmul(heads(affine(l.query, a)), heads(kv.narrow(2, 0, d)).transpose(2, 3)) /
                             std::sqrt(static_cast<double>(d / h));
    const at::Tensor o =
        at::matmul(at::softmax(at::masked_fill(score, later, -INFINITY), 3), heads(kv.narrow(2, d, d)));
    x = x + affine(l.attention_out, o.transpose(1, 2).reshape({s, t, d}));
    const at::Tensor f = affine(l.mlp_in, norm(l.ln_2, x));
    x = x + affine(l.mlp_out, f * at::sigmoid(1.702 * f));
  }
  const at::Tensor last = x.index({at::arange(s, at::kLong), ends});
  return at::matmul(norm(w.ln_final, last), w.projection.values.torch());
}

template <class B>
struct setup {
  B ctx;
  std::shared_ptr<clip::text_tower<B>> tower =
      std::make_shared<clip::text_tower<B>>(towers::random_text_tower(ctx, shapes(), 5));
  libtorch::text_module<double> module{
      shapes(), ctx.clone(tower->token_embedding), "module",
      [w = tower](const at::Tensor& x, const at::Tensor& ends) { return transformer(*w, x, ends); }};
  training_features<double> train;

  setup() {
    train.features = ctx.to_host(
        normalise_rows(ctx, ctx.from_host(towers::random_values(3).matrix<double>(12, shapes().embedding).view()))
            .unit);
    for (index_type i = 0; i < 12; ++i) train.labels.push_back(i % 3);
  }
};

static_assert(TextModel<libtorch::text_module<double>, libtorch::context<double>>);
static_assert(TextModel<clip::text_tower<libtorch::context<double>>, libtorch::context<double>>);
static_assert(!TextModel<libtorch::module_prompt_encoder<libtorch::context<double>>, libtorch::context<double>>);

}  // namespace

TEST_CASE("features and gradients of a text module are the tower's, in any chunks and within any memory") {
  setup<libtorch::context<double>> s;
  const auto suffixes = name_suffixes(tokenizer(), names, ".", 3, 24);
  for (const auto scope : {context_scope::shared, context_scope::class_specific})
    for (const index_type prompts : {1, 3}) {
      const index_type sets = scope == context_scope::shared ? prompts : 3 * prompts;
      const auto contexts = s.ctx.from_host(towers::random_values(7).matrix<double>(sets * 3, 16).view());
      const auto dy = s.ctx.from_host(towers::random_values(8).matrix<double>(3 * prompts, 8).view());
      const auto run = [&](const auto& text, const prompt_encoder_options& o) {
        const auto encoder = make_prompt_encoder(s.ctx, text, suffixes, tokenizer().sos(), 3, o);
        typename std::remove_const_t<decltype(encoder)>::state kept;
        const auto value = encoder.encode(s.ctx, contexts, prompts, &kept);
        return std::pair(s.ctx.to_host(value), s.ctx.to_host(encoder.pullback(s.ctx, kept, dy)));
      };
      const auto wanted = run(*s.tower, {.scope = scope});
      for (const prompt_encoder_options o :
           {prompt_encoder_options{.scope = scope}, prompt_encoder_options{.scope = scope, .chunk_rows = 20},
            prompt_encoder_options{.scope = scope, .chunk_rows = 20, .memory_budget = 400000},
            prompt_encoder_options{.scope = scope, .memory_budget = 0}}) {
        CAPTURE(prompts, o.chunk_rows, o.memory_budget);
        const auto got = run(s.module, o);
        CHECK(towers::difference(got.first, wanted.first) <= 1e-12);
        CHECK(towers::difference(got.second, wanted.second) <= 1e-12);
      }
      s.module.length = 24;  // a traced module takes one length
      CHECK(towers::difference(run(s.module, {.scope = scope}).second, wanted.second) <= 1e-12);
      s.module.length = 0;
    }
}

TEST_CASE("NegPrompt on a text module: the prompts and the bank of the library's tower") {
  negprompt_options o;
  o.context_length = 3;
  o.context_init = "ab cd";
  o.stage1 = {.epochs = 2, .batch = 4, .learning_rate = 0.05};
  o.stage2 = o.stage1;
  const auto check = [&](auto&& s) {
    const auto wanted = fit_negprompt(s.ctx, *s.tower, tokenizer(), 20.0, names, s.train, o);
    const auto got = fit_negprompt(s.ctx, s.module, tokenizer(), 20.0, names, s.train, o);
    CHECK(towers::difference(got.prompts.positive, wanted.prompts.positive) <= 1e-9);
    CHECK(towers::difference(got.prompts.negative, wanted.prompts.negative) <= 1e-9);
    CHECK(got.prompts.encoder_fingerprint == "module");
    const std::vector<std::string> others{"cd", "ab ab"};
    const auto bank = got.prompts.bind(s.ctx, s.module, tokenizer(), others);
    const auto own = wanted.prompts.bind(s.ctx, *s.tower, tokenizer(), others);
    CHECK(towers::difference(s.ctx.to_host(bank.negative), s.ctx.to_host(own.negative)) <= 1e-9);
    CHECK(code_of([&] { wanted.prompts.bind(s.ctx, s.module, tokenizer(), others); }) == "negood.prompt.2");
  };
  check(setup<libtorch::context<double>>());
  check(setup<libtorch::optim_context<double>>());
}

TEST_CASE("a text module that cannot take the prompts, or gives no features, is refused") {
  setup<libtorch::context<double>> s;
  const auto suffixes = name_suffixes(tokenizer(), names, ".", 3, 24);
  const auto contexts = s.ctx.zeros(3, 16);
  const auto encode = [&] {
    make_prompt_encoder(s.ctx, s.module, suffixes, tokenizer().sos(), 3, {}).encode(s.ctx, contexts, 1);
  };
  s.module.length = 6;
  CHECK(code_of(encode) == "negood.shape.2");
  s.module.length = 0;
  s.module.forward = [](const at::Tensor& x, const at::Tensor&) { return x; };
  CHECK(code_of(encode) == "negood.torch.3");
}
