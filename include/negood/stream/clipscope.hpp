/// \file clipscope.hpp  CLIPScope: a class that is predicted often has to look more convincing (Fu et al. 2024).
#pragma once

#include <negood/feature/check.hpp>
#include <negood/score/scores.hpp>
#include <negood/stream/streaming.hpp>

#include <cmath>
#include <optional>
#include <utility>

namespace negood {

/// Scores in the order of arrival:
///
///     P = softmax_i(s <h, e_i>),  k = argmax P,  p_ID = exp(A) / (exp(A) + exp(B))
///     S = P_k p_ID / (n_k / sum_i n_i),   then n_k += 1;   all n_i begin at 1
///
/// A and B are the log-sum-exps over classes and negatives. S is positive and unbounded: `score` holds S and `log_odds`
/// log S. A common and harmless class sinks with time; that is the published method, and what to watch.
template <Backend B>
class clipscope_stream {
 public:
  using real = real_t<B>;

  /// \throws error negood.stream.1 unless the bank has negatives in one group
  clipscope_stream(B& ctx, prompt_bank<B> bank) : ctx_(&ctx), bank_(std::move(bank)) {
    if (bank_.packed_groups.size() != 1)
      fail(error_category::usage, "negood.stream.1", "clipscope",
           "the bank has " + std::to_string(bank_.packed_groups.size()) + " groups of negatives", "one is needed");
    seen_.assign(static_cast<std::size_t>(ctx.rows(bank_.positive)), 1);
  }

  /// n_i, one more than the images that were taken for class i.
  const std::vector<std::uint64_t>& counts() const noexcept { return seen_; }
  /// Goes on from saved counts. \throws error negood.stream.2 unless there is a positive one for every class
  void restore(std::vector<std::uint64_t> counts, std::optional<std::uint64_t> last_sequence) {
    if (counts.size() != seen_.size() || std::ranges::count(counts, 0U) > 0)
      fail(error_category::artifact, "negood.stream.2", "clipscope",
           std::to_string(counts.size()) + " counts for " + std::to_string(seen_.size()) + " classes",
           "one a class, each at least 1");
    seen_ = std::move(counts);
    last_sequence_ = last_sequence;
  }
  std::optional<std::uint64_t> last_sequence() const noexcept { return last_sequence_; }

  /// \throws as `interneg_stream::observe`; nothing has changed then
  std::vector<stream_answer> observe(host_matrix<real> images, std::span<const observation> who) {
    check_same_width(images.cols(), "image features", ctx_->cols(bank_.positive), "the detector");
    check_features(images, {}, "image features");
    check_order(images.rows(), who, last_sequence_);
    std::uint64_t total = 0;
    for (const auto n : seen_) total += n;
    std::vector<stream_answer> out;
    constexpr index_type block = 4096;
    for (index_type first = 0; first < images.rows(); first += block) {
      const auto rows = ctx_->from_host(images.view().slice_rows(first, std::min(block, images.rows() - first)));
      const auto known = logit_statistics(*ctx_, rows, bank_.packed_positive, bank_.logit_scale);
      const auto maximum = ctx_->to_host(known.maximum), a = ctx_->to_host(known.logsumexp);
      const auto b = ctx_->to_host(logit_statistics(*ctx_, rows, bank_.packed_groups[0], bank_.logit_scale).logsumexp);
      const auto label = predict(*ctx_, rows, bank_);
      for (index_type i = 0; i < a.rows(); ++i) {
        auto& n = seen_[static_cast<std::size_t>(label[static_cast<std::size_t>(i)])];
        const double log_p = double(maximum(i, 0)) - double(a(i, 0));
        const double log_id = -element::softplus{}(double(b(i, 0)) - double(a(i, 0)));
        stream_answer answer;
        answer.log_odds = log_p + log_id - std::log(double(n)) + std::log(double(total));
        answer.score = std::exp(answer.log_odds);
        answer.label_index = label[static_cast<std::size_t>(i)];
        answer.memory_version = total - seen_.size();
        out.push_back(answer);
        ++n;
        ++total;
      }
    }
    if (!who.empty()) last_sequence_ = who.back().sequence;
    return out;
  }

 private:
  B* ctx_;
  prompt_bank<B> bank_;
  std::vector<std::uint64_t> seen_;
  std::optional<std::uint64_t> last_sequence_;
};

}  // namespace negood
