/// \file detector.hpp  Detector files, `negood.detector/1`, and saved prompts without class names, `negood.prompts/1`.
///
/// Both are safetensors files with string metadata, which any tool can write. Of a detector only `format`, `method`,
/// `labels` and `logit_scale` and the tensor `positive [C, D]` (with `negative [M, D]` where the method wants
/// negatives) are required; docs/files.md lists every field. A file of a newer minor version loads with the fields this
/// version knows; one of another major version is refused.
#pragma once

#include <negood/detector/detector.hpp>
#include <negood/hash.hpp>
#include <negood/io/detector_features.hpp>
#include <negood/io/detector_memory.hpp>
#include <negood/io/number.hpp>
#include <negood/io/utf8.hpp>
#include <negood/prompt/learned_prompts.hpp>

namespace negood {

/// SHA-256 of the labels joined by newlines: what `labels_sha256` of a detector file holds.
inline std::string labels_sha256(const std::vector<std::string>& labels) {
  std::string all;
  for (std::size_t i = 0; i < labels.size(); ++i) all += (i == 0 ? "" : "\n") + labels[i];
  return sha256_hex(all);
}

namespace detail {

/// Contexts `[..., n, d]` of any leading dimensions as `[... n, d]`, with n.
struct context_rows {
  host_matrix<float> rows;
  index_type length = 0;  ///< n
  index_type sets = 1;    ///< p, or K p
  std::vector<std::uint64_t> shape;
};
inline context_rows read_contexts(const safetensors_file& file, std::string_view name) {
  const auto& shape = file.info(name).shape;
  if (shape.size() < 2 || shape.size() > 4)
    fail(error_category::artifact, "negood.file.4", file.name(),
         "tensor '" + std::string(name) + "' has " + std::to_string(shape.size()) + " dimensions",
         "contexts are [n, d], [p, n, d] or, class by class, [K, p, n, d]");
  auto values = tensor_of_rank(file, name, shape.size());
  const auto n = static_cast<index_type>(shape[shape.size() - 2]), d = static_cast<index_type>(shape.back());
  if (values.empty() || n == 0 || d == 0)
    fail(error_category::artifact, "negood.file.4", file.name(), "tensor '" + std::string(name) + "' is empty");
  const index_type rows = values.size() / d;
  return {host_matrix<float>(rows, d, std::move(values).values()), n, rows / n, shape};
}

inline void add_contexts(safetensors_writer& out, const std::string& name, const host_matrix<float>& contexts,
                         std::vector<index_type> leading, index_type n) {
  std::vector<std::uint64_t> shape;
  for (const index_type l : leading) shape.push_back(static_cast<std::uint64_t>(l));
  shape.push_back(static_cast<std::uint64_t>(n));
  shape.push_back(static_cast<std::uint64_t>(contexts.cols()));
  out.add<float>(name, std::move(shape), contexts.view().values());
}

inline std::string threshold_text(double t) { return std::isinf(t) ? (t < 0 ? "-inf" : "inf") : format_number(t); }

inline std::string version_text() { return std::string("negood ") + NEGOOD_VERSION_STRING; }

}  // namespace detail

/// Puts learned prompts into a record, so that its file can be bound to other names (`prompts_of`).
template <class Real>
void attach_prompts(detector_record& r, const learned_prompts<Real>& p) {
  r.ctx_positive = cast<float>(p.positive);
  r.ctx_negative = cast<float>(p.negative);
  r.ctx_prompts = p.negatives;
  r.suffix = p.suffix;
  r.encoder_fingerprint = p.encoder_fingerprint;
  r.seed = p.seed;
  auto options = parse_json(r.options.empty() ? "{}" : r.options, "options");
  options["context_length"] = p.context_length;
  options["scope"] = p.scope == context_scope::shared ? "shared" : "class_specific";
  r.options = dump_json(options);
}

/// Writes a detector, whole or not at all. \throws as check_record; negood.file.6 labels that are not UTF-8;
/// negood.io.6 where a system call fails
inline void save(const detector_record& r, const std::filesystem::path& path,
                 file_system& calls = default_file_system()) {
  check_record(r);
  for (std::size_t i = 0; i < r.labels.size(); ++i)
    if (find_invalid_utf8(r.labels[i]) != std::string_view::npos)
      fail(error_category::data, "negood.file.6", path.string(), "label " + std::to_string(i) + " is not valid UTF-8");
  auto options = parse_json(r.options.empty() ? "{}" : r.options, "options");
  if (!options.is_object()) options = json{{"note", options}};
  options["temperature"] = r.temperature;
  if (r.method == "eoe") options["eoe_beta"] = r.beta;
  const bool prompts = r.ctx_positive.rows() > 0;
  const bool csc = prompts && options.value("scope", "") == "class_specific";
  const auto classes = static_cast<index_type>(r.labels.size());
  const index_type n = csc ? r.ctx_positive.rows() / classes : r.ctx_positive.rows();
  if (prompts) {
    options["suffix"] = r.suffix;
    options["negatives"] = r.ctx_prompts;
    options["context_length"] = n;
  }
  safetensors_writer out;
  out.metadata("format", "negood.detector/1");
  out.metadata("method", r.method);
  out.metadata("labels", dump_json(json(r.labels)));
  out.metadata("logit_scale", format_number(r.logit_scale));
  out.metadata("groups", std::to_string(r.groups));
  out.metadata("options", dump_json(options));
  if (r.threshold) {
    out.metadata("threshold", detail::threshold_text(*r.threshold));
    out.metadata("threshold_policy", r.threshold_policy);
  }
  if (!r.encoder_fingerprint.empty()) out.metadata("encoder_fingerprint", r.encoder_fingerprint);
  out.metadata("labels_sha256", labels_sha256(r.labels));
  if (r.seed) out.metadata("seed", std::to_string(*r.seed));
  out.metadata("created_by", r.created_by.empty() ? detail::version_text() : r.created_by);
  out.add("positive", r.positive);
  if (r.negative.rows() > 0) out.add("negative", r.negative);
  detail::write_memory(out, r);
  detail::write_feature_map(out, r);
  using shape = std::vector<index_type>;
  if (prompts) detail::add_contexts(out, "ctx_positive", r.ctx_positive, csc ? shape{classes} : shape{}, n);
  if (r.ctx_negative.rows() > 0)
    detail::add_contexts(out, "ctx_negative", r.ctx_negative,
                         csc ? shape{classes, r.ctx_prompts} : shape{r.ctx_prompts}, n);
  out.save(path, calls);
}
template <Backend B>
void save(const detector<B>& d, const std::filesystem::path& path, file_system& calls = default_file_system()) {
  save(d.record(), path, calls);
}

/// Reads a detector file and checks that it can score. \throws error negood.file.1 another kind of file, .2 a newer
/// major version, .3 unusable metadata, .4 a tensor of another shape, .5 NaN, .7 labels that do not match their hash;
/// negood.detector.* and negood.safetensors.*
inline detector_record parse_detector(const safetensors_file& file) {
  detail::check_format(file, "negood.detector", 1);
  detector_record r;
  r.method = detail::required_metadata(file, "method", "the name of a method");
  scorer_of(r);
  const auto& labels = detail::required_metadata(file, "labels", "a JSON array of strings");
  json names;
  try {
    names = parse_json(labels, file.name() + ", labels");
  } catch (const error&) {
    detail::fail_metadata(file, "labels", "a JSON array of strings");
  }
  if (!names.is_array()) detail::fail_metadata(file, "labels", "a JSON array of strings");
  for (const auto& name : names) {
    if (!name.is_string()) detail::fail_metadata(file, "labels", "a JSON array of strings");
    r.labels.push_back(name.get<std::string>());
  }
  const char* const scale = "a number, the exponentiated scale (100 for the published weights)";
  const auto logit_scale = parse_number<double>(detail::required_metadata(file, "logit_scale", scale));
  if (!logit_scale) detail::fail_metadata(file, "logit_scale", scale);
  r.logit_scale = *logit_scale;
  r.groups = detail::metadata_number<index_type>(file, "groups", "an integer").value_or(1);
  r.seed = detail::metadata_number<std::uint64_t>(file, "seed", "an integer");
  if (const auto* t = file.find_metadata("threshold"); t != nullptr && !t->empty())
    r.threshold = *t == "-inf" ? -std::numeric_limits<double>::infinity()
                               : detail::metadata_number<double>(file, "threshold", "a number or -inf");
  const auto text = [&](const char* key) {
    const auto* value = file.find_metadata(key);
    return value == nullptr ? std::string() : *value;
  };
  r.threshold_policy = text("threshold_policy");
  r.encoder_fingerprint = text("encoder_fingerprint");
  r.created_by = text("created_by");
  r.labels_sha256 = text("labels_sha256");
  if (!r.labels_sha256.empty() && r.labels_sha256 != labels_sha256(r.labels))
    fail(error_category::artifact, "negood.file.7", file.name(), "its labels do not match labels_sha256",
         "the labels were edited; write the detector again");
  const json options = detail::metadata_options(file);
  r.options = dump_json(options);
  r.temperature = detail::option<double>(file, options, "temperature").value_or(1.0);
  r.beta = detail::option<double>(file, options, "eoe_beta").value_or(0.25);
  r.suffix = detail::option<std::string>(file, options, "suffix").value_or("");
  const bool any_length = r.method == "taskres" || r.method == "ssf";  // whose base features need not be unit rows
  const auto texts = [&](const char* name) {
    return any_length ? detail::tensor_of_rank(file, name, 2) : detail::unit_tensor(file, name);
  };
  r.positive = texts("positive");
  r.negative = file.contains("negative") ? texts("negative") : host_matrix<float>(0, r.positive.cols());
  if (file.contains("proxies")) r.proxies = detail::unit_tensor(file, "proxies");
  if (file.contains("ctx_positive")) r.ctx_positive = detail::read_contexts(file, "ctx_positive").rows;
  if (file.contains("ctx_negative")) {
    auto c = detail::read_contexts(file, "ctx_negative");
    if (c.shape.size() < 3)
      fail(error_category::artifact, "negood.file.4", file.name(), "tensor 'ctx_negative' has 2 dimensions",
           "expected [p, n, d]");
    r.ctx_prompts = static_cast<index_type>(c.shape[c.shape.size() - 3]);
    r.ctx_negative = std::move(c.rows);
  }
  detail::read_memory(file, r);
  detail::read_feature_map(file, r);
  check_record(r);
  return r;
}
inline detector_record load_detector_record(const std::filesystem::path& path) {
  return parse_detector(safetensors_file::read(path));
}
/// Reads a detector, ready to score on a backend. \throws as parse_detector
template <Backend B>
detector<B> load_detector(B& ctx, const std::filesystem::path& path) {
  return detector<B>(ctx, load_detector_record(path));
}

/// The feature map of a detector, to be bound to other labels. \throws error negood.file.8 where it has none
inline tuned_features<double> features_of(const detector_record& r) {
  if (!r.tuned)
    fail(error_category::artifact, "negood.file.8", "detector", "method " + r.method + " has no feature map",
         "take a detector of method krnft, nft, coft or ssf");
  return {*r.tuned, r.logit_scale, r.seed.value_or(0), r.encoder_fingerprint};
}

/// The learned contexts of a detector of method negprompt or coop, to be bound to other names.
/// \throws error negood.file.8 where it has none
inline learned_prompts<float> prompts_of(const detector_record& r) {
  if (r.ctx_positive.rows() == 0)
    fail(error_category::artifact, "negood.file.8", "detector", "method " + r.method + " has no learned contexts",
         "take a detector of method negprompt or coop");
  const auto options = parse_json(r.options.empty() ? "{}" : r.options, "options");
  const bool csc = options.is_object() && options.value("scope", "") == "class_specific";
  const auto classes = static_cast<index_type>(r.labels.size());
  const index_type n = csc ? r.ctx_positive.rows() / classes : r.ctx_positive.rows();
  const index_type sets = csc ? classes : 1;
  if (n * sets != r.ctx_positive.rows() || r.ctx_negative.rows() != r.ctx_prompts * n * sets ||
      (r.ctx_negative.rows() > 0 && r.ctx_negative.cols() != r.ctx_positive.cols()))
    fail(error_category::artifact, "negood.file.4", "detector",
         "ctx_positive is " + shape_string(r.ctx_positive.rows(), r.ctx_positive.cols()) + ", ctx_negative is " +
             shape_string(r.ctx_negative.rows(), r.ctx_negative.cols()),
         "they must have the same n and d");
  return {r.ctx_positive,        r.ctx_negative, n,
          r.ctx_prompts,         r.suffix,       csc ? context_scope::class_specific : context_scope::shared,
          r.encoder_fingerprint, r.logit_scale,  r.seed.value_or(0)};
}

/// Writes learned prompts without any class name: they bind to every list of names on the same encoder.
inline void save(const learned_prompts<float>& p, const std::filesystem::path& path,
                 file_system& calls = default_file_system()) {
  const bool csc = p.scope == context_scope::class_specific;
  const index_type n = p.context_length;
  if (n < 1 || p.positive.rows() % n != 0 || p.negative.rows() != p.positive.rows() * p.negatives)
    fail(error_category::usage, "negood.file.4", path.string(),
         "positive is " + shape_string(p.positive.rows(), p.positive.cols()) + ", negative is " +
             shape_string(p.negative.rows(), p.negative.cols()) + " with n = " + std::to_string(n) +
             ", p = " + std::to_string(p.negatives));
  safetensors_writer out;
  out.metadata("format", "negood.prompts/1");
  out.metadata("encoder_fingerprint", p.encoder_fingerprint);
  out.metadata("suffix", p.suffix);
  out.metadata("context_length", std::to_string(n));
  out.metadata("negatives", std::to_string(p.negatives));
  out.metadata("scope", csc ? "class_specific" : "shared");
  out.metadata("logit_scale", format_number(p.logit_scale));
  out.metadata("seed", std::to_string(p.seed));
  out.metadata("created_by", detail::version_text());
  using shape = std::vector<index_type>;
  const index_type classes = p.positive.rows() / n;
  detail::add_contexts(out, "ctx_positive", p.positive, csc ? shape{classes} : shape{}, n);
  if (p.negatives > 0)
    detail::add_contexts(out, "ctx_negative", p.negative, csc ? shape{classes, p.negatives} : shape{p.negatives}, n);
  out.save(path, calls);
}

/// Reads saved prompts, or those inside a detector of method negprompt or coop. Binding them checks encoder and
/// tokenizer; `require_suffix` checks a suffix. \throws error negood.file.* as parse_detector
inline learned_prompts<float> load_prompts(const std::filesystem::path& path) {
  const auto file = safetensors_file::read(path);
  if (const auto* format = file.find_metadata("format"); format != nullptr && format->starts_with("negood.detector/"))
    return prompts_of(parse_detector(file));
  detail::check_format(file, "negood.prompts", 1);
  learned_prompts<float> p;
  p.encoder_fingerprint = detail::required_metadata(file, "encoder_fingerprint", "the fingerprint of an encoder");
  p.suffix = detail::required_metadata(file, "suffix", "what follows every name, may be empty");
  const auto scale = detail::metadata_number<double>(file, "logit_scale", "a positive number");
  if (!scale || !(*scale > 0)) detail::fail_metadata(file, "logit_scale", "a positive number");
  p.logit_scale = *scale;
  p.seed = detail::metadata_number<std::uint64_t>(file, "seed", "an integer").value_or(0);
  if (const auto* scope = file.find_metadata("scope")) {
    if (*scope != "shared" && *scope != "class_specific")
      detail::fail_metadata(file, "scope", "shared or class_specific");
    if (*scope == "class_specific") p.scope = context_scope::class_specific;
  }
  const bool csc = p.scope == context_scope::class_specific;
  auto positive = detail::read_contexts(file, "ctx_positive");
  bool agree = positive.shape.size() == (csc ? 3u : 2u);
  p.context_length = positive.length;
  p.positive = std::move(positive.rows);
  if (file.contains("ctx_negative")) {
    auto negative = detail::read_contexts(file, "ctx_negative");
    agree = agree && negative.shape.size() == (csc ? 4u : 3u) && negative.length == p.context_length &&
            negative.rows.cols() == p.positive.cols() && negative.rows.rows() % p.positive.rows() == 0;
    p.negatives = negative.rows.rows() / p.positive.rows();
    p.negative = std::move(negative.rows);
  }
  if (!agree)
    fail(error_category::artifact, "negood.file.4", file.name(), "ctx_positive and ctx_negative do not fit together",
         "[n, d] and [p, n, d]; class-specific [K, n, d] and [K, p, n, d]");
  return p;
}

}  // namespace negood
