/// \file text_tower.hpp  CLIP's causal text transformer as a function of a shared prefix and ragged suffixes.
///
/// A prompt is [start | context | class name | end]. Attention is causal, so the hidden states of [start | context] are
/// the same for every class: they run once (`run_prefix`) and every class's own tokens attend to their keys and values
/// (`run_suffix`). Nothing after the end token is ever computed. The result equals the padded 77-token form to
/// rounding.
#pragma once

#include <negood/clip/transformer.hpp>
#include <negood/math/normalise.hpp>

#include <string>

namespace negood::clip {

/// Shapes of a text tower, read from its weights.
struct text_config {
  index_type width = 0;
  index_type heads = 0;
  index_type layers = 0;
  index_type context_length = 77;
  index_type vocabulary = 0;
  index_type embedding = 0;
  activation_kind activation = activation_kind::quick_gelu;
};

/// The frozen text tower.
template <Backend B>
struct text_tower {
  text_config config;
  tensor_t<B> token_embedding;       ///< `[vocabulary, d]`
  tensor_t<B> positional_embedding;  ///< `[context_length, d]`
  std::vector<transformer_layer<B>> layers;
  layer_norm_weights<B> ln_final;
  frozen_t<B> projection;   ///< `[d, e]`
  std::string fingerprint;  ///< hash of weights and tokenizer: prompts learned on one tower refuse another
};

/// Keys and values of the positions every sequence can see, layer by layer; `[P, 2d]` each.
template <Backend B>
struct prefix_state {
  index_type length = 0;
  std::vector<tensor_t<B>> kv;
};

template <Backend B>
prefix_state<B> empty_prefix(B& ctx, const text_tower<B>& tower) {
  prefix_state<B> out;
  for (index_type i = 0; i < tower.config.layers; ++i) out.kv.push_back(ctx.zeros(0, 2 * tower.config.width));
  return out;
}

/// Adds the positional embeddings `first, first + 1, ...` to each of `sequences` runs of `length` rows.
template <Backend B>
tensor_t<B> add_positions(B& ctx, const text_tower<B>& tower, const tensor_t<B>& rows, const ragged_rows& layout,
                          index_type first) {
  std::vector<index_type> position;
  for (index_type s = 0; s < layout.sequences(); ++s) {
    if (first + layout.length(s) > tower.config.context_length)
      fail(error_category::data, "negood.prompt.1", "text_tower",
           "prompt " + std::to_string(s) + " has " + std::to_string(first + layout.length(s)) +
               " tokens, the model's context length is " + std::to_string(tower.config.context_length),
           "shorten the name or the context");
    for (index_type t = 0; t < layout.length(s); ++t) position.push_back(first + t);
  }
  return ctx.map(element::add{}, rows, ctx.gather_rows(tower.positional_embedding, position));
}

// ---------------------------------------------------------------- the prefix

/// Sequences of equal length, run after a common past, of which only keys and values are wanted.
template <Backend B>
struct prefix_run {
  ragged_rows layout;
  std::vector<layer_entry<B>> entries;   ///< one a layer; the last has no queries
  std::vector<layer_middle<B>> middles;  ///< one a layer but the last
};

/// Runs `x0` (`[p n, d]`, positions already added) through the tower after `past`.
template <Backend B>
prefix_run<B> run_prefix(B& ctx, const text_tower<B>& tower, const prefix_state<B>& past, tensor_t<B> x0,
                         const ragged_rows& layout) {
  prefix_run<B> run{layout, {}, {}};
  const attention_layout how{run.layout, tower.config.heads, true, query_rows::all};
  auto x = std::move(x0);
  for (index_type i = 0; i + 1 < tower.config.layers; ++i) {
    run.entries.push_back(enter(ctx, tower.layers[i], how, std::move(x)));
    layer_middle<B> middle{ctx.zeros(0, 0), ctx.zeros(0, 0)};
    x = leave(ctx, tower.layers[i], how, tower.config.activation, run.entries.back(), past.kv[i], &middle);
    run.middles.push_back(std::move(middle));
  }
  run.entries.push_back(enter_unasked(ctx, tower.layers.back(), std::move(x)));
  return run;
}

/// [past | sequence s of the run]: what suffixes attend to.
template <Backend B>
prefix_state<B> prefix_of(B& ctx, const prefix_state<B>& past, const prefix_run<B>& run, index_type s) {
  prefix_state<B> out;
  out.length = past.length + run.layout.length(s);
  for (std::size_t i = 0; i < run.entries.size(); ++i) {
    const auto& kv = run.entries[i].kv;
    auto joined = ctx.zeros(out.length, ctx.cols(kv));
    if (past.length > 0) ctx.paste(joined, past.kv[i], 0, 0);
    ctx.paste(joined, ctx.block(kv, run.layout.first(s), 0, run.layout.length(s), ctx.cols(kv)), past.length, 0);
    out.kv.push_back(std::move(joined));
  }
  return out;
}

/// Gradient of the run's input rows, given that of its keys and values at every layer (`[p n, 2d]` each).
template <Backend B>
tensor_t<B> prefix_pullback(B& ctx, const text_tower<B>& tower, const prefix_state<B>& past, const prefix_run<B>& run,
                            const std::vector<tensor_t<B>>& d_kv) {
  const attention_layout how{run.layout, tower.config.heads, true, query_rows::all};
  auto dx = enter_unasked_pullback(ctx, tower.layers.back(), run.entries.back(), d_kv.back());
  for (index_type i = tower.config.layers - 2; i >= 0; --i) {
    auto d_past = ctx.zeros(ctx.rows(past.kv[i]), ctx.cols(past.kv[i]));  // the past is constant: dropped
    auto g = leave_pullback(ctx, tower.layers[i], how, tower.config.activation, run.entries[i], past.kv[i],
                            run.middles[i], dx, d_past);
    g.dkv = ctx.map(element::add{}, g.dkv, d_kv[i]);
    dx = enter_pullback(ctx, tower.layers[i], how, run.entries[i], g);
  }
  return dx;
}

/// Keys and values of the start token: constants of the model.
template <Backend B>
prefix_state<B> start_token_state(B& ctx, const text_tower<B>& tower, index_type start_token) {
  const auto nothing = empty_prefix(ctx, tower);
  const auto layout = ragged_rows::equal(1, 1);
  const std::vector<index_type> id{start_token};
  auto x0 = add_positions(ctx, tower, ctx.gather_rows(tower.token_embedding, id), layout, 0);
  return prefix_of(ctx, nothing, run_prefix(ctx, tower, nothing, std::move(x0), layout), 0);
}

// ---------------------------------------------------------------- the suffixes

/// Ragged rows [class name | end] at a fixed position, entered into the first layer. Without learned rows among them
/// this is a constant of the model and the names: it is made once and used at every step.
template <Backend B>
struct suffix_rows {
  ragged_rows layout;
  layer_entry<B> first;
};

template <Backend B>
attention_layout suffix_layout(const text_tower<B>& tower, const ragged_rows& rows, index_type layer) {
  return {rows, tower.config.heads, true, layer + 1 == tower.config.layers ? query_rows::last : query_rows::all};
}

/// Enters rows `x0` (positions already added) into the first layer.
template <Backend B>
suffix_rows<B> enter_suffix(B& ctx, const text_tower<B>& tower, tensor_t<B> x0, ragged_rows layout) {
  auto first = enter(ctx, tower.layers[0], suffix_layout(tower, layout, 0), std::move(x0));
  return {std::move(layout), std::move(first)};
}

/// Token sequences that start at `position` -> rows entered into the first layer.
template <Backend B>
suffix_rows<B> enter_tokens(B& ctx, const text_tower<B>& tower, std::span<const std::vector<index_type>> tokens,
                            index_type position) {
  std::vector<index_type> ids, lengths;
  for (const auto& t : tokens) {
    ids.insert(ids.end(), t.begin(), t.end());
    lengths.push_back(static_cast<index_type>(t.size()));
  }
  auto layout = ragged_rows::of_lengths(lengths);
  auto x0 = add_positions(ctx, tower, ctx.gather_rows(tower.token_embedding, ids), layout, position);
  return enter_suffix(ctx, tower, std::move(x0), std::move(layout));
}

/// What the pullback of `run_suffix` needs: entries of the layers after the first, and the middle of every layer.
template <Backend B>
struct suffix_run {
  std::vector<layer_entry<B>> entries;
  std::vector<layer_middle<B>> middles;
  tensor_t<B> last;  ///< `[S, d]` end-token rows before the final layer norm
};

/// Projected, not yet normalised features of every sequence, `[S, e]`; fills `keep` if given.
template <Backend B>
tensor_t<B> run_suffix(B& ctx, const text_tower<B>& tower, const prefix_state<B>& prefix, const suffix_rows<B>& rows,
                       suffix_run<B>* keep = nullptr) {
  const auto n = tower.config.layers;
  layer_entry<B> current{ctx.zeros(0, 0), ctx.zeros(0, 0), ctx.zeros(0, 0)};
  tensor_t<B> x = ctx.zeros(0, 0);
  for (index_type i = 0; i < n; ++i) {
    const auto how = suffix_layout(tower, rows.layout, i);
    if (i > 0) current = enter(ctx, tower.layers[i], how, std::move(x));
    const auto& entry = i == 0 ? rows.first : current;
    layer_middle<B> middle{ctx.zeros(0, 0), ctx.zeros(0, 0)};
    x = leave(ctx, tower.layers[i], how, tower.config.activation, entry, prefix.kv[i], keep ? &middle : nullptr);
    if (keep) {
      keep->middles.push_back(std::move(middle));
      if (i > 0) keep->entries.push_back(std::move(current));
    }
  }
  auto features = ctx.matmul(layer_norm(ctx, tower.ln_final, x), tower.projection);
  if (keep) keep->last = std::move(x);
  return features;
}

/// Pullback of `run_suffix`. Adds to `d_prefix` (one `[P, 2d]` a layer); returns the gradient of the input rows `[R,
/// d]` when `input_gradient` is asked for (class names are constants and need none), else an empty tensor.
template <Backend B>
tensor_t<B> suffix_pullback(B& ctx, const text_tower<B>& tower, const prefix_state<B>& prefix,
                            const suffix_rows<B>& rows, const suffix_run<B>& run, const tensor_t<B>& d_features,
                            std::vector<tensor_t<B>>& d_prefix, bool input_gradient) {
  auto dx = layer_norm_pullback(ctx, tower.ln_final, run.last, ctx.matmul_nt(d_features, tower.projection));
  for (index_type i = tower.config.layers - 1; i >= 0; --i) {
    const auto how = suffix_layout(tower, rows.layout, i);
    const auto& entry = i == 0 ? rows.first : run.entries[i - 1];
    const auto g = leave_pullback(ctx, tower.layers[i], how, tower.config.activation, entry, prefix.kv[i],
                                  run.middles[i], dx, d_prefix[i]);
    if (i == 0 && !input_gradient) return ctx.zeros(0, 0);
    dx = enter_pullback(ctx, tower.layers[i], how, entry, g);
  }
  return dx;
}

}  // namespace negood::clip
