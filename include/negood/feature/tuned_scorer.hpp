/// \file tuned_scorer.hpp  A trained feature map, bound to labels, scoring images under their own condition.
#pragma once

#include <negood/feature/conditioned_logits.hpp>
#include <negood/feature/direct_form.hpp>
#include <negood/score/prompt_bank.hpp>

#include <cmath>
#include <limits>
#include <string>

namespace negood {

/// What every score of an image is made of: over the classes, and over each group of negative labels.
struct tuned_statistics {
  host_matrix<double> id_maximum;     ///< max_{i < N} z_i, `[B, 1]`
  host_matrix<double> id_logsumexp;   ///< LP, `[B, 1]`
  host_matrix<double> groups;         ///< LN_g, `[B, G]`
  std::vector<index_type> predicted;  ///< argmax_{i < N} z_i, the first of equals; `[B]`
  conditioning_report conditioning;
};

/// NegLabel's score over groups as log-odds, in double (paper Eq. 2 with G = 1):
///
///     S = (1/G) sum_g sigmoid(LP - LN_g),   returned: log(S/(1 - S)); the margin LP - LN itself for G = 1
///
/// A float sigmoid ties from a margin of 17 on; this does not. \throws error negood.score.1 without negative labels
inline std::vector<double> grouped_log_odds(const tuned_statistics& s) {
  if (s.groups.cols() == 0)
    fail(error_category::usage, "negood.score.1", "grouped_log_odds", "there are no negative labels",
         "use largest_probabilities, which needs none");
  const auto log_add = [](double a, double b) { return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b))); };
  const element::softplus softplus;
  std::vector<double> out;
  for (index_type r = 0; r < s.groups.rows(); ++r) {
    double inside = 0, outside = 0;
    for (index_type g = 0; g < s.groups.cols(); ++g) {
      const double m = s.id_logsumexp(r, 0) - s.groups(r, g);
      inside = g == 0 ? -softplus(-m) : log_add(inside, -softplus(-m));
      outside = g == 0 ? -softplus(m) : log_add(outside, -softplus(m));
    }
    out.push_back(s.groups.cols() == 1 ? s.id_logsumexp(r, 0) - s.groups(r, 0) : inside - outside);
  }
  return out;
}

/// The largest softmax probability over the classes, exp(max z - LP): MCM at the temperature of z.
inline std::vector<double> largest_probabilities(const tuned_statistics& s) {
  std::vector<double> out;
  for (index_type r = 0; r < s.id_maximum.rows(); ++r)
    out.push_back(std::exp(s.id_maximum(r, 0) - s.id_logsumexp(r, 0)));
  return out;
}

struct tuned_scorer_options {
  index_type images_at_once = 32;
  conditioning_options conditioning{};
};

/// A feature map bound to labels.
template <Backend B>
class tuned_scorer {
 public:
  using real = real_t<B>;

  /// \throws error negood.krnft.7 for labels of another model, negood.shape.2 for another width
  tuned_scorer(B& ctx, const feature_parameters<real>& parameters, label_set<B> labels, double logit_scale,
               const tuned_scorer_options& options = {})
      : model_(parameters.model),
        labels_(std::move(labels)),
        parameters_(upload_parameters(ctx, parameters)),
        scale_(logit_scale),
        options_(options) {
    require_shape(parameters.width == labels_.width, "tuned_scorer", "map", 1, parameters.width, "labels",
                  labels_.total(), labels_.width, "widths must match");
    if (static_cast<index_type>(labels_.blocks.size()) != model_.parts())
      fail(error_category::usage, "negood.krnft.7", "tuned_scorer", "the labels were made for another model",
           "make them for the model of the map");
    for (std::size_t part = 0; part < parameters.parts.size(); ++part) {
      const auto fits = [&](parameter_scope scope, const host_matrix<real>& m) {
        return scope != parameter_scope::per_label || m.rows() == labels_.blocks[part].count;
      };
      if (!fits(model_.scale, parameters.parts[part].scale) || !fits(model_.shift, parameters.parts[part].shift))
        fail(error_category::usage, "negood.krnft.7", "tuned_scorer",
             "the map has parameters for single labels, and these are " + std::to_string(labels_.blocks[part].count) +
                 " others",
             "learn a map with shared parameters to transfer it");
    }
    if (!model_.conditional) prepare(ctx);
  }

  const feature_model& model() const { return model_; }
  const label_set<B>& labels() const { return labels_; }
  double logit_scale() const { return scale_; }

  /// Statistics of unit image features `[B, D]`, each under its own condition. Memory does not grow with B.
  tuned_statistics operator()(B& ctx, host_view<real> images) const {
    require_shape(images.cols == labels_.width, "tuned_scorer", "images", images.rows, images.cols, "labels",
                  labels_.total(), labels_.width, "widths must match");
    const index_type n = images.rows, at_once = options_.images_at_once, tasks = (n + at_once - 1) / at_once;
    tuned_statistics out{host_matrix<double>(n, 1),
                         host_matrix<double>(n, 1),
                         host_matrix<double>(n, labels_.groups),
                         std::vector<index_type>(static_cast<std::size_t>(n)),
                         {}};
    std::vector<conditioning_report> reports(static_cast<std::size_t>(tasks));
    const auto score = [&](B& worker, index_type task) {
      const index_type first = task * at_once, count = std::min(at_once, n - first);
      const auto rows = worker.from_host(images.slice_rows(first, count));
      auto& report = reports[static_cast<std::size_t>(task)];
      const auto z = model_.conditional ? conditional_logits(worker, rows, report) : constant_logits(worker, rows);
      detail::for_each_row_block(worker, count, [&](B& c, index_type begin, index_type height, index_type) {
        reduce(c, z, begin, height, first + begin, out);
      });
    };
    if (tasks == 1)
      score(ctx, 0);  // few images: the threads share their labels
    else
      ctx.for_each_task(tasks, score);
    for (const auto& r : reports) out.conditioning.merge(r);
    if (!model_.conditional) out.conditioning = constant_report_;
    return out;
  }

  /// The unit text features of a map that does not look at images, for the scores of score/scores.hpp.
  /// \throws error negood.krnft.7 for a conditional map
  prompt_bank<B> bank(B& ctx) const {
    if (model_.conditional)
      fail(error_category::usage, "negood.krnft.7", "tuned_scorer",
           "a conditional map has no features without an image", "score through the map itself");
    const auto all = unit_features(ctx);
    const index_type width = labels_.width;
    return make_prompt_bank(ctx, ctx.block(all, 0, 0, labels_.classes, width),
                            ctx.block(all, labels_.classes, 0, labels_.negatives, width), scale_,
                            std::max<index_type>(1, labels_.groups));
  }

 private:
  tensor_t<B> conditional_logits(B& ctx, const tensor_t<B>& rows, conditioning_report& report) const {
    const auto maps = residual_maps(ctx, model_, parameters_, rows);
    auto z = ctx.zeros(ctx.rows(rows), labels_.total());
    std::vector<index_type> own(static_cast<std::size_t>(ctx.rows(rows)));
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<index_type>(i);
    for (std::size_t part = 0; part < maps.size(); ++part) {
      const auto& block = labels_.blocks[part];
      if (!model_.per_label()) {
        conditioned_logits(ctx, model_, block, maps[part], rows, scale_, options_.conditioning, z, report);
        continue;
      }
      const auto norms =
          direct_form::norms(ctx, model_, block, maps[part], parameters_[part], false, options_.conditioning, report);
      direct_form::logits(ctx, block, maps[part], parameters_[part], norms, {rows, own}, scale_, z);
    }
    return z;
  }
  tensor_t<B> constant_logits(B& ctx, const tensor_t<B>& rows) const {
    return ctx.map(element::scale{scale_}, ctx.matmul_nt(rows, *constant_));
  }

  void reduce(B& c, const tensor_t<B>& z, index_type begin, index_type height, index_type to,
              tuned_statistics& out) const {
    const auto id = c.block(z, begin, 0, height, labels_.classes);
    const auto best = c.top_k(id, 1);
    const auto lse = c.to_host(logsumexp_rows(c, id));
    for (index_type r = 0; r < height; ++r) {
      out.id_maximum(to + r, 0) = double(best.values(r, 0));
      out.predicted[static_cast<std::size_t>(to + r)] = best.indices(r, 0);
      out.id_logsumexp(to + r, 0) = double(lse(r, 0));
    }
    for (index_type g = 0; g < labels_.groups; ++g) {
      const index_type first = labels_.classes + g * labels_.group_size;
      const auto group = c.to_host(logsumexp_rows(c, c.block(z, begin, first, height, labels_.group_size)));
      for (index_type r = 0; r < height; ++r) out.groups(to + r, g) = double(group(r, 0));
    }
  }

  /// Unit rows of all labels under a map without condition.
  tensor_t<B> unit_features(B& ctx) const {
    auto out = ctx.zeros(labels_.total(), labels_.width);
    const auto maps = residual_maps(ctx, model_, parameters_, ctx.zeros(1, labels_.width));
    for (std::size_t part = 0; part < maps.size(); ++part) {
      const auto& block = labels_.blocks[part];
      const auto u = direct_form::features(ctx, block, maps[part], parameters_[part], 0);
      const auto floor = ctx.map(element::scale{options_.conditioning.floor}, detail::column(ctx, block.s2));
      const auto q = ctx.map(element::maximum{}, detail::row_dots(ctx, u, u), floor);
      ctx.paste(out, ctx.map_rows(element::divide{}, u, ctx.map(element::sqrt{}, q)), block.first, 0);
    }
    return out;
  }
  void prepare(B& ctx) {
    const auto maps = residual_maps(ctx, model_, parameters_, ctx.zeros(1, labels_.width));
    for (std::size_t part = 0; part < maps.size(); ++part)
      direct_form::norms(ctx, model_, labels_.blocks[part], maps[part], parameters_[part], false, options_.conditioning,
                         constant_report_);
    constant_.emplace(ctx.freeze(unit_features(ctx)));
  }

  feature_model model_;
  label_set<B> labels_;
  device_parameters<B> parameters_;
  double scale_;
  tuned_scorer_options options_;
  std::optional<frozen_t<B>> constant_;  ///< unit features of an unconditional map
  conditioning_report constant_report_;
};

/// What training leaves: a map that may be bound to any labels of the same encoder, new classes with their own
/// negatives among them.
template <class Real>
struct tuned_features {
  feature_parameters<Real> parameters;
  double logit_scale = 0;  ///< exponentiated
  std::uint64_t seed = 0;
  std::string encoder_fingerprint{};  ///< filled by the caller, who knows the encoder

  /// A scorer for these labels, scoring with G groups (1 as published; training has its own number).
  template <Backend B>
  tuned_scorer<B> bind(B& ctx, host_view<real_t<B>> classes, host_view<real_t<B>> negatives,
                       const label_set_options& labels = {}, const tuned_scorer_options& options = {}) const {
    return tuned_scorer<B>(ctx, parameters, make_label_set(ctx, parameters.model, classes, negatives, labels),
                           logit_scale, options);
  }
};

}  // namespace negood
