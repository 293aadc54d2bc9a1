/// \file reference_batch.hpp  InterNeg as its released program runs it: in batches that look ahead. To compare with.
#pragma once

#include <negood/feature/check.hpp>
#include <negood/prompt/invert.hpp>
#include <negood/score/grouped.hpp>
#include <negood/score/scores.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/stream/negative_memory.hpp>
#include <negood/stream/streaming.hpp>

namespace negood {

struct reference_batch_options {
  double beta = 0.35;          ///< images with S < beta are learned from; its meaning changes with G
  index_type groups = 1;       ///< G
  index_type capacity = 2000;  ///< K
  index_type batch = 256;
  inversion_options inversion{};  ///< the released program draws from CLIP's 80 templates: give them
};

/// The settings of the authors' scripts for their benchmarks. The same beta is another threshold with other groups: it
/// shifts the log-odds by about log G.
inline reference_batch_options reference_four() { return {.beta = 0.35, .groups = 5}; }
inline reference_batch_options reference_far() { return {.beta = 0.35, .groups = 5}; }
inline reference_batch_options reference_near() { return {.beta = 0.35, .groups = 1}; }

/// Scores N images at a time with negatives n (M of them) and a memory v of at most K, in groups (score/grouped.hpp):
///
///  1. every image is scored with the memory the batch before has left;
///  2. images with S < beta are active; without any the answers stand;
///  3. the active ones are inverted together; those with margin(v) > 0 join the memory, which keeps the K of largest D;
///  4. every image of the batch, known or not, is scored again with the new memory.
///
/// Negatives stand as [n; v by falling D], the last (M + |V|) mod G are left out and the rest permuted, so a row more
/// in the memory deals all of them out anew. An answer depends on its whole batch: on images that come later, too, and
/// on the size of a batch. That is the authors' semantics; `interneg_stream` is the paper's. Batches are cut by
/// arrival, so calls must hold whole batches; only the last call of a stream may end with a shorter one, and `reset`
/// begins the next stream. Threads and the number of batches in one call change nothing.
///
/// Left out: half precision; start values of pseudo-words that are the same in every batch (here they go by sequence
/// number); rows of the memory beyond K, which are never read (equal D: the older stays).
template <Backend B>
class reference_batch_stream {
 public:
  using real = real_t<B>;

  /// `bank`: negatives in the order of selection, packed as one group.
  /// \throws error negood.stream.1 for options out of range, negood.bank.2 for fewer negatives than groups
  reference_batch_stream(B& ctx, const clip::text_tower<B>& tower, const bpe_tokenizer& tokenizer, prompt_bank<B> bank,
                         inter_modal_distances classes, reference_batch_options options = {})
      : ctx_(&ctx),
        bank_(std::move(bank)),
        classes_(std::move(classes)),
        options_(std::move(options)),
        inverter_(ctx, tower, tokenizer, options_.inversion),
        memory_(options_.capacity, classes_.width()) {
    if (!(options_.beta >= 0 && options_.beta <= 1) || options_.batch < 1)
      fail(error_category::usage, "negood.stream.1", "reference_batch", "beta or the size of a batch is out of range",
           "0 <= beta <= 1, at least one image a batch");
    if (bank_.packed_groups.size() != 1)
      fail(error_category::usage, "negood.stream.1", "reference_batch",
           "the bank has " + std::to_string(bank_.packed_groups.size()) + " groups of negatives",
           "give them as one: they are dealt out here, with the memory");
    cut_into_groups(ctx.rows(bank_.negative), options_.groups);
  }

  const negative_memory& memory() const noexcept { return memory_; }
  const reference_batch_options& options() const noexcept { return options_; }
  const prompt_bank<B>& bank() const noexcept { return bank_; }
  std::optional<std::uint64_t> last_sequence() const noexcept { return last_sequence_; }

  /// Forgets everything: a new stream begins, as before each of the authors' sets.
  void reset() {
    memory_ = negative_memory(options_.capacity, classes_.width());
    last_sequence_.reset();
    ended_ = false;
  }

  /// \throws as `interneg_stream::observe`, and negood.stream.8 after a call that did not end with a whole batch;
  /// nothing has changed then
  std::vector<stream_answer> observe(host_matrix<real> images, std::span<const observation> who) {
    check_same_width(images.cols(), "image features", classes_.width(), "the detector");
    check_features(images, {}, "image features");
    check_order(images.rows(), who, last_sequence_);
    if (ended_)
      fail(error_category::usage, "negood.stream.8", "reference_batch",
           "the call before ended with less than a batch of " + std::to_string(options_.batch),
           "give whole batches until the stream ends; reset() begins another");
    std::vector<stream_answer> out;
    auto next = memory_;
    for (index_type first = 0; first < images.rows(); first += options_.batch) {
      const auto count = std::min(options_.batch, images.rows() - first);
      observe_batch(images.view().slice_rows(first, count),
                    who.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)), next, out);
    }
    memory_ = std::move(next);
    last_sequence_ = who.back().sequence;
    ended_ = images.rows() % options_.batch != 0;
    return out;
  }

 private:
  void observe_batch(host_view<real> images, std::span<const observation> who, negative_memory& memory,
                     std::vector<stream_answer>& out) const {
    const auto rows = ctx_->from_host(images);
    const auto a =
        ctx_->to_host(logit_statistics(*ctx_, rows, bank_.packed_positive, bank_.logit_scale).logsumexp);  // [N, 1]
    const auto fixed = ctx_->to_host(ctx_->matmul_nt(rows, bank_.packed_groups[0]));                       // [N, M]
    const auto labels = predict(*ctx_, rows, bank_);
    auto z = log_odds(rows, a, fixed, memory);

    const double limit = std::log(options_.beta) - std::log1p(-options_.beta);
    std::vector<index_type> active;
    for (index_type i = 0; i < images.rows; ++i)
      if (options_.beta == 1 || z[static_cast<std::size_t>(i)] < limit) active.push_back(i);
    std::vector<stream_answer> answers(z.size());
    if (!active.empty()) {
      learn(images, who, active, memory, answers);
      z = log_odds(rows, a, fixed, memory);
    }
    for (std::size_t i = 0; i < answers.size(); ++i) {
      answers[i].log_odds = z[i];
      answers[i].score = probability_of_log_odds(z[i]);
      answers[i].label_index = labels[i];
      answers[i].memory_version = memory.version();
    }
    out.insert(out.end(), answers.begin(), answers.end());
  }

  void learn(host_view<real> images, std::span<const observation> who, const std::vector<index_type>& active,
             negative_memory& memory, std::vector<stream_answer>& answers) const {
    host_matrix<real> some(static_cast<index_type>(active.size()), images.cols);
    std::vector<std::uint64_t> sequence;
    for (std::size_t k = 0; k < active.size(); ++k) {
      std::ranges::copy(images.row(active[k]), some.row(static_cast<index_type>(k)).begin());
      sequence.push_back(who[static_cast<std::size_t>(active[k])].sequence);
    }
    const auto inverted = inverter_(*ctx_, some, sequence);
    for (std::size_t k = 0; k < active.size(); ++k) {
      const auto i = static_cast<std::size_t>(active[k]);
      const auto row = inverted.features.row(static_cast<index_type>(k));
      const std::vector<float> v(row.begin(), row.end());
      auto& answer = answers[i];
      answer.inversion_cosine = inverted.last_cosine[k];
      answer.margin = classes_.margin(v).margin;
      answer.outcome = admission::refused_near_id;
      if (!(answer.margin > 0)) continue;
      memory.insert(v, {classes_.degree(v), who[i].sequence, who[i].source});
      answer.outcome = admission::admitted;
    }
    for (const auto k : active) {  // some that entered were pushed out by others of the batch
      const auto i = static_cast<std::size_t>(k);
      if (answers[i].outcome == admission::admitted &&
          std::ranges::find(memory.entries(), who[i].sequence, &memory_entry::sequence) == memory.entries().end())
        answers[i].outcome = admission::refused_full;
    }
  }

  /// Log-odds of the grouped score over [n; v by falling D].
  std::vector<double> log_odds(const tensor_t<B>& rows, const host_matrix<real>& a, const host_matrix<real>& fixed,
                               const negative_memory& memory) const {
    const auto& entries = memory.entries();
    std::vector<index_type> by_degree(entries.size());
    std::iota(by_degree.begin(), by_degree.end(), index_type{0});
    std::ranges::sort(by_degree, [&](index_type x, index_type y) {
      const auto &p = entries[static_cast<std::size_t>(x)], &q = entries[static_cast<std::size_t>(y)];
      return p.key != q.key ? p.key > q.key : p.sequence < q.sequence;
    });
    host_matrix<real> v(memory.size(), memory.width());
    for (index_type r = 0; r < memory.size(); ++r)
      std::ranges::copy(memory.features().row(by_degree[static_cast<std::size_t>(r)]), v.row(r).begin());
    const auto learned = memory.size() == 0 ? host_matrix<real>(fixed.rows(), 0)
                                            : ctx_->to_host(ctx_->matmul_nt(rows, ctx_->from_host(v.view())));
    const auto groups = cut_into_groups(fixed.cols() + learned.cols(), options_.groups);
    std::vector<double> out(static_cast<std::size_t>(fixed.rows()));
    ctx_->for_each_task(fixed.rows(), [&](auto&, index_type i) {
      std::vector<double> z;
      z.reserve(groups.order.size() + static_cast<std::size_t>(options_.groups));
      for (const real c : fixed.row(i)) z.push_back(bank_.logit_scale * double(c));
      for (const real c : learned.row(i)) z.push_back(bank_.logit_scale * double(c));
      out[static_cast<std::size_t>(i)] = grouped_log_odds<double>(double(a(i, 0)), z, groups);
    });
    return out;
  }

  B* ctx_;
  prompt_bank<B> bank_;
  inter_modal_distances classes_;
  reference_batch_options options_;
  modality_inverter<B> inverter_;
  negative_memory memory_;
  std::optional<std::uint64_t> last_sequence_;
  bool ended_ = false;
};

}  // namespace negood
