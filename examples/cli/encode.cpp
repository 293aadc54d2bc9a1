// negood encode: pictures or texts to feature files.
#include "commands.hpp"

#include <negood/io/safetensors_writer.hpp>

namespace negood::cli {

namespace {

/// `.safetensors` files also say which encoder made them.
template <class Real>
void write_features(const std::string& out, const host_matrix<Real>& features, const std::string& fingerprint) {
  if (!out.ends_with(".safetensors")) return write_npy(out, features);
  safetensors_writer file;
  file.metadata("format", "negood.features/1");
  file.metadata("encoder_fingerprint", fingerprint);
  file.metadata("created_by", std::string("negood ") + NEGOOD_VERSION_STRING);
  file.add("features", features);
  file.save(out);
}

template <Backend B>
int encode(B& ctx, const encode_options& o) {
  const auto m = load_model(ctx, o.common, o.model);
  host_matrix<real_t<B>> features;
  if (!o.images.images.empty()) {
    const auto list = read_images(o.images);
    auto encoded = encode_with_progress(ctx, o.common, m, list, {.unit = !o.raw});
    features = std::move(encoded.features);
    if (!o.labels_out.empty()) write_npy(o.labels_out, list.labels);
  } else {
    const auto names = read_class_names(o.common, o.texts, o.text).names;
    const auto patterns = o.text.patterns();
    if (o.raw) {
      if (patterns.size() > 1)
        fail(error_category::usage, "negood.cli.6", "encode", "--raw with several templates",
             "the mean over templates is of unit features; give one template");
      std::vector<std::string> texts;
      for (const auto& name : names) texts.push_back(clip::fill_template(patterns[0], name));
      features = clip::encode_texts_raw(ctx, clip::require_text(m, "encode"), m.tokenizer,
                                        std::span<const std::string>(texts), o.text.encoding());
    } else {
      features = clip::encode_texts_with_templates(ctx, m, std::span<const std::string>(names),
                                                   std::span<const std::string>(patterns), o.text.encoding());
    }
  }
  write_features(o.out, features, m.fingerprint);
  say(o.common, escape(o.out) + ": features " + shape_string(features.rows(), features.cols()));
  result(o.common, {{"out", o.out},
                    {"rows", features.rows()},
                    {"cols", features.cols()},
                    {"unit", !o.raw},
                    {"encoder_fingerprint", m.fingerprint}});
  return 0;
}

}  // namespace

int run_encode(const encode_options& o) {
  if (o.images.images.empty() == o.texts.empty())
    fail(error_category::usage, "negood.cli.6", "encode", "give either --images or --texts");
  return with_backend(o.common, [&](auto& ctx) { return encode(ctx, o); });
}

}  // namespace negood::cli
