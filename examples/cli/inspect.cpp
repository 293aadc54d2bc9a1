// negood inspect: what is in a model folder, a safetensors file, a detector or a .npy file.
#include "commands.hpp"

#include <negood/io/detector.hpp>

namespace negood::cli {

namespace {

std::string dimensions(const std::vector<std::uint64_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return out + "]";
}

ordered_json inspect_model(const inspect_options& o) {
  reference::context<float> ctx;
  const auto m = load_model(ctx, o.common, o.file);
  ordered_json j{{"kind", "model"}, {"fingerprint", m.fingerprint}};
  j["logit_scale"] = std::isnan(m.logit_scale) ? ordered_json(nullptr) : ordered_json(m.logit_scale);
  const auto activation = [](activation_kind a) { return a == activation_kind::quick_gelu ? "quick_gelu" : "gelu"; };
  if (m.has_text()) {
    const auto& c = m.text.config;
    j["text"] = {{"width", c.width},
                 {"heads", c.heads},
                 {"layers", c.layers},
                 {"context_length", c.context_length},
                 {"vocabulary", c.vocabulary},
                 {"embedding", c.embedding},
                 {"activation", activation(c.activation)}};
  }
  if (m.has_image()) {
    const auto& c = m.image.config;
    j["image"] = {{"width", c.width},
                  {"heads", c.heads},
                  {"layers", c.layers},
                  {"patch", c.patch},
                  {"image_size", c.image_size},
                  {"embedding", c.embedding},
                  {"activation", activation(c.activation)}};
  }
  return j;
}

ordered_json inspect_npy(const std::string& path) {
  const auto file = npy_file::open(path);
  return {{"kind", "npy"},
          {"dtype", file.header().descr},
          {"shape", file.shape()},
          {"fortran_order", file.header().fortran_order}};
}

ordered_json inspect_safetensors(const std::string& path) {
  const auto file = safetensors_file::open(path);
  ordered_json j{{"kind", "safetensors"}};
  const auto* format = file.find_metadata("format");
  if (format != nullptr) j["format"] = *format;
  if (format != nullptr && format->starts_with("negood.detector/")) {
    const auto r = parse_detector(file);
    j["kind"] = "detector";
    j["method"] = r.method;
    j["classes"] = r.labels.size();
    j["labels"] = r.labels;
    j["negatives"] = r.negative.rows();
    j["width"] = r.positive.cols();
    if (r.learned)
      j["memory"] = {{"rows", r.learned->memory.size()},
                     {"capacity", r.learned->memory.capacity()},
                     {"version", r.learned->memory.version()},
                     {"drifted", r.learned->drifted}};
    if (r.tuned)
      j["feature_map"] = {{"parts", r.tuned->parts.size()},
                          {"hidden", r.tuned->hidden},
                          {"parameters", r.tuned->count()},
                          {"conditional", r.tuned->model.conditional}};
    j["logit_scale"] = r.logit_scale;
    j["temperature"] = r.temperature;
    j["groups"] = r.groups;
    j["threshold"] = r.threshold && std::isfinite(*r.threshold) ? ordered_json(*r.threshold) : ordered_json(nullptr);
    j["threshold_policy"] = r.threshold_policy;
    j["encoder_fingerprint"] = r.encoder_fingerprint;
    j["options"] = ordered_json::parse(r.options);
    j["created_by"] = r.created_by;
  } else {
    for (const auto& [key, value] : file.metadata()) j["metadata"][key] = value;
  }
  j["tensors"] = ordered_json::array();
  for (const auto& t : file.tensors())
    j["tensors"].push_back({{"name", t.name}, {"dtype", t.dtype_name}, {"shape", t.shape}, {"bytes", t.end - t.begin}});
  return j;
}

void print(const common_options& o, const ordered_json& j, const std::string& indent) {
  for (const auto& item : j.items()) {
    const auto& v = item.value();
    if (item.key() == "tensors") {
      for (const auto& t : v)
        say(o, indent + escape(t["name"].get<std::string>()) + "  " + escape(t["dtype"].get<std::string>()) + "  " +
                   dimensions(t["shape"].get<std::vector<std::uint64_t>>()));
    } else if (v.is_object() && !v.empty()) {
      say(o, indent + escape(item.key()) + ":");
      print(o, v, indent + "  ");
    } else {
      say(o, indent + escape(item.key()) + ": " + escape(v.is_string() ? v.get<std::string>() : dump_json(v)));
    }
  }
}

}  // namespace

int run_inspect(const inspect_options& o) {
  std::error_code ignored;
  ordered_json j;
  if (std::filesystem::is_directory(model_folder(o.file), ignored)) {
    j = inspect_model(o);
  } else {
    std::string file = o.file;
    if (const auto at = file.rfind(".safetensors:"); at != std::string::npos) file.resize(at + 12);
    std::vector<std::uint8_t> start(6);
    const auto source = byte_source::open(file, std::numeric_limits<std::int64_t>::max());
    source.read_at(0, {start.data(), static_cast<std::size_t>(std::min<std::uint64_t>(source.size(), start.size()))});
    j = as_text(start) == "\x93NUMPY" ? inspect_npy(file) : inspect_safetensors(file);
  }
  j["file"] = o.file;
  print(o.common, j, "");
  result(o.common, j);
  return 0;
}

}  // namespace negood::cli
