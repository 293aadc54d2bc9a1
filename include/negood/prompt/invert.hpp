/// \file invert.hpp  Modality inversion: the text feature that says what an image shows (InterNeg, Alg. 2).
#pragma once

#include <negood/backend/task_size.hpp>
#include <negood/clip/model.hpp>
#include <negood/clip/text_tower.hpp>
#include <negood/clip/tokenizer.hpp>
#include <negood/train/optimizer.hpp>
#include <negood/train/random.hpp>

#include <numeric>

namespace negood {

struct inversion_options {
  /// Where the pseudo-words stand. One template: the paper's. Several: at every step every image draws one of them, as
  /// the released code does with CLIP's 80; the feature is that of the last draw.
  std::vector<std::string> templates{"a photo of {}"};
  index_type pseudo_words = 1;  ///< T
  index_type steps = 10;        ///< S: more steps make other features, not only better ones
  double learning_rate = 0.02;
  optimizer_options optimizer{.kind = optimizer_kind::adamw, .weight_decay = 0.01};
  double deviation = 0.02;  ///< of the normal distribution the pseudo-words start from
  std::uint64_t seed = 0;
  /// Images of one task. The result does not depend on it. 0: 32, which are 64 rows of a product with one pseudo-word;
  /// on a device 4,096.
  index_type images_at_once = 0;
};

/// Features and how near they came.
template <class Real>
struct inverted_images {
  host_matrix<Real> features;        ///< `[N, e]`, unit rows
  std::vector<double> first_cosine;  ///< <t, h> before the first step
  std::vector<double> last_cosine;   ///< <t, h> of the feature returned
};

/// Learns pseudo-words v whose text feature t(v) points where an image feature h points, through the frozen tower:
///
///     loss(v) = 1 - <t(v), h>,    t = y / |y|,   y = tower([start | template, {} := v | end])
///     dy = -(h - <t, h> t) / |y|,   dv = the rows of dx0 where v stands;   AdamW
///
/// The tower is causal, so only positions from the first pseudo-word to the end token are computed; keys and values of
/// the template's beginning are made once. Start values depend on (seed, sequence number) alone and every image has its
/// own optimiser, so a result depends neither on the batch nor on the number of threads.
template <Backend B>
class modality_inverter {
 public:
  using real = real_t<B>;

  /// \throws error negood.model.15 for a template without {}, negood.prompt.1 for one that is too long,
  /// negood.invert.1 for options out of range
  modality_inverter(B& ctx, const clip::text_tower<B>& tower, const bpe_tokenizer& tokenizer,
                    inversion_options options = {})
      : tower_(&tower), options_(std::move(options)) {
    if (options_.templates.empty() || options_.pseudo_words < 1 || options_.steps < 0 || options_.images_at_once < 0 ||
        !(options_.learning_rate > 0) || !(options_.deviation >= 0))
      fail(error_category::usage, "negood.invert.1", "modality_inverter",
           "templates, pseudo-words, steps, learning rate or deviation are out of range",
           "at least one template and one pseudo-word, steps >= 0, a positive rate");
    for (const auto& text : options_.templates) templates_.push_back(prepare(ctx, tokenizer, text));
  }

  const inversion_options& options() const noexcept { return options_; }

  /// Inverts unit image features `[N, e]`; `sequence[i]` is the number by which image i is known.
  inverted_images<real> operator()(B& ctx, const host_matrix<real>& images,
                                   std::span<const std::uint64_t> sequence) const {
    require_shape(
        images.cols() == tower_->config.embedding && static_cast<index_type>(sequence.size()) == images.rows(),
        "modality_inverter", "images", images.rows(), images.cols(), "expected",
        static_cast<index_type>(sequence.size()), tower_->config.embedding,
        "one row a sequence number, as wide as the joint space");
    const index_type n = images.rows();
    inverted_images<real> out{host_matrix<real>(n, images.cols()), std::vector<double>(static_cast<std::size_t>(n)),
                              std::vector<double>(static_cast<std::size_t>(n))};
    const index_type unit = options_.images_at_once > 0 ? options_.images_at_once : on_device<B> ? 4096 : 32;
    ctx.for_each_task((n + unit - 1) / unit, [&](auto& worker, index_type t) {
      const index_type first = t * unit, count = std::min(unit, n - first);
      invert(worker, images, sequence, first, count, out);
    });
    return out;
  }

  /// Features `[N, e]` of pseudo-words `[N T, d]` in template k, not normalised, and the gradient of the words where a
  /// cotangent of the features is given. For tests and for other losses.
  struct value_and_gradient {
    tensor_t<B> features, gradient;
  };
  value_and_gradient evaluate(B& ctx, const tensor_t<B>& words, std::size_t k, const tensor_t<B>& cotangent) const {
    auto run = forward(ctx, templates_[k], words);
    auto gradient = backward(ctx, templates_[k], run, cotangent);
    return {std::move(run.features), std::move(gradient)};
  }

 private:
  struct prepared_template {
    clip::prefix_state<B> prefix;   // start token and the words before {}
    std::vector<index_type> after;  // tokens behind {}, the end token last
  };

  struct forward_run {
    clip::suffix_rows<B> rows;
    clip::suffix_run<B> run;
    tensor_t<B> features;
  };

  prepared_template prepare(B& ctx, const bpe_tokenizer& tokenizer, const std::string& text) const {
    const auto at = text.find("{}");
    if (at == std::string::npos)
      fail(error_category::usage, "negood.model.15", "modality_inverter", "\"" + text + "\" has no {} for the image",
           "for example \"a photo of {}\"");
    // The two sides are tokenised apart, so that no token swallows the place ("$." is one token of CLIP's).
    const auto before = tokenizer.encode(text.substr(0, at)), behind = tokenizer.encode(text.substr(at + 2));
    std::vector<index_type> ids{tokenizer.sos()};
    ids.insert(ids.end(), before.begin(), before.end());
    prepared_template out;
    out.after.assign(behind.begin(), behind.end());
    out.after.push_back(tokenizer.eot());
    const auto length = static_cast<index_type>(ids.size() + out.after.size()) + options_.pseudo_words;
    if (length > tower_->config.context_length)
      fail(error_category::data, "negood.prompt.1", "modality_inverter",
           "\"" + text + "\" makes " + std::to_string(length) + " tokens, the model takes " +
               std::to_string(tower_->config.context_length),
           "shorten the template");
    const auto nothing = clip::empty_prefix(ctx, *tower_);
    const auto layout = ragged_rows::equal(1, static_cast<index_type>(ids.size()));
    auto x0 = clip::add_positions(ctx, *tower_, ctx.gather_rows(tower_->token_embedding, ids), layout, 0);
    out.prefix = clip::prefix_of(ctx, nothing, clip::run_prefix(ctx, *tower_, nothing, std::move(x0), layout), 0);
    return out;
  }

  /// Rows of x0 that hold pseudo-words, of `n` images.
  std::vector<index_type> word_rows(const prepared_template& t, index_type n) const {
    const index_type length = options_.pseudo_words + static_cast<index_type>(t.after.size());
    std::vector<index_type> rows;
    for (index_type i = 0; i < n; ++i)
      for (index_type k = 0; k < options_.pseudo_words; ++k) rows.push_back(i * length + k);
    return rows;
  }

  forward_run forward(B& ctx, const prepared_template& t, const tensor_t<B>& words) const {
    const index_type n = ctx.rows(words) / options_.pseudo_words, behind = static_cast<index_type>(t.after.size());
    auto layout = ragged_rows::equal(n, options_.pseudo_words + behind);
    auto x0 = ctx.zeros(layout.rows(), tower_->config.width);
    ctx.scatter_add_rows(x0, word_rows(t, n), words);
    std::vector<index_type> ids, rows;
    for (index_type i = 0; i < n; ++i)
      for (index_type k = 0; k < behind; ++k) {
        ids.push_back(t.after[static_cast<std::size_t>(k)]);
        rows.push_back(layout.first(i) + options_.pseudo_words + k);
      }
    ctx.scatter_add_rows(x0, rows, ctx.gather_rows(tower_->token_embedding, ids));
    x0 = clip::add_positions(ctx, *tower_, x0, layout, t.prefix.length);
    auto entered = clip::enter_suffix(ctx, *tower_, std::move(x0), std::move(layout));
    clip::suffix_run<B> run{{}, {}, ctx.zeros(0, 0)};
    auto features = clip::run_suffix(ctx, *tower_, t.prefix, entered, &run);
    return {std::move(entered), std::move(run), std::move(features)};
  }

  tensor_t<B> backward(B& ctx, const prepared_template& t, const forward_run& f, const tensor_t<B>& d_features) const {
    std::vector<tensor_t<B>> unused;  // the template's beginning is constant
    for (index_type i = 0; i < tower_->config.layers; ++i)
      unused.push_back(ctx.zeros(t.prefix.length, 2 * tower_->config.width));
    const auto dx0 = clip::suffix_pullback(ctx, *tower_, t.prefix, f.rows, f.run, d_features, unused, true);
    return ctx.gather_rows(dx0, word_rows(t, f.rows.layout.sequences()));
  }

  /// The template image `sequence` sees at a step.
  std::size_t drawn(std::uint64_t sequence, index_type step) const {
    if (templates_.size() == 1) return 0;
    random_sequence draw(options_.seed, random_purpose::inversion_template, sequence);
    std::uint64_t k = 0;
    for (index_type i = 0; i <= step; ++i) k = draw.next_below(templates_.size());
    return static_cast<std::size_t>(k);
  }

  void invert(B& ctx, const host_matrix<real>& images, std::span<const std::uint64_t> sequence, index_type first,
              index_type count, inverted_images<real>& out) const {
    const index_type t = options_.pseudo_words, d = tower_->config.width;
    host_matrix<real> start(count * t, d);
    for (index_type i = 0; i < count; ++i) {
      random_sequence draw(options_.seed, random_purpose::inversion, sequence[static_cast<std::size_t>(first + i)]);
      for (index_type k = 0; k < t; ++k)
        for (real& v : start.row(i * t + k)) v = static_cast<real>(options_.deviation * draw.next_normal());
    }
    auto words = ctx.from_host(start.view());
    const auto targets = ctx.from_host(images.view().slice_rows(first, count));
    auto state = new_optimizer_state(ctx, words);
    for (index_type step = 0; step < options_.steps; ++step) {
      auto gradient = ctx.zeros(count * t, d);
      for_each_template(ctx, words, targets, sequence, first, count, step,
                        [&](const template_group& group, const forward_run& run, const tensor_t<B>& h) {
                          const auto t_h = normalise_rows(ctx, run.features);
                          if (step == 0) note_cosines(ctx, group, t_h.unit, h, first, out.first_cosine);
                          const auto dy = normalise_rows.pullback(ctx, t_h, ctx.map(element::scale{-1.0}, h));
                          ctx.scatter_add_rows(gradient, group.word_rows, backward(ctx, *group.shape, run, dy));
                        });
      optimizer_step(ctx, options_.optimizer, options_.learning_rate, words, gradient, state);
    }
    for_each_template(ctx, words, targets, sequence, first, count, std::max<index_type>(0, options_.steps - 1),
                      [&](const template_group& group, const forward_run& run, const tensor_t<B>& h) {
                        const auto unit = normalise_rows(ctx, run.features).unit;
                        if (options_.steps == 0) note_cosines(ctx, group, unit, h, first, out.first_cosine);
                        note_cosines(ctx, group, unit, h, first, out.last_cosine);
                        const auto host = ctx.to_host(unit);
                        for (std::size_t k = 0; k < group.images.size(); ++k)
                          std::ranges::copy(host.row(static_cast<index_type>(k)),
                                            out.features.row(first + group.images[k]).begin());
                      });
  }

  struct template_group {
    const prepared_template* shape;
    std::vector<index_type> images, word_rows;
  };

  /// Calls `body(group, run, targets)` for the images that see the same template at this step.
  template <class Body>
  void for_each_template(B& ctx, const tensor_t<B>& words, const tensor_t<B>& targets,
                         std::span<const std::uint64_t> sequence, index_type first, index_type count, index_type step,
                         Body&& body) const {
    std::vector<template_group> groups(templates_.size());
    for (index_type i = 0; i < count; ++i) {
      auto& g = groups[drawn(sequence[static_cast<std::size_t>(first + i)], step)];
      g.images.push_back(i);
      for (index_type k = 0; k < options_.pseudo_words; ++k) g.word_rows.push_back(i * options_.pseudo_words + k);
    }
    for (std::size_t k = 0; k < groups.size(); ++k) {
      auto& g = groups[k];
      if (g.images.empty()) continue;
      g.shape = &templates_[k];
      body(g, forward(ctx, *g.shape, ctx.gather_rows(words, g.word_rows)), ctx.gather_rows(targets, g.images));
    }
  }

  static void note_cosines(B& ctx, const template_group& group, const tensor_t<B>& unit, const tensor_t<B>& targets,
                           index_type first, std::vector<double>& out) {
    const auto c = ctx.to_host(ctx.reduce_rows(reduction::sum{}, ctx.map(element::multiply{}, unit, targets)));
    for (std::size_t k = 0; k < group.images.size(); ++k)
      out[static_cast<std::size_t>(first + group.images[k])] = double(c(static_cast<index_type>(k), 0));
  }

  const clip::text_tower<B>* tower_;
  inversion_options options_;
  std::vector<prepared_template> templates_;
};

}  // namespace negood
