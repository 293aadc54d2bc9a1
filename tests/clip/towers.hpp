/// \file towers.hpp  What the tests of towers share: golden models, random towers, and the plain padded form as oracle.
#pragma once

#include <negood/backend/reference.hpp>
#include <negood/clip/text_tower.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace towers {

using negood::host_matrix;
using negood::host_view;
using negood::index_type;
using negood::ragged_rows;
using negood::real_t;
using negood::tensor_t;

inline const std::vector<std::string>& golden_models() {
  static const std::vector<std::string> names{"openai_f32", "huggingface_f32", "openclip_f16", "openai_bf16"};
  return names;
}
inline std::string golden_folder(const std::string& name) { return std::string(NEGOOD_GOLDEN_DIR) + "/towers/" + name; }

/// The lists of make_towers.py.
inline const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names{"cat", "an ant hen", "ant", "potter's", "a", "CD 12", "hen (red)"};
  return names;
}
inline const std::vector<std::string>& golden_texts() {
  static const std::vector<std::string> texts{"a photo of a cat.", "a photo of a hen.", "a photo of a",
                                              "an ant and a cat", "b"};
  return texts;
}

/// 1e-12 for double, 1e-5 for float: the limits of every comparison with another implementation.
template <class Real>
constexpr double tolerance() {
  return sizeof(Real) == 8 ? 1e-12 : 1e-5;
}

/// The largest difference over the largest value: 0 for equal matrices, infinite for other shapes or NaN.
template <class A, class B>
double difference(const host_matrix<A>& a, const host_matrix<B>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return HUGE_VAL;
  double largest = 0, worst = 0;
  for (index_type i = 0; i < a.size(); ++i) {
    const double x = static_cast<double>(a.data()[i]), y = static_cast<double>(b.data()[i]);
    if (!std::isfinite(x) || !std::isfinite(y)) return HUGE_VAL;
    largest = std::max(largest, std::abs(y));
    worst = std::max(worst, std::abs(x - y));
  }
  return largest > 0 ? worst / largest : worst;
}

/// Reproducible on every machine: the raw 64 bits of the engine are standardised.
class random_values {
 public:
  explicit random_values(std::uint64_t seed) : engine_(seed) {}
  /// Uniform in [-amplitude, amplitude), plus `centre`.
  template <class Real>
  host_matrix<Real> matrix(index_type rows, index_type cols, double amplitude = 1, double centre = 0) {
    host_matrix<Real> out(rows, cols);
    for (auto& x : out.values())
      x = static_cast<Real>(centre + amplitude * (static_cast<double>(engine_() >> 11) * 0x1p-52 - 1));
    return out;
  }
  index_type below(index_type n) { return static_cast<index_type>(engine_() % static_cast<std::uint64_t>(n)); }

 private:
  std::mt19937_64 engine_;
};

template <negood::Backend B>
negood::clip::text_tower<B> random_text_tower(B& ctx, negood::clip::text_config c, std::uint64_t seed) {
  using real = real_t<B>;
  random_values random(seed);
  const auto tensor = [&](index_type rows, index_type cols, double amplitude, double centre = 0) {
    return ctx.from_host(random.matrix<real>(rows, cols, amplitude, centre).view());
  };
  const auto norm = [&] {
    auto gain = tensor(1, c.width, 0.3, 1);
    return negood::layer_norm_weights<B>{std::move(gain), tensor(1, c.width, 0.2)};
  };
  const auto linear = [&](index_type in, index_type out) {
    auto weight = ctx.freeze(tensor(in, out, 1.5 / std::sqrt(static_cast<double>(in))));
    return negood::linear_weights<B>{std::move(weight), tensor(1, out, 0.2)};
  };
  auto tokens = tensor(c.vocabulary, c.width, 0.5);
  auto positions = tensor(c.context_length, c.width, 0.3);
  std::vector<negood::clip::transformer_layer<B>> layers;
  for (index_type i = 0; i < c.layers; ++i) {
    auto ln_1 = norm();
    auto ln_2 = norm();
    auto query = linear(c.width, c.width);
    auto key_value = linear(c.width, 2 * c.width);
    auto out = linear(c.width, c.width);
    auto mlp_in = linear(c.width, 4 * c.width);
    auto mlp_out = linear(4 * c.width, c.width);
    layers.push_back({std::move(ln_1), std::move(ln_2), std::move(query), std::move(key_value), std::move(out),
                      std::move(mlp_in), std::move(mlp_out)});
  }
  auto ln_final = norm();
  auto projection = ctx.freeze(tensor(c.width, c.embedding, 1.5 / std::sqrt(static_cast<double>(c.width))));
  return {
      c,       std::move(tokens), std::move(positions), std::move(layers), std::move(ln_final), std::move(projection),
      "random"};
}

/// K lists of 1 to `longest` tokens, the last one the end token.
inline std::vector<std::vector<index_type>> random_suffixes(index_type count, index_type longest, index_type vocabulary,
                                                            std::uint64_t seed) {
  random_values random(seed);
  std::vector<std::vector<index_type>> out;
  for (index_type k = 0; k < count; ++k) {
    std::vector<index_type> tokens(static_cast<std::size_t>(random.below(longest)));
    for (auto& t : tokens) t = random.below(vocabulary - 1);
    tokens.push_back(vocabulary - 1);
    out.push_back(std::move(tokens));
  }
  return out;
}

/// The form everybody else computes: every sequence padded to T tokens, every token through every layer, no shared
/// prefix; the end token's row is read at the end. Written with the functions of math/ only.
template <negood::Backend B>
class padded_tower {
 public:
  padded_tower(B& ctx, const negood::clip::text_tower<B>& tower, index_type sequences)
      : ctx_(&ctx), tower_(&tower), layout_(ragged_rows::equal(sequences, tower.config.context_length)) {}

  /// `rows` `[S T, d]`, positions not yet added; `ends[s]` is the end token's position. Features `[S, e]`.
  tensor_t<B> encode(const tensor_t<B>& rows, const std::vector<index_type>& ends) {
    auto& ctx = *ctx_;
    const auto& c = tower_->config;
    std::vector<index_type> position;
    for (index_type r = 0; r < layout_.rows(); ++r) position.push_back(r % c.context_length);
    auto x = ctx.map(negood::element::add{}, rows, ctx.gather_rows(tower_->positional_embedding, position));
    for (const auto& w : tower_->layers) {
      const auto a = negood::layer_norm(ctx, w.ln_1, x);
      auto q = negood::linear(ctx, w.query, a);
      auto kv = negood::linear(ctx, w.key_value, a);
      const auto o = negood::attention(ctx, how(), q, kv, none());
      auto middle = ctx.map(negood::element::add{}, x, negood::linear(ctx, w.attention_out, o));
      auto f = negood::linear(ctx, w.mlp_in, negood::layer_norm(ctx, w.ln_2, middle));
      auto y = ctx.map(negood::element::add{}, middle,
                       negood::linear(ctx, w.mlp_out, negood::activation(ctx, c.activation, f)));
      kept_.push_back({std::move(x), std::move(q), std::move(kv), std::move(middle), std::move(f)});
      x = std::move(y);
    }
    ends_.clear();
    for (index_type s = 0; s < layout_.sequences(); ++s)
      ends_.push_back(layout_.first(s) + ends[static_cast<std::size_t>(s)]);
    last_.clear();
    last_.push_back(ctx.gather_rows(x, ends_));
    return ctx.matmul(negood::layer_norm(ctx, tower_->ln_final, last_[0]), tower_->projection);
  }

  /// The gradient of `rows`.
  tensor_t<B> pullback(const tensor_t<B>& d_features) {
    auto& ctx = *ctx_;
    const auto& c = tower_->config;
    auto dx = ctx.zeros(layout_.rows(), c.width);
    ctx.scatter_add_rows(
        dx, ends_,
        negood::layer_norm_pullback(ctx, tower_->ln_final, last_[0], ctx.matmul_nt(d_features, tower_->projection)));
    for (auto i = static_cast<index_type>(tower_->layers.size()) - 1; i >= 0; --i) {
      const auto& w = tower_->layers[static_cast<std::size_t>(i)];
      const auto& k = kept_[static_cast<std::size_t>(i)];
      const auto df = negood::activation_pullback(ctx, c.activation, k.f, ctx.matmul_nt(dx, w.mlp_out.weight));
      const auto d_middle =
          ctx.map(negood::element::add{}, dx,
                  negood::layer_norm_pullback(ctx, w.ln_2, k.middle, ctx.matmul_nt(df, w.mlp_in.weight)));
      auto nothing = none();
      const auto g = negood::attention_pullback(ctx, how(), k.q, k.kv, none(),
                                                ctx.matmul_nt(d_middle, w.attention_out.weight), nothing);
      const auto da = ctx.map(negood::element::add{}, ctx.matmul_nt(g.dq, w.query.weight),
                              ctx.matmul_nt(g.dkv, w.key_value.weight));
      dx = ctx.map(negood::element::add{}, d_middle, negood::layer_norm_pullback(ctx, w.ln_1, k.x, da));
    }
    return dx;
  }

 private:
  struct kept_layer {
    tensor_t<B> x, q, kv, middle, f;
  };
  negood::attention_layout how() const { return {layout_, tower_->config.heads, true, negood::query_rows::all}; }
  tensor_t<B> none() { return ctx_->zeros(0, 2 * tower_->config.width); }

  B* ctx_;
  const negood::clip::text_tower<B>* tower_;
  ragged_rows layout_;
  std::vector<kept_layer> kept_;
  std::vector<index_type> ends_;
  std::vector<tensor_t<B>> last_;
};

/// Prompts [start | context | suffix | padding] of every class and context through `padded_tower`: class-major features
/// and the gradient of the contexts (`[p n, d]` shared, `[K p n, d]` class-specific).
template <negood::Backend B>
struct padded_prompts {
  host_matrix<real_t<B>> features, gradient;
};

template <negood::Backend B>
padded_prompts<B> encode_padded(B& ctx, const negood::clip::text_tower<B>& tower,
                                const std::vector<std::vector<index_type>>& suffixes, index_type start_token,
                                const host_matrix<real_t<B>>& contexts, index_type prompts, index_type n,
                                bool class_specific, const host_matrix<real_t<B>>& cotangent) {
  using real = real_t<B>;
  const index_type length = tower.config.context_length, d = tower.config.width;
  const auto classes = static_cast<index_type>(suffixes.size());
  const auto embedding = ctx.to_host(tower.token_embedding);
  host_matrix<real> rows(classes * prompts * length, d);
  std::vector<index_type> ends, source(static_cast<std::size_t>(rows.rows()), -1);
  for (index_type k = 0; k < classes; ++k)
    for (index_type l = 0; l < prompts; ++l) {
      const auto& suffix = suffixes[static_cast<std::size_t>(k)];
      const auto tokens = static_cast<index_type>(suffix.size());
      ends.push_back(n + tokens);
      for (index_type t = 0; t < length; ++t) {
        const index_type row = (k * prompts + l) * length + t;
        if (t >= 1 && t <= n) {
          const index_type from = ((class_specific ? k : 0) * prompts + l) * n + t - 1;
          std::ranges::copy(contexts.row(from), rows.row(row).begin());
          source[static_cast<std::size_t>(row)] = from;
        } else {
          const index_type id = t == 0            ? start_token
                                : t <= n + tokens ? suffix[static_cast<std::size_t>(t - n - 1)]
                                                  : 0;
          std::ranges::copy(embedding.row(id), rows.row(row).begin());
        }
      }
    }
  padded_tower<B> padded(ctx, tower, classes * prompts);
  padded_prompts<B> out;
  out.features = ctx.to_host(padded.encode(ctx.from_host(rows.view()), ends));
  const auto d_rows = ctx.to_host(padded.pullback(ctx.from_host(cotangent.view())));
  out.gradient = host_matrix<real>(contexts.rows(), d);
  for (index_type r = 0; r < rows.rows(); ++r)
    if (const index_type to = source[static_cast<std::size_t>(r)]; to >= 0)
      for (index_type j = 0; j < d; ++j) out.gradient(to, j) += d_rows(r, j);
  return out;
}

/// Weights from a formula instead of a file: the upper 24 bits of splitmix64 of (tensor, index), in [-1/2, 1/2); see
/// make_towers.py.
inline float hashed(std::uint64_t tensor, std::uint64_t index) {
  std::uint64_t z = (index + (tensor << 40)) * 0x9E3779B97F4A7C15ULL;
  z ^= z >> 30;
  z *= 0xBF58476D1CE4E5B9ULL;
  z ^= z >> 27;
  z *= 0x94D049BB133111EBULL;
  z ^= z >> 31;
  return static_cast<float>(z >> 40) * 0x1p-24F - 0.5F;
}

/// The tensors of `VIT_B_16` in make_towers.py, taken in its order.
class hashed_weights {
 public:
  explicit hashed_weights(std::uint64_t first_tensor) : next_(first_tensor) {}
  /// As stored, `[rows, cols]`.
  host_matrix<float> matrix(index_type rows, index_type cols, float amplitude) {
    host_matrix<float> out(rows, cols);
    for (index_type i = 0; i < out.size(); ++i)
      out.data()[i] = amplitude * hashed(next_, static_cast<std::uint64_t>(i));
    ++next_;
    return out;
  }
  template <negood::Backend B>
  tensor_t<B> tensor(B& ctx, index_type rows, index_type cols, float amplitude) {
    return ctx.from_host(matrix(rows, cols, amplitude).view());
  }
  template <negood::Backend B>
  negood::layer_norm_weights<B> layer_norm(B& ctx, index_type d) {
    auto gain = matrix(1, d, 0.2F);
    for (auto& g : gain.values()) g += 1.0F;
    auto bias = tensor(ctx, 1, d, 0.0625F);
    return {ctx.from_host(gain.view()), std::move(bias)};
  }
  template <negood::Backend B>
  negood::clip::transformer_layer<B> layer(B& ctx, index_type d) {
    auto ln_1 = layer_norm(ctx, d);
    const auto in = matrix(3 * d, d, 0.125F);
    const auto in_bias = matrix(1, 3 * d, 0.0625F);
    auto query = part(ctx, in, in_bias, 0, d);
    auto key_value = part(ctx, in, in_bias, d, 2 * d);
    auto out = linear(ctx, d, d);
    auto ln_2 = layer_norm(ctx, d);
    auto mlp_in = linear(ctx, 4 * d, d);
    auto mlp_out = linear(ctx, d, 4 * d);
    return {std::move(ln_1), std::move(ln_2),   std::move(query),  std::move(key_value),
            std::move(out),  std::move(mlp_in), std::move(mlp_out)};
  }

 private:
  template <negood::Backend B>
  negood::linear_weights<B> part(B& ctx, const host_matrix<float>& w, const host_matrix<float>& b, index_type first,
                                 index_type count) {
    host_matrix<float> transposed(w.cols(), count);
    for (index_type r = 0; r < count; ++r)
      for (index_type c = 0; c < w.cols(); ++c) transposed(c, r) = w(first + r, c);
    return {ctx.freeze(ctx.from_host(transposed.view())), ctx.from_host(host_view<float>(b.data() + first, 1, count))};
  }
  template <negood::Backend B>
  negood::linear_weights<B> linear(B& ctx, index_type out, index_type in) {
    const auto w = matrix(out, in, 0.125F);
    const auto b = matrix(1, out, 0.0625F);
    return part(ctx, w, b, 0, out);
  }
  std::uint64_t next_;
};

}  // namespace towers
