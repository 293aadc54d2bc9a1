/// \file fit_negprompt.hpp  NegPrompt's training: positives by CoOp's loss, then negatives by NIS + beta NPD + gamma
/// NND.
#pragma once

#include <negood/clip/model.hpp>
#include <negood/prompt/negprompt_stage.hpp>
#include <negood/train/training_loop.hpp>

#include <cmath>

namespace negood {

namespace detail {

/// `rows` draws of N(0, 0.02^2) a context, or the embeddings of the given tokens.
template <Backend B, TextModel<B> Text>
host_matrix<real_t<B>> initial_context(B& ctx, const Text& tower, const std::vector<index_type>& text, index_type n,
                                       index_type copies, std::uint64_t seed) {
  using real = real_t<B>;
  const index_type d = tower.config.width;
  host_matrix<real> out(copies * n, d);
  if (!text.empty()) {
    const auto embedded = ctx.to_host(ctx.gather_rows(tower.token_embedding, text));
    for (index_type r = 0; r < copies * n; ++r) std::ranges::copy(embedded.row(r % n), out.row(r).begin());
    return out;
  }
  for (index_type i = 0; i < out.size(); ++i)
    out.data()[i] =
        static_cast<real>(0.02 * normal(seed, random_purpose::initialise_context, static_cast<std::uint64_t>(i)));
  return out;
}

/// p copies of every positive context plus Uniform(-noise, noise): without noise the copies never part (spec'd
/// symmetry).
template <class Real>
host_matrix<Real> copied_negatives(const host_matrix<Real>& positive, index_type n, index_type p, double noise,
                                   std::uint64_t seed) {
  const index_type sets = positive.rows() / n;
  host_matrix<Real> out(sets * p * n, positive.cols());
  for (index_type k = 0; k < sets; ++k)
    for (index_type l = 0; l < p; ++l)
      for (index_type t = 0; t < n; ++t)
        for (index_type c = 0; c < positive.cols(); ++c) {
          const index_type row = (k * p + l) * n + t;
          const double u =
              uniform(seed, random_purpose::context_noise, static_cast<std::uint64_t>(row * positive.cols() + c));
          out(row, c) = static_cast<Real>(static_cast<double>(positive(k * n + t, c)) + noise * (2 * u - 1));
        }
  return out;
}

}  // namespace detail

/// Learns positive and negative contexts for `names` on cached image features (NegPrompt, Li et al., CVPR 2024, §3).
///
///     stage 1:  L = CE(s I P')                                          positives, CoOp's recipe
///     stage 2:  L = L_NIS + beta L_NPD + gamma L_NND                     negatives, positives frozen
///
/// `train.features` `[N V, e]` unit rows, `train.labels` `[N]` in [0, K); `logit_scale` is the exponentiated scale
/// (100). Same inputs and options give the same bytes, stopped and resumed or not, on any number of threads. Throws
/// negood.train.* on unusable options; divergence is an outcome, not an exception. Where the released code differs (it
/// is another algorithm and does not run): see docs/methods.md.
template <Backend B, TextModel<B> Text>
negprompt_fit<real_t<B>> fit_negprompt(B& ctx, const Text& tower, const bpe_tokenizer& tokenizer, double logit_scale,
                                       const std::vector<std::string>& names, const training_features<real_t<B>>& train,
                                       negprompt_options options = {}, const training_start<real_t<B>>& start = {},
                                       const training_hooks<real_t<B>>& hooks = {}) {
  using real = real_t<B>;
  const auto classes = static_cast<index_type>(names.size());
  const auto usage = [](std::string what, std::string_view hint) {
    fail(error_category::usage, "negood.train.1", "fit_negprompt", std::move(what), hint);
  };
  if (classes == 0) usage("there are no class names", "give at least one");
  if (train.labels.empty()) usage("there are no training images", "give a few of every class");
  if (options.negatives < 1) usage("negatives is " + std::to_string(options.negatives), "use 1 or more");
  if (options.stage1.batch < 1 || options.stage2.batch < 1) usage("the batch size is not positive", "use 1 or more");
  if (!(logit_scale > 0) || !std::isfinite(logit_scale))
    usage("the logit scale is " + std::to_string(logit_scale), "give the exponentiated scale, 100 for released models");
  require_shape(train.features.rows() == static_cast<index_type>(train.labels.size()) * train.views &&
                    train.features.cols() == tower.config.embedding,
                "fit_negprompt", "features", train.features.rows(), train.features.cols(), "labels x views",
                static_cast<index_type>(train.labels.size()) * train.views, tower.config.embedding,
                "one row an image and view, as wide as the model's embedding");
  for (std::size_t i = 0; i < train.labels.size(); ++i)
    if (train.labels[i] < 0 || train.labels[i] >= classes)
      fail(error_category::data, "negood.train.3", "fit_negprompt",
           "label " + std::to_string(train.labels[i]) + " of row " + std::to_string(i) + " is not in [0, " +
               std::to_string(classes) + ")",
           "labels index the class names");

  std::vector<index_type> text;
  if (!options.context_init.empty()) {
    const auto ids = tokenizer.encode(options.context_init);
    text.assign(ids.begin(), ids.end());
    options.context_length = static_cast<index_type>(text.size());
  }
  if (start.positive && options.scope == context_scope::shared)
    options.context_length = start.positive->rows();
  else if (start.negative && options.scope == context_scope::shared)
    options.context_length = start.negative->rows() / options.negatives;
  const index_type n = options.context_length, p = options.negatives;
  if (n < 1) usage("the context is empty", "use at least one context vector");
  negprompt_fit<real> fit;
  const bool given = start.positive || start.negative;
  if (p > 1 && options.noise == 0 && !start.negative && !start.resume) {
    if (!given)
      usage("noise is 0 with " + std::to_string(p) + " negatives: the copies would stay equal for ever",
            "use the default noise of 1e-5");
    fit.warnings.push_back("noise is 0: the " + std::to_string(p) + " negatives start equal and will stay equal");
  }
  if (p == 1) fit.warnings.push_back("one negative a class: there are no pairs to spread, NND is left out");

  const auto suffixes = name_suffixes(tokenizer, names, options.suffix, n, tower.config.context_length);
  const auto encoder = make_prompt_encoder(ctx, tower, suffixes, tokenizer.sos(), n,
                                           {options.scope, options.chunk_rows, options.memory_budget});

  const index_type sets = options.scope == context_scope::class_specific ? classes : 1;
  const auto device = [&](const host_matrix<real>& m) { return ctx.from_host(m.view()); };
  const auto fresh = [&](const host_matrix<real>& m) {
    auto value = device(m);
    auto optimizer = new_optimizer_state(ctx, value);
    return learned_tensor<B>{std::move(value), std::move(optimizer)};
  };
  const auto resumed = [&](const host_matrix<real>& m, const host_matrix<real>& first,
                           const host_matrix<real>& second) {
    return learned_tensor<B>{device(m), {device(first), device(second), start.resume->optimizer_steps}};
  };
  const auto none = [&] { return learned_tensor<B>{ctx.zeros(0, 0), {ctx.zeros(0, 0), ctx.zeros(0, 0), 0}}; };

  detail::negprompt_contexts<B> learned{none(), none()};
  int stage = 1;
  index_type done = 0;
  if (start.resume) {
    stage = start.resume->stage;
    done = start.resume->step;
    learned.positive = resumed(start.resume->positive, start.resume->positive_first, start.resume->positive_second);
  } else {
    learned.positive =
        fresh(start.positive ? *start.positive : detail::initial_context(ctx, tower, text, n, sets, options.seed));
  }
  const detail::negprompt_problem<B, std::remove_const_t<decltype(encoder)>> problem{
      ctx, encoder, train, device(train.features), logit_scale, options, hooks};
  const auto run = [&](int which, index_type steps_done) {
    detail::negprompt_stage objective(problem, which, learned, steps_done);
    return training_loop(ctx, objective);
  };
  bool finite = true;
  if (stage == 1 && !options.one_stage) {
    if (options.stage1.epochs > 0 || options.stage1.steps > 0) finite = run(1, done);
    done = 0;
  }
  if (finite && (options.stage2.epochs > 0 || options.stage2.steps > 0)) {
    if (start.resume && stage == 2) {
      learned.negative = resumed(start.resume->negative, start.resume->negative_first, start.resume->negative_second);
    } else {
      learned.negative = fresh(start.negative ? *start.negative
                                              : detail::copied_negatives(ctx.to_host(learned.positive.value), n, p,
                                                                         options.noise, options.seed));
      done = 0;
    }
    finite = run(2, done);
  }

  fit.outcome = finite ? fit_outcome::completed : fit_outcome::diverged;
  if (!finite) fit.warnings.push_back("training left the finite numbers; lower the learning rate");
  fit.prompts = {ctx.to_host(learned.positive.value),
                 ctx.to_host(learned.negative.value),
                 n,
                 ctx.rows(learned.negative.value) > 0 ? p : 0,
                 options.suffix,
                 options.scope,
                 tower.fingerprint,
                 logit_scale,
                 options.seed};
  if (finite && fit.prompts.negatives > 1) {
    const auto features = normalise_rows(ctx, encoder.encode(ctx, learned.negative.value, p)).unit;
    fit.final_mean_cosine = static_cast<double>(scalar_value(ctx, nnd(ctx, features, p).value));
    if (fit.final_mean_cosine > 0.999)
      fit.warnings.push_back("the negatives of a class ended nearly identical (mean cosine " +
                             std::to_string(fit.final_mean_cosine) +
                             "): they act as one; raise gamma, noise or the rate");
  }
  return fit;
}

/// The same with everything a model folder holds.
template <Backend B>
negprompt_fit<real_t<B>> fit_negprompt(B& ctx, const clip::model<B>& model, const std::vector<std::string>& names,
                                       const training_features<real_t<B>>& train, const negprompt_options& options = {},
                                       const training_start<real_t<B>>& start = {},
                                       const training_hooks<real_t<B>>& hooks = {}) {
  return fit_negprompt(ctx, clip::require_text(model, "fit_negprompt"), model.tokenizer,
                       clip::require_logit_scale(model, "fit_negprompt"), names, train, options, start, hooks);
}

}  // namespace negood
