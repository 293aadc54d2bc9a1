/// \file encode_text.hpp  Texts to unit features: the beginning they share runs once, the rest ragged and in chunks.
#pragma once

#include <negood/backend/task_size.hpp>
#include <negood/clip/model.hpp>

#include <algorithm>
#include <optional>
#include <span>

namespace negood::clip {

struct encode_text_options {
  overflow_policy overflow = overflow_policy::reject;  ///< of texts longer than the context length (F-17)
  index_type chunk_rows = 0;  ///< token rows of one task, 0: `rows_of_task`; the result does not depend on it
};

namespace detail {

/// The number of leading tokens that all sequences have in common, at most one less than the shortest.
inline index_type common_prefix(std::span<const std::vector<index_type>> sequences) {
  auto common = static_cast<index_type>(sequences[0].size()) - 1;
  for (const auto& s : sequences) {
    common = std::min(common, static_cast<index_type>(s.size()) - 1);
    const auto differs = std::mismatch(s.begin(), s.begin() + common, sequences[0].begin()).first;
    common = differs - s.begin();
  }
  return common;
}

/// Refuses an empty sequence and ids outside the vocabulary.
inline void check_tokens(std::span<const std::vector<index_type>> sequences, index_type vocabulary) {
  for (const auto& s : sequences) {
    if (s.empty()) fail(error_category::data, "negood.model.14", "encode_tokens", "a sequence has no tokens");
    for (const index_type id : s)
      if (id < 0 || id >= vocabulary)
        fail(error_category::data, "negood.model.14", "encode_tokens",
             "token " + std::to_string(id) + " is not below the vocabulary's " + std::to_string(vocabulary),
             "is this the tokenizer of this model?");
  }
}

/// Keys and values of the tokens with which sequences begin.
template <Backend B>
prefix_state<B> prefix_of_tokens(B& ctx, const text_tower<B>& tower, std::span<const index_type> ids) {
  auto nothing = empty_prefix(ctx, tower);
  if (ids.empty()) return nothing;
  const auto layout = ragged_rows::equal(1, static_cast<index_type>(ids.size()));
  auto x0 = add_positions(ctx, tower, ctx.gather_rows(tower.token_embedding, ids), layout, 0);
  return prefix_of(ctx, nothing, run_prefix(ctx, tower, nothing, std::move(x0), layout), 0);
}

}  // namespace detail

/// The token ids of texts, start and end included. \throws error of the tokenizer, naming the text
inline std::vector<std::vector<index_type>> tokenise(const bpe_tokenizer& tokenizer, std::span<const std::string> texts,
                                                     index_type context_length,
                                                     overflow_policy overflow = overflow_policy::reject) {
  std::vector<std::vector<index_type>> out;
  out.reserve(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) try {
      const auto ids = tokenizer.encode_prompt(texts[i], context_length, overflow);
      out.emplace_back(ids.begin(), ids.end());
    } catch (const error& e) {
      fail(e.category(), e.code(), "text " + std::to_string(i + 1) + " of " + std::to_string(texts.size()),
           e.what_happened(), e.hint());
    }
  return out;
}

/// Projected, not normalised features of token sequences (start and end included), `[N, e]`.
///
/// Attention is causal, so the tokens with which all sequences begin ("a photo of a") run once.
/// \throws error negood.prompt.1 for a sequence longer than the context
template <Backend B>
host_matrix<real_t<B>> encode_tokens_raw(B& ctx, const text_tower<B>& tower,
                                         std::span<const std::vector<index_type>> sequences,
                                         index_type chunk_rows = 0) {
  const auto count = static_cast<index_type>(sequences.size());
  host_matrix<real_t<B>> out(count, tower.config.embedding);
  if (count == 0) return out;
  detail::check_tokens(sequences, tower.config.vocabulary);
  const index_type common = detail::common_prefix(sequences);
  const auto prefix = detail::prefix_of_tokens(ctx, tower, std::span(sequences[0]).first(std::size_t(common)));

  std::vector<index_type> first{0};  // of each chunk
  index_type rows = 0;
  for (index_type i = 0; i < count; ++i) {
    const auto own = static_cast<index_type>(sequences[static_cast<std::size_t>(i)].size()) - common;
    if (rows > 0 && rows + own > rows_of_task<B>(chunk_rows)) {
      first.push_back(i);
      rows = 0;
    }
    rows += own;
  }
  first.push_back(count);
  ctx.for_each_task(static_cast<index_type>(first.size()) - 1, [&](auto& worker, index_type t) {
    const index_type begin = first[static_cast<std::size_t>(t)], end = first[static_cast<std::size_t>(t) + 1];
    std::vector<std::vector<index_type>> suffixes;
    for (index_type i = begin; i < end; ++i) {
      const auto& s = sequences[static_cast<std::size_t>(i)];
      suffixes.emplace_back(s.begin() + common, s.end());
    }
    const auto entered = enter_tokens(worker, tower, std::span<const std::vector<index_type>>(suffixes), prefix.length);
    const auto features = worker.to_host(run_suffix(worker, tower, prefix, entered));
    std::ranges::copy(features.values(), out.row(begin).begin());
  });
  return out;
}

/// Features of texts, not normalised, `[N, e]`.
template <Backend B>
host_matrix<real_t<B>> encode_texts_raw(B& ctx, const text_tower<B>& tower, const bpe_tokenizer& tokenizer,
                                        std::span<const std::string> texts, encode_text_options options = {}) {
  const auto tokens = tokenise(tokenizer, texts, tower.config.context_length, options.overflow);
  return encode_tokens_raw(ctx, tower, std::span<const std::vector<index_type>>(tokens), options.chunk_rows);
}

/// Unit features of texts, `[N, e]`.
template <Backend B>
host_matrix<real_t<B>> encode_texts(B& ctx, const text_tower<B>& tower, const bpe_tokenizer& tokenizer,
                                    std::span<const std::string> texts, encode_text_options options = {}) {
  const auto raw = encode_texts_raw(ctx, tower, tokenizer, texts, options);
  if (raw.rows() == 0) return raw;
  return ctx.to_host(normalise_rows(ctx, ctx.from_host(raw.view())).unit);
}
template <Backend B>
host_matrix<real_t<B>> encode_texts(B& ctx, const model<B>& m, std::span<const std::string> texts,
                                    encode_text_options options = {}) {
  return encode_texts(ctx, require_text(m, "encode_texts"), m.tokenizer, texts, options);
}

/// `pattern` with the name in place of its `{}` (or `$`); underscores of the name become spaces.
/// \throws error negood.model.15 where the pattern has no place for a name
inline std::string fill_template(std::string_view pattern, std::string_view name) {
  std::string words(name);
  std::ranges::replace(words, '_', ' ');
  for (const std::string_view place : {std::string_view("{}"), std::string_view("$")})
    if (const auto at = pattern.find(place); at != std::string_view::npos)
      return std::string(pattern.substr(0, at)) + words + std::string(pattern.substr(at + place.size()));
  fail(error_category::usage, "negood.model.15", "template", "\"" + std::string(pattern) + "\" has no {} for the name",
       "for example \"a photo of a {}.\"");
}

/// Unit features of names through one or several templates, `[N, e]`: the unit features of each template are averaged
/// and the mean is normalised again (Radford et al. 2021, §3.1.4).
///
/// \throws error negood.model.15 for no template, or one without `{}`
template <Backend B>
host_matrix<real_t<B>> encode_texts_with_templates(B& ctx, const text_tower<B>& tower, const bpe_tokenizer& tokenizer,
                                                   std::span<const std::string> names,
                                                   std::span<const std::string> templates,
                                                   encode_text_options options = {}) {
  if (templates.empty()) fail(error_category::usage, "negood.model.15", "encode_texts", "there is no template");
  std::optional<tensor_t<B>> sum;
  for (const auto& pattern : templates) {
    std::vector<std::string> texts;
    for (const auto& name : names) texts.push_back(fill_template(pattern, name));
    auto features = encode_texts(ctx, tower, tokenizer, std::span<const std::string>(texts), options);
    if (templates.size() == 1 || names.empty()) return features;
    auto unit = ctx.from_host(features.view());
    sum = sum ? ctx.map(element::add{}, *sum, unit) : std::move(unit);
  }
  return ctx.to_host(normalise_rows(ctx, *sum).unit);
}
template <Backend B>
host_matrix<real_t<B>> encode_texts_with_templates(B& ctx, const model<B>& m, std::span<const std::string> names,
                                                   std::span<const std::string> templates,
                                                   encode_text_options options = {}) {
  return encode_texts_with_templates(ctx, require_text(m, "encode_texts"), m.tokenizer, names, templates, options);
}

}  // namespace negood::clip
