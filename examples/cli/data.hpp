/// \file data.hpp  Inputs of commands: names, features, labels, models, fingerprints, with the checks all of them
/// share.
#pragma once

#include "common.hpp"
#include "instances.hpp"
#include "progress.hpp"

#include <negood/io/encode_files.hpp>
#include <negood/io/features.hpp>
#include <negood/io/model.hpp>
#include <negood/io/names.hpp>

#include <negood/clip/encode_text.hpp>

namespace negood::cli {

/// How odd feature rows are treated.
struct row_options {
  std::string nan = "reject";
  std::string zero_norm = "reject";
  bool assume_normalized = false;
  double dequant = 0;

  feature_options policy() const {
    feature_options out;
    out.nan = choose<nan_policy>(
        "--nan", nan, {{"reject", nan_policy::reject}, {"skip", nan_policy::skip}, {"ood", nan_policy::ood}});
    out.zero_norm = choose<zero_norm_policy>("--zero-norm", zero_norm,
                                             {{"reject", zero_norm_policy::reject}, {"ood", zero_norm_policy::ood}});
    out.assume_normalized = assume_normalized;
    return out;
  }
};

/// Which pictures.
struct image_options {
  std::string images;  ///< a list or a folder of class folders
  std::string root;
};

/// How names become texts.
struct text_options {
  std::vector<std::string> templates;  ///< empty: "a photo of a {}."
  bool truncate = false;
  std::string duplicates = "reject";

  std::vector<std::string> patterns() const {
    return templates.empty() ? std::vector<std::string>{"a photo of a {}."} : templates;
  }
  clip::encode_text_options encoding() const {
    return {.overflow = truncate ? overflow_policy::truncate : overflow_policy::reject};
  }
  names_options names() const {
    return {.duplicates = choose<duplicate_policy>("--dup", duplicates,
                                                   {{"reject", duplicate_policy::reject},
                                                    {"keep", duplicate_policy::keep},
                                                    {"merge", duplicate_policy::merge}})};
  }
};

/// A feature file as unit rows, with what was found in it.
template <class Real>
struct unit_features {
  host_matrix<Real> rows;
  feature_report report;
};

/// Reads features and makes them unit rows; an empty matrix passes if `empty_allowed`.
template <class Real>
unit_features<Real> read_unit_features(const common_options& o, const std::string& spec, const row_options& rows = {},
                                       bool empty_allowed = false) {
  auto file = read_features<Real>(spec, {.dequant_scale = rows.dequant});
  if (!file.notice.empty()) note(o, file.notice);
  unit_features<Real> out{std::move(file.values), {}};
  if (out.rows.rows() == 0 && out.rows.cols() > 0 && empty_allowed) return out;
  out.report = check_features(out.rows, rows.policy(), spec);
  if (out.report.warn)
    note(o, spec + ": rows are not unit (a norm is off by " + format_number(out.report.max_deviation) + "); " +
                (rows.assume_normalized ? "taken as they are" : "normalised"));
  return out;
}

/// The encoder a feature file says it was made with; empty where it does not say.
inline std::string fingerprint_of_features(const std::string& spec) {
  constexpr std::string_view extension = ".safetensors";
  const std::size_t at = spec.rfind(std::string(extension) + ":");
  if (at == std::string::npos && !spec.ends_with(extension)) return {};
  const auto file = safetensors_file::open(at == std::string::npos ? spec : spec.substr(0, at + extension.size()));
  const std::string* const value = file.find_metadata("encoder_fingerprint");
  return value == nullptr ? std::string() : *value;
}

/// Refuses two encoders (F-21). Returns true where they differ and `force` said to go on; unknown ones pass.
inline bool check_encoder(const common_options& o, const std::string& left, const std::string& left_name,
                          const std::string& right, const std::string& right_name, bool force) {
  if (left.empty() || right.empty() || left == right) return false;
  const std::string what =
      left_name + " is of encoder " + left.substr(0, 12) + ", " + right_name + " of " + right.substr(0, 12);
  if (!force) fail(error_category::artifact, "negood.cli.4", "encoder", what, "--force-encoder goes on all the same");
  note(o, what + "; going on as --force-encoder says");
  return true;
}

/// Reads a model folder and passes on what loading found odd.
template <Backend B>
clip::model<B> load_model(B& ctx, const common_options& o, const std::string& folder) {
  if (folder.empty())
    fail(error_category::usage, "negood.cli.5", "model", "--model is missing",
         "name a model folder; --model demo is the embedded one");
  auto m = clip::load(ctx, model_folder(folder));
  for (const auto& warning : m.warnings) note(o, warning);
  return m;
}

/// Names, with the class of every line after merging duplicates.
inline name_list read_class_names(const common_options& o, const std::string& file, const text_options& text) {
  auto out = read_name_list(file, text.names());
  if (!out.duplicates.empty())
    note(o, file + ": " + std::to_string(out.duplicates.size()) + " repeated names " +
                (text.duplicates == "merge" ? "merged" : "kept as classes of their own"));
  return out;
}

/// Applies a merge of names to labels; OOD labels (negative) stay.
inline void merge_labels(std::vector<index_type>& labels, const name_list& names, const std::string& file) {
  const auto lines = static_cast<index_type>(names.class_of_line.size());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0) continue;
    check_label(labels[i], static_cast<index_type>(i), file, {.classes = lines});
    labels[i] = names.class_of_line[static_cast<std::size_t>(labels[i])];
  }
}

/// Unit features of the pictures of a list, with progress; a signal ends it.
template <Backend B>
training_features<real_t<B>> encode_with_progress(B& ctx, const common_options& o, const clip::model<B>& m,
                                                  const image_list& list, clip::encode_files_options options = {}) {
  progress bar(o, "images", list.size());
  options.on_read = [&](index_type) {
    throw_if_stopped("encode");
    bar.tick();
  };
  return clip::encode_image_list(ctx, m, list, options);
}

inline image_list read_images(const image_options& o, index_type lowest = -2) {
  return read_image_list(o.images, image_list_options{.root = o.root, .lowest = lowest});
}

}  // namespace negood::cli
