/// \file negprompt_options.hpp  Everything NegPrompt can be told, with the paper's values as defaults, and the presets.
#pragma once

#include <negood/loss/nnd.hpp>
#include <negood/prompt/prompt_encoder.hpp>
#include <negood/train/optimizer.hpp>
#include <negood/train/schedule.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace negood {

/// What the separation loss of stage 2 looks at.
enum class nis_scope {
  negatives,  ///< Eq. 4: the negatives only
  all,        ///< the released code's 'OE': positives and negatives in one softmax
  multilabel  ///< the released code's 'MSP': a multi-label loss over all prompts, with the sign of NPD flipped
};

/// One stage of training. The defaults are stage 2's; the optimiser is CoOp's.
struct stage_options {
  index_type epochs = 10;
  index_type steps = 0;  ///< exactly so many steps instead of whole epochs; 0: by epochs
  index_type batch = 64;
  double learning_rate = 0.002;
  optimizer_options optimizer{};
  schedule_kind schedule = schedule_kind::cosine;
};

/// NegPrompt (Li et al., CVPR 2024). The defaults are the preset `paper()`.
struct negprompt_options {
  index_type context_length = 16;  ///< n; ignored when `context_init` is text
  std::string context_init{};      ///< empty: N(0, 0.02^2); else the token embeddings of this text
  std::string suffix = ".";        ///< follows every class name; part of what is learned
  index_type negatives = 2;        ///< p, negative prompts a class
  double npd_weight = 0.1;         ///< beta
  double nnd_weight = 0.05;        ///< gamma
  nis_scope nis = nis_scope::negatives;
  nnd_form nnd = nnd_form::pairwise;
  double noise = 1e-5;  ///< uniform noise that breaks the symmetry between the copies of the positive context
  context_scope scope = context_scope::shared;
  bool one_stage = false;  ///< Table 5's ablation: positives and negatives together, for stage 2's length
  bool shuffle = true;     ///< a new order every epoch; no: rows in order
  std::uint64_t seed = 1;
  stage_options stage1{.epochs = 100, .batch = 32};  ///< positives (CoOp)
  stage_options stage2{};                            ///< negatives
  index_type chunk_rows = 0;                         ///< rows of a task, see `prompt_encoder_options`
  std::optional<std::size_t> memory_budget{};        ///< bytes of activations kept between value and pullback, likewise

  /// The paper's: 16 random context vectors, full stop, NIS over negatives, CoOp's optimiser in both stages. The paper
  /// gives no learning rate for stage 2.
  static negprompt_options paper() { return {}; }

  /// The released code's loss functions and schedule ('OE'): `a photo of a`, no full stop, NIS over all logits.
  static negprompt_options released_oe() {
    negprompt_options o;
    o.context_init = "a photo of a";
    o.suffix = "";
    o.nis = nis_scope::all;
    o.nnd = nnd_form::mean_norm;
    const optimizer_options plain{.momentum = 0, .weight_decay = 0};
    o.stage1 = {
        .epochs = 100, .batch = 64, .learning_rate = 0.1, .optimizer = plain, .schedule = schedule_kind::released};
    o.stage2 = o.stage1;
    return o;
  }

  /// The same with the multi-label loss and NPD's flipped sign ('MSP'). A regression oracle, not a recommendation.
  static negprompt_options released_msp() {
    auto o = released_oe();
    o.nis = nis_scope::multilabel;
    return o;
  }
};

}  // namespace negood
