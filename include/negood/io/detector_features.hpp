/// \file detector_features.hpp  A map of the text features inside a detector file (krnft, nft, coft, taskres, ssf).
///
/// A map in two parts has tensors `pos.*` for the classes and `neg.*` for the negatives; a unified one has `all.*` for
/// both. Of each part `alpha [D]` (taskres: none), `beta [D]` and, where the map looks at the image (krnft, coft), the
/// networks `scale.*` and `shift.*`: `w1 [H, D]`, `b1 [H]`, `w2 [D, H]`, `b2 [D]`. Parameters of single labels
/// (taskres) are `all.beta [C + M, D]`: a row for each of `positive`, then one for each of `negative`. Written in
/// double; every floating-point type is read. Which of them a file must have follows from its method.
#pragma once

#include <negood/detector/detector_record.hpp>
#include <negood/io/safetensors_fields.hpp>
#include <negood/io/safetensors_writer.hpp>

namespace negood::detail {

/// True for the name of a tensor of a feature map.
inline bool is_feature_map_tensor(std::string_view name) {
  return name.starts_with("pos.") || name.starts_with("neg.") || name.starts_with("all.");
}

/// Every tensor of a feature map in a file, vectors as one row. \throws error negood.file.4 for a tensor of more than
/// two dimensions
inline std::vector<std::pair<std::string, host_matrix<double>>> feature_map_tensors(const safetensors_file& file) {
  std::vector<std::pair<std::string, host_matrix<double>>> out;
  for (const auto& info : file.tensors()) {
    if (!is_feature_map_tensor(info.name)) continue;
    if (info.shape.empty() || info.shape.size() > 2)
      fail(error_category::artifact, "negood.file.4", file.name(),
           "tensor '" + info.name + "' has " + std::to_string(info.shape.size()) + " dimensions", "expected 1 or 2");
    auto m = file.tensor<double>(info.name);
    const index_type n = m.size();
    if (info.shape.size() == 1) m = host_matrix<double>(1, n, std::move(m).values());
    out.emplace_back(info.name, std::move(m));
  }
  return out;
}

/// The hidden width that tensors of networks have: the rows of the first w1; 0 where there is none.
inline index_type hidden_width(const std::vector<std::pair<std::string, host_matrix<double>>>& tensors) {
  for (const auto& [name, m] : tensors)
    if (name.ends_with(".w1")) return m.rows();
  return 0;
}

inline void write_feature_map(safetensors_writer& out, const detector_record& r) {
  if (!r.tuned) return;
  for (const auto& [name, m] : r.tuned->tensors()) {
    const bool matrix = name.ends_with(".w1") || name.ends_with(".w2") || r.tuned->model.per_label();
    if (matrix)
      out.add(name, m);
    else
      out.add<double>(name, {static_cast<std::uint64_t>(m.size())}, m.view().values());
  }
}

/// Reads the map that the record's method asks for; the record has its texts. \throws error negood.krnft.3 for a tensor
/// that is missing, of another shape or not finite, negood.file.4 for one the method does not have
inline void read_feature_map(const safetensors_file& file, detector_record& r) {
  if (!has_feature_map(r.method)) return;
  const auto model = parse_feature_model(r.method);
  const auto tensors = feature_map_tensors(file);
  const auto hidden = hidden_width(tensors);
  if (model.conditional && hidden < 1)
    fail(error_category::artifact, "negood.krnft.3", file.name(),
         "it has no network, and method " + r.method + " looks at the image",
         "w1, b1, w2, b2 of scale and shift, or method " + std::string(r.method == "krnft" ? "nft" : "ssf"));
  if (r.positive.cols() < 1) return;  // check_record says what is wrong
  r.tuned = feature_parameters_of<double>(model, tensors, r.positive.cols(), hidden,
                                          labels_of_parts(model, r.positive.rows(), r.negative.rows()));
  const auto known = r.tuned->tensors();
  for (const auto& tensor : tensors)
    if (std::ranges::none_of(known, [&](const auto& k) { return k.first == tensor.first; }))
      fail(error_category::artifact, "negood.file.4", file.name(),
           "tensor '" + tensor.first + "' is none of method " + r.method, "take it out, or name the method it is of");
}

}  // namespace negood::detail
