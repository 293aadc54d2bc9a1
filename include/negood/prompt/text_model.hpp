/// \file text_model.hpp  What prompt learning asks of a text model: the library's tower is one, and a backend may bring
/// others.
#pragma once

#include <negood/prompt/prompt_encoder.hpp>

#include <concepts>
#include <span>
#include <string>
#include <vector>

namespace negood {

/// Text features of fixed names under given contexts, and the pullback to the contexts (prompt_encoder.hpp says in what
/// order and shape).
template <class E, class B>
concept DifferentiableEncoder = std::default_initializable<typename E::state> &&
    requires(B& ctx, const E& encoder, const tensor_t<B>& t, index_type prompts, typename E::state& kept) {
  { encoder.encode(ctx, t, prompts) } -> std::same_as<tensor_t<B>>;
  { encoder.encode(ctx, t, prompts, &kept) } -> std::same_as<tensor_t<B>>;
  { encoder.pullback(ctx, kept, t) } -> std::same_as<tensor_t<B>>;
};

/// The encoder of a text model for some names; a model of another kind has one beside it.
template <Backend B>
prompt_encoder<B> make_prompt_encoder(B& ctx, const clip::text_tower<B>& tower,
                                      std::span<const std::vector<index_type>> suffixes, index_type start_token,
                                      index_type n, prompt_encoder_options options) {
  return {ctx, tower, suffixes, start_token, n, options};
}

/// A frozen text model that contexts can be learned on.
///
/// | member | meaning |
/// |---|---|
/// | `config` | shapes: width, context length, width of the joint space |
/// | `token_embedding` | `[vocabulary, d]` |
/// | `fingerprint` | contexts learned on one model refuse another |
/// | `make_prompt_encoder(ctx, model, suffixes, start token, n, options)` | its `DifferentiableEncoder` |
template <class M, class B>
concept TextModel = requires(B& ctx, const M& model, std::span<const std::vector<index_type>> suffixes,
                             prompt_encoder_options options) {
  { model.config } -> std::convertible_to<const clip::text_config&>;
  { model.token_embedding } -> std::convertible_to<const tensor_t<B>&>;
  { model.fingerprint } -> std::convertible_to<std::string>;
  { make_prompt_encoder(ctx, model, suffixes, index_type{}, index_type{}, options) } -> DifferentiableEncoder<B>;
};

}  // namespace negood
