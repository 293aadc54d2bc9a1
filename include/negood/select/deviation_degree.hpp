/// \file deviation_degree.hpp  InterNeg's selection of negative words by inter-modal distance (Xu et al., Eqs. 7-10).
#pragma once

#include <negood/math/fixed_order_dot.hpp>
#include <negood/select/percentile.hpp>

#include <map>
#include <numeric>
#include <optional>

namespace negood {

/// p_i = normalise(mean of the unit image features of class i), `[C, D]`; sums in double, in the order of the rows.
///
/// The paper averages features as they are; the released code makes unit rows first, and so does this. Use features of
/// the test transform: the released code's random crops make proxies that differ from run to run.
/// \throws error negood.select.5 for a class without an image, .1 for labels that do not fit
template <class Real>
host_matrix<float> class_proxies(const host_matrix<Real>& features, std::span<const index_type> labels,
                                 index_type classes) {
  if (static_cast<index_type>(labels.size()) != features.rows())
    fail(error_category::data, "negood.select.1", "class_proxies",
         std::to_string(labels.size()) + " labels for features " + shape_string(features.rows(), features.cols()),
         "one label a row");
  const auto unit = [](std::span<double> row) {
    double n = 0;
    for (const double v : row) n += v * v;
    for (double& v : row) v /= std::sqrt(n);
  };
  host_matrix<double> sum(classes, features.cols());
  std::vector<index_type> count(static_cast<std::size_t>(classes));
  std::vector<double> row(static_cast<std::size_t>(features.cols()));
  for (index_type i = 0; i < features.rows(); ++i) {
    const index_type c = labels[static_cast<std::size_t>(i)];
    if (c < 0 || c >= classes)
      fail(error_category::data, "negood.select.1", "class_proxies",
           "row " + std::to_string(i) + " has label " + std::to_string(c) + ", there are " + std::to_string(classes) +
               " classes");
    std::ranges::copy(features.row(i), row.begin());
    unit(row);
    ++count[static_cast<std::size_t>(c)];
    for (index_type d = 0; d < features.cols(); ++d) sum(c, d) += row[static_cast<std::size_t>(d)];
  }
  for (index_type c = 0; c < classes; ++c) {
    if (count[static_cast<std::size_t>(c)] == 0)
      fail(error_category::data, "negood.select.5", "class_proxies", "class " + std::to_string(c) + " has no image",
           "give at least one of every class; four or more serve better");
    unit(sum.row(c));
  }
  return cast<float>(sum);
}

/// What the classes ask of a negative feature y, as numbers in double:
///
///     candidate(y)  <=>  margin(y) = min_i ( <e_i, p_i> - <y, p_i> ) > 0          (strict)
///     D(y)          =  mean_i ( <e_i, p_i> - <y, p_i> ) = mean_i <e_i, p_i> - <y, mean_i p_i>
///
/// e_i is the text and p_i the image proxy of class i. All sums have the one order of `fixed_order_dot`, so that a y
/// equal to e_i has a margin of exactly zero or less and is refused on every machine.
class inter_modal_distances {
 public:
  /// \throws error negood.select.1 for shapes that differ, .2 without classes, .4 for NaN or Inf
  inter_modal_distances(host_view<float> id_text, host_view<float> proxies)
      : width_(proxies.cols), proxies_(proxies.rows * proxies.cols), mean_(static_cast<std::size_t>(proxies.cols)) {
    constexpr std::string_view where = "inter_modal_distances";
    require_shape(id_text.rows == proxies.rows && id_text.cols == proxies.cols, where, "id_text", id_text.rows,
                  id_text.cols, "proxies", proxies.rows, proxies.cols, "one text and one proxy a class");
    if (id_text.rows == 0) fail(error_category::data, "negood.select.2", where, "there are no classes");
    detail::require_numbers(id_text, "id_text");
    detail::require_numbers(proxies, "proxies");
    for (index_type i = 0; i < proxies.rows; ++i) {
      base_.push_back(fixed_order_dot(id_text.row(i), proxies.row(i)));
      for (index_type d = 0; d < width_; ++d) mean_[static_cast<std::size_t>(d)] += double(proxies(i, d));
    }
    for (double& v : mean_) v /= double(classes());
    std::copy(proxies.data, proxies.data + proxies.rows * proxies.cols, proxies_.begin());
    for (const double b : base_) mean_base_ += b / double(classes());
  }

  index_type classes() const noexcept { return static_cast<index_type>(base_.size()); }
  index_type width() const noexcept { return width_; }
  /// <e_i, p_i> of every class.
  const std::vector<double>& base() const noexcept { return base_; }
  host_view<float> proxies() const noexcept { return {proxies_.data(), classes(), width_}; }

  /// D(y), the deviation degree: larger = farther from all classes.
  double degree(std::span<const float> y) const {
    return mean_base_ - fixed_order_dot(y, std::span<const double>(mean_));
  }

  struct nearest_veto {
    double margin;           ///< min over the classes; a candidate has more than zero
    index_type class_index;  ///< where the minimum is, the first of equals
  };
  nearest_veto margin(std::span<const float> y) const {
    const auto excess = [&](index_type i) {
      return base_[static_cast<std::size_t>(i)] - fixed_order_dot(y, proxies().row(i));
    };
    nearest_veto out{excess(0), 0};
    for (index_type i = 1; i < classes(); ++i)
      if (const double m = excess(i); m < out.margin) out = {m, i};
    return out;
  }

 private:
  index_type width_;
  std::vector<float> proxies_;
  std::vector<double> base_, mean_;
  double mean_base_ = 0;
};

struct deviation_options {
  index_type count = 2000;  ///< M; fewer candidates than that: all of them
  /// Part of speech of every word; empty: one ranking. With tags the quota of the released code holds: every tag gets
  /// its share of M by the number of its candidates, rounded down, and the last tag in alphabetical order the rest.
  std::span<const std::string> tags{};
  bool lazy = true;  ///< without tags: test words in the order of D until M have passed. No: test all, count all vetoes
};

struct deviation_selection {
  std::vector<selected_word> words;  ///< key = D; descending, tag after tag
  index_type tested = 0;             ///< words whose candidate condition was looked at
  index_type passed = 0;             ///< candidates among them
  std::vector<index_type> vetoes;    ///< by class: words refused whose smallest margin lies there
  index_type ties_at_boundary = 0;   ///< candidates left out with the key of the last one taken
};

/// Selects the M candidates of largest deviation degree; order (D descending, word ascending, row ascending).
///
/// candidates `[M, D]` and words as in `select_by_percentile`, unit rows. The words x classes matrix is never formed:
/// products run in blocks on the backend, and what is near the boundary of the condition is decided in double, so that
/// the words and their order are the same on every backend (which of two nearly equal vetoes is counted may not be).
/// Cost without tags: one product of width D a word and about M x C more; with tags the whole corpus is tested. \throws
/// error negood.select.1 to .4 as `select_by_percentile`, .6 where no word is a candidate, naming the classes that
/// refused most
struct select_by_deviation_t {
  template <Backend B>
  deviation_selection operator()(B& ctx, host_view<float> candidates, std::span<const std::string> words,
                                 const inter_modal_distances& classes, const deviation_options& options = {}) const {
    check(candidates, words, classes, options);
    const index_type n = candidates.rows;
    const auto key = degrees(ctx, candidates, classes);
    const auto before = [&](index_type a, index_type b) {
      const auto x = static_cast<std::size_t>(a), y = static_cast<std::size_t>(b);
      if (key[x] != key[y]) return key[x] > key[y];
      const int by_word = words[x].compare(words[y]);
      return by_word != 0 ? by_word < 0 : a < b;
    };
    std::vector<index_type> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), index_type{0});

    deviation_selection out;
    out.vetoes.resize(static_cast<std::size_t>(classes.classes()));
    condition<B> test(ctx, candidates, classes);
    std::map<std::string_view, std::vector<index_type>> passed;  // by tag
    const auto tag_of = [&](index_type i) {
      return options.tags.empty() ? std::string_view{} : std::string_view(options.tags[static_cast<std::size_t>(i)]);
    };
    const bool all = !options.tags.empty() || !options.lazy;
    index_type sorted = 0;  // rows of `order` that stand in their final place
    for (index_type first = 0; first < n && (all || out.passed <= options.count);) {
      // One word beyond M tells whether the cut runs through a tie.
      const index_type wanted = all ? n : std::max<index_type>(512, options.count + 1 - out.passed);
      const index_type count = std::min(n - first, wanted);
      if (!all && sorted < first + count) {
        const index_type end = std::min(n, std::max(first + count, 2 * sorted));
        if (end < n) std::nth_element(order.begin() + sorted, order.begin() + end, order.end(), before);
        std::sort(order.begin() + sorted, order.begin() + end, before);
        sorted = end;
      }
      const auto vetoes = test(
          std::span<const index_type>(order).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count)));
      for (index_type k = 0; k < count; ++k) {
        const auto row = order[static_cast<std::size_t>(first + k)];
        const auto veto = vetoes[static_cast<std::size_t>(k)];
        ++out.tested;
        if (veto >= 0) {
          ++out.vetoes[static_cast<std::size_t>(veto)];
        } else {
          ++out.passed;
          passed[tag_of(row)].push_back(row);
        }
      }
      first += count;
    }
    if (out.passed == 0) refuse(out);
    index_type left = std::min(options.count, out.passed), tags_left = static_cast<index_type>(passed.size());
    const index_type total = left;
    for (auto& [tag, rows] : passed) {
      const auto here = static_cast<index_type>(rows.size());
      const index_type quota = --tags_left == 0 ? left : total * here / out.passed;
      left -= quota;
      if (quota < here) std::nth_element(rows.begin(), rows.begin() + quota, rows.end(), before);
      std::sort(rows.begin(), rows.begin() + quota, before);
      for (index_type k = 0; k < quota; ++k) {
        const auto i = rows[static_cast<std::size_t>(k)];
        out.words.push_back({i, key[static_cast<std::size_t>(i)]});
      }
      for (index_type k = quota; quota > 0 && k < here; ++k)
        if (key[static_cast<std::size_t>(rows[static_cast<std::size_t>(k)])] == out.words.back().key)
          ++out.ties_at_boundary;
    }
    return out;
  }

 private:
  /// The pass over the corpus waits for memory: ask for rows before their turn (a seventh less time).
  static void read_ahead([[maybe_unused]] std::span<const float> row) {
#if defined(__GNUC__)
    constexpr std::size_t line = 64 / sizeof(float);
    for (std::size_t d = 0; d < row.size(); d += line) __builtin_prefetch(row.data() + d);
#endif
  }

  /// D of every candidate. A NaN or an infinity in a row makes its D one, so that the corpus is read once.
  template <Backend B>
  static std::vector<double> degrees(B& ctx, host_view<float> candidates, const inter_modal_distances& classes) {
    std::vector<double> key(static_cast<std::size_t>(candidates.rows));
    constexpr index_type rows_of_task = 512;
    ctx.for_each_task((candidates.rows + rows_of_task - 1) / rows_of_task, [&](auto&, index_type t) {
      const index_type end = std::min(candidates.rows, (t + 1) * rows_of_task);
      for (index_type i = t * rows_of_task; i < end; ++i) {
        read_ahead(candidates.row(std::min(i + 4, end - 1)));
        key[static_cast<std::size_t>(i)] = classes.degree(candidates.row(i));
      }
    });
    for (std::size_t i = 0; i < key.size(); ++i)
      if (!std::isfinite(key[i])) detail::refuse_row("candidates", static_cast<index_type>(i));
    return key;
  }

  /// The candidate condition for many rows: a float product sorts out the clear cases, double decides the others.
  template <Backend B>
  class condition {
   public:
    condition(B& ctx, host_view<float> candidates, const inter_modal_distances& classes)
        : ctx_(ctx),
          candidates_(candidates),
          classes_(classes),
          proxies_(ctx.freeze(detail::upload(ctx, classes.proxies()))) {
      host_matrix<real_t<B>> base(1, classes.classes());
      std::ranges::transform(classes.base(), base.row(0).begin(), [](double v) { return static_cast<real_t<B>>(v); });
      base_.emplace(ctx.from_host(base.view()));
      tolerance_ = detail::product_tolerance(ctx, classes.width());
    }

    /// For every row the class that refuses it, or -1.
    std::vector<index_type> operator()(std::span<const index_type> rows) const {
      std::vector<index_type> out(rows.size());
      constexpr index_type rows_of_task = 256;
      const auto n = static_cast<index_type>(rows.size());
      ctx_.for_each_task((n + rows_of_task - 1) / rows_of_task, [&](auto& worker, index_type t) {
        const index_type first = t * rows_of_task, count = std::min(rows_of_task, n - first);
        host_matrix<real_t<B>> block(count, candidates_.cols);
        for (index_type k = 0; k < count; ++k)
          std::ranges::copy(candidates_.row(rows[static_cast<std::size_t>(first + k)]), block.row(k).begin());
        const auto z = worker.matmul_nt(worker.from_host(block.view()), proxies_);
        const auto excess = worker.map_cols(element::subtract{}, z, *base_);                  // -margin by class
        const auto worst = worker.to_host(worker.reduce_rows(reduction::maximum{}, excess));  // [count, 1]
        std::vector<index_type> refused;
        for (index_type k = 0; k < count; ++k) {
          out[static_cast<std::size_t>(first + k)] = -1;
          if (double(worst(k, 0)) >= -tolerance_) refused.push_back(k);
        }
        if (refused.empty()) return;
        const auto where = worker.top_k(worker.gather_rows(excess, refused), 1).indices;
        for (std::size_t r = 0; r < refused.size(); ++r) {
          const index_type k = refused[r];
          auto& veto = out[static_cast<std::size_t>(first + k)];
          veto = where(static_cast<index_type>(r), 0);
          if (double(worst(k, 0)) > tolerance_) continue;
          const auto exact = classes_.margin(candidates_.row(rows[static_cast<std::size_t>(first + k)]));
          veto = exact.margin > 0 ? -1 : exact.class_index;
        }
      });
      return out;
    }

   private:
    B& ctx_;
    host_view<float> candidates_;
    const inter_modal_distances& classes_;
    frozen_t<B> proxies_;
    std::optional<tensor_t<B>> base_;
    double tolerance_ = 0;
  };

  static void check(host_view<float> candidates, std::span<const std::string> words,
                    const inter_modal_distances& classes, const deviation_options& options) {
    constexpr std::string_view where = "select_by_deviation";
    require_shape(candidates.cols == classes.width(), where, "candidates", candidates.rows, candidates.cols, "proxies",
                  classes.classes(), classes.width(), "widths must match");
    const auto one_each = [&](std::size_t n, const char* what) {
      if (static_cast<index_type>(n) != candidates.rows)
        fail(error_category::data, "negood.select.1", where,
             std::to_string(n) + " " + what + " for candidates " + shape_string(candidates.rows, candidates.cols),
             "one is needed for each row");
    };
    one_each(words.size(), "words");
    if (!options.tags.empty()) one_each(options.tags.size(), "tags");
    if (candidates.rows == 0) fail(error_category::data, "negood.select.2", where, "there are no candidates");
    if (options.count < 1)
      fail(error_category::usage, "negood.select.3", where, "the number of words to select is not positive");
  }

  [[noreturn]] static void refuse(const deviation_selection& s) {
    std::vector<index_type> order(s.vetoes.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<index_type>(i);
    std::ranges::stable_sort(order, [&](index_type a, index_type b) {
      return s.vetoes[static_cast<std::size_t>(a)] > s.vetoes[static_cast<std::size_t>(b)];
    });
    std::string who;
    for (std::size_t k = 0; k < std::min<std::size_t>(5, order.size()); ++k)
      if (const auto refused = s.vetoes[static_cast<std::size_t>(order[k])]; refused > 0)
        who += (who.empty() ? "class " : ", class ") + std::to_string(order[k]) + " (" + std::to_string(refused) + ")";
    fail(error_category::data, "negood.select.6", "select_by_deviation",
         "none of " + std::to_string(s.tested) + " words is a candidate; refused by " + who,
         "a class whose text and images are far apart refuses everything: check its name and its images");
  }
};
inline constexpr select_by_deviation_t select_by_deviation{};

}  // namespace negood
