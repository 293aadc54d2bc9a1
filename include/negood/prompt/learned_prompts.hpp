/// \file learned_prompts.hpp  What NegPrompt learns: contexts without class names, to be bound to any names.
#pragma once

#include <negood/clip/model.hpp>
#include <negood/prompt/negprompt_options.hpp>
#include <negood/prompt/text_model.hpp>
#include <negood/prompt/tokens.hpp>
#include <negood/score/prompt_bank.hpp>

namespace negood {

/// Learned contexts and everything that must agree before they may be used again.
template <class Real>
struct learned_prompts {
  host_matrix<Real> positive;     ///< `[n, d]`; class-specific: `[K n, d]`
  host_matrix<Real> negative;     ///< `[p n, d]`; class-specific: `[K p n, d]`; no rows before stage 2
  index_type context_length = 0;  ///< n
  index_type negatives = 0;       ///< p
  std::string suffix;
  context_scope scope = context_scope::shared;
  std::string encoder_fingerprint;
  double logit_scale = 0;  ///< exponentiated
  std::uint64_t seed = 0;

  /// Refuses an encoder (weights or tokenizer) other than the one the contexts were learned on: they are vectors of its
  /// token space and mean nothing elsewhere.
  void require_encoder(std::string_view fingerprint) const {
    if (fingerprint != encoder_fingerprint)
      fail(error_category::artifact, "negood.prompt.2", "learned_prompts",
           "the prompts were learned on encoder " + encoder_fingerprint.substr(0, 12) + ", this one is " +
               std::string(fingerprint.substr(0, 12)),
           "use the same text tower and tokenizer, or learn again");
  }
  /// Refuses another suffix: a context learned before "name." is wrong before "name".
  void require_suffix(std::string_view other) const {
    if (other != suffix)
      fail(error_category::artifact, "negood.prompt.3", "learned_prompts",
           "the prompts were learned with suffix \"" + suffix + "\", asked for \"" + std::string(other) + "\"",
           "leave the suffix out to use the saved one");
  }

  /// Text features of any class names under these contexts: the open-vocabulary use. Shared contexts only.
  template <Backend B, TextModel<B> Text>
  prompt_bank<B> bind(B& ctx, const Text& tower, const bpe_tokenizer& tokenizer,
                      const std::vector<std::string>& names) const {
    require_encoder(tower.fingerprint);
    const auto suffixes = name_suffixes(tokenizer, names, suffix, context_length, tower.config.context_length);
    if (scope == context_scope::class_specific &&
        positive.rows() != context_length * static_cast<index_type>(names.size()))
      fail(error_category::usage, "negood.prompt.4", "learned_prompts",
           "class-specific contexts of " + std::to_string(positive.rows() / context_length) +
               " classes cannot be bound to " + std::to_string(names.size()) + " names",
           "learn shared contexts to transfer them");
    const auto encoder = make_prompt_encoder(ctx, tower, suffixes, tokenizer.sos(), context_length, {.scope = scope});
    const auto features = [&](const host_matrix<Real>& contexts, index_type prompts) {
      const auto on_device = ctx.from_host(cast<real_t<B>>(contexts).view());
      return normalise_rows(ctx, encoder.encode(ctx, on_device, prompts)).unit;
    };
    auto positives = features(positive, 1);
    auto negative_features =
        negatives > 0 && negative.rows() > 0 ? features(negative, negatives) : ctx.zeros(0, tower.config.embedding);
    return make_prompt_bank(ctx, std::move(positives), std::move(negative_features), logit_scale);
  }
  template <Backend B>
  prompt_bank<B> bind(B& ctx, const clip::model<B>& model, const std::vector<std::string>& names) const {
    return bind(ctx, clip::require_text(model, "bind"), model.tokenizer, names);
  }
};

}  // namespace negood
