/// \file fit_krnft.hpp  The training of feature maps: KR-NFT and every model of its template.
#pragma once

#include <negood/feature/krnft_training.hpp>
#include <negood/feature/tuned_scorer.hpp>
#include <negood/train/training_loop.hpp>

#include <cmath>
#include <deque>
#include <numeric>

namespace negood {

template <class Real>
struct krnft_fit {
  tuned_features<Real> features;
  fit_outcome outcome = fit_outcome::completed;
  krnft_trace_row last;  ///< the last step
  std::vector<std::string> warnings;
};

namespace detail {

/// The rows of one step with their conditions, labels and weights.
template <class Real>
struct krnft_step {
  host_matrix<Real> rows, conditions;
  std::vector<index_type> condition_of, labels;
  std::vector<double> weights;
};

/// Puts the rows of a step together.
template <class Real>
class krnft_batches {
 public:
  krnft_batches(const krnft_training_data<Real>& data, const krnft_options& options)
      : data_(data),
        o_(options),
        images_(static_cast<index_type>(data.labels.size())),
        per_step_(std::min(options.images, images_)),
        per_epoch_(images_ / per_step_),
        q_(data.positives.rows() / images_),
        q_negative_(data.pooled ? 0 : data.negatives.rows() / images_) {}

  index_type epoch(index_type step) const { return step / per_epoch_; }

  krnft_step<Real> operator()(index_type step) {
    if (step / per_epoch_ != epoch_ || order_.empty()) {
      epoch_ = step / per_epoch_;
      order_ = order(0, epoch_, images_);
    }
    const auto from = order_.begin() + (step % per_epoch_) * per_step_;
    const std::vector<index_type> images(from, from + per_step_);
    const index_type pool = data_.pooled ? std::min(o_.outliers, data_.negatives.rows()) : 0;
    const index_type positives = per_step_ * q_, negatives = data_.pooled ? pool : per_step_ * q_negative_;
    const index_type width = data_.positives.cols();
    krnft_step<Real> out;
    out.rows = host_matrix<Real>(positives + negatives, width);
    const bool conditional = o_.model.conditional, alone = o_.anchor == condition_anchor::per_sample;
    std::vector<index_type> anchors;  // rows of out.rows that are conditions
    index_type next = 0;
    const auto add = [&](const host_matrix<Real>& from_rows, index_type row, index_type label, double weight,
                         index_type condition) {
      std::ranges::copy(from_rows.row(row), out.rows.row(next).begin());
      if (conditional && condition < 0) {
        condition = static_cast<index_type>(anchors.size());
        anchors.push_back(next);
      }
      out.condition_of.push_back(conditional ? condition : 0);
      out.labels.push_back(label);
      out.weights.push_back(weight);
      ++next;
    };
    const auto weight = [](const std::vector<double>& all, index_type row, index_type count) {
      return (all.empty() ? 1.0 : all[static_cast<std::size_t>(row)]) / static_cast<double>(count);
    };
    for (std::size_t i = 0; i < images.size(); ++i)
      for (index_type j = 0; j < q_; ++j) {
        const index_type row = images[i] * q_ + j;
        const bool own = alone || j == 0;  // -1: a condition of its own
        add(data_.positives, row, data_.labels[static_cast<std::size_t>(images[i])],
            weight(data_.positive_weights, row, positives), own ? -1 : static_cast<index_type>(i));
      }
    for (std::size_t i = 0; i < images.size(); ++i)
      for (index_type j = 0; j < q_negative_; ++j) {
        const index_type row = images[i] * q_negative_ + j;
        add(data_.negatives, row, -1, weight(data_.negative_weights, row, negatives),
            alone ? -1 : static_cast<index_type>(i));
      }
    for (index_type j = 0; j < pool; ++j) {
      const index_type row = pooled_row(step * pool + j);
      add(data_.negatives, row, -1, weight(data_.negative_weights, row, negatives), -1);
    }
    if (!conditional) anchors.assign(1, 0);
    out.conditions = host_matrix<Real>(static_cast<index_type>(anchors.size()), width);
    for (std::size_t k = 0; k < anchors.size(); ++k)
      std::ranges::copy(out.rows.row(anchors[k]), out.conditions.row(static_cast<index_type>(k)).begin());
    return out;
  }

 private:
  std::vector<index_type> order(std::uint64_t what, index_type epoch, index_type n) const {
    if (o_.shuffle)
      return permutation(o_.seed, random_purpose::shuffle, pair_index(3 + what, static_cast<std::uint64_t>(epoch)), n);
    std::vector<index_type> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), index_type{0});
    return all;
  }
  index_type pooled_row(index_type position) {
    const index_type n = data_.negatives.rows(), pass = position / n;
    if (pass != pool_pass_ || pool_order_.empty()) {
      pool_pass_ = pass;
      pool_order_ = order(1, pass, n);
    }
    return pool_order_[static_cast<std::size_t>(position % n)];
  }

  const krnft_training_data<Real>& data_;
  const krnft_options& o_;
  index_type images_, per_step_, per_epoch_, q_, q_negative_;
  index_type epoch_ = 0, pool_pass_ = 0;
  std::vector<index_type> order_, pool_order_;
};

/// One update of every tensor of a map. Weight decay acts on alpha = 1 + delta, as it does where alpha itself is
/// stored: delta <- delta - lr wd (1 + delta).
template <Backend B>
void krnft_update(B& ctx, const krnft_options& o, device_parameters<B>& parameters,
                  const device_parameters<B>& gradients, std::vector<optimizer_state<B>>& states) {
  std::size_t next = 0;
  for (std::size_t part = 0; part < parameters.size(); ++part) {
    std::vector<const tensor_t<B>*> g;
    for_each_tensor(gradients[part], [&](const char*, const tensor_t<B>& t) { g.push_back(&t); });
    std::size_t i = 0;
    for_each_tensor(parameters[part], [&](std::string_view name, tensor_t<B>& w) {
      auto& state = states[next++];
      const tensor_t<B>& gradient = *g[i++];
      if (ctx.rows(w) == 0) return;
      const double decay = name == "alpha" ? o.optimizer.weight_decay : 0;
      if (decay == 0) return optimizer_step(ctx, o.optimizer, o.learning_rate, w, gradient, state);
      if (o.optimizer.kind == optimizer_kind::sgd)
        return optimizer_step(ctx, o.optimizer, o.learning_rate, w, ctx.map(element::shift{decay}, gradient), state);
      optimizer_step(ctx, o.optimizer, o.learning_rate, w, gradient, state);
      w = ctx.map(element::shift{-o.learning_rate * decay}, w);
    });
  }
}

template <class Real>
void check_krnft(const krnft_texts<Real>& texts, const krnft_training_data<Real>& data, const krnft_options& o) {
  const auto usage = [](std::string what, std::string_view hint) {
    fail(error_category::usage, "negood.train.1", "fit_krnft", std::move(what), hint);
  };
  const auto images = static_cast<index_type>(data.labels.size());
  if (images == 0) usage("there are no training images", "give a few of every class");
  if (o.steps < 0 || o.images < 1 || o.rows_at_once < 1)
    usage("steps or images a step are not positive", "use 1 or more");
  if (data.pooled && o.outliers < 1) usage("no outliers are taken in a step", "use 1 or more");
  if (!(texts.logit_scale > 0) || !std::isfinite(texts.logit_scale))
    usage("the logit scale is " + std::to_string(texts.logit_scale),
          "give the exponentiated scale, 100 for released models");
  for (const double v : {o.outlier_weight, o.knowledge_weight, o.outlier_floor, o.learning_rate})
    if (!(v >= 0) || !std::isfinite(v))
      usage("a weight, floor or rate is " + std::to_string(v), "none may be negative");
  const index_type width = texts.classes.cols();
  require_shape(data.positives.rows() > 0 && data.positives.rows() % images == 0 && data.positives.cols() == width,
                "fit_krnft", "positives", data.positives.rows(), data.positives.cols(), "labels x Q", images, width,
                "the same number of crops of every image, as wide as the text features");
  if (data.negatives.rows() > 0) {
    require_shape((data.pooled || data.negatives.rows() % images == 0) && data.negatives.cols() == width, "fit_krnft",
                  "negatives", data.negatives.rows(), data.negatives.cols(), "labels x Q", images, width,
                  "the same number of crops of every image, as wide as the text features");
    if (texts.negatives.rows() == 0) usage("outliers need negative labels", "give some, or no outliers");
  }
  for (const auto& [weights, rows, name] : {std::tuple{&data.positive_weights, data.positives.rows(), "positive"},
                                            std::tuple{&data.negative_weights, data.negatives.rows(), "negative"}}) {
    if (!weights->empty() && static_cast<index_type>(weights->size()) != rows)
      fail(error_category::data, "negood.krnft.6", "fit_krnft",
           std::to_string(weights->size()) + " " + name + " weights for " + std::to_string(rows) + " rows",
           "one a row");
    for (const double w : *weights)
      if (!(w >= 0) || !std::isfinite(w))
        fail(error_category::data, "negood.krnft.6", "fit_krnft", std::string(name) + " weight " + std::to_string(w),
             "weights are finite and not negative");
  }
  for (std::size_t i = 0; i < data.labels.size(); ++i)
    if (data.labels[i] < 0 || data.labels[i] >= texts.classes.rows())
      fail(error_category::data, "negood.train.3", "fit_krnft",
           "label " + std::to_string(data.labels[i]) + " of row " + std::to_string(i) + " is not in [0, " +
               std::to_string(texts.classes.rows()) + ")",
           "labels index the classes");
}

}  // namespace detail

/// Trains a feature map on cached image features (KR-NFT, Zhu et al., ACM MM 2025, §3).
///
///     L = L_p + lambda_1 L_n + lambda_2 L_kr                     see krnft_objective.hpp
///
/// Text features stay as they are; alpha, beta and the networks learn. Same inputs and options give the same bytes,
/// stopped and resumed or not, on any number of threads. Divergence is an outcome, not an exception. L_n has no lower
/// bound: watch `knowledge` and `largest_delta` of the trace where lambda_2 is small. Where paper and released code
/// differ: docs/methods.md. \throws error negood.train.1, .3 and negood.krnft.* for unusable input, .2 when stopped
template <Backend B>
krnft_fit<real_t<B>> fit_krnft(B& ctx, const krnft_texts<real_t<B>>& texts, const krnft_training_data<real_t<B>>& data,
                               const krnft_options& options = {}, const krnft_start<real_t<B>>& start = {},
                               const krnft_hooks<real_t<B>>& hooks = {}) {
  using real = real_t<B>;
  detail::check_krnft(texts, data, options);
  const auto& model = options.model;
  const auto labels = make_label_set(ctx, model, texts.classes.view(), texts.negatives.view(),
                                     {.groups = options.groups, .permutation = texts.permutation},
                                     texts.teacher_classes.view(), texts.teacher_negatives.view());
  std::vector<index_type> counts;
  for (const auto& block : labels.blocks) counts.push_back(block.count);
  krnft_fit<real> fit;
  auto host = initial_feature_parameters<real>(model, labels.width, options.hidden, counts, options.seed);
  const auto* given = start.resume ? &start.resume->parameters : start.parameters ? &*start.parameters : nullptr;
  if (given) {
    detail::require_same_form(host, *given, "fit_krnft");
    host = *given;
  }
  auto parameters = upload_parameters(ctx, host);
  std::vector<optimizer_state<B>> states;
  for (const auto& part : parameters)
    for_each_tensor(part, [&](const char*, const tensor_t<B>& t) { states.push_back(new_optimizer_state(ctx, t)); });
  index_type done = 0;
  if (start.resume) {
    done = start.resume->step;
    if (start.resume->first.size() != states.size() || start.resume->second.size() != states.size())
      fail(error_category::artifact, "negood.krnft.3", "fit_krnft", "the checkpoint's optimiser has other tensors");
    for (std::size_t i = 0; i < states.size(); ++i)
      states[i] = {ctx.from_host(start.resume->first[i].view()), ctx.from_host(start.resume->second[i].view()), done};
  }
  if (!labels.duplicates.empty())
    fit.warnings.push_back(std::to_string(labels.duplicates.size()) +
                           " classes have the text feature of an earlier one (first: class " +
                           std::to_string(labels.duplicates.front()) + "): they are never predicted");
  if (options.knowledge_weight == 0 && data.negatives.rows() > 0)
    fit.warnings.push_back("lambda_2 is 0: nothing holds the negative labels where L_n pushes them");

  const krnft_loss_options loss{.scale = texts.logit_scale,
                                .outlier_weight = options.outlier_weight,
                                .knowledge_weight = options.knowledge_weight,
                                .outlier_floor = options.outlier_floor,
                                .rows_at_once = options.rows_at_once,
                                .evaluation = options.evaluation,
                                .conditioning = options.conditioning};
  const auto checkpoint = [&](index_type step) {
    krnft_checkpoint<real> c{step, host, {}, {}};
    download_parameters(ctx, parameters, c.parameters);
    for (const auto& s : states) c.first.push_back(ctx.to_host(s.first)), c.second.push_back(ctx.to_host(s.second));
    return c;
  };
  detail::krnft_batches<real> batches(data, options);
  for (index_type step = done; step < options.steps; ++step) {
    const auto batch = batches(step);
    const auto conditions = ctx.from_host(batch.conditions.view());
    const auto maps = residual_maps(ctx, model, parameters, conditions);
    const auto value = krnft_objective(ctx, model, labels, parameters, maps,
                                       {batch.rows.view(), batch.condition_of, batch.labels, batch.weights}, loss);
    const auto gradients = krnft_parameter_gradients(ctx, model, parameters, maps, conditions, value.gradients);
    step_scalars<B> scalars;
    std::deque<double> squared_norms;
    for (const auto& part : gradients)
      for_each_tensor(part, [&](const char*, const tensor_t<B>& g) {
        if (ctx.rows(g) == 0) return;
        scalars.keep(ctx.reduce_all(reduction::sum{}, ctx.map(element::square{}, g)), squared_norms.emplace_back());
      });
    scalars.fetch(ctx);
    const double squared_norm = std::accumulate(squared_norms.begin(), squared_norms.end(), 0.0);
    fit.last = {batches.epoch(step),
                step,
                options.steps,
                value.loss,
                value.id,
                value.outlier,
                value.knowledge,
                std::sqrt(squared_norm),
                value.conditioning};
    if (hooks.on_step) hooks.on_step(fit.last);
    if (!std::isfinite(value.loss) || !std::isfinite(squared_norm)) {
      fit.outcome = fit_outcome::diverged;
      fit.warnings.push_back("training left the finite numbers; lower the learning rate");
      break;
    }
    detail::krnft_update(ctx, options, parameters, gradients, states);
    const bool stop = hooks.stop && hooks.stop();
    if (hooks.on_checkpoint && (stop || (hooks.checkpoint_every > 0 && (step + 1) % hooks.checkpoint_every == 0)))
      hooks.on_checkpoint(checkpoint(step + 1));
    if (stop)
      fail(error_category::interrupted, "negood.train.2", "fit_krnft",
           "stopped after step " + std::to_string(step + 1) + " of " + std::to_string(options.steps),
           "resume from the checkpoint");
  }
  download_parameters(ctx, parameters, host);
  fit.features = {std::move(host), texts.logit_scale, options.seed, {}};
  return fit;
}

}  // namespace negood
