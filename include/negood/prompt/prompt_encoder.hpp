/// \file prompt_encoder.hpp  Text features of K class names under p learned contexts, and the pullback to the contexts.
///
/// This is the exact form of spec'd cost: the context runs once, class names run as ragged rows behind it, in chunks
/// that are independent tasks. Each task adds to its own gradient of the prefix's keys and values; they are summed in
/// task order, so the number of threads never shows in a byte of the result.
#pragma once

#include <negood/backend/task_size.hpp>
#include <negood/clip/text_tower.hpp>

#include <cstddef>

namespace negood {

/// Where the learned vectors live.
enum class context_scope {
  shared,         ///< one context for all classes: transferable, and cheap
  class_specific  ///< one context a class (CSC): shares nothing, cannot be bound to other names
};

struct prompt_encoder_options {
  context_scope scope = context_scope::shared;
  index_type chunk_rows = 0;  ///< rows of class-name tokens in one task; 0: `rows_of_task`
  /// Bytes of activations kept between value and pullback; what does not fit is computed again, to the same result.
  /// Nothing: `kept_bytes`.
  std::optional<std::size_t> memory_budget{};
};

/// Encodes [start | context | class name | end] for K names. Contexts are `[p n, d]` (shared) or `[K p n, d]`
/// (class-specific, class-major); features come class-major, `[K p, e]`.
template <Backend B>
class prompt_encoder {
 public:
  /// `suffixes[k]` are the tokens of name k with the end token; `n` the number of context vectors.
  prompt_encoder(B& ctx, const clip::text_tower<B>& tower, std::span<const std::vector<index_type>> suffixes,
                 index_type start_token, index_type n, prompt_encoder_options options = {})
      : tower_(&tower),
        options_(options),
        n_(n),
        classes_(static_cast<index_type>(suffixes.size())),
        start_(clip::start_token_state(ctx, tower, start_token)) {
    index_type rows = 0;
    const index_type learned = options.scope == context_scope::class_specific ? n : 0;
    for (const auto& s : suffixes) rows += static_cast<index_type>(s.size()) + learned;
    // Chunks of nearly equal size: as many as the row target asks for, never split by the number of threads.
    const index_type unit = rows_of_task<B>(options.chunk_rows);
    const index_type wanted = std::max<index_type>(1, (rows + unit - 1) / unit);
    index_type first = 0, seen = 0;
    for (index_type k = 0; k < classes_; ++k) {
      seen += static_cast<index_type>(suffixes[k].size()) + learned;
      const auto boundary = static_cast<index_type>(chunks_.size() + 1) * rows;
      if (seen * wanted >= boundary || k + 1 == classes_) {
        chunks_.push_back({first, k + 1 - first, {}, {}});
        first = k + 1;
      }
    }
    for (auto& c : chunks_) {
      c.tokens.assign(suffixes.begin() + c.first, suffixes.begin() + c.first + c.count);
      if (options.scope == context_scope::shared)
        c.rows.push_back(clip::enter_tokens(ctx, tower, std::span<const std::vector<index_type>>(c.tokens), 1 + n));
    }
  }

  index_type classes() const noexcept { return classes_; }
  index_type context_length() const noexcept { return n_; }

  /// What the pullback needs of one encoding.
  struct state {
    index_type prompts = 0;
    std::vector<clip::prefix_run<B>> context;                  // one, of all p contexts (shared scope)
    std::vector<clip::prefix_state<B>> prefixes;               // one a context (shared scope)
    std::vector<std::optional<clip::suffix_run<B>>> runs;      // one a task; empty where it is to be computed again
    std::vector<std::optional<clip::suffix_rows<B>>> entered;  // one a task (class-specific scope)
  };

  /// Projected features, not normalised, class-major `[K p, e]`. With `keep`, activations stay for `pullback`.
  tensor_t<B> encode(B& ctx, const tensor_t<B>& contexts, index_type prompts, state* keep = nullptr) const {
    state local;
    state& s = keep ? *keep : local;
    s = state{};
    s.prompts = prompts;
    check_contexts(ctx, contexts, prompts);
    if (options_.scope == context_scope::shared) run_contexts(ctx, contexts, s);

    const index_type tasks = task_count(prompts);
    s.runs.resize(tasks);
    s.entered.resize(tasks);
    std::vector<std::optional<tensor_t<B>>> features(tasks);
    const auto kept = keep ? tasks_within_budget(prompts) : std::vector<bool>(tasks, false);
    ctx.for_each_task(tasks,
                      [&](auto& worker, index_type t) { features[t] = run_task(worker, contexts, s, t, kept[t]); });

    auto out = ctx.zeros(classes_ * prompts, tower_->config.embedding);
    for (index_type t = 0; t < tasks; ++t) ctx.scatter_add_rows(out, output_rows(t, prompts), *features[t]);
    return out;
  }

  /// Gradient of the contexts, given that of `encode`'s result. `s` is what `encode` kept of them.
  tensor_t<B> pullback(B& ctx, const state& s, const tensor_t<B>& d_features) const {
    const index_type tasks = task_count(s.prompts), layers = tower_->config.layers, d = tower_->config.width;
    const bool shared = options_.scope == context_scope::shared;
    struct task_gradient {
      std::vector<tensor_t<B>> d_prefix;
      std::optional<tensor_t<B>> d_rows;
    };
    std::vector<task_gradient> gradients(tasks);
    ctx.for_each_task(tasks, [&](auto& worker, index_type t) {
      auto& g = gradients[t];
      const auto& prefix = shared ? s.prefixes[t % s.prompts] : start_;
      for (index_type i = 0; i < layers; ++i) g.d_prefix.push_back(worker.zeros(prefix.length, 2 * d));
      const auto d_task = worker.gather_rows(d_features, output_rows(t, s.prompts));
      std::optional<clip::suffix_run<B>> again;
      const clip::suffix_run<B>* run = s.runs[t] ? &*s.runs[t] : nullptr;
      const auto& rows = shared ? chunks_[t / s.prompts].rows.front() : *s.entered[t];
      if (!run) {
        again.emplace(new_run(worker));
        clip::run_suffix(worker, *tower_, prefix, rows, &*again);
        run = &*again;
      }
      auto dx = clip::suffix_pullback(worker, *tower_, prefix, rows, *run, d_task, g.d_prefix, !shared);
      if (!shared) g.d_rows = std::move(dx);
    });
    if (!shared)
      return gather_class_specific(ctx, s, [&](index_type t) -> const tensor_t<B>& { return *gradients[t].d_rows; });

    std::vector<tensor_t<B>> d_kv;  // of the context rows; the start token is constant
    for (index_type i = 0; i < layers; ++i) {
      auto total = ctx.zeros(s.prompts * n_, 2 * d);
      for (index_type t = 0; t < tasks; ++t)
        detail::add_block(ctx, total, ctx.block(gradients[t].d_prefix[i], 1, 0, n_, 2 * d), (t % s.prompts) * n_, 0);
      d_kv.push_back(std::move(total));
    }
    return clip::prefix_pullback(ctx, *tower_, start_, s.context.front(), d_kv);
  }

 private:
  struct chunk {
    index_type first, count;
    std::vector<std::vector<index_type>> tokens;
    std::vector<clip::suffix_rows<B>> rows;  // one, entered once and for all (shared scope)
  };

  // Task t is chunk t / p under context t % p.
  index_type task_count(index_type prompts) const { return static_cast<index_type>(chunks_.size()) * prompts; }

  std::vector<index_type> output_rows(index_type t, index_type prompts) const {
    const auto& c = chunks_[t / prompts];
    std::vector<index_type> rows;
    for (index_type k = c.first; k < c.first + c.count; ++k) rows.push_back(k * prompts + t % prompts);
    return rows;
  }

  static clip::suffix_run<B> new_run(B& ctx) { return {{}, {}, ctx.zeros(0, 0)}; }

  void check_contexts(B& ctx, const tensor_t<B>& contexts, index_type prompts) const {
    const index_type rows = prompts * n_ * (options_.scope == context_scope::class_specific ? classes_ : 1);
    require_shape(ctx.rows(contexts) == rows && ctx.cols(contexts) == tower_->config.width, "prompt_encoder",
                  "contexts", ctx.rows(contexts), ctx.cols(contexts), "expected", rows, tower_->config.width,
                  "one row a context vector, in the width of the token embedding");
  }

  void run_contexts(B& ctx, const tensor_t<B>& contexts, state& s) const {
    const auto layout = ragged_rows::equal(s.prompts, n_);
    s.context.push_back(
        clip::run_prefix(ctx, *tower_, start_, clip::add_positions(ctx, *tower_, contexts, layout, 1), layout));
    for (index_type l = 0; l < s.prompts; ++l) s.prefixes.push_back(clip::prefix_of(ctx, start_, s.context.front(), l));
  }

  tensor_t<B> run_task(B& ctx, const tensor_t<B>& contexts, state& s, index_type t, bool keep) const {
    if (keep) s.runs[t].emplace(new_run(ctx));
    auto* run = keep ? &*s.runs[t] : nullptr;
    if (options_.scope == context_scope::shared)
      return clip::run_suffix(ctx, *tower_, s.prefixes[t % s.prompts], chunks_[t / s.prompts].rows.front(), run);
    s.entered[t].emplace(enter_class_specific(ctx, contexts, t, s.prompts));
    return clip::run_suffix(ctx, *tower_, start_, *s.entered[t], run);
  }

  // Class-specific: the learned rows of each class stand before its name and share nothing.
  clip::suffix_rows<B> enter_class_specific(B& ctx, const tensor_t<B>& contexts, index_type t,
                                            index_type prompts) const {
    const auto& c = chunks_[t / prompts];
    std::vector<index_type> lengths;
    for (const auto& tokens : c.tokens) lengths.push_back(n_ + static_cast<index_type>(tokens.size()));
    auto layout = ragged_rows::of_lengths(lengths);
    auto x0 = ctx.zeros(layout.rows(), tower_->config.width);
    for (index_type j = 0; j < c.count; ++j) {
      ctx.paste(x0, ctx.block(contexts, ((c.first + j) * prompts + t % prompts) * n_, 0, n_, tower_->config.width),
                layout.first(j), 0);
      ctx.paste(x0, ctx.gather_rows(tower_->token_embedding, c.tokens[j]), layout.first(j) + n_, 0);
    }
    x0 = clip::add_positions(ctx, *tower_, x0, layout, 1);
    return clip::enter_suffix(ctx, *tower_, std::move(x0), std::move(layout));
  }

  template <class RowsOf>
  tensor_t<B> gather_class_specific(B& ctx, const state& s, RowsOf rows_of) const {
    auto out = ctx.zeros(classes_ * s.prompts * n_, tower_->config.width);
    for (index_type t = 0; t < task_count(s.prompts); ++t) {
      const auto& c = chunks_[t / s.prompts];
      const auto& layout = s.entered[t]->layout;
      for (index_type j = 0; j < c.count; ++j)
        ctx.paste(out, ctx.block(rows_of(t), layout.first(j), 0, n_, tower_->config.width),
                  ((c.first + j) * s.prompts + t % s.prompts) * n_, 0);
    }
    return out;
  }

  // Activations of a task: x, q, kv, x' (5 d) and f (4 d) a row and layer.
  std::vector<bool> tasks_within_budget(index_type prompts) const {
    std::vector<bool> kept;
    std::size_t used = 0;
    for (index_type t = 0; t < task_count(prompts); ++t) {
      index_type rows = 0;
      for (const auto& tokens : chunks_[t / prompts].tokens)
        rows += static_cast<index_type>(tokens.size()) + (options_.scope == context_scope::class_specific ? n_ : 0);
      used += sizeof(real_t<B>) * static_cast<std::size_t>(9 * tower_->config.width * rows * tower_->config.layers);
      kept.push_back(used <= kept_bytes<B>(options_.memory_budget));
    }
    return kept;
  }

  const clip::text_tower<B>* tower_;
  prompt_encoder_options options_;
  index_type n_, classes_;
  clip::prefix_state<B> start_;
  std::vector<chunk> chunks_;
};

}  // namespace negood
