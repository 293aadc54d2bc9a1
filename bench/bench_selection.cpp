// Choosing negative words among many: InterNeg's deviation degree (lazy, and with a quota) and NegLabel's percentile.
//   bench_selection --words 69554 --classes 1000 --dim 512 --threads 2 --precision f32 --repeats 5
// Prints one JSON line; `median_s` is that of the method named by --method: lazy, quota or percentile.
//   bench_selection --check
// measures nothing: selects at the same size lazily, testing every word, with a quota and by percentile, in every
// precision, and ends with 1 unless set, order and keys are those of the definition in double.
#include "random_tower.hpp"

#include <negood/select/deviation_degree.hpp>
#include <negood/select/percentile.hpp>

using namespace negood;

namespace {

struct problem {
  host_matrix<float> texts, proxies, candidates;
  std::vector<std::string> words, tags;
};

/// Texts and proxies share a direction, so that about nine words in ten are candidates, as in the paper's corpus.
problem make_problem(index_type n, index_type classes, index_type d) {
  const auto leaning = [&](index_type rows, double lean, std::uint64_t index) {
    auto m = bench::random_rows(rows, d, 1 / std::sqrt(double(d)), index);
    for (index_type r = 0; r < rows; ++r) {
      m(r, 0) += static_cast<float>(lean);
      double norm = 0;
      for (const float v : m.row(r)) norm += double(v) * double(v);
      for (float& v : m.row(r)) v = static_cast<float>(v / std::sqrt(norm));
    }
    return m;
  };
  problem out{leaning(classes, 1.0, 1), leaning(classes, 1.0, 2), leaning(n, 0.1, 3), {}, {}};
  for (index_type i = 0; i < n; ++i) {
    out.words.push_back("word " + std::to_string(i));
    out.tags.push_back(i % 6 == 0 ? "a" : "n");
  }
  return out;
}

/// The hard cases: words that are far from the classes on average and near to one of them, words pulled towards a proxy
/// until they stand on the boundary of the condition, and words that stand twice.
void make_hard(problem& q, const inter_modal_distances& classes) {
  const auto unit = [](std::span<float> row) {
    double norm = 0;
    for (const float v : row) norm += double(v) * double(v);
    for (float& v : row) v = static_cast<float>(v / std::sqrt(norm));
  };
  for (index_type i = 0; i < q.candidates.rows(); ++i) {
    const index_type c = i % q.proxies.rows();
    const auto row = q.candidates.row(i);
    if (i % 29 == 0) {
      std::ranges::copy(q.proxies.row(c), row.begin());
      row[0] = -0.1F;
      unit(row);
    } else if (i % 97 == 0) {
      const std::vector<float> start(row.begin(), row.end());
      float far = 0, near = 10;
      for (int step = 0; step < 30; ++step) {
        const float t = (far + near) / 2;
        for (std::size_t d = 0; d < row.size(); ++d) row[d] = start[d] + t * q.proxies(c, static_cast<index_type>(d));
        unit(row);
        (classes.margin(row).margin > 0 ? far : near) = t;
      }
    } else if (i % 101 == 0) {
      std::ranges::copy(q.candidates.row(i - 1), row.begin());
    }
  }
}

/// The definition: the whole words x classes matrix in double, a piece at a time.
struct judged {
  std::vector<bool> candidate;
  std::vector<double> degree;
};
judged by_definition(eigen::context<double>& ctx, const problem& q, const inter_modal_distances& classes) {
  const index_type n = q.candidates.rows(), c = q.texts.rows(), piece = 1024;
  judged out{std::vector<bool>(static_cast<std::size_t>(n)), std::vector<double>(static_cast<std::size_t>(n))};
  const auto proxies = ctx.from_host(cast<double>(q.proxies).view());
  std::vector<double> base;
  for (index_type i = 0; i < c; ++i) {
    double sum = 0;
    for (index_type d = 0; d < q.texts.cols(); ++d) sum += double(q.texts(i, d)) * double(q.proxies(i, d));
    base.push_back(sum);
  }
  index_type near = 0;
  for (index_type first = 0; first < n; first += piece) {
    const auto count = std::min(piece, n - first);
    const auto z = ctx.to_host(
        ctx.matmul_nt(ctx.from_host(cast<double>(q.candidates.view().slice_rows(first, count)).view()), proxies));
    for (index_type k = 0; k < count; ++k) {
      double degree = 0, margin = 1e300;
      for (index_type i = 0; i < c; ++i) {
        const double excess = base[static_cast<std::size_t>(i)] - z(k, i);
        degree += excess / double(c);
        margin = std::min(margin, excess);
      }
      near += std::abs(margin) < 1e-7 ? 1 : 0;
      if (std::abs(margin) < 1e-13)  // the product's own rounding: the sum whose order is laid down decides
        margin = classes.margin(q.candidates.row(first + k)).margin;
      out.candidate[static_cast<std::size_t>(first + k)] = margin > 0;
      out.degree[static_cast<std::size_t>(first + k)] = degree;
    }
  }
  std::printf("%lld margins within 1e-7 of the boundary\n", static_cast<long long>(near));
  return out;
}

/// The definition's choice among the words of one tag, or among all.
std::vector<index_type> chosen(const judged& j, const problem& q, index_type count, const char* tag) {
  std::vector<index_type> rows;
  for (index_type i = 0; i < q.candidates.rows(); ++i)
    if (j.candidate[static_cast<std::size_t>(i)] && (tag == nullptr || q.tags[static_cast<std::size_t>(i)] == tag))
      rows.push_back(i);
  std::ranges::sort(rows, [&](index_type a, index_type b) {
    const auto x = static_cast<std::size_t>(a), y = static_cast<std::size_t>(b);
    if (j.degree[x] != j.degree[y]) return j.degree[x] > j.degree[y];
    return q.words[x] < q.words[y];
  });
  rows.resize(std::min(rows.size(), static_cast<std::size_t>(count)));
  return rows;
}

int check(const bench::arguments& o) {
  const index_type n = o.number("words"), count = 2000;
  problem q = make_problem(n, o.number("classes"), o.number("dim"));
  const inter_modal_distances classes(q.texts.view(), q.proxies.view());
  make_hard(q, classes);
  const std::span<const std::string> words(q.words);
  eigen::context<double> exact({.threads = o.number("threads")});
  const judged j = by_definition(exact, q, classes);
  const auto passed = std::ranges::count(j.candidate, true);
  const auto one_ranking = chosen(j, q, count, nullptr);
  const auto adjectives = static_cast<index_type>(chosen(j, q, n, "a").size());
  auto with_quota = chosen(j, q, count * adjectives / passed, "a");
  const auto nouns = chosen(j, q, count - static_cast<index_type>(with_quota.size()), "n");
  with_quota.insert(with_quota.end(), nouns.begin(), nouns.end());
  const percentile_options percentile{.fraction = 0.15};
  const auto far = select_by_percentile(q.candidates.view(), words, q.texts.view(), percentile);

  int wrong = 0;
  const auto say = [&](const char* what, const std::string& precision, bool equal, index_type tested) {
    std::printf("%-28s %-7s %s (%lld tested)\n", what, precision.c_str(), equal ? "equal" : "DIFFERENT",
                static_cast<long long>(tested));
    wrong += equal ? 0 : 1;
  };
  for (const std::string name : {"f32", "bf16x3", "bf16"}) {
    bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(name)});
    const auto compare = [&](const char* what, const deviation_selection& got, const std::vector<index_type>& wanted) {
      bool equal = got.words.size() == wanted.size();
      for (std::size_t k = 0; equal && k < wanted.size(); ++k)
        equal = got.words[k].index == wanted[k] &&
                std::abs(got.words[k].key - j.degree[static_cast<std::size_t>(wanted[k])]) < 1e-13;
      say(what, name, equal, got.tested);
    };
    compare("lazy", select_by_deviation(ctx, q.candidates.view(), words, classes, {.count = count}), one_ranking);
    const auto all = select_by_deviation(ctx, q.candidates.view(), words, classes, {.count = count, .lazy = false});
    compare("every word", all, one_ranking);
    say("number of candidates", name, all.passed == passed && all.tested == n, all.tested);
    compare("quota", select_by_deviation(ctx, q.candidates.view(), words, classes, {.count = count, .tags = q.tags}),
            with_quota);
    say("percentile", name, select_by_percentile(ctx, q.candidates.view(), words, q.texts.view(), percentile) == far,
        n);
  }
  std::printf("%lld of %lld words are candidates; %d differences\n", static_cast<long long>(passed),
              static_cast<long long>(n), wrong);
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const bool only_check = argc > 1 && std::string_view(argv[1]) == "--check";
  const bench::arguments o(only_check ? argc - 1 : argc, only_check ? argv + 1 : argv,
                           {{"words", "69554"},
                            {"classes", "1000"},
                            {"dim", "512"},
                            {"method", "lazy"},
                            {"threads", "2"},
                            {"precision", "f32"},
                            {"repeats", "5"}});
  if (only_check) return check(o);
  bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(o.text("precision"))});
  const index_type n = o.number("words"), d = o.number("dim"), classes = o.number("classes");
  const problem q = make_problem(n, classes, d);
  const std::span<const std::string> names(q.words);
  std::size_t selected = 0;
  index_type passed = 0;
  const auto t = bench::measure(o.number("repeats"), [&] {
    if (o.text("method") == "percentile") {
      selected = select_by_percentile(ctx, q.candidates.view(), names, q.texts.view(), {.fraction = 0.15}).size();
      return;
    }
    const inter_modal_distances distances(q.texts.view(), q.proxies.view());
    const bool quota = o.text("method") == "quota";
    const auto s = select_by_deviation(
        ctx, q.candidates.view(), names, distances,
        {.count = 2000, .tags = quota ? std::span<const std::string>(q.tags) : std::span<const std::string>()});
    selected = s.words.size();
    passed = s.passed;
  });
  std::printf(
      "{\"bench\":\"selection\",\"method\":\"%s\",\"words\":%lld,\"classes\":%lld,\"dim\":%lld,\"threads\":%lld,"
      "\"precision\":\"%s\",\"repeats\":%s,\"median_s\":%.6f,\"user_s\":%.6f,\"peak_gb\":%.3f,\"selected\":%zu,"
      "\"passed\":%lld}\n",
      o.text("method").c_str(), static_cast<long long>(n), static_cast<long long>(classes), static_cast<long long>(d),
      static_cast<long long>(ctx.threads()), o.text("precision").c_str(), o.text("repeats").c_str(), t.median_s,
      t.user_s, bench::peak_gigabytes(), selected, static_cast<long long>(passed));
}
