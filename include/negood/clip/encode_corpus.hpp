/// \file encode_corpus.hpp  Many short texts to unit features, every distinct beginning computed once.
///
/// Attention is causal: the hidden row at position t is a function of tokens 0..t alone, so texts with the same first
/// tokens have the same rows there. Texts are put into a trie (token_trie.hpp) and a row is computed for each of its
/// nodes. What the texts have in common runs once; nothing after the end token is computed; in the last layer only the
/// end token asks.
#pragma once

#include <negood/clip/encode_text.hpp>
#include <negood/clip/token_trie.hpp>

#include <functional>

namespace negood::clip {

/// How the features of several templates become one.
enum class template_mean {
  unit,  ///< each is made a unit row first (Radford et al. 2021, §3.1.4)
  raw    ///< features as the tower gives them; CSP's (Chen et al. 2024)
};

struct encode_corpus_options {
  overflow_policy overflow = overflow_policy::reject;  ///< of texts longer than the context length (F-17)
  template_mean mean = template_mean::unit;
  index_type chunk_rows = 0;  ///< rows of one task, 0: `rows_of_task`; the result does not depend on it
  /// Called with the number of texts that are done since the last call, from any thread; it may throw to stop.
  std::function<void(index_type)> on_progress{};
};

/// The features of a trie's sequences behind `prefix`, projected and not normalised, `[sequences, e]`.
///
/// Keys, values and queries are made once a node and laid out once for each sequence that passes through it, so
/// attention is that of ragged sequences; everything else acts on one row at a time.
template <Backend B>
tensor_t<B> run_trie(B& ctx, const text_tower<B>& tower, const prefix_state<B>& prefix, const trie_chunk& chunk) {
  const std::span<const index_type> path_rows(chunk.path_rows), home(chunk.home), ends(chunk.ends);
  auto x = ctx.map(element::add{}, ctx.gather_rows(tower.token_embedding, std::span<const index_type>(chunk.token)),
                   ctx.gather_rows(tower.positional_embedding, std::span<const index_type>(chunk.position)));
  for (index_type i = 0; i < tower.config.layers; ++i) {
    const auto& w = tower.layers[static_cast<std::size_t>(i)];
    const auto& seen = prefix.kv[static_cast<std::size_t>(i)];
    const auto a = layer_norm(ctx, w.ln_1, x);
    const auto kv = ctx.gather_rows(linear(ctx, w.key_value, a), path_rows);
    if (i + 1 < tower.config.layers) {
      const auto q = ctx.gather_rows(linear(ctx, w.query, a), path_rows);
      const auto o = attention(ctx, {chunk.paths, tower.config.heads, true, query_rows::all}, q, kv, seen);
      x = after_attention(ctx, w, tower.config.activation, x, ctx.gather_rows(o, home));
    } else {
      const auto q = linear(ctx, w.query, ctx.gather_rows(a, ends));
      const auto o = attention(ctx, {chunk.paths, tower.config.heads, true, query_rows::last}, q, kv, seen);
      x = after_attention(ctx, w, tower.config.activation, ctx.gather_rows(x, ends), o);
    }
  }
  return ctx.matmul(layer_norm(ctx, tower.ln_final, x), tower.projection);
}

namespace detail {

/// The tokens with which a template begins whatever the word: two words that differ from the first letter on tell.
inline index_type template_tokens(const bpe_tokenizer& tokenizer, std::string_view pattern, index_type context_length) {
  const std::vector<std::string> texts{fill_template(pattern, "a"), fill_template(pattern, "z")};
  const auto tokens =
      tokenise(tokenizer, std::span<const std::string>(texts), context_length, overflow_policy::truncate);
  return common_prefix(std::span<const std::vector<index_type>>(tokens));
}

/// Adds the features of token sequences to the rows of `out`, as unit rows if `unit`. At most `most_common` tokens are
/// taken for the beginning of all: were it more, a feature would depend on the other words to rounding.
template <Backend B>
void add_trie_features(B& ctx, const text_tower<B>& tower, std::span<const std::vector<index_type>> sequences,
                       index_type most_common, bool unit, const encode_corpus_options& options,
                       host_matrix<real_t<B>>& out) {
  if (sequences.empty()) return;
  check_tokens(sequences, tower.config.vocabulary);
  for (std::size_t i = 0; i < sequences.size(); ++i)
    if (static_cast<index_type>(sequences[i].size()) > tower.config.context_length)
      fail(error_category::data, "negood.prompt.1", "text_tower",
           "prompt " + std::to_string(i) + " has " + std::to_string(sequences[i].size()) +
               " tokens, the model's context length is " + std::to_string(tower.config.context_length),
           "shorten the name or the context");
  const index_type common = std::min(most_common, common_prefix(sequences));
  const auto prefix = prefix_of_tokens(ctx, tower, std::span(sequences[0]).first(static_cast<std::size_t>(common)));
  const token_trie trie(sequences, common, rows_of_task<B>(options.chunk_rows));
  ctx.for_each_task(trie.chunks(), [&](auto& worker, index_type c) {
    const auto chunk = trie.chunk(c);
    auto rows = run_trie(worker, tower, prefix, chunk);
    const auto features = worker.to_host(unit ? normalise_rows(worker, rows).unit : std::move(rows));
    index_type done = 0;
    for (index_type k = 0; k < features.rows(); ++k)
      for (const index_type i : trie.members(c, k)) {
        std::ranges::transform(features.row(k), out.row(i), out.row(i).begin(), std::plus<>{});
        ++done;
      }
    if (options.on_progress) options.on_progress(done);
  });
}

}  // namespace detail

/// Projected, not normalised features of token sequences (start and end included), `[N, e]`: `encode_tokens_raw`
/// through a trie. \throws error as that
template <Backend B>
host_matrix<real_t<B>> encode_token_trie_raw(B& ctx, const text_tower<B>& tower,
                                             std::span<const std::vector<index_type>> sequences,
                                             const encode_corpus_options& options = {}) {
  host_matrix<real_t<B>> out(static_cast<index_type>(sequences.size()), tower.config.embedding);
  detail::add_trie_features(ctx, tower, sequences, tower.config.context_length, false, options, out);
  return out;
}

/// Unit features of words through one or several templates, `[N, e]`; with several, the normalised mean.
///
///     f_i = normalise( sum_t u(t, i) ),   u(t, i) = unit or raw feature of word i in template t
///
/// The same numbers as `encode_texts_with_templates` to rounding; they depend neither on the other words nor on their
/// order, on chunks or threads. Memory beyond the result and the tokens: `chunk_rows` rows a thread.
/// \throws error negood.model.15 for no template, or one without `{}`; of the tokenizer, naming the text
template <Backend B>
host_matrix<real_t<B>> encode_corpus(B& ctx, const text_tower<B>& tower, const bpe_tokenizer& tokenizer,
                                     std::span<const std::string> words, std::span<const std::string> templates,
                                     const encode_corpus_options& options = {}) {
  if (templates.empty()) fail(error_category::usage, "negood.model.15", "encode_corpus", "there is no template");
  host_matrix<real_t<B>> out(static_cast<index_type>(words.size()), tower.config.embedding);
  const bool unit = templates.size() == 1 || options.mean == template_mean::unit;
  for (const auto& pattern : templates) {
    std::vector<std::string> texts;
    texts.reserve(words.size());
    for (const auto& word : words) texts.push_back(fill_template(pattern, word));
    const auto tokens =
        tokenise(tokenizer, std::span<const std::string>(texts), tower.config.context_length, options.overflow);
    const auto common = detail::template_tokens(tokenizer, pattern, tower.config.context_length);
    detail::add_trie_features(ctx, tower, std::span<const std::vector<index_type>>(tokens), common, unit, options, out);
  }
  if (templates.size() == 1) return out;
  constexpr index_type block = 4096;
  ctx.for_each_task((out.rows() + block - 1) / block, [&](auto& worker, index_type t) {
    const auto first = t * block, rows = std::min(block, out.rows() - first);
    const auto unit_rows =
        worker.to_host(normalise_rows(worker, worker.from_host(out.view().slice_rows(first, rows))).unit);
    std::ranges::copy(unit_rows.values(), out.row(first).begin());
  });
  return out;
}
template <Backend B>
host_matrix<real_t<B>> encode_corpus(B& ctx, const model<B>& m, std::span<const std::string> words,
                                     std::span<const std::string> templates,
                                     const encode_corpus_options& options = {}) {
  return encode_corpus(ctx, require_text(m, "encode_corpus"), m.tokenizer, words, templates, options);
}

}  // namespace negood::clip
