/// \file model_config.hpp  What a checkpoint's weights do not say: activation, heads, preprocessing. Three dialects.
#pragma once

#include <negood/io/atomic_file.hpp>
#include <negood/math/activation.hpp>

#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace negood {

/// The settings of a model folder. What is empty was not said, and is taken from the weights where they tell.
struct model_config {
  std::string source;  ///< the file it came from, for messages
  std::optional<activation_kind> text_activation, image_activation;
  std::optional<index_type> text_heads, image_heads;
  std::optional<index_type> context_length, image_size;
  std::optional<std::array<float, 3>> mean, std;
  std::optional<double> logit_scale;  ///< exponentiated
  std::vector<std::string> warnings;
};

namespace detail {

/// One JSON object of a configuration, with messages that name the file and the key.
class config_reader {
 public:
  config_reader(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  [[noreturn]] void bad(const std::string& key, const std::string& wanted) const {
    std::string found = (*object_)[key].dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    if (found.size() > 60) found = found.substr(0, 57) + "...";
    fail(error_category::artifact, "negood.model.5", where_, "\"" + key + "\" is " + found, "it must be " + wanted);
  }
  const nlohmann::json* find(const std::string& key) const {
    const auto at = object_->find(key);
    return at == object_->end() || at->is_null() ? nullptr : &*at;
  }
  std::optional<config_reader> child(const std::string& key) const {
    const auto* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_object()) bad(key, "an object");
    return config_reader(*v, where_);
  }
  std::optional<index_type> count(const std::string& key) const {
    const auto* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_number_integer() || v->get<double>() < 1 || v->get<double>() > 1e6)
      bad(key, "an integer from 1 to 1000000");
    return v->get<index_type>();
  }
  std::optional<double> real(const std::string& key) const {
    const auto* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_number()) bad(key, "a number");
    return v->get<double>();
  }
  std::optional<std::string> text(const std::string& key) const {
    const auto* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_string()) bad(key, "a string");
    return v->get<std::string>();
  }
  std::optional<bool> flag(const std::string& key) const {
    const auto* v = find(key);
    if (v == nullptr) return std::nullopt;
    if (!v->is_boolean()) bad(key, "true or false");
    return v->get<bool>();
  }
  std::optional<std::array<float, 3>> triple(const std::string& key, bool positive) const {
    const auto* v = find(key);
    if (v == nullptr) return std::nullopt;
    std::array<float, 3> out{};
    if (!v->is_array() || v->size() != 3) bad(key, "three numbers");
    for (std::size_t i = 0; i < 3; ++i) {
      if (!(*v)[i].is_number()) bad(key, "three numbers");
      out[i] = (*v)[i].get<float>();
      if (!std::isfinite(out[i]) || (positive && out[i] <= 0)) bad(key, "three positive numbers");
    }
    return out;
  }
  /// "quick_gelu" or "gelu"; another function is another network.
  std::optional<activation_kind> activation(const std::string& key) const {
    const auto name = text(key);
    if (!name) return std::nullopt;
    if (*name == "quick_gelu") return activation_kind::quick_gelu;
    if (*name == "gelu") return activation_kind::gelu;
    bad(key, "\"quick_gelu\" (OpenAI's weights) or \"gelu\" (exact; OpenCLIP's weights)");
  }
  void require_epsilon(const std::string& key) const {
    if (const auto eps = real(key); eps && *eps != 1e-5) bad(key, "1e-5, as in every CLIP");
  }

 private:
  const nlohmann::json* object_;
  std::string where_;
};

inline nlohmann::json read_json_object(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const auto bytes = read_file(path, max_bytes);
  auto out = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
  if (!out.is_object())
    fail(error_category::artifact, "negood.model.4", path.string(),
         out.is_discarded() ? "is not valid JSON" : "is not a JSON object");
  return out;
}

/// negood's own: `activation`, `context_length`, `image_size`, `mean`, `std`, `logit_scale`, `heads`. `activation` and
/// `heads` are one value for both towers or an object with `text` and `vision`.
inline void read_own_config(const config_reader& r, model_config& out) {
  if (const auto* v = r.find("activation"); v != nullptr && v->is_object()) {
    const auto each = *r.child("activation");
    out.text_activation = each.activation("text");
    out.image_activation = each.activation("vision");
  } else {
    out.text_activation = out.image_activation = r.activation("activation");
  }
  if (const auto* v = r.find("heads"); v != nullptr && v->is_object()) {
    const auto each = *r.child("heads");
    out.text_heads = each.count("text");
    out.image_heads = each.count("vision");
  } else {
    out.text_heads = out.image_heads = r.count("heads");
  }
  out.context_length = r.count("context_length");
  out.image_size = r.count("image_size");
  out.mean = r.triple("mean", false);
  out.std = r.triple("std", true);
  out.logit_scale = r.real("logit_scale");
}

/// HuggingFace's CLIPConfig. Its classes take quick_gelu, 8 and 12 heads where the file says nothing.
inline void read_huggingface_config(const config_reader& r, model_config& out) {
  if (const auto type = r.text("model_type");
      type && *type != "clip" && *type != "clip_text_model" && *type != "clip_vision_model")
    fail(error_category::artifact, "negood.model.6", out.source, "describes a model of type \"" + *type + "\"",
         "negood reads model_type \"clip\"");
  const auto tower = [&](const char* key, std::optional<activation_kind>& activation, std::optional<index_type>& heads,
                         index_type default_heads) {
    const auto t = r.child(key);
    const auto& c = t ? *t : r;  // a folder of one tower has its settings at the top
    activation = c.activation("hidden_act");
    heads = c.count("num_attention_heads");
    c.require_epsilon("layer_norm_eps");
    if (!activation && t) {
      activation = activation_kind::quick_gelu;
      out.warnings.push_back(out.source + ": no hidden_act in " + key + "; HuggingFace's default quick_gelu is taken");
    }
    if (!heads && t) heads = default_heads;
    return t;
  };
  if (const auto t = tower("text_config", out.text_activation, out.text_heads, 8))
    out.context_length = t->count("max_position_embeddings");
  if (const auto t = tower("vision_config", out.image_activation, out.image_heads, 12))
    out.image_size = t->count("image_size");
}

/// OpenCLIP's `open_clip_config.json` (`model_cfg`, `preprocess_cfg`) or one of its model configurations alone.
inline void read_openclip_config(const config_reader& r, model_config& out) {
  const auto inner = r.child("model_cfg");
  const auto& c = inner ? *inner : r;
  const auto quick = c.flag("quick_gelu");
  out.text_activation = out.image_activation =
      quick.value_or(false) ? activation_kind::quick_gelu : activation_kind::gelu;
  if (!quick)
    out.warnings.push_back(out.source +
                           ": no quick_gelu; OpenCLIP's default, exact GELU, is taken "
                           "(OpenAI's own weights need \"quick_gelu\": true)");
  if (const auto t = c.child("text_cfg")) {
    out.text_heads = t->count("heads");
    out.context_length = t->count("context_length");
    if (const auto name = t->text("hf_model_name"))
      fail(error_category::artifact, "negood.model.6", out.source, "its text tower is the HuggingFace model " + *name,
           "negood runs CLIP's own causal text tower");
  }
  if (const auto v = c.child("vision_cfg")) {
    if (const auto name = v->text("timm_model_name"))
      fail(error_category::artifact, "negood.model.6", out.source, "its image tower is the timm model " + *name,
           "negood runs CLIP's own vision transformer");
    out.image_size = v->count("image_size");
    const auto width = v->count("width"), head = v->count("head_width");
    if (width && head) out.image_heads = *width / *head;
  }
  if (const auto p = r.child("preprocess_cfg")) {
    out.mean = p->triple("mean", false);
    out.std = p->triple("std", true);
  }
}

}  // namespace detail

/// Reads `config.json` (negood's, HuggingFace's or OpenCLIP's) or `open_clip_config.json`, and HuggingFace's
/// `preprocessor_config.json` where there is one.
///
/// \throws error negood.model.4 for a missing or malformed file, .5 for a bad value, .6 for another kind of model
inline model_config read_model_config(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  constexpr std::uint64_t limit = std::uint64_t{1} << 20;
  model_config out;
  std::error_code ignored;
  fs::path path = folder / "config.json";
  if (!fs::exists(path, ignored)) path = folder / "open_clip_config.json";
  if (!fs::exists(path, ignored))
    fail(error_category::io, "negood.model.4", folder.string(), "has no config.json",
         "write one with \"activation\": \"quick_gelu\" (OpenAI's weights) or \"gelu\" (OpenCLIP's)");
  out.source = path.string();
  const auto json = detail::read_json_object(path, limit);
  const detail::config_reader r(json, out.source);
  if (json.contains("activation"))
    detail::read_own_config(r, out);
  else if (json.contains("model_cfg") || json.contains("text_cfg") || json.contains("vision_cfg"))
    detail::read_openclip_config(r, out);
  else if (json.contains("model_type") || json.contains("text_config") || json.contains("vision_config"))
    detail::read_huggingface_config(r, out);
  else
    detail::read_own_config(r, out);

  if (const fs::path extra = folder / "preprocessor_config.json"; fs::exists(extra, ignored)) {
    const auto preprocessor = detail::read_json_object(extra, limit);
    const detail::config_reader p(preprocessor, extra.string());
    if (!out.mean) out.mean = p.triple("image_mean", false);
    if (!out.std) out.std = p.triple("image_std", true);
    if (const auto resample = p.real("resample"); resample && *resample != 3)
      out.warnings.push_back(extra.string() + ": resample " + std::to_string(static_cast<int>(*resample)) +
                             " is not bicubic (3); negood resizes bicubic as CLIP does");
  }
  return out;
}

}  // namespace negood
