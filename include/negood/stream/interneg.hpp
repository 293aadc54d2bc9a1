/// \file interneg.hpp  InterNeg at test time (Xu et al., Alg. 1): images that look unknown become negative features.
#pragma once

#include <negood/feature/check.hpp>
#include <negood/prompt/invert.hpp>
#include <negood/score/scores.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/stream/canary_guard.hpp>
#include <negood/stream/memory_guards.hpp>
#include <negood/stream/streaming.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace negood {

/// When an image that looks unknown is learned from.
enum class admission_mode {
  immediate,  ///< at once, and its own score is made again: Algorithm 1
  deferred,   ///< at the next `settle`, so that an answer never waits for an inversion
  frozen      ///< never
};

struct interneg_options {
  double beta = 0.35;          ///< images with S <= beta are learned from; it moves with C, M and G: calibrate it
  index_type capacity = 2000;  ///< K
  admission_mode mode = admission_mode::immediate;
  inversion_options inversion{};
  memory_guards guards{};
  index_type pending_limit = 10000;  ///< deferred images that wait at most; more are answered and not learned from
};

/// Scores with negatives n and memory v,
///
///     A = LSE_i s<h, e_i>,  B = LSE_j s<h, n_j>,  E = LSE_k s<h, v_k>,   z = A - LSE(B, E),   S = sigmoid(z)   (Eq.
///     11)
///
/// and learns: where S <= beta the image is inverted to v; if margin(v) > 0 it enters with key D(v), the weakest row
/// of a full memory leaves, and S of this image is made again. An answer depends on the images of smaller sequence
/// number, in their order, and on nothing else: not on how many come in one call, not on threads. Memory only lowers a
/// score, so whatever S without memory is at most beta will be inverted for certain: those run in one batch beforehand.
///
/// One thread observes; others score with `snapshot()` meanwhile.
template <Backend B>
class interneg_stream {
 public:
  using real = real_t<B>;
  using snapshot_type = std::shared_ptr<const negative_memory>;

  /// One candidate and what became of it: enough to build the memory again without any image.
  struct attempt {
    observation who;
    std::vector<float> feature;
    admission outcome;
  };
  std::function<void(const attempt&)> on_attempt;  ///< called for every inverted image, in order

  /// `canaries` `[Q, D]`: unit features of known images that neither proxies nor calibration have seen.
  /// \throws error negood.stream.1 for options out of range
  interneg_stream(B& ctx, const clip::text_tower<B>& tower, const bpe_tokenizer& tokenizer, prompt_bank<B> bank,
                  inter_modal_distances classes, interneg_options options = {}, host_matrix<real> canaries = {})
      : ctx_(&ctx),
        bank_(std::move(bank)),
        classes_(std::move(classes)),
        options_(std::move(options)),
        inverter_(ctx, tower, tokenizer, options_.inversion),
        state_{negative_memory(options_.capacity, classes_.width())} {
    if (!(options_.beta >= 0 && options_.beta <= 1))
      fail(error_category::usage, "negood.stream.1", "interneg", "beta is " + std::to_string(options_.beta),
           "0 <= beta <= 1");
    check_guards(options_.guards);
    if (bank_.packed_groups.size() != 1)
      fail(error_category::usage, "negood.stream.1", "interneg",
           "the bank has " + std::to_string(bank_.packed_groups.size()) + " groups of negatives",
           "sequential InterNeg wants one: with more, the same memory scores differently in another order");
    if (canaries.rows() > 0) {
      check_features(canaries, {}, "canaries");
      auto fixed = static_part(*ctx_, bank_, canaries);
      canaries_ = canary_guard(cast<float>(canaries), std::move(fixed.a), std::move(fixed.b), options_.capacity,
                               bank_.logit_scale, beta_log_odds());
    }
  }

  const negative_memory& memory() const noexcept { return state_.memory; }
  /// All that was learned, to be saved. Images that wait for `settle` are not part of it.
  const interneg_state& state() const noexcept { return state_; }
  /// True once the memory has turned more decisions than the guards allow; it learns no more until `resume`.
  bool drifted() const noexcept { return state_.drifted; }
  void resume() noexcept { state_.drifted = false; }
  const interneg_options& options() const noexcept { return options_; }
  const prompt_bank<B>& bank() const noexcept { return bank_; }
  index_type pending() const noexcept { return static_cast<index_type>(pending_.size()); }
  index_type dropped() const noexcept { return dropped_; }

  /// The memory as it is now, unchanged for as long as it is held. Safe while another thread observes.
  snapshot_type snapshot() const {
    const std::scoped_lock lock(*mutex_);
    if (!published_ || published_->version() != state_.memory.version())
      published_ = std::make_shared<const negative_memory>(state_.memory);
    return published_;
  }

  /// Scores images in the order of the rows; sequence numbers must grow from call to call.
  /// \throws error of `check_features` for NaN, infinite or zero rows, negood.stream.3 for a sequence number that does
  /// not grow; nothing has changed then
  std::vector<stream_answer> observe(host_matrix<real> images, std::span<const observation> who) {
    check_same_width(images.cols(), "image features", classes_.width(), "the detector");
    check_features(images, {}, "image features");
    check_order(images.rows(), who, state_.last_sequence);
    std::vector<stream_answer> out;
    constexpr index_type block = 256;
    for (index_type first = 0; first < images.rows(); first += block)
      observe_block(images, who, first, std::min(block, images.rows() - first), out);
    return out;
  }

  /// Learns from the images that `deferred` mode put aside, in the order they came. Returns their outcomes.
  std::vector<std::pair<observation, admission>> settle() {
    std::vector<std::pair<observation, admission>> out;
    while (!pending_.empty()) {
      const auto n = std::min<std::size_t>(256, pending_.size());
      host_matrix<real> images(static_cast<index_type>(n), classes_.width());
      std::vector<std::uint64_t> sequence;
      for (std::size_t i = 0; i < n; ++i) {
        std::ranges::copy(pending_[i].second, images.row(static_cast<index_type>(i)).begin());
        sequence.push_back(pending_[i].first.sequence);
      }
      const auto inverted = inverter_(*ctx_, images, sequence);
      for (std::size_t i = 0; i < n; ++i)
        out.emplace_back(pending_[i].first,
                         consider(to_float(inverted.features.row(static_cast<index_type>(i))), pending_[i].first));
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(n));
    }
    return out;
  }

  /// Offers a feature to the memory as `observe` does with an inverted one; `replay` of a log is this, entry by entry.
  admission consider(std::vector<float> v, const observation& who) {
    const auto outcome = decide(v, who);
    if (on_attempt) on_attempt({who, std::move(v), outcome});
    return outcome;
  }

  /// Forgets the rows that `remove(entry)` names: those of a source, of a stretch of the stream.
  template <class Predicate>
  index_type rollback(Predicate&& remove) {
    const std::scoped_lock lock(*mutex_);
    const auto gone = state_.memory.remove_if(std::forward<Predicate>(remove));
    if (gone > 0) canaries_.recount(state_.memory);
    return gone;
  }

  /// Goes on from what was saved. \throws error negood.stream.2 for another width or capacity
  void restore(interneg_state saved) {
    const auto& m = saved.memory;
    bool fits = m.width() == classes_.width() && m.capacity() == options_.capacity;
    for (const auto& q : saved.quarantine) fits = fits && static_cast<index_type>(q.feature.size()) == classes_.width();
    if (!fits)
      fail(error_category::artifact, "negood.stream.2", "interneg",
           "the memory is of width " + std::to_string(m.width()) + " and capacity " + std::to_string(m.capacity()) +
               ", the detector of " + std::to_string(classes_.width()) + " and " + std::to_string(options_.capacity));
    const std::scoped_lock lock(*mutex_);
    state_ = std::move(saved);
    canaries_.recount(state_.memory);
  }
  std::optional<std::uint64_t> last_sequence() const noexcept { return state_.last_sequence; }

  /// Scores with a snapshot and learns nothing. For readers: with a context and a bank of their own.
  static std::vector<stream_answer> score(B& ctx, const prompt_bank<B>& bank, const negative_memory& memory,
                                          host_matrix<real> images) {
    check_features(images, {}, "image features");
    const auto fixed = static_part(ctx, bank, images);
    std::vector<stream_answer> out(static_cast<std::size_t>(images.rows()));
    ctx.for_each_task(images.rows(), [&](auto&, index_type i) {
      std::vector<double> cosines;
      for (index_type r = 0; r < memory.size(); ++r)
        cosines.push_back(detail::wide_dot<real>(images.row(i), memory.features().row(r)));
      out[static_cast<std::size_t>(i)] = answer_of(fixed, i, cosines, bank.logit_scale, memory.version());
    });
    return out;
  }

 private:
  /// What no memory changes: A, B and the class of every image.
  struct static_scores {
    std::vector<double> a, b;
    std::vector<index_type> label;
  };
  static static_scores static_part(B& ctx, const prompt_bank<B>& bank, const host_matrix<real>& images) {
    static_scores out;
    constexpr index_type block = 4096;
    for (index_type first = 0; first < images.rows(); first += block) {
      const auto rows = ctx.from_host(images.view().slice_rows(first, std::min(block, images.rows() - first)));
      const auto take = [&](const frozen_t<B>& texts, std::vector<double>& to) {
        const auto lse = ctx.to_host(logit_statistics(ctx, rows, texts, bank.logit_scale).logsumexp);
        for (const real v : lse.values()) to.push_back(double(v));
      };
      take(bank.packed_positive, out.a);
      take(bank.packed_groups[0], out.b);
      const auto labels = predict(ctx, rows, bank);
      out.label.insert(out.label.end(), labels.begin(), labels.end());
    }
    return out;
  }

  static double log_odds(const static_scores& s, index_type i, std::span<const double> cosines, double scale) {
    const auto k = static_cast<std::size_t>(i);
    return s.a[k] - detail::log_add(s.b[k], detail::log_sum_exp(cosines, scale));
  }
  static stream_answer answer_of(const static_scores& s, index_type i, std::span<const double> cosines, double scale,
                                 std::uint64_t version) {
    stream_answer out;
    out.log_odds = log_odds(s, i, cosines, scale);
    out.score = probability_of_log_odds(out.log_odds);
    out.label_index = s.label[static_cast<std::size_t>(i)];
    out.memory_version = version;
    return out;
  }

  static std::vector<float> to_float(std::span<const real> row) { return {row.begin(), row.end()}; }

  void observe_block(const host_matrix<real>& all, std::span<const observation> who, index_type first, index_type count,
                     std::vector<stream_answer>& out) {
    host_matrix<real> images(count, all.cols());
    for (index_type i = 0; i < count; ++i) std::ranges::copy(all.row(first + i), images.row(i).begin());
    const auto fixed = static_part(*ctx_, bank_, images);
    const double scale = bank_.logit_scale;
    const bool immediate = options_.mode == admission_mode::immediate;

    // Inversions depend on no memory: those that are certain run together, others together with their likes.
    std::vector<std::optional<inverted_image>> inverted(static_cast<std::size_t>(count));
    std::vector<index_type> wanted;
    for (index_type i = 0; immediate && !state_.drifted && i < count; ++i)
      if (active(fixed.a[static_cast<std::size_t>(i)] - fixed.b[static_cast<std::size_t>(i)])) wanted.push_back(i);
    invert(images, who, first, wanted, inverted);

    // Cosines to the memory as it is now; columns are made again where a row changes.
    std::vector<std::vector<double>> cosines(static_cast<std::size_t>(count));
    ctx_->for_each_task(count, [&](auto&, index_type i) {
      auto& mine = cosines[static_cast<std::size_t>(i)];
      for (index_type r = 0; r < state_.memory.size(); ++r)
        mine.push_back(detail::wide_dot<real>(images.row(i), state_.memory.features().row(r)));
    });

    for (index_type i = 0; i < count; ++i) {
      const auto& w = who[static_cast<std::size_t>(first + i)];
      auto& mine = cosines[static_cast<std::size_t>(i)];
      auto answer = answer_of(fixed, i, mine, scale, state_.memory.version());
      const auto k = static_cast<std::size_t>(i);
      if (active(answer.log_odds) && immediate && !state_.drifted) {
        if (!inverted[static_cast<std::size_t>(i)]) {  // the memory made it look unknown, and perhaps images behind it
          wanted.clear();
          for (index_type j = i; j < count; ++j)
            if (!inverted[static_cast<std::size_t>(j)] &&
                active(log_odds(fixed, j, cosines[static_cast<std::size_t>(j)], scale)))
              wanted.push_back(j);
          invert(images, who, first, wanted, inverted);
        }
        const auto& [v, cosine] = *inverted[static_cast<std::size_t>(i)];
        answer.inversion_cosine = cosine;
        answer.margin = classes_.margin(v).margin;
        answer.outcome = consider(v, w);
        if (answer.outcome == admission::admitted) {
          const auto row = changed_row_;
          for (index_type j = i; j < count; ++j) {
            auto& theirs = cosines[static_cast<std::size_t>(j)];
            theirs.resize(static_cast<std::size_t>(state_.memory.size()));
            theirs[static_cast<std::size_t>(row)] =
                detail::wide_dot<real>(images.row(j), state_.memory.features().row(row));
          }
          const auto again = answer_of(fixed, i, mine, scale, state_.memory.version());
          answer.score = again.score;
          answer.log_odds = again.log_odds;
          answer.memory_version = again.memory_version;
        }
      } else if (active(answer.log_odds) && options_.mode == admission_mode::deferred && !state_.drifted) {
        if (pending() < options_.pending_limit) {
          pending_.emplace_back(w, std::vector<real>(images.row(i).begin(), images.row(i).end()));
          answer.outcome = admission::deferred;
        } else {
          ++dropped_;
        }
      }
      state_.last_sequence = w.sequence;
      watch(w.sequence, fixed.a[k] - fixed.b[k], answer.log_odds);
      out.push_back(answer);
    }
  }

  /// S <= beta is z <= log(beta / (1 - beta)), for all z where beta is 1 and for none where it is 0.
  double beta_log_odds() const { return std::log(options_.beta) - std::log1p(-options_.beta); }
  bool active(double z) const { return options_.beta > 0 && z <= beta_log_odds(); }

  struct inverted_image {
    std::vector<float> feature;
    double cosine;
  };
  /// Inverts some rows of a block whose first image is number `first` of `who`.
  void invert(const host_matrix<real>& images, std::span<const observation> who, index_type first,
              const std::vector<index_type>& rows, std::vector<std::optional<inverted_image>>& out) {
    if (rows.empty()) return;
    host_matrix<real> some(static_cast<index_type>(rows.size()), images.cols());
    std::vector<std::uint64_t> sequence;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      std::ranges::copy(images.row(rows[k]), some.row(static_cast<index_type>(k)).begin());
      sequence.push_back(who[static_cast<std::size_t>(first + rows[k])].sequence);
    }
    const auto inverted = inverter_(*ctx_, some, sequence);
    for (std::size_t k = 0; k < rows.size(); ++k)
      out[static_cast<std::size_t>(rows[k])] =
          inverted_image{to_float(inverted.features.row(static_cast<index_type>(k))), inverted.last_cosine[k]};
  }

  admission decide(const std::vector<float>& v, const observation& who) {
    const auto& g = options_.guards;
    if (!(classes_.margin(v).margin > g.min_margin)) return admission::refused_near_id;
    const auto& memory = state_.memory;
    const memory_entry entry{classes_.degree(v), who.sequence, who.source};
    const auto where = memory.place_of(entry);
    if (!where.enters) return admission::refused_full;
    state_.admitted.enter(who.sequence, g.window);
    if (g.window > 0 &&
        static_cast<double>(state_.admitted.count + 1) > g.window_share * static_cast<double>(options_.capacity))
      return admission::refused_window;
    if (g.source_cap > 0 && std::ranges::count(memory.entries(), who.source, &memory_entry::source) >= g.source_cap)
      return admission::refused_source;
    if (g.duplicate_cosine <= 1 && rows_near(v, g.duplicate_cosine) > 0) return admission::refused_duplicate;
    if (g.cluster_cap > 0 && rows_near(v, g.cluster_cosine) >= g.cluster_cap) return admission::refused_cluster;
    if (g.sightings > 1 && !seen_often_enough(v, who)) return admission::quarantined;
    const auto row = where.evicts.value_or(memory.size());
    auto trial = canaries_.with(v, row, memory.size());
    if (g.canary_loss <= 1 && canaries_.loses(trial, g.canary_loss)) return admission::refused_canary;
    const std::scoped_lock lock(*mutex_);
    state_.memory.insert(v, entry);
    ++state_.admitted.count;
    changed_row_ = row;
    canaries_.commit(std::move(trial), row);
    return admission::admitted;
  }

  index_type rows_near(const std::vector<float>& v, double cosine) const {
    index_type n = 0;
    for (index_type r = 0; r < state_.memory.size(); ++r)
      n += detail::wide_dot<float>(v, state_.memory.features().row(r)) >= cosine ? 1 : 0;
    return n;
  }

  /// The detector without memory decides beside it; a memory that turns too many decisions stops learning (F-39).
  void watch(std::uint64_t sequence, double without, double with) {
    const auto& g = options_.guards;
    if (g.window < 1 || g.drift_limit > 1) return;
    state_.turned.enter(sequence, g.window);
    const double limit = std::isnan(g.drift_log_odds) ? beta_log_odds() : g.drift_log_odds;
    if (without > limit && !(with > limit)) ++state_.turned.count;
    if (static_cast<double>(state_.turned.count) > g.drift_limit * static_cast<double>(g.window)) state_.drifted = true;
  }

  bool seen_often_enough(const std::vector<float>& v, const observation& who) {
    auto& waiting = state_.quarantine;
    for (auto it = waiting.begin(); it != waiting.end(); ++it) {
      if (detail::wide_dot<float>(v, it->feature) < options_.guards.sighting_cosine) continue;
      it->sources.insert(who.source);
      if (static_cast<index_type>(it->sources.size()) < options_.guards.sightings) return false;
      waiting.erase(it);
      return true;
    }
    waiting.push_back({v, {who.source}});
    if (static_cast<index_type>(waiting.size()) > std::max<index_type>(1, options_.capacity))
      waiting.erase(waiting.begin());
    return false;
  }

  B* ctx_;
  prompt_bank<B> bank_;
  inter_modal_distances classes_;
  interneg_options options_;
  modality_inverter<B> inverter_;
  interneg_state state_;
  index_type changed_row_ = 0;
  std::deque<std::pair<observation, std::vector<real>>> pending_;
  index_type dropped_ = 0;
  canary_guard canaries_;
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
  mutable snapshot_type published_;
};

}  // namespace negood
