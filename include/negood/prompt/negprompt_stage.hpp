/// \file negprompt_stage.hpp  One stage of NegPrompt's training as an objective: its batches, losses, gradients and
/// reports.
#pragma once

#include <negood/loss/cross_entropy.hpp>
#include <negood/loss/multilabel.hpp>
#include <negood/loss/nis.hpp>
#include <negood/loss/nnd.hpp>
#include <negood/loss/npd.hpp>
#include <negood/prompt/negprompt_options.hpp>
#include <negood/prompt/text_model.hpp>
#include <negood/prompt/training.hpp>
#include <negood/train/random.hpp>
#include <negood/train/training_loop.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

namespace negood::detail {

/// What both stages read.
template <Backend B, DifferentiableEncoder<B> Encoder>
struct negprompt_problem {
  B& ctx;
  const Encoder& encoder;
  const training_features<real_t<B>>& train;
  tensor_t<B> images;  ///< train.features
  double logit_scale;
  const negprompt_options& options;
  const training_hooks<real_t<B>>& hooks;
};

/// The two sets of contexts.
template <Backend B>
struct negprompt_contexts {
  learned_tensor<B> positive, negative;
};

/// An `Objective`: stage 1 learns the positives, stage 2 the negatives (and, in the one-stage ablation, both).
template <Backend B, DifferentiableEncoder<B> Encoder>
class negprompt_stage {
 public:
  using real = real_t<B>;

  /// Goes on after `done` steps.
  negprompt_stage(const negprompt_problem<B, Encoder>& problem, int stage, negprompt_contexts<B>& contexts,
                  index_type done)
      : ctx_(problem.ctx),
        encoder_(problem.encoder),
        train_(problem.train),
        images_(problem.images),
        scale_(problem.logit_scale),
        o_(problem.options),
        hooks_(problem.hooks),
        stage_(stage),
        how_(stage == 1 ? o_.stage1 : o_.stage2),
        learn_positive_(stage == 1 || o_.one_stage),
        learn_negative_(stage == 2),
        contexts_(contexts),
        step_(done),
        fixed_positive_(problem.ctx.zeros(0, 0)) {
    const auto n = static_cast<index_type>(train_.labels.size());
    batch_ = std::min(how_.batch, n);
    per_epoch_ = n / batch_;
    steps_ = how_.steps > 0 ? how_.steps : how_.epochs * per_epoch_;
    if (!learn_positive_)
      fixed_positive_ = normalise_rows(ctx_, encoder_.encode(ctx_, contexts_.positive.value, 1)).unit;
  }

  bool more() const { return step_ < steps_; }
  const optimizer_options& optimizer() const { return how_.optimizer; }
  double rate() const {
    const index_type epochs = (steps_ + per_epoch_ - 1) / per_epoch_;
    return learning_rate(how_.schedule, how_.learning_rate, {step_ / per_epoch_, epochs, step_});
  }
  std::vector<learned_tensor<B>*> parameters() {
    std::vector<learned_tensor<B>*> out;
    if (learn_negative_) out.push_back(&contexts_.negative);
    if (learn_positive_) out.push_back(&contexts_.positive);
    return out;
  }

  /// Encodes what learns, sums the losses and their gradients, pulls them back to the contexts.
  std::vector<tensor_t<B>> gradients() {
    row_ = {.stage = stage_, .epoch = step_ / per_epoch_, .step = step_, .steps = steps_, .rate = rate()};
    squared_norms_ = {0, 0};
    const auto rows = batch_rows();
    const auto images = ctx_.gather_rows(images_, feature_rows(rows));
    std::vector<index_type> labels;
    for (const index_type i : rows) labels.push_back(train_.labels[static_cast<std::size_t>(i)]);

    typename Encoder::state positive_state, negative_state;
    std::optional<normalised_rows<B>> positive, negative;
    if (learn_positive_)
      positive = normalise_rows(ctx_, encoder_.encode(ctx_, contexts_.positive.value, 1, &positive_state));
    if (learn_negative_)
      negative = normalise_rows(ctx_, encoder_.encode(ctx_, contexts_.negative.value, o_.negatives, &negative_state));
    const tensor_t<B>& p = positive ? positive->unit : fixed_positive_;

    auto dp = ctx_.zeros(ctx_.rows(p), ctx_.cols(p));
    if (learn_positive_) {
      auto ce = cross_entropy(ctx_, images, p, labels, scale_);
      scalars_.keep(std::move(ce.value), row_.cross_entropy);
      dp = std::move(ce.gradient);
    }
    std::vector<tensor_t<B>> out;
    const auto pull_back = [&](const auto& state, const normalised_rows<B>& value, const tensor_t<B>& d_unit) {
      const auto raw = normalise_rows_t::pullback(ctx_, value, d_unit);
      out.push_back(encoder_.pullback(ctx_, state, raw));
      scalars_.keep(inner_product(ctx_, out.back(), out.back()), squared_norms_[out.size() - 1]);
    };
    if (learn_negative_) pull_back(negative_state, *negative, negative_losses(images, labels, p, negative->unit, dp));
    if (learn_positive_) pull_back(positive_state, *positive, dp);
    return out;
  }

  /// The only place of a step that waits for the device. \throws error negood.train.2 when stopped
  bool finish_step() {
    scalars_.fetch(ctx_);
    row_.loss = row_.cross_entropy;
    if (learn_negative_) {
      if (o_.negatives == 1)
        row_.mean_cosine = 1;
      else if (o_.nnd == nnd_form::pairwise)
        row_.mean_cosine = row_.nnd;
      row_.loss += row_.nis + npd_weight() * row_.npd + o_.nnd_weight * row_.nnd;
    }
    row_.gradient_norm = std::sqrt(squared_norms_[0] + squared_norms_[1]);
    ++step_;
    if (hooks_.on_step) hooks_.on_step(row_);
    if (!std::isfinite(row_.loss) || !std::isfinite(row_.gradient_norm)) return false;
    const bool stop = hooks_.stop && hooks_.stop();
    if (hooks_.on_checkpoint && (stop || (hooks_.checkpoint_every > 0 && step_ % hooks_.checkpoint_every == 0)))
      hooks_.on_checkpoint(checkpoint());
    if (stop)
      fail(error_category::interrupted, "negood.train.2", "fit_negprompt",
           "stopped after step " + std::to_string(step_) + " of " + std::to_string(steps_) + " of stage " +
               std::to_string(stage_),
           "resume from the checkpoint");
    return true;
  }

 private:
  training_checkpoint<real> checkpoint() {
    const auto& [p, n] = contexts_;
    return {stage_,
            step_,
            ctx_.to_host(p.value),
            ctx_.to_host(n.value),
            ctx_.to_host(p.optimizer.first),
            ctx_.to_host(p.optimizer.second),
            ctx_.to_host(n.optimizer.first),
            ctx_.to_host(n.optimizer.second),
            stage_ == 1 ? p.optimizer.step : n.optimizer.step};
  }

  /// The images of this step, in this epoch's order.
  std::vector<index_type> batch_rows() {
    if (order_.empty() || step_ % per_epoch_ == 0) order_ = epoch_order(static_cast<index_type>(train_.labels.size()));
    const auto first = order_.begin() + (step_ % per_epoch_) * batch_;
    return {first, first + batch_};
  }
  std::vector<index_type> epoch_order(index_type n) const {
    if (o_.shuffle)
      return permutation(o_.seed, random_purpose::shuffle,
                         pair_index(static_cast<std::uint64_t>(stage_), static_cast<std::uint64_t>(row_.epoch)), n);
    std::vector<index_type> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), index_type{0});
    return order;
  }

  /// The rows of a batch in the feature matrix: of V views of an image, one is drawn for every epoch.
  std::vector<index_type> feature_rows(const std::vector<index_type>& images) const {
    if (train_.views == 1) return images;
    std::vector<index_type> rows;
    for (const index_type i : images) {
      const double u = uniform(o_.seed, random_purpose::augmentation,
                               pair_index(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(row_.epoch)));
      rows.push_back(i * train_.views + static_cast<index_type>(u * static_cast<double>(train_.views)));
    }
    return rows;
  }

  /// beta; the released multi-label variant turns its sign.
  double npd_weight() const { return o_.nis == nis_scope::multilabel ? -o_.npd_weight : o_.npd_weight; }

  /// L_NIS + beta L_NPD + gamma L_NND: its gradient to the negatives is returned, that to the positives added to `dp`.
  tensor_t<B> negative_losses(const tensor_t<B>& images, const std::vector<index_type>& labels, const tensor_t<B>& p,
                              const tensor_t<B>& n, tensor_t<B>& dp) {
    const index_type classes = ctx_.rows(p), count = o_.negatives;
    auto dn = ctx_.zeros(0, 0);
    if (o_.nis == nis_scope::negatives) {
      auto l = nis(ctx_, images, n, scale_);
      scalars_.keep(std::move(l.value), row_.nis);
      dn = std::move(l.gradient);
    } else {  // the released variants look at positives and negatives together
      auto all = ctx_.zeros(classes * (1 + count), ctx_.cols(p));
      ctx_.paste(all, p, 0, 0);
      ctx_.paste(all, n, classes, 0);
      auto l = o_.nis == nis_scope::all ? nis(ctx_, images, all, scale_)
                                        : multilabel(ctx_, images, all, own_prompts(labels, classes), scale_);
      scalars_.keep(std::move(l.value), row_.nis);
      dp = ctx_.map(element::add{}, dp, ctx_.block(l.gradient, 0, 0, classes, ctx_.cols(p)));
      dn = ctx_.block(l.gradient, classes, 0, classes * count, ctx_.cols(p));
    }
    auto pull = npd(ctx_, p, n, count);
    auto spread = nnd(ctx_, n, count, o_.nnd);
    scalars_.keep(std::move(pull.value), row_.npd);
    scalars_.keep(std::move(spread.value), row_.nnd);
    if (count > 1 && o_.nnd != nnd_form::pairwise) scalars_.keep(nnd(ctx_, n, count).value, row_.mean_cosine);
    dn = ctx_.map(element::add_scaled{npd_weight()}, dn, pull.d_negative);
    dp = ctx_.map(element::add_scaled{npd_weight()}, dp, pull.d_positive);
    return ctx_.map(element::add_scaled{o_.nnd_weight}, dn, spread.gradient);
  }

  /// The columns of [positives; negatives] that belong to each image's class.
  std::vector<std::vector<index_type>> own_prompts(const std::vector<index_type>& labels, index_type classes) const {
    std::vector<std::vector<index_type>> out;
    for (const index_type y : labels) {
      std::vector<index_type> columns{y};
      for (index_type l = 0; l < o_.negatives; ++l) columns.push_back(classes + y * o_.negatives + l);
      out.push_back(std::move(columns));
    }
    return out;
  }

  B& ctx_;
  const Encoder& encoder_;
  const training_features<real>& train_;
  const tensor_t<B>& images_;
  double scale_;
  const negprompt_options& o_;
  const training_hooks<real>& hooks_;
  int stage_;
  const stage_options& how_;
  bool learn_positive_, learn_negative_;
  negprompt_contexts<B>& contexts_;
  index_type step_, steps_ = 0, batch_ = 0, per_epoch_ = 0;
  tensor_t<B> fixed_positive_;  ///< unit features of the positives, constant when only negatives learn
  std::vector<index_type> order_;
  trace_row row_;
  step_scalars<B> scalars_;
  std::array<double, 2> squared_norms_{};
};

}  // namespace negood::detail
