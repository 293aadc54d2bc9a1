/// \file fit_negprompt.hpp  NegPrompt's training: positives by CoOp's loss, then negatives by NIS + beta NPD + gamma
/// NND.
#pragma once

#include <negood/clip/model.hpp>
#include <negood/loss/cross_entropy.hpp>
#include <negood/loss/multilabel.hpp>
#include <negood/loss/nis.hpp>
#include <negood/loss/nnd.hpp>
#include <negood/loss/npd.hpp>
#include <negood/prompt/training.hpp>
#include <negood/train/random.hpp>

#include <cmath>

namespace negood {

namespace detail {

/// The two sets of contexts and what moves them.
template <Backend B>
struct negprompt_state {
  tensor_t<B> positive, negative;
  optimizer_state<B> positive_optimizer, negative_optimizer;
};

template <Backend B>
class negprompt_trainer {
 public:
  using real = real_t<B>;

  negprompt_trainer(B& ctx, const clip::text_tower<B>& tower, const prompt_encoder<B>& encoder,
                    const training_features<real>& train, double logit_scale, const negprompt_options& options,
                    const training_hooks<real>& hooks)
      : ctx_(ctx),
        tower_(tower),
        encoder_(encoder),
        train_(train),
        scale_(logit_scale),
        o_(options),
        hooks_(hooks),
        images_(ctx.from_host(train.features.view())) {}

  /// Runs one stage from step `done`. Returns false if the parameters left the finite numbers.
  bool run(int stage, const stage_options& how, bool learn_positive, bool learn_negative, negprompt_state<B>& s,
           index_type done) {
    const auto n = static_cast<index_type>(train_.labels.size());
    const index_type batch = std::min(how.batch, n), per_epoch = n / batch;
    const index_type steps = how.steps > 0 ? how.steps : how.epochs * per_epoch;
    const index_type epochs = (steps + per_epoch - 1) / per_epoch;

    tensor_t<B> fixed_positive =
        ctx_.zeros(0, 0);  // unit features of the positives, constant when only negatives learn
    if (!learn_positive) fixed_positive = normalise_rows(ctx_, encoder_.encode(ctx_, s.positive, 1)).unit;

    std::vector<index_type> order;
    for (index_type step = done; step < steps; ++step) {
      const training_position at{step / per_epoch, epochs, step};
      if (order.empty() || step % per_epoch == 0) order = epoch_order(stage, at.epoch, n);
      const auto first = order.begin() + (step % per_epoch) * batch;
      const std::vector<index_type> rows(first, first + batch);
      trace_row row{.stage = stage,
                    .epoch = at.epoch,
                    .step = step,
                    .steps = steps,
                    .rate = learning_rate(how.schedule, how.learning_rate, at)};
      update(how, rows, at.epoch, learn_positive, learn_negative, fixed_positive, s, row);
      if (hooks_.on_step) hooks_.on_step(row);
      if (!std::isfinite(row.loss) || !std::isfinite(row.gradient_norm)) return false;
      const bool stop = hooks_.stop && hooks_.stop();
      if (hooks_.on_checkpoint && (stop || (hooks_.checkpoint_every > 0 && (step + 1) % hooks_.checkpoint_every == 0)))
        hooks_.on_checkpoint(checkpoint(stage, step + 1, s));
      if (stop)
        fail(error_category::interrupted, "negood.train.2", "fit_negprompt",
             "stopped after step " + std::to_string(step + 1) + " of " + std::to_string(steps) + " of stage " +
                 std::to_string(stage),
             "resume from the checkpoint");
    }
    return true;
  }

  training_checkpoint<real> checkpoint(int stage, index_type step, const negprompt_state<B>& s) {
    return {stage,
            step,
            ctx_.to_host(s.positive),
            ctx_.to_host(s.negative),
            ctx_.to_host(s.positive_optimizer.first),
            ctx_.to_host(s.positive_optimizer.second),
            ctx_.to_host(s.negative_optimizer.first),
            ctx_.to_host(s.negative_optimizer.second),
            stage == 1 ? s.positive_optimizer.step : s.negative_optimizer.step};
  }

 private:
  std::vector<index_type> epoch_order(int stage, index_type epoch, index_type n) const {
    if (o_.shuffle)
      return permutation(o_.seed, random_purpose::shuffle,
                         pair_index(static_cast<std::uint64_t>(stage), static_cast<std::uint64_t>(epoch)), n);
    std::vector<index_type> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), index_type{0});
    return order;
  }

  /// The rows of a batch in the feature matrix: of V views of an image, one is drawn for every epoch.
  std::vector<index_type> feature_rows(const std::vector<index_type>& images, index_type epoch) const {
    if (train_.views == 1) return images;
    std::vector<index_type> rows;
    for (const index_type i : images) {
      const double u = uniform(o_.seed, random_purpose::augmentation,
                               pair_index(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(epoch)));
      rows.push_back(i * train_.views + static_cast<index_type>(u * static_cast<double>(train_.views)));
    }
    return rows;
  }

  /// One step: encode what learns, sum the losses and their gradients, pull them back to the contexts, move.
  void update(const stage_options& how, const std::vector<index_type>& rows, index_type epoch, bool learn_positive,
              bool learn_negative, const tensor_t<B>& fixed_positive, negprompt_state<B>& s, trace_row& row) {
    const auto images = ctx_.gather_rows(images_, feature_rows(rows, epoch));
    std::vector<index_type> labels;
    for (const index_type i : rows) labels.push_back(train_.labels[i]);

    typename prompt_encoder<B>::state positive_state, negative_state;
    std::optional<normalised_rows<B>> positive, negative;
    if (learn_positive) positive = normalise_rows(ctx_, encoder_.encode(ctx_, s.positive, 1, &positive_state));
    if (learn_negative)
      negative = normalise_rows(ctx_, encoder_.encode(ctx_, s.negative, o_.negatives, &negative_state));
    const tensor_t<B>& p = positive ? positive->unit : fixed_positive;

    auto dp = ctx_.zeros(ctx_.rows(p), ctx_.cols(p));
    if (learn_positive) {
      auto ce = cross_entropy(ctx_, images, p, labels, scale_);
      row.cross_entropy = value_of(ce.value);
      row.loss += row.cross_entropy;
      dp = std::move(ce.gradient);
    }
    double squared_norm = 0;
    if (learn_negative) {
      auto dn = negative_losses(images, labels, p, negative->unit, dp, row);
      const auto raw = normalise_rows_t::pullback(ctx_, *negative, dn);
      const auto g = encoder_.pullback(ctx_, negative_state, raw);
      squared_norm += value_of(inner_product(ctx_, g, g));
      optimizer_step(ctx_, how.optimizer, row.rate, s.negative, g, s.negative_optimizer);
    }
    if (learn_positive) {
      const auto raw = normalise_rows_t::pullback(ctx_, *positive, dp);
      const auto g = encoder_.pullback(ctx_, positive_state, raw);
      squared_norm += value_of(inner_product(ctx_, g, g));
      optimizer_step(ctx_, how.optimizer, row.rate, s.positive, g, s.positive_optimizer);
    }
    row.gradient_norm = std::sqrt(squared_norm);
  }

  /// L_NIS + beta L_NPD + gamma L_NND: its gradient to the negatives is returned, that to the positives added to `dp`.
  tensor_t<B> negative_losses(const tensor_t<B>& images, const std::vector<index_type>& labels, const tensor_t<B>& p,
                              const tensor_t<B>& n, tensor_t<B>& dp, trace_row& row) {
    const index_type classes = ctx_.rows(p), count = o_.negatives;
    auto dn = ctx_.zeros(0, 0);
    if (o_.nis == nis_scope::negatives) {
      auto l = nis(ctx_, images, n, scale_);
      row.nis = value_of(l.value);
      dn = std::move(l.gradient);
    } else {  // the released variants look at positives and negatives together
      auto all = ctx_.zeros(classes * (1 + count), ctx_.cols(p));
      ctx_.paste(all, p, 0, 0);
      ctx_.paste(all, n, classes, 0);
      auto l = o_.nis == nis_scope::all ? nis(ctx_, images, all, scale_)
                                        : multilabel(ctx_, images, all, own_prompts(labels, classes), scale_);
      row.nis = value_of(l.value);
      dp = ctx_.map(element::add{}, dp, ctx_.block(l.gradient, 0, 0, classes, ctx_.cols(p)));
      dn = ctx_.block(l.gradient, classes, 0, classes * count, ctx_.cols(p));
    }
    const double beta = o_.nis == nis_scope::multilabel ? -o_.npd_weight : o_.npd_weight;
    const auto pull = npd(ctx_, p, n, count);
    const auto spread = nnd(ctx_, n, count, o_.nnd);
    row.npd = value_of(pull.value);
    row.nnd = value_of(spread.value);
    row.mean_cosine = count == 1 ? 1.0 : o_.nnd == nnd_form::pairwise ? row.nnd : value_of(nnd(ctx_, n, count).value);
    row.loss += row.nis + beta * row.npd + o_.nnd_weight * row.nnd;
    dn = ctx_.map(element::add_scaled{beta}, dn, pull.d_negative);
    dp = ctx_.map(element::add_scaled{beta}, dp, pull.d_positive);
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

  double value_of(const tensor_t<B>& t) { return static_cast<double>(scalar_value(ctx_, t)); }

  B& ctx_;
  const clip::text_tower<B>& tower_;
  const prompt_encoder<B>& encoder_;
  const training_features<real>& train_;
  double scale_;
  const negprompt_options& o_;
  const training_hooks<real>& hooks_;
  tensor_t<B> images_;
};

/// `rows` draws of N(0, 0.02^2) a context, or the embeddings of the given tokens.
template <Backend B>
host_matrix<real_t<B>> initial_context(B& ctx, const clip::text_tower<B>& tower, const std::vector<index_type>& text,
                                       index_type n, index_type copies, std::uint64_t seed) {
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
template <Backend B>
negprompt_fit<real_t<B>> fit_negprompt(B& ctx, const clip::text_tower<B>& tower, const bpe_tokenizer& tokenizer,
                                       double logit_scale, const std::vector<std::string>& names,
                                       const training_features<real_t<B>>& train, negprompt_options options = {},
                                       const training_start<real_t<B>>& start = {},
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
  const prompt_encoder<B> encoder(ctx, tower, suffixes, tokenizer.sos(), n,
                                  {options.scope, options.chunk_rows, options.memory_budget});
  detail::negprompt_trainer<B> trainer(ctx, tower, encoder, train, logit_scale, options, hooks);

  const index_type sets = options.scope == context_scope::class_specific ? classes : 1;
  const auto device = [&](const host_matrix<real>& m) { return ctx.from_host(m.view()); };
  auto positive = start.resume     ? start.resume->positive
                  : start.positive ? *start.positive
                                   : detail::initial_context(ctx, tower, text, n, sets, options.seed);
  detail::negprompt_state<B> s{
      device(positive), ctx.zeros(0, 0), {ctx.zeros(0, 0), ctx.zeros(0, 0), 0}, {ctx.zeros(0, 0), ctx.zeros(0, 0), 0}};
  s.positive_optimizer = new_optimizer_state(ctx, s.positive);

  int stage = 1;
  index_type done = 0;
  if (start.resume) {
    stage = start.resume->stage;
    done = start.resume->step;
    s.positive_optimizer = {device(start.resume->positive_first), device(start.resume->positive_second),
                            start.resume->optimizer_steps};
  }
  bool finite = true;
  if (stage == 1 && !options.one_stage) {
    if (options.stage1.epochs > 0 || options.stage1.steps > 0)
      finite = trainer.run(1, options.stage1, true, false, s, done);
    done = 0;
  }
  if (finite && (options.stage2.epochs > 0 || options.stage2.steps > 0)) {
    if (start.resume && stage == 2) {
      s.negative = device(start.resume->negative);
      s.negative_optimizer = {device(start.resume->negative_first), device(start.resume->negative_second),
                              start.resume->optimizer_steps};
    } else {
      s.negative =
          device(start.negative ? *start.negative
                                : detail::copied_negatives(ctx.to_host(s.positive), n, p, options.noise, options.seed));
      s.negative_optimizer = new_optimizer_state(ctx, s.negative);
      done = 0;
    }
    finite = trainer.run(2, options.stage2, options.one_stage, true, s, done);
  }

  fit.outcome = finite ? fit_outcome::completed : fit_outcome::diverged;
  if (!finite) fit.warnings.push_back("training left the finite numbers; lower the learning rate");
  fit.prompts = {ctx.to_host(s.positive),
                 ctx.to_host(s.negative),
                 n,
                 ctx.rows(s.negative) > 0 ? p : 0,
                 options.suffix,
                 options.scope,
                 tower.fingerprint,
                 logit_scale,
                 options.seed};
  if (finite && fit.prompts.negatives > 1) {
    const auto features = normalise_rows(ctx, encoder.encode(ctx, s.negative, p)).unit;
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
