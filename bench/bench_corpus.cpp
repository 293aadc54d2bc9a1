// Features of many words in one template, at the shape of ViT-B/16's text tower with random weights.
//   bench_corpus --words 4096 --template "The nice {}." --threads 2 --precision f32 --repeats 3 --method trie
// Words are runs of 64 neighbours in the sorted list of WordNet's nouns and adjectives, so that they share beginnings
// as the whole list does (rows a word: 3.66 against 3.65 of all 136,139 words). `trie` computes every distinct
// beginning once, `prefix` shares only what all texts have in common. Prints one JSON line; `rows` is what was
// computed.
#include "random_tower.hpp"

#include <negood/clip/encode_corpus.hpp>
#include <negood/io/corpus.hpp>

using namespace negood;

int main(int argc, char** argv) {
  auto defaults = bench::name_options;
  defaults.insert({{"words", "4096"},
                   {"wordnet", "/usr/share/wordnet"},
                   {"template", "The nice {}."},
                   {"threads", "2"},
                   {"precision", "f32"},
                   {"repeats", "3"},
                   {"chunk-rows", "256"},
                   {"method", "trie"}});
  const bench::arguments o(argc, argv, defaults);
  bench::context ctx({.threads = o.number("threads"), .precision = parse_precision(o.text("precision"))});
  const auto tokenizer = bench::read_tokenizer(o);
  const auto tower = bench::vit_b16_text_tower(ctx, tokenizer.vocabulary_size());
  auto all = read_wordnet(o.text("wordnet")).words;
  std::ranges::sort(all);
  std::vector<std::string> words;
  const auto n = std::min(static_cast<std::size_t>(o.number("words")), all.size());
  constexpr std::size_t run = 64;
  const auto runs = (n + run - 1) / run;
  for (std::size_t i = 0; i < n; ++i) words.push_back(all[(i / run) * all.size() / runs + i % run]);
  const std::span<const std::string> list(words);
  const std::vector<std::string> templates{o.text("template")};
  const std::span<const std::string> patterns(templates);

  std::vector<std::string> texts;
  for (const auto& w : words) texts.push_back(clip::fill_template(templates[0], w));
  const auto tokens = clip::tokenise(tokenizer, std::span<const std::string>(texts), 77);
  const std::span<const std::vector<index_type>> sequences(tokens);
  const auto common = clip::detail::common_prefix(sequences);
  const clip::token_trie trie(sequences, common, o.number("chunk-rows"));
  index_type positions = 0;
  for (const auto& s : tokens) positions += static_cast<index_type>(s.size());
  const auto ragged = positions - common * static_cast<index_type>(tokens.size());

  const bool with_trie = o.text("method") == "trie";
  double checksum = 0;
  const auto t = bench::measure(o.number("repeats"), [&] {
    const auto features =
        with_trie ? clip::encode_corpus(ctx, tower, tokenizer, list, patterns, {.chunk_rows = o.number("chunk-rows")})
                  : clip::encode_texts_with_templates(ctx, tower, tokenizer, list, patterns);
    checksum = 0;
    for (const float v : features.values()) checksum += double(v);
  });
  std::printf(
      "{\"bench\":\"corpus\",\"method\":\"%s\",\"words\":%zu,\"positions\":%lld,\"rows\":%lld,\"distinct\":%lld,"
      "\"threads\":%lld,\"precision\":\"%s\",\"repeats\":%s,\"median_s\":%.6f,\"user_s\":%.6f,\"words_per_s\":%.1f,"
      "\"peak_gb\":%.3f,\"checksum\":%.6f}\n",
      o.text("method").c_str(), words.size(), static_cast<long long>(positions),
      static_cast<long long>(with_trie ? trie.nodes() : ragged), static_cast<long long>(trie.distinct_nodes()),
      static_cast<long long>(ctx.threads()), o.text("precision").c_str(), o.text("repeats").c_str(), t.median_s,
      t.user_s, double(words.size()) / t.median_s, bench::peak_gigabytes(), checksum);
}
