/// \file model.hpp  A frozen CLIP: two towers, tokenizer, preprocessing and logit scale, as one object.
#pragma once

#include <negood/clip/image_tower.hpp>
#include <negood/clip/preprocess.hpp>
#include <negood/clip/text_tower.hpp>
#include <negood/clip/tokenizer.hpp>

#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace negood::clip {

/// What a model folder holds. `negood::clip::load` reads one; a hand-made one is as good.
template <Backend B>
struct model {
  text_tower<B> text;    ///< see `has_text`
  image_tower<B> image;  ///< see `has_image`
  /// Factor of the cosine in every softmax: the exponentiated value (100 for the published weights), never its
  /// logarithm. NaN where the folder does not say; `require_logit_scale` refuses that.
  double logit_scale = std::numeric_limits<double>::quiet_NaN();
  bpe_tokenizer tokenizer;
  preprocess_options preprocessing;
  std::string fingerprint;  ///< of the text tower and the tokenizer; of the image tower where there is no text
  std::vector<std::string> warnings;  ///< what loading found odd but could work with

  bool has_text() const noexcept { return text.config.layers > 0; }
  bool has_image() const noexcept { return image.config.layers > 0; }
};

/// Refuses a scale that no softmax can use (F-20); returns a sentence where it looks like the logarithm of one.
///
/// Trained scales are near 100 = exp(4.6) and never far below 10. A value below 1.5 ln 100 is probably a logarithm.
/// \throws error negood.model.1 where the value is 0, negative, infinite or NaN
inline std::string check_logit_scale(double logit_scale, std::string_view where) {
  char buffer[32];
  const auto written = std::to_chars(buffer, buffer + sizeof buffer, logit_scale);
  const std::string value(buffer, written.ptr);
  if (!std::isfinite(logit_scale) || logit_scale <= 0)
    fail(error_category::artifact, "negood.model.1", where, "logit_scale is " + value,
         "it is the positive factor of the cosines, 100 for the published weights");
  if (logit_scale < 1.5 * std::log(100.0))
    return std::string(where) + ": logit_scale " + value +
           " looks like log(scale); the exponentiated value is expected";
  return {};
}

/// The logit scale, or an error that says how to give one (F-20).
/// \throws error negood.model.2 where the model has none
template <Backend B>
double require_logit_scale(const model<B>& m, std::string_view where) {
  if (std::isnan(m.logit_scale))
    fail(error_category::artifact, "negood.model.2", where, "the model has no logit_scale and a softmax needs one",
         "add \"logit_scale\": 100 (the exponentiated value) to its config.json");
  check_logit_scale(m.logit_scale, where);
  return m.logit_scale;
}

/// \throws error negood.model.3 where the model has no text tower
template <Backend B>
const text_tower<B>& require_text(const model<B>& m, std::string_view where) {
  if (!m.has_text())
    fail(error_category::usage, "negood.model.3", where, "the model has no text tower",
         "load a folder with both towers, with both switched on");
  return m.text;
}

/// \throws error negood.model.3 where the model has no image tower
template <Backend B>
const image_tower<B>& require_image(const model<B>& m, std::string_view where) {
  if (!m.has_image())
    fail(error_category::usage, "negood.model.3", where, "the model has no image tower",
         "load a folder with both towers, with both switched on");
  return m.image;
}

/// A tower that is not there: no layers.
template <Backend B>
text_tower<B> no_text_tower(B& ctx) {
  return {{}, ctx.zeros(0, 0), ctx.zeros(0, 0), {}, {ctx.zeros(0, 0), ctx.zeros(0, 0)}, ctx.freeze(ctx.zeros(1, 1)),
          {}};
}
template <Backend B>
image_tower<B> no_image_tower(B& ctx) {
  return {{},
          ctx.freeze(ctx.zeros(1, 1)),
          ctx.zeros(0, 0),
          ctx.zeros(0, 0),
          {ctx.zeros(0, 0), ctx.zeros(0, 0)},
          {ctx.zeros(0, 0), ctx.zeros(0, 0)},
          {},
          ctx.freeze(ctx.zeros(1, 1))};
}

}  // namespace negood::clip
