// The demonstration: the main job from end to end on the embedded model and images.
#pragma once

#include "demo_result.hpp"

#include <filesystem>
#include <functional>
#include <string>

namespace negood::demo {

struct demo_options {
  std::filesystem::path out = "demo-out";
  std::filesystem::path models;  ///< the folder with demo-clip, demo-images, demo-words.txt
  std::filesystem::path fashion = "/usr/share/datasets/fashion-mnist";  ///< idx.gz files
  std::uint64_t seed = 1;                                               ///< the first of three
  index_type seeds = 3;
  std::function<void(const std::string& stage, double done)> progress{};  ///< done in [0, 1]
};

/// Runs the protocol: learn, select, score, compare. Defined for the backends of the program that compute in float.
template <class Backend>
demo_result run_demo(Backend& ctx, const demo_options& options);

/// The sentences of `demo_result::findings`, made from its numbers.
void fill_findings(demo_result& result);

/// results.json: every number of the report.
std::string results_json(const demo_result& result);

/// report.html: one file, inline SVG, no scripts, no network.
std::string report_html(const demo_result& result);

/// Writes results.json, report.html and detectors/METHOD.safetensors below `out`, each of them atomically.
/// \throws error negood.io.6 (category io) where the folder or a file cannot be made
void write_demo(const demo_result& result, const std::filesystem::path& out);

}  // namespace negood::demo
