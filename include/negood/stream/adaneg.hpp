/// \file adaneg.hpp  AdaNeg: every label remembers the images that showed it best (Zhang and Zhang, NeurIPS 2024).
#pragma once

#include <negood/feature/check.hpp>
#include <negood/score/grouped.hpp>
#include <negood/score/scores.hpp>
#include <negood/stream/adaneg_memory.hpp>
#include <negood/stream/streaming.hpp>

#include <deque>
#include <map>
#include <memory>

namespace negood {

/// Which images are learned from: those with S_nl above or below two thresholds around gamma.
enum class gap_rule {
  fixed,          ///< gamma + gap (1 - gamma) and gamma - gap gamma
  sliding_window  ///< the threshold on the side of which more was seen lately moves outwards ("adaptive gap")
};

struct adaneg_options {
  index_type groups = 5;  ///< G
  double gamma = 0.5;
  double gap = 0.5;
  index_type slots = 10;  ///< images a label remembers
  double lambda = 0.1;    ///< weight of S_nl beside S_ada
  double beta = 5;        ///< sharpness of sample-adaptive proxies
  proxy_kind proxies = proxy_kind::sample_adaptive;
  gap_rule rule = gap_rule::fixed;
  index_type window = 10000;    ///< decisions that the sliding window remembers
  double class_weight = 0.1;    ///< of the adaptive softmax in the choice of the class
  bool class_among_all = true;  ///< softmaxes over classes and negatives; false: over classes
  index_type batch = 1;         ///< images that are all learned from before any of them is scored
};

/// The settings of the authors' script. Its memory has room for L = 10 images a label and fills 9.
inline adaneg_options adaneg_released() { return {.slots = 9, .batch = 256}; }
/// Their later program: the sliding window, S = S_ada + S_nl.
inline adaneg_options adaneg_adaptive_gap() {
  return {.slots = 9,
          .lambda = 1,
          .rule = gap_rule::sliding_window,
          .class_weight = 1,
          .class_among_all = false,
          .batch = 256};
}

/// Scores C + M labels, classes and negatives, by their texts and by what images looked like them:
///
///     S_nl  = (1/G) sum_g sigmoid(A - LSE_g) over s<h, text_c>             (score/grouped.hpp)
///     learn: S_nl > gamma + gap (1 - gamma): label = argmax over classes;   S_nl < gamma - gap gamma: over negatives
///            H = -sum p log(p + 1e-8), p = softmax over the logits of that side (at least 0)
///            the label keeps (h, H) while a slot is free; then h replaces the image of largest H if its own is smaller
///     S_ada = the same score over s<h, q_c>, with proxies q_c of the label's text and images (adaneg_memory.hpp)
///     S     = S_ada + lambda S_nl                                           in [0, 1 + lambda]
///     class = argmax over classes of softmax(s<h, text>) + class_weight softmax(s<h, q>)
///
/// `score` is S and `log_odds` log(S / (1 + lambda - S)), which ranks alike and does not saturate. An image is learned
/// from, then scored, in the order of arrival; whether it is learned from does not depend on the memory, so the images
/// of a call are scored in parallel, each with the memory of its time. With `batch` > 1 the whole batch is learned from
/// first, as in the released program: then calls must hold whole batches, but for the last of a stream.
///
/// Sliding window: r is the share of `positive` among the last `window` decisions of the fixed rule (at first 100 of
/// each are assumed). r > 1/2: the lower threshold becomes gamma - r gamma; r < 1/2: the upper gamma + (1 - r)(1 -
/// gamma).
///
/// Only labels that an image was given take memory: at most (C + M) slots (4 D + 8 slots + 24) bytes, or with
/// task-adaptive proxies (C + M) (slots (4 D + 24) + 8 D). Against the released program: full precision; a text is
/// never replaced; of equal largest entropies the later slot goes.
template <Backend B>
class adaneg_stream {
 public:
  using real = real_t<B>;

  /// `bank`: negatives in the order of selection, packed as one group.
  /// \throws error negood.stream.1 for options out of range, negood.bank.2 for fewer negatives than groups
  adaneg_stream(B& ctx, prompt_bank<B> bank, adaneg_options options = {})
      : ctx_(&ctx),
        bank_(std::move(bank)),
        options_(options),
        classes_(ctx.rows(bank_.positive)),
        negatives_(ctx.rows(bank_.negative)),
        groups_(cut_into_groups(negatives_, options.groups)),
        labels_(static_cast<std::size_t>(classes_ + negatives_)) {
    const auto share = [](double v) { return v >= 0 && v <= 1; };
    if (!share(options_.gamma) || !share(options_.gap) || options_.slots < 1 || !(options_.lambda >= 0) ||
        !(options_.beta >= 0) || !std::isfinite(options_.lambda + options_.beta + options_.class_weight) ||
        !(options_.class_weight >= 0) || options_.window < 200 || options_.batch < 1)
      fail(error_category::usage, "negood.stream.1", "adaneg", "an option is out of range",
           "gamma and gap in [0, 1], at least one slot and one image a batch, lambda, beta and class_weight not "
           "negative, a window of 200 or more");
    if (bank_.packed_groups.size() != 1)
      fail(error_category::usage, "negood.stream.1", "adaneg",
           "the bank has " + std::to_string(bank_.packed_groups.size()) + " groups of negatives",
           "give them as one: they are dealt out here");
    reset();
  }

  const adaneg_options& options() const noexcept { return options_; }
  const prompt_bank<B>& bank() const noexcept { return bank_; }
  std::optional<std::uint64_t> last_sequence() const noexcept { return last_sequence_; }
  /// Changes of the memory so far.
  std::uint64_t version() const noexcept { return version_; }
  /// What label c (a class, or C + the row of a negative) remembers; null where it has seen no image.
  const adaneg_label* label(index_type c) const { return labels_.at(static_cast<std::size_t>(c)).get(); }
  /// Bytes of the memory now.
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& l : labels_) sum += l ? l->bytes() : 0;
    return sum;
  }

  /// Forgets everything: a new stream begins.
  void reset() {
    std::ranges::fill(labels_, nullptr);
    window_.clear();
    for (int i = 0; i < 200; ++i) window_.push_back(i % 2 == 0);
    positives_ = 100;
    version_ = 0;
    last_sequence_.reset();
    ended_ = false;
  }

  /// \throws as `interneg_stream::observe`, and negood.stream.8 after a call that did not end with a whole batch;
  /// whatever is thrown, nothing has changed then
  std::vector<stream_answer> observe(host_matrix<real> images, std::span<const observation> who) {
    check_same_width(images.cols(), "image features", ctx_->cols(bank_.positive), "the detector");
    check_features(images, {}, "image features");
    check_order(images.rows(), who, last_sequence_);
    if (ended_)
      fail(error_category::usage, "negood.stream.8", "adaneg",
           "the call before ended with less than a batch of " + std::to_string(options_.batch),
           "give whole batches until the stream ends; reset() begins another");
    draft next{{}, window_, positives_, version_};
    std::vector<stream_answer> out(static_cast<std::size_t>(images.rows()));
    const index_type block = std::max<index_type>(1, 256 / options_.batch) * options_.batch;
    for (index_type first = 0; first < images.rows(); first += block) {
      const auto count = std::min(block, images.rows() - first);
      observe_block(images.view().slice_rows(first, count),
                    who.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), next,
                    std::span(out).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
    }
    for (auto& [c, state] : next.changed) labels_[static_cast<std::size_t>(c)] = std::move(state);
    window_.swap(next.window);
    positives_ = next.positives;
    version_ = next.version;
    last_sequence_ = who.back().sequence;
    ended_ = images.rows() % options_.batch != 0;
    return out;
  }

 private:
  using label_pointer = std::shared_ptr<const adaneg_label>;

  /// What a call changes, until all of it has succeeded.
  struct draft {
    std::map<index_type, label_pointer> changed;
    std::deque<bool> window;
    index_type positives;
    std::uint64_t version;
  };
  /// What no memory changes: the logits, S_nl and where the image would go.
  struct static_part {
    std::vector<double> z;  ///< of classes, then negatives
    double log_odds = 0, score = 0, entropy = 0;
    index_type label = 0;
  };
  /// Versions of the labels that change in a block, with the batch each begins with.
  using version_list = std::vector<std::pair<index_type, label_pointer>>;
  using history = std::map<index_type, version_list>;

  void observe_block(host_view<real> images, std::span<const observation> who, draft& next,
                     std::span<stream_answer> out) const {
    const auto rows = ctx_->from_host(images);
    const auto known = ctx_->to_host(ctx_->matmul_nt(rows, bank_.packed_positive));   // [N, C]
    const auto other = ctx_->to_host(ctx_->matmul_nt(rows, bank_.packed_groups[0]));  // [N, M]
    std::vector<static_part> fixed(static_cast<std::size_t>(images.rows));
    ctx_->for_each_task(images.rows, [&](auto&, index_type i) {
      fixed[static_cast<std::size_t>(i)] = look_at(known.row(i), other.row(i));
    });
    history changes;
    for (index_type first = 0; first < images.rows; first += options_.batch)
      learn(images, who, fixed, first, std::min(images.rows, first + options_.batch), next, changes, out);

    std::vector<const adaneg_label*> before(labels_.size());
    std::vector<const version_list*> later(labels_.size());
    for (std::size_t c = 0; c < labels_.size(); ++c) before[c] = labels_[c].get();
    for (const auto& [c, state] : next.changed) before[static_cast<std::size_t>(c)] = state.get();
    for (const auto& [c, versions] : changes) later[static_cast<std::size_t>(c)] = &versions;
    ctx_->for_each_task(images.rows, [&](auto&, index_type i) {
      const auto state_at = [&](std::size_t c) {
        const adaneg_label* state = before[c];
        if (later[c] != nullptr)
          for (const auto& version : *later[c])
            if (version.first <= i / options_.batch) state = version.second.get();
        return state;
      };
      score(images.row(i), fixed[static_cast<std::size_t>(i)], state_at, out[static_cast<std::size_t>(i)]);
    });
    for (auto& [c, versions] : changes) next.changed[c] = std::move(versions.back().second);
  }

  static_part look_at(std::span<const real> known, std::span<const real> other) const {
    static_part out;
    out.z.reserve(known.size() + other.size());
    for (const real c : known) out.z.push_back(bank_.logit_scale * double(c));
    for (const real c : other) out.z.push_back(bank_.logit_scale * double(c));
    const std::span<const double> all(out.z), id = all.first(known.size()), ood = all.subspan(known.size());
    out.log_odds = grouped_log_odds<double>(log_sum_exp(id), ood, groups_);
    out.score = probability_of_log_odds(out.log_odds);
    const bool positive = out.score > options_.gamma;  // the thresholds lie on either side of gamma
    const std::span<const double> side = positive ? id : ood;
    out.label = std::ranges::max_element(side) - side.begin() + (positive ? 0 : classes_);
    const double lse = log_sum_exp(side);
    for (const double z : side) {
      const double p = std::exp(z - lse);
      out.entropy -= p * std::log(p + 1e-8);
    }
    out.entropy = std::max(0.0, out.entropy);
    return out;
  }

  /// Gives the confident images of a batch to their labels, the positive ones first.
  void learn(host_view<real> images, std::span<const observation> who, const std::vector<static_part>& fixed,
             index_type first, index_type end, draft& next, history& changes, std::span<stream_answer> out) const {
    double high = options_.gamma + options_.gap * (1 - options_.gamma),
           low = options_.gamma - options_.gap * options_.gamma;
    const auto is = [&](index_type i, bool positive) {
      const double s = fixed[static_cast<std::size_t>(i)].score;
      return positive ? s > high : s < low;
    };
    if (options_.rule == gap_rule::sliding_window) {
      for (const bool positive : {true, false})
        for (index_type i = first; i < end; ++i)
          if (is(i, positive)) remember(next, positive);
      const double r = double(next.positives) / double(next.window.size());
      if (r > 0.5) low = options_.gamma - r * options_.gamma;
      if (r < 0.5) high = options_.gamma + (1 - r) * (1 - options_.gamma);
    }
    for (const bool positive : {true, false})
      for (index_type i = first; i < end; ++i)
        if (is(i, positive)) {
          const auto& mine = fixed[static_cast<std::size_t>(i)];
          auto& versions = changes[mine.label];
          label_pointer state = labels_[static_cast<std::size_t>(mine.label)];
          if (const auto it = next.changed.find(mine.label); it != next.changed.end()) state = it->second;
          if (!versions.empty()) state = versions.back().second;
          auto learned = adaneg_label::with(state.get(), options_.slots, options_.proxies, images.row(i), mine.entropy,
                                            mine.z[static_cast<std::size_t>(mine.label)] / bank_.logit_scale,
                                            who[static_cast<std::size_t>(i)].sequence);
          out[static_cast<std::size_t>(i)].outcome = learned ? admission::admitted : admission::refused_full;
          if (versions.empty() && !learned) changes.erase(mine.label);
          if (!learned) continue;
          versions.emplace_back(first / options_.batch, std::move(learned));
          ++next.version;
        }
    for (index_type i = first; i < end; ++i) out[static_cast<std::size_t>(i)].memory_version = next.version;
  }

  void remember(draft& next, bool positive) const {
    if (static_cast<index_type>(next.window.size()) >= options_.window) {
      next.positives -= next.window.front() ? 1 : 0;
      next.window.pop_front();
    }
    next.window.push_back(positive);
    next.positives += positive ? 1 : 0;
  }

  template <class StateAt>
  void score(std::span<const real> h, const static_part& fixed, StateAt&& state_at, stream_answer& answer) const {
    std::vector<double> z = fixed.z;
    for (std::size_t k = 0; k < z.size(); ++k)
      if (const adaneg_label* state = state_at(k))
        z[k] = bank_.logit_scale * state->template cosine<real>(h, z[k] / bank_.logit_scale, options_.beta);
    const auto c = static_cast<std::size_t>(classes_);
    const std::span<const double> all(z), id = all.first(c), ood = all.subspan(c);
    const double a = log_sum_exp(id), adaptive = grouped_log_odds<double>(a, ood, groups_);
    answer.score = probability_of_log_odds(adaptive) + options_.lambda * fixed.score;
    const auto mixed = [&](double sign) {
      return detail::log_of_sum(detail::log_of_sigmoid(sign * adaptive),
                                std::log(options_.lambda) + detail::log_of_sigmoid(sign * fixed.log_odds));
    };
    answer.log_odds = mixed(1) - mixed(-1);

    const auto vanilla = std::span<const double>(fixed.z).first(c);
    double total = log_sum_exp(vanilla), adaptive_total = a;
    if (options_.class_among_all) {
      total = detail::log_of_sum(total, log_sum_exp(std::span<const double>(fixed.z).subspan(c)));
      adaptive_total = detail::log_of_sum(a, log_sum_exp(ood));
    }
    double best = -1;
    for (std::size_t i = 0; i < c; ++i) {
      const double p = std::exp(vanilla[i] - total) + options_.class_weight * std::exp(id[i] - adaptive_total);
      if (p > best) {
        best = p;
        answer.label_index = static_cast<index_type>(i);
      }
    }
  }

  static double log_sum_exp(std::span<const double> z) {
    const double high = *std::ranges::max_element(z);
    double sum = 0;
    for (const double v : z) sum += std::exp(v - high);
    return high + std::log(sum);
  }

  B* ctx_;
  prompt_bank<B> bank_;
  adaneg_options options_;
  index_type classes_, negatives_;
  negative_groups groups_;
  std::vector<label_pointer> labels_;
  std::deque<bool> window_;
  index_type positives_ = 0;
  std::uint64_t version_ = 0;
  std::optional<std::uint64_t> last_sequence_;
  bool ended_ = false;
};

}  // namespace negood
