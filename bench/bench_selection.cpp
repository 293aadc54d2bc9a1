// Choosing negative words among many: InterNeg's deviation degree (lazy, and with a quota) and NegLabel's percentile.
//   bench_selection --words 69554 --classes 1000 --dim 512 --threads 2 --precision f32 --repeats 5
// Prints one JSON line; `median_s` is that of the method named by --method: lazy, quota or percentile.
#include "random_tower.hpp"

#include <negood/select/deviation_degree.hpp>
#include <negood/select/percentile.hpp>

using namespace negood;

int main(int argc, char** argv) {
  const bench::arguments o(argc, argv,
                           {{"words", "69554"},
                            {"classes", "1000"},
                            {"dim", "512"},
                            {"method", "lazy"},
                            {"threads", "2"},
                            {"precision", "f32"},
                            {"repeats", "5"}});
  bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(o.text("precision"))});
  const index_type n = o.number("words"), d = o.number("dim"), classes = o.number("classes");
  // Texts and proxies share a direction, so that about nine words in ten are candidates, as in the paper's corpus.
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
  const auto texts = leaning(classes, 1.0, 1), proxies = leaning(classes, 1.0, 2), candidates = leaning(n, 0.1, 3);
  std::vector<std::string> words, tags;
  for (index_type i = 0; i < n; ++i) {
    words.push_back("word " + std::to_string(i));
    tags.push_back(i % 6 == 0 ? "a" : "n");
  }
  const std::span<const std::string> names(words);
  std::size_t selected = 0;
  index_type passed = 0;
  const auto t = bench::measure(o.number("repeats"), [&] {
    if (o.text("method") == "percentile") {
      selected = select_by_percentile(ctx, candidates.view(), names, texts.view(), {.fraction = 0.15}).size();
      return;
    }
    const inter_modal_distances distances(texts.view(), proxies.view());
    const bool quota = o.text("method") == "quota";
    const auto s = select_by_deviation(
        ctx, candidates.view(), names, distances,
        {.count = 2000, .tags = quota ? std::span<const std::string>(tags) : std::span<const std::string>()});
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
