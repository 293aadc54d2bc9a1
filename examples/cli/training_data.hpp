/// \file training_data.hpp  What methods that learn are given: pictures or features with labels.
#pragma once

#include "commands.hpp"

namespace negood::cli {

/// Training data whose labels index `names`.
template <class Real>
struct training_data {
  training_features<Real> features;
  std::string source;
};

/// Labels of class folders follow the folders' names where these are class names, else their order.
inline void match_folders(const fit_options& o, image_list& list, const name_list& names) {
  const auto key = [](std::string s) {
    std::ranges::replace(s, '_', ' ');
    return s;
  };
  std::vector<index_type> line_of;
  for (const auto& folder : list.class_names)
    for (std::size_t k = 0; k < names.names.size(); ++k)
      if (key(folder) == key(names.names[k])) {
        line_of.push_back(static_cast<index_type>(k));
        break;
      }
  if (line_of.empty()) return;
  if (line_of.size() != list.class_names.size())
    fail(error_category::data, "negood.cli.12", o.train,
         "some of its class folders are names of " + o.names + " and some are not",
         "name all folders like the classes, or none");
  for (auto& label : list.labels) label = line_of[static_cast<std::size_t>(label)];
}

template <Backend B>
training_data<real_t<B>> read_training_data(B& ctx, const fit_options& o, const clip::model<B>& m,
                                            const name_list& names) {
  using real = real_t<B>;
  training_data<real> out;
  if (!o.train_features.empty()) {
    out.source = o.train_features;
    check_encoder(o.common, fingerprint_of_features(o.train_features), o.train_features, m.fingerprint, o.model,
                  o.force_encoder);
    out.features.features = read_unit_features<real>(o.common, o.train_features, o.rows).rows;
    const index_type views = std::max<index_type>(1, o.views);
    if (out.features.features.rows() % views != 0)
      fail(error_category::data, "negood.labels.1", o.train_features,
           std::to_string(out.features.features.rows()) + " rows are not whole images of " + std::to_string(views) +
               " views");
    const auto labels = read_labels(o.train_labels, {.rows = out.features.features.rows() / views, .lowest = 0});
    out.features.labels.assign(labels.begin(), labels.end());
    out.features.views = views;
  } else {
    out.source = o.train;
    auto list = read_image_list(o.train, image_list_options{.root = o.root, .lowest = 0});
    clip::encode_files_options encoding{.views = o.views};
    encoding.augment.seed = o.common.seed;
    const bool merged = names.class_of_line.size() != names.names.size();
    if (!list.class_names.empty()) {
      match_folders(o, list, names);
    }
    out.features = encode_with_progress(ctx, o.common, m, list, encoding);
    if (!list.class_names.empty() && merged) return out;  // folders were matched with the merged names
  }
  merge_labels(out.features.labels, names, o.train_labels.empty() ? o.train : o.train_labels);
  return out;
}

}  // namespace negood::cli
