// What the parts of the demonstration share: the model, the pictures with their features, the images held back.
#pragma once

#include "demo.hpp"
#include "demo_data.hpp"
#include "program_backends.hpp"

#include <negood/clip/model.hpp>
#include <negood/detector/detector.hpp>
#include <negood/train/random.hpp>

#include <chrono>
#include <memory>

namespace negood::demo {

using clock = std::chrono::steady_clock;
inline double seconds_since(clock::time_point t) { return std::chrono::duration<double>(clock::now() - t).count(); }

inline constexpr const char* plain_prompt = "a photo of a {}.";
inline constexpr index_type shots = 16, calibration_images = 1000, canary_images = 200;

/// Everything that does not depend on a seed.
template <Backend B>
struct stage {
  B& ctx;
  clip::model<B> model;
  fashion data;
  std::vector<std::string> all_names, id_names, near_names;
  std::vector<index_type> id_classes;  // fashion label of every ID class
  std::vector<index_type> id_of;       // ID label of every fashion label, -1 for the others
  index_type held_back_first = 50000, held_back_last = 60000;
  std::vector<picture_set> sets;             // ID first
  std::vector<host_matrix<float>> features;  // of every set
  std::vector<index_type> id_truth;          // ID label of every ID test picture
  host_matrix<float> id_text;                // plain prompts
  std::vector<std::string> words, word_tags;
  host_matrix<float> word_features;
};

/// Held-back training images: `shots` of every ID class to learn from, others to set thresholds with, others to guard
/// InterNeg's memory with.
struct held_back {
  std::vector<index_type> rows;
  training_features<float> train;
  host_matrix<float> calibration;
  host_matrix<float> canaries;
};

void report_progress(const demo_options& o, const std::string& what, double done);

/// Scores every set, sets the threshold on held-back ID images, measures.
template <Backend B>
method_run measure(stage<B>& s, detector<B>& d, const host_matrix<float>& calibration, bool keep_scores,
                   std::uint64_t seed);
template <Backend B>
detector<B> text_detector(stage<B>& s, std::string method, const host_matrix<float>& negatives = {},
                          index_type groups = 1);
/// The row of that name; made where it is not there yet.
method_result& method(demo_result& r, std::string name, std::string title, std::string description, bool learned);

/// InterNeg with and without its memory: rows of the table, the curves of the first seed, and the study of streams.
template <Backend B>
void run_interneg(stage<B>& s, demo_result& r, const demo_options& o, const held_back& held, std::uint64_t seed,
                  bool first, double done);

/// What KR-NFT needs that does not depend on a seed: mined words, other names, other styles.
struct tuning_stage;
template <Backend B>
std::shared_ptr<tuning_stage> prepare_krnft(stage<B>& s);
/// KR-NFT and its parts: rows of the table and the study of feature maps.
template <Backend B>
void run_krnft(stage<B>& s, tuning_stage& t, demo_result& r, const demo_options& o, const held_back& held,
               std::uint64_t seed, bool first, double done);
/// How maps are learned here, as the report prints it.
std::map<std::string, std::string> tuning_option_texts();

}  // namespace negood::demo
