/// \file encode_files.hpp  Picture files to unit features: read, preprocessed and encoded in the same tasks.
#pragma once

#include <negood/clip/augment.hpp>
#include <negood/clip/encode_image.hpp>
#include <negood/io/image.hpp>
#include <negood/io/image_list.hpp>
#include <negood/prompt/fit_negprompt.hpp>

#include <functional>

namespace negood::clip {

struct encode_files_options {
  index_type views = 0;       ///< 0: one centred view; V > 0: V random views an image, for training
  augment_options augment{};  ///< of the views
  image_limits limits{};
  bool unit = true;                           ///< divide rows by their norms
  std::function<void(index_type)> on_read{};  ///< called with the index of a picture as it is read, from any thread
};

/// Features of the pictures of a list with their labels: row `i V + v` is view v of picture i.
///
/// Views are functions of (seed, picture, view) alone, so the result depends on no order, thread or batch size.
/// \throws error negood.image.* for a file that is no picture (its name in the message), negood.model.3 for a model
/// without an image tower; what `on_read` throws ends the work
template <Backend B>
training_features<real_t<B>> encode_image_list(B& ctx, const model<B>& m, const image_list& list,
                                               const encode_files_options& options = {}) {
  const index_type views = std::max<index_type>(options.views, 1);
  const auto load = [&](index_type i) {
    const index_type picture = i / views, view = i % views;
    if (options.on_read && view == 0) options.on_read(picture);
    auto pixels = read_image(list.file(picture), options.limits);
    if (options.views == 0) return pixels;
    negood::detail::check_image(pixels, "encode_image_list");
    const auto choice = choose_view(pixels.width, pixels.height, options.augment, picture, view);
    return view_square(pixels, choice, m.preprocessing);
  };
  auto features = options.unit ? encode_images_from(ctx, m, list.size() * views, load)
                               : encode_images_from_raw(ctx, m, list.size() * views, load);
  return {std::move(features), list.labels, views};
}

/// The same under the name it has for pictures in memory.
template <Backend B>
training_features<real_t<B>> encode_images(B& ctx, const model<B>& m, const image_list& list,
                                           const encode_files_options& options = {}) {
  return encode_image_list(ctx, m, list, options);
}

/// The unit feature of one picture file, `[1, e]`.
template <Backend B>
host_matrix<real_t<B>> encode_image(B& ctx, const model<B>& m, const std::filesystem::path& file,
                                    const image_limits& limits = {}) {
  return encode_image(ctx, m, read_image(file, limits));
}

}  // namespace negood::clip
