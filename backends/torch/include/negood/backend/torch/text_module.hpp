/// \file text_module.hpp  A text model of LibTorch's to learn prompts on, by autograd to its input embeddings.
#pragma once

#include <negood/backend/torch/context.hpp>
#include <negood/prompt/text_model.hpp>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace negood::libtorch {

/// A `TextModel`: its parameters should not require gradients, nothing here needs them.
template <class Real>
struct text_module {
  /// `width`, `context_length` and `embedding` are used; `heads` and `layers` estimate what a graph holds.
  clip::text_config config;
  tensor<Real> token_embedding;  ///< `[vocabulary, d]`
  std::string fingerprint;       ///< contexts learned on it refuse a model with another
  /// Embeddings `[S, T, d]` of whole prompts, positions not yet added, and the end tokens' positions `[S]` (int64) ->
  /// features `[S, e]`, not normalised. A `script_function` fits. What follows the end token is zero and must not
  /// matter, as in a causal transformer.
  std::function<at::Tensor(const at::Tensor&, const at::Tensor&)> forward;
  index_type length = 0;  ///< T, where the module takes only one; 0: as long as the longest prompt
};

/// Features of names under contexts through a `text_module`; a `DifferentiableEncoder`, order and shapes as those of
/// `prompt_encoder`. Every prompt runs whole: the library's own tower, which shares the context, costs a fraction.
template <class B>
class module_prompt_encoder {
  using real = real_t<B>;

 public:
  module_prompt_encoder(B& ctx, const text_module<real>& model, std::span<const std::vector<index_type>> suffixes,
                        index_type start_token, index_type n, prompt_encoder_options options)
      : model_(&model), options_(options), n_(n), classes_(static_cast<index_type>(suffixes.size())) {
    for (const auto& s : suffixes) length_ = std::max(length_, 1 + n + static_cast<index_type>(s.size()));
    if (model.length > 0)
      require_shape(length_ <= model.length, "module_prompt_encoder", "the longest prompt", length_, 1, "the module",
                    model.length, 1, "shorten the names or the context");
    length_ = std::max(length_, model.length);
    std::vector<index_type> from, to;  // token -> row of [K T, d]
    for (index_type k = 0; k < classes_; ++k) {
      const auto& tokens = suffixes[static_cast<std::size_t>(k)];
      from.push_back(start_token);
      to.push_back(k * length_);
      for (index_type t = 0; t < static_cast<index_type>(tokens.size()); ++t) {
        from.push_back(tokens[static_cast<std::size_t>(t)]);
        to.push_back(k * length_ + 1 + n + t);
      }
      ends_.push_back(n + static_cast<index_type>(tokens.size()));
    }
    auto rows = ctx.zeros(classes_ * length_, model.config.width);
    ctx.scatter_add_rows(rows, to, ctx.gather_rows(model.token_embedding, from));
    names_ = rows.torch().reshape({classes_, length_, model.config.width});
  }

  /// Graphs of some prompts at a time; those that do not fit the memory budget are recorded again by the pullback.
  struct state {
    struct graph {
      at::Tensor embeddings, features;
    };
    index_type prompts = 0;
    at::Tensor contexts;
    std::vector<std::optional<graph>> graphs;
  };

  tensor_t<B> encode(B& ctx, const tensor_t<B>& contexts, index_type prompts, state* keep = nullptr) const {
    const index_type sets = prompts * (options_.scope == context_scope::class_specific ? classes_ : 1);
    require_shape(contexts.rows() == sets * n_ && contexts.cols() == model_->config.width, "module_prompt_encoder",
                  "contexts", contexts.rows(), contexts.cols(), "expected", sets * n_, model_->config.width,
                  "one row a context vector, in the width of the token embedding");
    const at::Tensor by_set = contexts.torch().reshape({sets, n_, -1});
    if (keep) *keep = {prompts, by_set.clone(), {}};
    auto out = ctx.zeros(classes_ * prompts, model_->config.embedding);
    std::size_t used = 0;
    for (index_type first = 0; first < out.rows(); first += per_graph()) {
      const index_type count = std::min(per_graph(), out.rows() - first);
      used += bytes(count);
      const bool record = keep && used <= kept_bytes<B>(options_.memory_budget);
      auto g = run(by_set, prompts, first, count, record);
      out.torch().narrow(0, first, count).copy_(g.features.detach());
      if (keep) keep->graphs.push_back(record ? std::optional(std::move(g)) : std::nullopt);
    }
    return out;
  }

  tensor_t<B> pullback(B& ctx, const state& s, const tensor_t<B>& d_features) const {
    auto out = ctx.zeros(s.contexts.size(0), n_ * model_->config.width);
    for (std::size_t i = 0; i < s.graphs.size(); ++i) {
      const index_type first = static_cast<index_type>(i) * per_graph();
      const index_type count = std::min(per_graph(), d_features.rows() - first);
      const auto g = s.graphs[i] ? *s.graphs[i] : run(s.contexts, s.prompts, first, count, true);
      const at::Tensor d = ::torch::autograd::grad({g.features}, {g.embeddings},
                                                   {d_features.torch().narrow(0, first, count)}, /*retain_graph=*/true)
                               .front();
      ctx.scatter_add_rows(out, sets_of(s.prompts, first, count),
                           tensor_t<B>::adopt(d.narrow(1, 1, n_).reshape({count, -1})));
    }
    return tensor_t<B>::adopt(out.torch().reshape({s.contexts.size(0) * n_, -1}));
  }

 private:
  index_type per_graph() const { return std::max<index_type>(1, rows_of_task<B>(options_.chunk_rows) / length_); }
  /// About what a transformer's graph holds.
  std::size_t bytes(index_type count) const {
    const auto& c = model_->config;
    return sizeof(real) * static_cast<std::size_t>(count * length_ * c.layers * (24 * c.width + 3 * c.heads * length_));
  }
  /// The set of contexts of every prompt; prompt k p + l is class k under context l.
  std::vector<index_type> sets_of(index_type prompts, index_type first, index_type count) const {
    std::vector<index_type> out;
    for (index_type i = first; i < first + count; ++i)
      out.push_back(options_.scope == context_scope::class_specific ? i : i % prompts);
    return out;
  }

  /// \throws error negood.torch.3 where the module gives no `[S, e]`
  typename state::graph run(const at::Tensor& contexts, index_type prompts, index_type first, index_type count,
                            bool record) const {
    std::vector<index_type> classes, ends;
    for (index_type i = first; i < first + count; ++i) {
      classes.push_back(i / prompts);
      ends.push_back(ends_[static_cast<std::size_t>(i / prompts)]);
    }
    const at::Device device = contexts.device();
    at::Tensor embeddings = names_.index_select(0, index_tensor(classes, device));
    embeddings.narrow(1, 1, n_).copy_(contexts.index_select(0, index_tensor(sets_of(prompts, first, count), device)));
    embeddings.set_requires_grad(record);
    const at::AutoGradMode recording(record);
    at::Tensor features = model_->forward(embeddings, index_tensor(ends, device));
    if (!features.defined() || features.dim() != 2 || features.size(0) != count ||
        features.size(1) != model_->config.embedding)
      fail(error_category::artifact, "negood.torch.3", "module_prompt_encoder", "the module gave no [S, e] tensor",
           "it must give one feature a prompt, as wide as config.embedding says");
    return {std::move(embeddings), std::move(features)};
  }

  const text_module<real>* model_;
  prompt_encoder_options options_;
  index_type n_, classes_, length_ = 0;
  std::vector<index_type> ends_;  ///< position of the end token, class by class
  at::Tensor names_;              ///< `[K, T, d]` with zeros where the contexts and the padding stand
};

template <class Real, class... More>
module_prompt_encoder<context<Real, More...>> make_prompt_encoder(context<Real, More...>& ctx,
                                                                  const text_module<Real>& model,
                                                                  std::span<const std::vector<index_type>> suffixes,
                                                                  index_type start_token, index_type n,
                                                                  prompt_encoder_options options) {
  return {ctx, model, suffixes, start_token, n, options};
}

}  // namespace negood::libtorch
