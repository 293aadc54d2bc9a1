/// \file commands.hpp  The commands: what each is told, and the function that does it. They throw negood::error.
#pragma once

#include "data.hpp"
#include "tuning_options.hpp"
#include "word_options.hpp"

#include <optional>
#include <string>
#include <vector>

namespace negood::cli {

struct encode_options {
  common_options common;
  image_options images;
  text_options text;
  std::string model, texts, out, labels_out;
  bool raw = false;
};
int run_encode(const encode_options& o);

/// Everything `fit` can be told. What is not given (nothing) is left to the preset.
struct fit_options {
  common_options common;
  text_options text;
  row_options rows;
  std::string method, model, names, out;
  std::string train, root, train_features, train_labels, text_features;
  std::optional<double> logit_scale, temperature;
  bool force_encoder = false;
  word_options words;                        // neglabel, csp, eoe, clipscope, interneg
  tuning_options tuning;                     // krnft, nft, coft, taskres, ssf
  std::optional<index_type> memory;          // interneg: rows
  std::vector<std::string> inversion_texts;  // interneg
  // learned methods
  std::string preset = "paper";
  std::optional<index_type> ctx, negatives, stage1_epochs, stage2_epochs, epochs, steps, stage1_steps, batch,
      stage1_batch;
  std::optional<std::string> init, suffix, nis, nnd, schedule, optimizer, shuffle;
  std::optional<double> beta, gamma, lr, stage1_lr, momentum, weight_decay, noise;
  std::string init_file, positives, prompts, prompts_out, train_classes = "all", trace, checkpoint;
  index_type views = 0, checkpoint_every = 0;
  bool csc = false, one_stage = false, resume = false;
};
int run_fit(const fit_options& o);
/// The part of `fit` that learns: negprompt and coop.
int run_fit_prompts(const fit_options& o);
/// And feature maps: krnft, nft, coft, taskres, ssf.
int run_fit_krnft(const fit_options& o);

struct select_options {
  common_options common;
  row_options rows;
  std::string method, candidates, words, tags, id_text, proxies, out, quota = "pos", percentile_rule = "floor";
  index_type count = 2000;
  double percentile = 0.95;
};
int run_select(const select_options& o);

/// How a detector learns from what it scores. What is not given is the detector's own, else the method's default.
struct stream_options {
  std::optional<std::string> beta;  ///< a number, or "threshold"
  std::optional<index_type> capacity, steps;
  std::vector<std::string> templates;
  std::string semantics = "sequential", admission = "inline", guards = "standard";
  index_type groups = 1;
  std::string canaries, sources, memory_out, log_out, attempts_out, replay, checkpoint;
  double canary_loss = 0.02;
  std::optional<double> duplicate_cosine, min_margin, cluster_cosine, window_share, drift_limit;
  std::optional<index_type> source_cap, cluster_cap, sightings, window;
  index_type checkpoint_every = 0;
  bool resume = false;
  // adaneg
  double gamma = 0.5, gap = 0.5, lambda = 0.1, sharpness = 5;
  index_type slots = 10;
  std::string proxies = "sample", gap_rule = "fixed";
};

struct score_options {
  common_options common;
  row_options rows;
  image_options images;
  std::string detector, features, model, out, predictions, shard;
  bool force_encoder = false, streaming = false;
  stream_options stream;
};
int run_score(const score_options& o);
/// The part of `score` that learns from what it scores.
int run_score_stream(const score_options& o);

struct decide_options {
  common_options common;
  row_options rows;
  std::string detector, model, features;
  std::vector<std::string> images;
  bool fail_on_ood = false, force_encoder = false;
};
int run_decide(const decide_options& o);

struct calibrate_options {
  common_options common;
  std::string detector, scores, out, nan = "reject";
  double id_recall = 0.95, confidence = 0.95;
  std::optional<double> conformal_alpha;
};
int run_calibrate(const calibrate_options& o);

struct eval_options {
  common_options common;
  std::string id, convention = "id_positive_nearest", format, nan = "reject", id_labels, predictions, out;
  std::vector<std::string> ood;
  double recall = 0.95;
};
int run_eval(const eval_options& o);

struct inspect_options {
  common_options common;
  std::string file;
};
int run_inspect(const inspect_options& o);

struct demo_command_options {
  common_options common;
  std::string out = "negood-demo", fashion = "/usr/share/datasets/fashion-mnist";
  index_type seeds = 3;
};
int run_demo_command(const demo_command_options& o);

}  // namespace negood::cli
