/// \file tokenizer.hpp  CLIP's byte-pair tokenizer (Radford et al., ICML 2021), from its published merges file.
#pragma once

#include <negood/clip/clean_text.hpp>
#include <negood/clip/unicode.hpp>
#include <negood/error.hpp>
#include <negood/hash.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace negood {

/// What to do with a prompt of more tokens than the text tower has positions.
enum class overflow_policy {
  reject,   ///< throw, naming the number of tokens
  truncate  ///< drop the last tokens; the end-of-text token stays
};

/// How a merges file is read.
struct merges_options {
  /// Rows of the model's token embedding, when known: that many minus 514 merges are used. 0: not known, and
  /// `max_merges` or the whole file decides.
  index_type vocabulary_size = 0;
  /// The published CLIP file holds more merges than CLIP uses.
  index_type max_merges = 48894;
};

/// Splits a text into the token ids of a CLIP text tower.
///
/// A text is cleaned (`clean_text`), cut into words - runs of letters, single digits, the endings 's 't 're 've 'm 'll
/// 'd, runs of anything else but white space - and each word's bytes are joined pair by pair, the pair that was
/// learned first going first. Ids: 256 byte symbols, the same at a word's end, one per merge, start of text, end of
/// text. The literals `<|startoftext|>` and `<|endoftext|>` in a text become those two ids, as in the released code.
///
/// `encode` is const, keeps no cache and may be called from many threads; a word of n bytes costs O(n log n).
class bpe_tokenizer {
 public:
  /// From the text of `bpe_simple_vocab_16e6.txt` (inflated) or a file of the same layout: a header line with
  /// "#version", then one merge "left right" a line, best first.
  /// Throws negood.tokenizer.1 if the text is no such file, negood.tokenizer.2 if it has too few merges for the model.
  static bpe_tokenizer from_merges(std::string_view text, merges_options options = {}) {
    const auto wanted = wanted_merges(options);
    const auto merges = parse_merges(text, wanted);
    if (options.vocabulary_size > 0 && static_cast<index_type>(merges.size()) < wanted)
      fail(error_category::artifact, "negood.tokenizer.2", "tokenizer",
           "the model has " + std::to_string(options.vocabulary_size) + " tokens, the merges give " +
               std::to_string(merges.size() + 514),
           "take the tokenizer file that came with the model");
    std::unordered_map<std::string, int> vocabulary;
    const auto symbols = byte_symbols();
    int next = 0;
    for (const int byte : byte_order()) vocabulary[symbols[static_cast<std::size_t>(byte)]] = next++;
    for (const int byte : byte_order()) vocabulary[symbols[static_cast<std::size_t>(byte)] + word_end] = next++;
    for (const auto& merge : merges) vocabulary[merge.first + merge.second] = next++;
    vocabulary["<|startoftext|>"] = next++;
    vocabulary["<|endoftext|>"] = next++;
    return bpe_tokenizer(vocabulary, merges, next);
  }

  /// From HuggingFace's two files: `vocab.json` as a map from token to id, and the merges of `merges.txt`
  /// (`parse_merges` reads its text). Tokens are written in the byte alphabet of those files.
  /// Throws negood.tokenizer.6 if a special token or a merge's result is missing.
  static bpe_tokenizer from_vocabulary(const std::unordered_map<std::string, int>& vocabulary,
                                       const std::vector<std::pair<std::string, std::string>>& merges) {
    // Ids may have small holes, but not so large that the table of tokens outgrows the file.
    const auto limit = static_cast<index_type>(vocabulary.size()) + 65536;
    int last = -1;
    for (const auto& entry : vocabulary) {
      if (entry.second < 0 || entry.second >= limit)
        fail(error_category::artifact, "negood.tokenizer.6", "vocabulary",
             "token id " + std::to_string(entry.second) + " is out of range");
      last = std::max(last, entry.second);
    }
    return bpe_tokenizer(vocabulary, merges, last + 1);
  }

  /// The merges of a text in the published layout; at most `limit` of them.
  static std::vector<std::pair<std::string, std::string>> parse_merges(std::string_view text,
                                                                       index_type limit = max_id) {
    const auto bad = [](std::string what) {
      fail(error_category::artifact, "negood.tokenizer.1", "merges file", std::move(what),
           "expected a first line with #version, then one merge \"left right\" a line");
    };
    const auto next_line = [&text] {
      const auto end = std::min(text.find('\n'), text.size());
      auto line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      return line;
    };
    if (next_line().find("#version") == std::string_view::npos) bad("the first line has no #version");
    std::vector<std::pair<std::string, std::string>> merges;
    while (!text.empty() && static_cast<index_type>(merges.size()) < limit) {
      const auto line = next_line();
      if (line.empty() && text.empty()) break;
      const auto space = line.find(' ');
      if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
          line.find(' ', space + 1) != std::string_view::npos)
        bad("line " + std::to_string(merges.size() + 2) + " is not a pair of symbols");
      merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    }
    return merges;
  }

  /// The ids of a text, without start and end. Throws negood.tokenizer.3 with the byte offset for invalid UTF-8 and
  /// NUL, negood.tokenizer.4 above 1 MiB, negood.tokenizer.6 for a byte the vocabulary lacks.
  std::vector<int> encode(std::string_view utf8) const {
    const std::u32string text = clean_text(utf8);
    std::vector<int> ids;
    std::string word;
    for (std::size_t i = 0; i < text.size();) {
      if (text[i] == U' ') {
        ++i;
        continue;
      }
      const std::size_t length = word_length(std::u32string_view(text).substr(i));
      word.clear();
      for (std::size_t j = i; j < i + length; ++j) unicode::append_utf8(word, text[j]);
      i += length;
      if (word == "<|startoftext|>")
        ids.push_back(sos_);
      else if (word == "<|endoftext|>")
        ids.push_back(eot_);
      else
        encode_word(word, ids);
    }
    return ids;
  }

  /// Start of text, the ids, end of text; at most `context_length` of them, which is the text tower's (77 for CLIP).
  /// Throws negood.tokenizer.5 with the number of tokens if it does not fit (F-17), unless told to truncate.
  std::vector<int> encode_prompt(std::string_view utf8, index_type context_length,
                                 overflow_policy overflow = overflow_policy::reject) const {
    if (context_length < 2)
      fail(error_category::usage, "negood.tokenizer.7", "encode_prompt",
           "a context of " + std::to_string(context_length) + " tokens has no room for start and end");
    std::vector<int> ids = encode(utf8);
    const auto room = static_cast<std::size_t>(context_length) - 2;
    if (ids.size() > room) {
      if (overflow == overflow_policy::reject)
        fail(error_category::data, "negood.tokenizer.5", "prompt",
             std::to_string(ids.size() + 2) + " tokens with start and end, the text tower takes " +
                 std::to_string(context_length),
             "shorten the text, or truncate it (--truncate)");
      ids.resize(room);
    }
    ids.insert(ids.begin(), sos_);
    ids.push_back(eot_);
    return ids;
  }

  /// The text of some ids: words separated by single spaces, as bytes (a cut character gives invalid UTF-8).
  std::string decode(std::span<const int> ids) const {
    std::string out;
    for (const int id : ids)
      if (id >= 0 && id < static_cast<int>(bytes_.size())) out += bytes_[static_cast<std::size_t>(id)];
    while (!out.empty() && out.back() == ' ') out.pop_back();
    return out;
  }

  int sos() const noexcept { return sos_; }
  int eot() const noexcept { return eot_; }
  /// One more than the largest id: the rows a token embedding must have.
  index_type vocabulary_size() const noexcept { return size_; }
  /// SHA-256 of everything that decides an id. The same tokenizer read from either file format has one fingerprint.
  const std::string& fingerprint() const noexcept { return fingerprint_; }

 private:
  struct merge_rule {
    std::uint32_t rank;
    int result;
  };
  static constexpr const char* word_end = "</w>";
  static constexpr int max_id = 1 << 24;
  static constexpr std::uint32_t no_rank = 0xFFFFFFFFu;

  static constexpr std::uint64_t pair_key(int left, int right) noexcept {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }

  static index_type wanted_merges(const merges_options& options) {
    if (options.vocabulary_size == 0) return std::min<index_type>(options.max_merges, max_id);
    if (options.vocabulary_size < 514 || options.vocabulary_size > max_id)
      fail(error_category::artifact, "negood.tokenizer.2", "tokenizer",
           "a vocabulary of " + std::to_string(options.vocabulary_size) +
               " tokens cannot hold 512 byte symbols, start and end");
    return options.vocabulary_size - 514;
  }

  /// Bytes in the order of their ids: those that print in Latin-1 first.
  static std::array<int, 256> byte_order() {
    std::array<int, 256> order{};
    std::size_t n = 0;
    const auto prints = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
    for (int b = 0; b < 256; ++b)
      if (prints(b)) order[n++] = b;
    for (int b = 0; b < 256; ++b)
      if (!prints(b)) order[n++] = b;
    return order;
  }

  /// How the files write each byte: printing ones as themselves, the others as U+0100, U+0101, ...
  static std::array<std::string, 256> byte_symbols() {
    std::array<std::string, 256> symbols;
    const auto order = byte_order();
    for (std::size_t i = 0; i < 256; ++i)
      unicode::append_utf8(symbols[static_cast<std::size_t>(order[i])],
                           i < 188 ? static_cast<char32_t>(order[i]) : static_cast<char32_t>(0x100 + i - 188));
    return symbols;
  }

  bpe_tokenizer(const std::unordered_map<std::string, int>& vocabulary,
                const std::vector<std::pair<std::string, std::string>>& merges, index_type size)
      : size_(size), bytes_(static_cast<std::size_t>(size)) {
    const auto id_of = [&](const std::string& token) {
      const auto found = vocabulary.find(token);
      return found == vocabulary.end() ? -1 : found->second;
    };
    const auto require = [&](const std::string& token) {
      const int id = id_of(token);
      if (id < 0)
        fail(error_category::artifact, "negood.tokenizer.6", "vocabulary", "the token \"" + token + "\" is missing");
      return id;
    };
    sos_ = require("<|startoftext|>");
    eot_ = require("<|endoftext|>");
    const auto symbols = byte_symbols();
    for (std::size_t b = 0; b < 256; ++b) {
      inner_[b] = id_of(symbols[b]);
      final_[b] = id_of(symbols[b] + word_end);
      if (inner_[b] >= 0) bytes_[static_cast<std::size_t>(inner_[b])] = std::string(1, static_cast<char>(b));
      if (final_[b] >= 0) bytes_[static_cast<std::size_t>(final_[b])] = std::string(1, static_cast<char>(b)) + ' ';
    }
    sha256 hash;
    hash.update("negood.bpe/1");
    hash.update_u64(static_cast<std::uint64_t>(sos_)).update_u64(static_cast<std::uint64_t>(eot_));
    for (std::size_t b = 0; b < 256; ++b) hash.update_u64(pair_key(inner_[b], final_[b]));
    rules_.reserve(merges.size());
    for (std::size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left_token, right_token] = merges[rank];
      const int left = id_of(left_token);
      const int right = id_of(right_token);
      if (left < 0 || right < 0)
        fail(error_category::artifact, "negood.tokenizer.1", "merges file",
             "merge " + std::to_string(rank + 1) + " joins a symbol that no line makes");
      const int result = require(left_token + right_token);
      rules_.emplace(pair_key(left, right), merge_rule{static_cast<std::uint32_t>(rank), result});
      const std::string joined = bytes_[static_cast<std::size_t>(left)] + bytes_[static_cast<std::size_t>(right)];
      bytes_[static_cast<std::size_t>(result)] = joined;
      hash.update_u64(pair_key(left, right)).update_u64(static_cast<std::uint64_t>(result));
    }
    fingerprint_ = hash.hex_digest();
  }

  /// The length of the first word of a text that does not begin with a space.
  static std::size_t word_length(std::u32string_view text) {
    for (const std::u32string_view literal :
         {std::u32string_view(U"<|startoftext|>"), std::u32string_view(U"<|endoftext|>"), std::u32string_view(U"'s"),
          std::u32string_view(U"'t"), std::u32string_view(U"'re"), std::u32string_view(U"'ve"),
          std::u32string_view(U"'m"), std::u32string_view(U"'ll"), std::u32string_view(U"'d")})
      if (text.substr(0, literal.size()) == literal) return literal.size();
    if (unicode::is_number(text[0])) return 1;
    const bool letters = unicode::is_letter(text[0]);
    std::size_t length = 1;
    while (length < text.size()) {
      const char32_t c = text[length];
      const bool goes_on =
          letters ? unicode::is_letter(c) : c != U' ' && !unicode::is_letter(c) && !unicode::is_number(c);
      if (!goes_on) break;
      ++length;
    }
    return length;
  }

  /// Joins the bytes of one word: always the pair of lowest rank, all its occurrences from left to right.
  void encode_word(std::string_view word, std::vector<int>& ids) const {
    const auto n = static_cast<std::uint32_t>(word.size());
    // A doubly linked list of symbols, id -1 once joined to its left neighbour; the sentinel `n` ends it.
    struct symbol {
      int id;
      std::uint32_t previous, next;
    };
    std::vector<symbol> symbols(n);
    for (std::uint32_t i = 0; i < n; ++i) {
      const auto byte = static_cast<unsigned char>(word[i]);
      symbols[i] = {i + 1 == n ? final_[byte] : inner_[byte], i == 0 ? n : i - 1, i + 1};
      if (symbols[i].id < 0)
        fail(error_category::artifact, "negood.tokenizer.6", "vocabulary",
             "no token for byte " + std::to_string(int{byte}), "the vocabulary cannot spell this text");
    }
    const auto rule_at = [&](std::uint32_t i) {
      if (symbols[i].id < 0 || symbols[i].next == n) return merge_rule{no_rank, -1};
      const auto found = rules_.find(pair_key(symbols[i].id, symbols[symbols[i].next].id));
      return found == rules_.end() ? merge_rule{no_rank, -1} : found->second;
    };
    // (rank, position of the left symbol); an entry is stale when the pair there has another rank by now.
    using candidate = std::pair<std::uint32_t, std::uint32_t>;
    std::priority_queue<candidate, std::vector<candidate>, std::greater<>> queue;
    const auto offer = [&](std::uint32_t i) {
      if (i == n) return;
      const auto rule = rule_at(i);
      if (rule.rank != no_rank) queue.emplace(rule.rank, i);
    };
    for (std::uint32_t i = 0; i < n; ++i) offer(i);
    std::vector<std::uint32_t> joined;
    while (!queue.empty()) {
      const std::uint32_t rank = queue.top().first;
      joined.clear();
      // One pair's whole round comes before the pairs it creates, whatever their rank.
      while (!queue.empty() && queue.top().first == rank) {
        const std::uint32_t i = queue.top().second;
        queue.pop();
        const auto rule = rule_at(i);
        if (rule.rank != rank) continue;
        const std::uint32_t right = symbols[i].next;
        symbols[i].id = rule.result;
        symbols[i].next = symbols[right].next;
        symbols[right].id = -1;
        if (symbols[i].next != n) symbols[symbols[i].next].previous = i;
        joined.push_back(i);
      }
      for (const std::uint32_t i : joined) {
        offer(symbols[i].previous);
        offer(i);
      }
    }
    for (std::uint32_t i = 0; i != n; i = symbols[i].next) ids.push_back(symbols[i].id);
  }

  index_type size_ = 0;
  int sos_ = 0, eot_ = 0;
  std::array<int, 256> inner_{}, final_{};
  std::unordered_map<std::uint64_t, merge_rule> rules_;
  std::vector<std::string> bytes_;  ///< each token as the bytes it stands for, a word's end as a space
  std::string fingerprint_;
};

}  // namespace negood
