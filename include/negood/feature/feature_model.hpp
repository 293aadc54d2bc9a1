/// \file feature_model.hpp  Which parts an affine map of text features has, and the published methods as such choices.
#pragma once

#include <negood/error.hpp>

#include <string>
#include <string_view>

namespace negood {

/// How far one row of parameters reaches.
enum class parameter_scope {
  none,      ///< not there: scale 1, shift 0
  shared,    ///< one row for all labels of a partition
  per_label  ///< one row a label
};

/// Whether classes and negative labels go through one map or through two.
enum class label_partition {
  unified,  ///< one set of parameters for all labels
  binary    ///< one for the classes, one for the negative labels
};

/// The map of text features that every method here is a case of (KR-NFT, Eqs. 4 to 6, in residuals):
///
///     u_i = c_i + delta o c_i + b,   c'_i = u_i/|u_i|,   z_i = s <v, c'_i>
///     delta = (alpha - 1) + F_alpha(v),   b = beta + F_beta(v),   o element by element
///
/// alpha and beta are there by `scale` and `shift`; where `conditional`, each of them that is there has a small network
/// F of the condition v (see meta_net.hpp). What is `none` costs nothing: its products are not made.
struct feature_model {
  parameter_scope scale = parameter_scope::shared;
  parameter_scope shift = parameter_scope::shared;
  bool conditional = true;
  label_partition partition = label_partition::binary;

  constexpr bool scales() const { return scale != parameter_scope::none; }
  constexpr bool shifts() const { return shift != parameter_scope::none; }
  constexpr bool per_label() const {
    return scale == parameter_scope::per_label || shift == parameter_scope::per_label;
  }
  constexpr index_type parts() const { return partition == label_partition::binary ? 2 : 1; }

  friend constexpr bool operator==(const feature_model&, const feature_model&) = default;
};

/// The published methods.
namespace feature_models {

/// Nothing is learned: MCM (classes only) and NegLabel (classes and negative labels).
inline constexpr feature_model identity{parameter_scope::none, parameter_scope::none, false, label_partition::unified};
/// TaskRes (Yu et al. 2023): c_i + mu x_i, one residual a label; base features of any length.
inline constexpr feature_model task_res{parameter_scope::none, parameter_scope::per_label, false,
                                        label_partition::unified};
/// SSF (Lian et al. 2022) in its last layer only, on text features: gamma o c_i + beta.
inline constexpr feature_model ssf{parameter_scope::shared, parameter_scope::shared, false, label_partition::unified};
/// Negative feature tuning, Eq. 4.
inline constexpr feature_model nft{parameter_scope::shared, parameter_scope::shared, false, label_partition::binary};
/// Conditional feature tuning, Eq. 5.
inline constexpr feature_model coft{parameter_scope::shared, parameter_scope::shared, true, label_partition::unified};
/// KR-NFT, Eq. 6.
inline constexpr feature_model kr_nft{parameter_scope::shared, parameter_scope::shared, true, label_partition::binary};

}  // namespace feature_models

/// "identity", "taskres", "ssf", "nft", "coft", "krnft"; "custom" for any other choice.
constexpr std::string_view format_feature_model(const feature_model& m) {
  if (m == feature_models::identity) return "identity";
  if (m == feature_models::task_res) return "taskres";
  if (m == feature_models::ssf) return "ssf";
  if (m == feature_models::nft) return "nft";
  if (m == feature_models::coft) return "coft";
  if (m == feature_models::kr_nft) return "krnft";
  return "custom";
}

/// The model of that name. \throws error negood.krnft.1 for any other
inline feature_model parse_feature_model(std::string_view text) {
  for (const feature_model& m : {feature_models::identity, feature_models::task_res, feature_models::ssf,
                                 feature_models::nft, feature_models::coft, feature_models::kr_nft})
    if (text == format_feature_model(m)) return m;
  fail(error_category::usage, "negood.krnft.1", "feature_model", "'" + std::string(text) + "' is not a feature model",
       "choose identity, taskres, ssf, nft, coft or krnft");
}

}  // namespace negood
