/// \file fit_prompts.hpp  From the options of `fit` to those of NegPrompt, and what a run is called in its checkpoints.
#pragma once

#include "commands.hpp"

#include <negood/io/checkpoint.hpp>

namespace negood::cli {

/// The preset, then every option that was given.
negprompt_options negprompt_options_of(const fit_options& o);

/// Where training starts: `--init-file`, `--positives`. Changes `options` where a file decides (p, suffix).
struct prompt_start {
  std::optional<host_matrix<float>> positive, negative;
};
prompt_start read_start(const fit_options& o, negprompt_options& options, index_type width,
                        const std::string& fingerprint);

/// The options as JSON, for the detector's file.
ordered_json describe(const fit_options& o, const negprompt_options& options);

/// Which of `names` are learned from: `all`, a share such as `10%` (the first floor(share K)), or a file of names.
std::vector<index_type> training_classes(const fit_options& o, const std::vector<std::string>& names);

/// One line of `--trace`.
std::string trace_line(const trace_row& row);

}  // namespace negood::cli
