// negood select: negative words by NegLabel's percentile, CSP's and CLIPScope's variants of it, or InterNeg's deviation
// degree, from features.
#include "commands.hpp"

#include <negood/io/atomic_file.hpp>
#include <negood/select/both_ends.hpp>
#include <negood/select/csp.hpp>
#include <negood/select/deviation_degree.hpp>

namespace negood::cli {
namespace {

struct choice {
  std::vector<selected_word> words;
  ordered_json report;
};

/// NegLabel ranks every part of speech by itself, with its share of M by the number of its words.
template <Backend B>
choice by_percentile(B& ctx, const select_options& o, const host_matrix<float>& candidates,
                     const std::vector<std::string>& words, const std::vector<std::string>& tags,
                     const host_matrix<float>& id_text) {
  const auto rule = choose<percentile_rule>(
      "--percentile-rule", o.percentile_rule,
      {{"floor", percentile_rule::floor_index}, {"interpolated", percentile_rule::interpolated}});
  const auto ranking = select_by_percentile(ctx, candidates.view(), std::span<const std::string>(words), id_text.view(),
                                            {.count = candidates.rows(), .percentile = o.percentile, .rule = rule});
  return {first_of_each_tag(ranking, tags, {.count = o.count}),
          {{"key", "percentile of the cosines to the classes, smaller first"}}};
}

template <Backend B>
choice by_csp(B& ctx, const select_options& o, const host_matrix<float>& candidates,
              const std::vector<std::string>& words, const std::vector<std::string>& tags,
              const host_matrix<float>& id_text) {
  const auto s = select_by_csp(ctx, candidates.view(), std::span<const std::string>(words), id_text.view(),
                               {.percentile = o.percentile, .count = o.count, .tags = tags});
  return {s.words,
          {{"key", "percentile of the cosines to the classes, smaller first; near copies of a class last"},
           {"words_too_near", s.too_near}}};
}

template <Backend B>
choice by_both_ends(B& ctx, const select_options& o, const host_matrix<float>& candidates,
                    const std::vector<std::string>& words, const host_matrix<float>& id_text) {
  auto s =
      select_both_ends(ctx, candidates.view(), std::span<const std::string>(words), id_text.view(), {.count = o.count});
  choice out{std::move(s.farthest), {{"key", "50th-largest cosine to the classes; farthest first, then nearest"}}};
  out.report["farthest"] = out.words.size();
  out.words.insert(out.words.end(), s.nearest.begin(), s.nearest.end());
  return out;
}

template <Backend B>
choice by_deviation(B& ctx, const select_options& o, const host_matrix<float>& candidates,
                    const std::vector<std::string>& words, const std::vector<std::string>& tags,
                    const host_matrix<float>& id_text) {
  if (o.proxies.empty())
    fail(error_category::usage, "negood.cli.6", "select", "interneg needs --proxies",
         "unit means of the image features of every class, [C, D]");
  const auto proxies = read_unit_features<float>(o.common, o.proxies, o.rows).rows;
  check_same_width(proxies.cols(), o.proxies, id_text.cols(), o.id_text);
  const inter_modal_distances classes(id_text.view(), proxies.view());
  const auto s = select_by_deviation(ctx, candidates.view(), std::span<const std::string>(words), classes,
                                     {.count = o.count, .tags = std::span<const std::string>(tags)});
  choice out{s.words, {{"key", "deviation degree, larger first"}}};
  out.report["tested"] = s.tested;
  out.report["passed"] = s.passed;
  out.report["ties_at_boundary"] = s.ties_at_boundary;
  auto& vetoes = out.report["vetoes"] = ordered_json::object();
  for (std::size_t c = 0; c < s.vetoes.size(); ++c)
    if (s.vetoes[c] > 0) vetoes[std::to_string(c)] = s.vetoes[c];
  return out;
}

template <Backend B>
int select(B& ctx, const select_options& o) {
  const auto candidates = read_unit_features<float>(o.common, o.candidates, o.rows).rows;
  const auto id_text = read_unit_features<float>(o.common, o.id_text, o.rows).rows;
  check_same_width(candidates.cols(), o.candidates, id_text.cols(), o.id_text);
  std::vector<std::string> words, tags;
  for (const auto& line : read_names(o.words, {.duplicates = duplicate_policy::keep})) {
    const auto tab = std::min(line.find('\t'), line.size());
    words.push_back(line.substr(0, tab));
    const auto rest = tab < line.size() ? line.substr(tab + 1) : std::string();
    tags.push_back(rest.substr(0, rest.find('\t')));
  }
  if (!o.tags.empty()) tags = read_names(o.tags, {.duplicates = duplicate_policy::keep});
  for (const auto n : {words.size(), tags.size()})
    if (static_cast<index_type>(n) != candidates.rows())
      fail(error_category::data, "negood.labels.1", o.words,
           std::to_string(n) + " lines for " + std::to_string(candidates.rows()) + " rows of " + o.candidates,
           "one a row");
  const bool by_tag =
      choose<bool>("--quota", o.quota, {{"pos", true}, {"none", false}}) && std::ranges::count(tags, "") == 0;
  const auto quota_tags = by_tag ? tags : std::vector<std::string>();
  enum class rule { percentile, csp, both_ends, deviation };
  const auto how = choose<rule>("--method", o.method,
                                {{"neglabel", rule::percentile},
                                 {"csp", rule::csp},
                                 {"clipscope", rule::both_ends},
                                 {"interneg", rule::deviation}});
  const auto chosen = how == rule::percentile  ? by_percentile(ctx, o, candidates, words, quota_tags, id_text)
                      : how == rule::csp       ? by_csp(ctx, o, candidates, words, quota_tags, id_text)
                      : how == rule::both_ends ? by_both_ends(ctx, o, candidates, words, id_text)
                                               : by_deviation(ctx, o, candidates, words, quota_tags, id_text);
  ordered_json out{{"method", o.method}, {"candidates", words.size()}, {"quota", by_tag ? "pos" : "none"}};
  out.update(chosen.report);
  auto& list = out["selected"] = ordered_json::array();
  for (std::size_t k = 0; k < chosen.words.size(); ++k) {
    const auto row = static_cast<std::size_t>(chosen.words[k].index);
    list.push_back({{"word", words[row]},
                    {"rank", k + 1},
                    {"key", chosen.words[k].key},
                    {"tag", tags[row]},
                    {"row", chosen.words[k].index}});
  }
  write_file(o.out, dump_json(out) + "\n");
  say(o.common,
      escape(o.out) + ": " + std::to_string(chosen.words.size()) + " of " + std::to_string(words.size()) + " words");
  result(o.common, {{"out", o.out}, {"selected", chosen.words.size()}, {"candidates", words.size()}});
  return 0;
}

}  // namespace

int run_select(const select_options& o) {
  return with_backend(o.common, [&](auto& ctx) { return select(ctx, o); });
}

}  // namespace negood::cli
