// What `negood demo` measures, in one plain structure: results.json and report.html are two views of it.
#pragma once

#include <negood/clip/image.hpp>
#include <negood/detector/detector_record.hpp>
#include <negood/metric/evaluate.hpp>
#include <negood/prompt/fit_negprompt.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace negood::demo {

/// One set of pictures that is scored: the ID test set or an OOD set.
struct scored_set {
  std::string name;         ///< "id", "near: other fashion classes", "far: letters", ...
  std::string description;  ///< one sentence, with the source
  bool near = false;        ///< near-OOD (the held-out classes)
  index_type images = 0;
};

/// One detector of one seed.
struct method_run {
  std::uint64_t seed = 0;
  double id_accuracy = 0;                   ///< top-1 among the ID classes
  double threshold = 0;                     ///< for 95 % of held-back ID images
  double id_recall = 0;                     ///< share of ID test images at or above it
  std::vector<metric_report> metrics;       ///< one an OOD set
  std::vector<std::vector<double>> scores;  ///< one list a set, ID first; kept for the first seed only
  double seconds = 0;                       ///< learning
  double mean_cosine = 0;                   ///< of the negatives, where there are learned ones
  std::vector<trace_row> trace;             ///< training, where there was any; first seed only
  std::vector<std::string> warnings;
  std::optional<detector_record> detector;  ///< calibrated; first seed only
};

/// One row of the table.
struct method_result {
  std::string name;         ///< "negprompt"
  std::string title;        ///< "NegPrompt"
  std::string description;  ///< what it is, in one sentence
  bool learned = false;
  std::vector<method_run> runs;  ///< one a seed (zero-shot methods: one)
};

/// A point of the 2-D map.
struct map_point {
  double x = 0, y = 0;
  std::string kind;  ///< "id image", an OOD set's name, "positive text", "negative text"
  std::string label;
};

/// Cosines of images to prompts (the paper's Fig. 3), first seed.
struct similarity_list {
  std::string set;              ///< "id" or an OOD set's name
  std::string prompt;           ///< "positive" or "negative"
  std::vector<double> cosines;  ///< largest over the classes, one an image
};

/// One picture with what the detector says of it.
struct example_decision {
  image picture;
  std::string set, truth, label;
  double score = 0;
  bool is_unknown = false;
};

/// How InterNeg's memory fared along one stream, every so many images; first seed.
struct stream_trace {
  std::string set;
  index_type images = 0, considered = 0, admitted = 0, refused_near_id = 0;
  std::vector<double> at;          ///< images seen
  std::vector<double> memory;      ///< rows
  std::vector<double> acceptance;  ///< share of the inverted images that entered, so far
  std::vector<double> running;     ///< AUROC of all images so far
  std::vector<double> window;      ///< AUROC of the images since the last point
};

/// What a stream under one setting came to: a row of the study of memories.
struct stream_outcome {
  std::string study;    ///< "ablation", "order", "ratio", "inversion", "protocol"
  std::string setting;  ///< what was varied
  std::string set;      ///< "near", "far", a ratio of ID to OOD images, a set's name
  std::uint64_t seed = 0, order = 0;
  index_type id_images = 0, ood_images = 0, inverted = 0, admitted = 0, memory = 0;
  bool drifted = false;  ///< the watch on drift stopped the memory
  double auroc = 0, fpr_id_positive = 0, fpr_ood_positive = 0;
  double id_recall = 0;  ///< ID images at or above the threshold of the detector without memory
  double inversion_cosine = 0;
};

/// What a feature map came to under one protocol: a row of the study of KR-NFT.
struct tuning_outcome {
  std::string study;     ///< "parts", "lambda2", "runaway"
  std::string setting;   ///< what was varied
  std::string protocol;  ///< "trained classes", "unseen classes", "unseen style: ..."
  std::string set;       ///< "near", "far" (a plain mean over the far sets)
  std::uint64_t seed = 0;
  double value = 0;  ///< of lambda_2 where it is varied
  double auroc = 0, fpr_id_positive = 0, fpr_ood_positive = 0;
  double id_accuracy = 0;
  double knowledge = 0, outlier = 0, largest_delta = 0;  ///< L_kr, L_n and max |alpha - 1| of the last step
};

/// L_n step by step at a large rate.
struct runaway_trace {
  double lambda2 = 0;
  std::uint64_t seed = 0;
  std::vector<double> at, outlier, knowledge, largest_delta;
};

struct demo_result {
  std::string model_fingerprint, created_by, date, backend;
  std::vector<std::string> id_names, near_names;
  std::vector<std::uint64_t> seeds;
  index_type shots = 16;
  std::vector<index_type> few_shot_rows;  ///< rows of the training file, first seed
  std::string held_back;                  ///< which training images the model never saw
  std::vector<scored_set> sets;           ///< ID first
  std::vector<method_result> methods;
  std::vector<std::pair<std::string, std::string>> gates;  ///< name, "wanted ..., measured ..."
  std::map<std::string, std::string> options;              ///< of the learned methods
  std::vector<map_point> map;
  std::vector<similarity_list> similarities;
  std::vector<example_decision> examples;
  std::vector<stream_trace> streams;
  std::vector<stream_outcome> study;
  std::vector<tuning_outcome> tuning;
  std::vector<runaway_trace> runaway;
  std::string examples_method;           ///< whose decisions they are
  std::vector<std::string> mined_words;  ///< the first of NegLabel's, first seed
  std::vector<std::string> findings;     ///< what helped and what did not, in sentences made from the numbers
  double seconds = 0;
};

}  // namespace negood::demo
