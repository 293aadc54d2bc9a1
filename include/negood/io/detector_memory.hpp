/// \file detector_memory.hpp  InterNeg's memory inside a detector file: its tensors, and the hash that ties it to them.
///
/// Tensors `memory [k, D]` and `memory_key [k]`, with `memory_sequence [k]`, `memory_source [k]` and `base [C]` where
/// this library wrote the file; metadata `memory_state`, a JSON object. A file made by hand needs only the first two.
#pragma once

#include <negood/detector/detector_record.hpp>
#include <negood/hash.hpp>
#include <negood/io/safetensors_fields.hpp>
#include <negood/io/safetensors_writer.hpp>
#include <negood/select/deviation_degree.hpp>

namespace negood {

/// SHA-256 of a memory and of what its rows were learned against: classes, negatives, proxies, scale, encoder.
inline std::string memory_sha256(const detector_record& r) {
  sha256 h;
  h.update(r.encoder_fingerprint).update_u64(r.labels.size());
  for (const auto& label : r.labels) h.update(label).update(std::string_view("\n", 1));
  const auto add = [&h](host_view<float> m) {
    h.update_u64(static_cast<std::uint64_t>(m.rows)).update_u64(static_cast<std::uint64_t>(m.cols));
    h.update(m.data, static_cast<std::size_t>(m.size()) * sizeof(float));
  };
  add(r.positive.view());
  add(r.negative.view());
  add(r.proxies.view());
  h.update(&r.logit_scale, sizeof(double));
  const auto& l = *r.learned;
  add(l.memory.features());
  for (const auto& e : l.memory.entries()) h.update(&e.key, sizeof(double)).update_u64(e.sequence).update_u64(e.source);
  h.update_u64(static_cast<std::uint64_t>(l.memory.capacity())).update_u64(l.memory.version());
  h.update_u64(l.last_sequence ? *l.last_sequence + 1 : 0).update_u64(l.drifted ? 1 : 0);
  for (const auto& w : {l.admitted, l.turned}) h.update_u64(w.window).update_u64(static_cast<std::uint64_t>(w.count));
  for (const auto& q : l.quarantine) {
    h.update(q.feature.data(), q.feature.size() * sizeof(float)).update_u64(q.sources.size());
    for (const auto source : q.sources) h.update_u64(source);
  }
  return h.hex_digest();
}

namespace detail {

/// What the classes' texts have in common with their proxies, `[C, 1]`: the thresholds of the candidate condition.
inline host_matrix<double> base_of(const detector_record& r) {
  auto base = inter_modal_distances(r.positive.view(), r.proxies.view()).base();
  const auto rows = static_cast<index_type>(base.size());
  return host_matrix<double>(rows, 1, std::move(base));
}

inline void write_memory(safetensors_writer& out, const detector_record& r) {
  if (r.proxies.rows() > 0) {
    out.add("proxies", r.proxies);
    const auto base = base_of(r);
    out.add<double>("base", {static_cast<std::uint64_t>(base.rows())}, base.view().values());
  }
  if (!r.learned) return;
  const auto& l = *r.learned;
  const auto rows = static_cast<std::uint64_t>(l.memory.size()), width = static_cast<std::uint64_t>(l.memory.width());
  std::vector<double> keys;
  std::vector<std::uint64_t> sequence, source;
  for (const auto& e : l.memory.entries()) {
    keys.push_back(e.key);
    sequence.push_back(e.sequence);
    source.push_back(e.source);
  }
  out.add<float>("memory", {rows, width}, l.memory.features().values());
  out.add<double>("memory_key", {rows}, keys);
  out.add<std::uint64_t>("memory_sequence", {rows}, sequence);
  out.add<std::uint64_t>("memory_source", {rows}, source);
  if (!l.quarantine.empty()) {
    std::vector<float> waiting;
    for (const auto& q : l.quarantine) waiting.insert(waiting.end(), q.feature.begin(), q.feature.end());
    out.add<float>("quarantine", {static_cast<std::uint64_t>(l.quarantine.size()), width}, waiting);
  }
  const auto window = [](const window_count& w) { return ordered_json::array({w.window, w.count}); };
  ordered_json state{{"capacity", l.memory.capacity()}, {"version", l.memory.version()}};
  state["last_sequence"] = l.last_sequence ? ordered_json(*l.last_sequence) : ordered_json(nullptr);
  state["admitted"] = window(l.admitted);
  state["turned"] = window(l.turned);
  state["drifted"] = l.drifted;
  auto& sources = state["quarantine_sources"] = ordered_json::array();
  for (const auto& q : l.quarantine) sources.push_back(q.sources);
  state["sha256"] = memory_sha256(r);
  out.metadata("memory_state", dump_json(state));
}

/// Reads proxies and memory into a record that has everything else. \throws error negood.file.4 for shapes, .5 for NaN,
/// .9 where base or hash do not belong to the detector's texts
inline void read_memory(const safetensors_file& file, detector_record& r) {
  const auto refuse = [&](const char* code, std::string what, std::string_view hint) {
    fail(error_category::artifact, code, file.name(), std::move(what), hint);
  };
  const auto column = [&](const char* name, index_type rows, auto type) {
    using T = decltype(type);
    auto out = file.tensor<T>(name);
    if (out.rows() != rows || out.cols() > 1)
      refuse("negood.file.4", "tensor '" + std::string(name) + "' is " + shape_string(out.rows(), out.cols()),
             "one number for each of " + std::to_string(rows) + " rows");
    if constexpr (std::is_floating_point_v<T>)
      for (const T v : out.values())
        if (!std::isfinite(v))
          refuse("negood.file.5", "tensor '" + std::string(name) + "' holds NaN or an infinity", "write it again");
    return std::move(out).values();
  };
  if (file.contains("base") && r.proxies.rows() == r.positive.rows() && r.proxies.cols() == r.positive.cols()) {
    const auto base = column("base", r.positive.rows(), double{}), made = base_of(r).values();
    for (std::size_t i = 0; i < base.size(); ++i)
      if (std::abs(base[i] - made[i]) > 1e-4)
        refuse("negood.file.9", "its base of class " + std::to_string(i) + " is not <positive, proxy> of that class",
               "class texts or proxies were changed; fit again");
  }
  if (!file.contains("memory")) return;
  const auto rows = unit_tensor(file, "memory");
  const index_type k = rows.rows();
  std::vector<memory_entry> entries(static_cast<std::size_t>(k));
  const auto keys = column("memory_key", k, double{});
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = {keys[i], i, 0};
  const auto fill = [&](const char* name, std::uint64_t memory_entry::*member) {
    if (!file.contains(name)) return;
    const auto values = column(name, k, std::uint64_t{});
    for (std::size_t i = 0; i < entries.size(); ++i) entries[i].*member = values[i];
  };
  fill("memory_sequence", &memory_entry::sequence);
  fill("memory_source", &memory_entry::source);

  json state = json::object();
  if (const auto* text = file.find_metadata("memory_state")) state = parse_json(*text, file.name() + ", memory_state");
  const auto unusable = [&](const std::string& key) {
    fail_metadata(file, "memory_state" + key, "what negood writes");
  };
  if (!state.is_object()) unusable("");
  const auto integer = [&](const json& value, const std::string& key) {
    if (!value.is_number_unsigned()) unusable(key);
    return value.get<std::uint64_t>();
  };
  const auto number = [&](const char* key) -> std::optional<std::uint64_t> {
    const auto it = state.find(key);
    if (it == state.end() || it->is_null()) return std::nullopt;
    return integer(*it, std::string(".") + key);
  };
  const auto window = [&](const char* key) -> window_count {
    const auto it = state.find(key);
    if (it == state.end()) return {};
    const std::string name = std::string(".") + key;
    if (!it->is_array() || it->size() != 2) unusable(name);
    return {integer((*it)[0], name), static_cast<index_type>(integer((*it)[1], name))};
  };
  constexpr std::uint64_t most = std::uint64_t{1} << 31;
  const auto capacity = number("capacity").value_or(std::max<std::uint64_t>(2000, static_cast<std::uint64_t>(k)));
  if (capacity > most) unusable(".capacity");
  interneg_state learned{negative_memory::restore(static_cast<index_type>(capacity), rows, std::move(entries),
                                                  number("version").value_or(static_cast<std::uint64_t>(k)))};
  learned.last_sequence = number("last_sequence");
  learned.admitted = window("admitted");
  learned.turned = window("turned");
  if (const auto it = state.find("drifted"); it != state.end()) {
    if (!it->is_boolean()) unusable(".drifted");
    learned.drifted = it->get<bool>();
  }
  if (file.contains("quarantine")) {
    const auto waiting = unit_tensor(file, "quarantine");
    const auto sources = state.find("quarantine_sources");
    if (sources == state.end() || !sources->is_array() || static_cast<index_type>(sources->size()) != waiting.rows())
      unusable(".quarantine_sources");
    for (index_type i = 0; i < waiting.rows(); ++i) {
      quarantined_feature q{{waiting.row(i).begin(), waiting.row(i).end()}, {}};
      const auto& list = (*sources)[static_cast<std::size_t>(i)];
      if (!list.is_array()) unusable(".quarantine_sources");
      for (const auto& source : list) q.sources.insert(integer(source, ".quarantine_sources"));
      learned.quarantine.push_back(std::move(q));
    }
  }
  r.learned = std::move(learned);
  if (const auto it = state.find("sha256"); it != state.end() && *it != memory_sha256(r))
    refuse("negood.file.9", "its memory does not belong to its texts, or was changed: the hash differs",
           "learn it again with this detector, or take the memory out");
}

}  // namespace detail

}  // namespace negood
