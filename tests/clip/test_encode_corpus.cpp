// Corpus encoding: the trie holds every prefix once, and the features are those of the encoder without a trie.
#include "catch.hpp"
#include "code_of.hpp"
#include "towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/clip/encode_corpus.hpp>

#include <mutex>
#include <numeric>
#include <set>
#include <span>

using namespace negood;

namespace {

using sequences_type = std::vector<std::vector<index_type>>;
using contexts = std::tuple<reference::context<double>, eigen::context<double>, eigen::context<float>>;

std::span<const std::vector<index_type>> span_of(const sequences_type& v) { return v; }
std::span<const std::string> span_of(const std::vector<std::string>& v) { return v; }

const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\nab a</w>\n");
  return t;
}

template <class B>
clip::text_tower<B> small_tower(B& ctx) {
  return towers::random_text_tower(ctx,
                                   {.width = 16,
                                    .heads = 2,
                                    .layers = 3,
                                    .context_length = 24,
                                    .vocabulary = tokenizer().vocabulary_size(),
                                    .embedding = 8},
                                   11);
}

/// [start tokens | few different tokens | end], so that beginnings repeat, and some sequences stand several times. One
/// is the beginning of another.
sequences_type repetitive_sequences(index_type count, index_type beginning, std::uint64_t seed) {
  towers::random_values random(seed);
  sequences_type out;
  for (index_type i = 0; i < count; ++i) {
    std::vector<index_type> s;
    for (index_type t = 0; t < beginning; ++t) s.push_back(100 + t);
    for (auto n = random.below(6); n >= 0; --n) s.push_back(random.below(3));
    s.push_back(200);
    out.push_back(std::move(s));
  }
  out.push_back(out.front());
  auto longer = out.front();
  longer.push_back(7);
  out.push_back(std::move(longer));
  return out;
}

template <class Real>
host_matrix<Real> permuted(const host_matrix<Real>& m, const std::vector<index_type>& order) {
  host_matrix<Real> out(m.rows(), m.cols());
  for (index_type i = 0; i < m.rows(); ++i)
    std::ranges::copy(m.row(order[static_cast<std::size_t>(i)]), out.row(i).begin());
  return out;
}

}  // namespace

TEST_CASE("a trie has one node for every distinct prefix, and its chunks hold every sequence", "[encode_corpus]") {
  const auto sequences = repetitive_sequences(120, 2, 1);
  std::set<std::vector<index_type>> prefixes, distinct(sequences.begin(), sequences.end());
  for (const auto& s : sequences)
    for (std::size_t t = 3; t <= s.size(); ++t) prefixes.emplace(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(t));
  for (const index_type chunk_rows : {1, 5, 16, 64, 100000}) {
    CAPTURE(chunk_rows);
    const clip::token_trie trie(span_of(sequences), 2, chunk_rows);
    CHECK(trie.distinct_nodes() == static_cast<index_type>(prefixes.size()));
    CHECK(trie.nodes() >= trie.distinct_nodes());
    if (chunk_rows == 100000) {
      CHECK(trie.chunks() == 1);
      CHECK(trie.nodes() == trie.distinct_nodes());
    }
    index_type nodes = 0;
    std::vector<int> found(sequences.size());
    std::size_t paths = 0;
    for (index_type c = 0; c < trie.chunks(); ++c) {
      const auto chunk = trie.chunk(c);
      const auto n = static_cast<index_type>(chunk.token.size());
      nodes += n;
      if (chunk.paths.sequences() > 1) CHECK(n <= chunk_rows);
      REQUIRE(chunk.home.size() == chunk.token.size());
      REQUIRE(static_cast<index_type>(chunk.path_rows.size()) == chunk.paths.rows());
      for (index_type i = 0; i < n; ++i)
        CHECK(chunk.path_rows[static_cast<std::size_t>(chunk.home[static_cast<std::size_t>(i)])] == i);
      for (index_type k = 0; k < chunk.paths.sequences(); ++k, ++paths) {
        std::vector<index_type> path{100, 101};
        for (index_type t = 0; t < chunk.paths.length(k); ++t) {
          const auto node =
              static_cast<std::size_t>(chunk.path_rows[static_cast<std::size_t>(chunk.paths.first(k) + t)]);
          CHECK(chunk.position[node] == t + 2);
          path.push_back(chunk.token[node]);
        }
        CHECK(chunk.ends[static_cast<std::size_t>(k)] ==
              chunk.path_rows[static_cast<std::size_t>(chunk.paths.first(k + 1) - 1)]);
        REQUIRE_FALSE(trie.members(c, k).empty());
        for (const index_type i : trie.members(c, k)) {
          ++found[static_cast<std::size_t>(i)];
          CHECK(sequences[static_cast<std::size_t>(i)] == path);
        }
      }
    }
    CHECK(nodes == trie.nodes());
    CHECK(paths == distinct.size());
    CHECK(std::ranges::count(found, 1) == static_cast<std::ptrdiff_t>(found.size()));
  }
}

TEMPLATE_LIST_TEST_CASE("the trie gives the features of the encoder without one", "[encode_corpus]", contexts) {
  TestType ctx;
  const auto tower = small_tower(ctx);
  for (const index_type beginning : {0, 1, 3}) {
    CAPTURE(beginning);
    const auto sequences = repetitive_sequences(60, beginning, 2);
    const auto expected = clip::encode_tokens_raw(ctx, tower, span_of(sequences));
    const auto found = clip::encode_token_trie_raw(ctx, tower, span_of(sequences), {.chunk_rows = 20});
    CHECK(towers::difference(found, expected) < towers::tolerance<typename TestType::real>());
    for (const index_type chunk_rows : {1, 3, 1000})
      CHECK(clip::encode_token_trie_raw(ctx, tower, span_of(sequences), {.chunk_rows = chunk_rows}) == found);
  }
  CHECK(clip::encode_token_trie_raw(ctx, tower, {}).rows() == 0);
  const sequences_type one{{5}}, two{{5, 6, 7}, {5, 6}};
  for (const auto& few : {one, two})
    CHECK(towers::difference(clip::encode_token_trie_raw(ctx, tower, span_of(few)),
                             clip::encode_tokens_raw(ctx, tower, span_of(few))) <
          towers::tolerance<typename TestType::real>());
}

TEST_CASE("the trie gives the features of the padded form", "[encode_corpus]") {
  reference::context<double> ctx;
  const auto tower = small_tower(ctx);
  const auto sequences = repetitive_sequences(12, 2, 3);
  const auto n = static_cast<index_type>(sequences.size()), length = tower.config.context_length;
  std::vector<index_type> ids(static_cast<std::size_t>(n * length)), ends;
  for (index_type i = 0; i < n; ++i) {
    const auto& s = sequences[static_cast<std::size_t>(i)];
    std::ranges::copy(s, ids.begin() + i * length);
    ends.push_back(static_cast<index_type>(s.size()) - 1);
  }
  towers::padded_tower padded(ctx, tower, n);
  const auto rows = ctx.gather_rows(tower.token_embedding, std::span<const index_type>(ids));
  const auto expected = ctx.to_host(padded.encode(rows, ends));
  CHECK(towers::difference(clip::encode_token_trie_raw(ctx, tower, span_of(sequences)), expected) < 1e-12);
}

TEST_CASE("the order of words, other words, chunks and threads do not show in the bytes", "[encode_corpus]") {
  std::vector<std::string> words;
  for (int i = 0; i < 150; ++i) {
    std::string word;
    for (int k = i; k > 0; k /= 4) word += "abc "[k % 4];
    words.push_back("w" + word);
  }
  const std::vector<std::string> templates{"the {}.", "a {} q"};
  host_matrix<float> first;
  for (const index_type threads : {1, 2, 4}) {
    eigen::context<float> ctx({.threads = threads});
    const auto tower = small_tower(ctx);
    const auto encode = [&](const std::vector<std::string>& w, index_type chunk_rows) {
      return clip::encode_corpus(ctx, tower, tokenizer(), span_of(w), span_of(templates), {.chunk_rows = chunk_rows});
    };
    const auto all = encode(words, 64);
    if (threads == 1) first = all;
    CHECK(all == first);
    CHECK(encode(words, 7) == first);
    std::vector<index_type> order(words.size());
    std::iota(order.begin(), order.end(), index_type{0});
    std::mt19937_64 g(4);
    std::shuffle(order.begin(), order.end(), g);
    std::vector<std::string> moved, some(words.begin() + 20, words.begin() + 23);
    for (const auto i : order) moved.push_back(words[static_cast<std::size_t>(i)]);
    CHECK(encode(moved, 64) == permuted(first, order));
    const auto few = encode(some, 64);
    for (index_type i = 0; i < 3; ++i) CHECK(std::ranges::equal(few.row(i), first.row(20 + i)));
  }
}

TEST_CASE("several templates: the mean of unit features, or of raw ones", "[encode_corpus]") {
  reference::context<double> ctx;
  const auto tower = small_tower(ctx);
  const std::vector<std::string> words{"ab", "aba", "cd ab", "ab", "x_y"}, templates{"the {}.", "{}", "a $ d"};
  const auto unit = clip::encode_corpus(ctx, tower, tokenizer(), span_of(words), span_of(templates));
  const auto expected = clip::encode_texts_with_templates(ctx, tower, tokenizer(), span_of(words), span_of(templates));
  CHECK(towers::difference(unit, expected) < 1e-12);
  CHECK(std::ranges::equal(unit.row(0), unit.row(3)));

  const auto raw = clip::encode_corpus(ctx, tower, tokenizer(), span_of(words), span_of(templates),
                                       {.mean = clip::template_mean::raw});
  host_matrix<double> mean(5, 8);
  for (const auto& pattern : templates) {
    std::vector<std::string> texts;
    for (const auto& w : words) texts.push_back(clip::fill_template(pattern, w));
    const auto each = clip::encode_texts_raw(ctx, tower, tokenizer(), span_of(texts));
    for (index_type i = 0; i < mean.size(); ++i) mean.data()[i] += each.data()[i];
  }
  for (index_type i = 0; i < mean.rows(); ++i) {
    double square = 0;
    for (const double v : mean.row(i)) square += v * v;
    for (double& v : mean.row(i)) v /= std::sqrt(square);
  }
  CHECK(towers::difference(raw, mean) < 1e-12);
  CHECK(towers::difference(raw, unit) > 1e-6);  // the two means are not the same

  const std::vector<std::string> one{"the {}."};
  CHECK(clip::encode_corpus(ctx, tower, tokenizer(), span_of(words), span_of(one)) ==
        clip::encode_corpus(ctx, tower, tokenizer(), span_of(words), span_of(one), {.mean = clip::template_mean::raw}));
  CHECK(clip::encode_corpus(ctx, tower, tokenizer(), {}, span_of(templates)).rows() == 0);
}

TEST_CASE("what cannot be encoded is refused, progress counts every text", "[encode_corpus]") {
  eigen::context<float> ctx({.threads = 2});
  const auto tower = small_tower(ctx);
  const sequences_type empty{{1}, {}}, foreign{{1, 99999}}, long_one{{1}, sequences_type::value_type(25, 3)};
  CHECK(code_of([&] { clip::encode_token_trie_raw(ctx, tower, span_of(empty)); }) == "negood.model.14");
  CHECK(code_of([&] { clip::encode_token_trie_raw(ctx, tower, span_of(foreign)); }) == "negood.model.14");
  CHECK(code_of([&] { clip::encode_token_trie_raw(ctx, tower, span_of(long_one)); }) == "negood.prompt.1");
  const std::vector<std::string> words{"ab", "aba", "cd ab", "ab", "x_y"}, no_place{"the"}, templates{"the {}.", "{}"};
  const auto encode = [&](std::span<const std::string> t, const clip::encode_corpus_options& o = {}) {
    return clip::encode_corpus(ctx, tower, tokenizer(), span_of(words), t, o);
  };
  CHECK(code_of([&] { encode({}); }) == "negood.model.15");
  CHECK(code_of([&] { encode(span_of(no_place)); }) == "negood.model.15");
  std::mutex mutex;
  index_type done = 0;
  encode(span_of(templates), {.chunk_rows = 4, .on_progress = [&](index_type n) {
                                const std::lock_guard lock(mutex);
                                done += n;
                              }});
  CHECK(done == 10);
  struct stop {};
  CHECK_THROWS_AS(encode(span_of(templates), {.on_progress = [](index_type) { throw stop{}; }}), stop);
}
