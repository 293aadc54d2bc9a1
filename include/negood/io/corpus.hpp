/// \file corpus.hpp  Candidate negative words: WordNet as Debian installs it, or any list of words.
#pragma once

#include <negood/io/names.hpp>
#include <negood/io/number.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace negood {

/// Words with what is known of them.
struct corpus {
  std::vector<std::string> words;
  std::vector<std::string> tags;   ///< part of speech ("n", "a"), or empty strings
  std::vector<std::string> files;  ///< lexicographer file ("noun.animal"), or empty strings
};

struct corpus_options {
  bool nouns = true, adjectives = true;
  std::vector<std::string> exclude_files{};  ///< lexicographer files to leave out, such as noun.animal
  bool phrases = true;                       ///< words of several parts ("ice cream")
  bool lower_case = true;                    ///< ASCII letters only
};

/// What was left out, and why.
struct corpus_report {
  index_type read = 0, excluded = 0, repeated = 0, class_names = 0;
  std::vector<std::string> dropped_class_names;  ///< the first of them
};

namespace detail {

/// WordNet 3.0's lexicographer files by number (lexnames(5WN)).
inline constexpr std::array<std::string_view, 45> lexicographer_files{
    "adj.all",          "adj.pert",           "adv.all",
    "noun.Tops",        "noun.act",           "noun.animal",
    "noun.artifact",    "noun.attribute",     "noun.body",
    "noun.cognition",   "noun.communication", "noun.event",
    "noun.feeling",     "noun.food",          "noun.group",
    "noun.location",    "noun.motive",        "noun.object",
    "noun.person",      "noun.phenomenon",    "noun.plant",
    "noun.possession",  "noun.process",       "noun.quantity",
    "noun.relation",    "noun.shape",         "noun.state",
    "noun.substance",   "noun.time",          "verb.body",
    "verb.change",      "verb.cognition",     "verb.communication",
    "verb.competition", "verb.consumption",   "verb.contact",
    "verb.creation",    "verb.emotion",       "verb.motion",
    "verb.perception",  "verb.possession",    "verb.social",
    "verb.stative",     "verb.weather",       "adj.ppl"};

inline std::string lower_case_words(std::string_view word, bool lower_case = true) {
  std::string out(word);
  for (char& c : out) {
    if (c == '_') c = ' ';
    if (lower_case && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

inline std::string cleaned_word(std::string_view word, bool lower_case) {
  if (word.ends_with(')')) word = word.substr(0, word.find('('));  // syntactic marker of an adjective: (a), (p), (ip)
  return lower_case_words(word, lower_case);
}

/// Case and punctuation folded: "CD-player", "cd_player" and "cd player" are one.
inline std::string folded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') {
      out += static_cast<char>(c - 'A' + 'a');
    } else if (c == '_' || c == '-' || c == ' ') {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else if (c != '\'' && c != '.' && c != ',' && c != '"') {
      out += c;
    }
  }
  return out;
}

}  // namespace detail

/// Reads `data.noun` and `data.adj` of a WordNet folder (Debian: wordnet-base, /usr/share/wordnet). A word that stands
/// in several synsets comes once, with the file it is first met in; an adjective that is also a noun is left out.
/// \throws error negood.corpus.1 for a file that is not WordNet's, .2 for an unknown lexicographer file to exclude
inline corpus read_wordnet(const std::filesystem::path& folder, const corpus_options& options = {},
                           corpus_report* report = nullptr) {
  for (const auto& name : options.exclude_files)
    if (std::ranges::count(detail::lexicographer_files, name) == 0)
      fail(error_category::usage, "negood.corpus.2", "wordnet", "'" + name + "' is not a lexicographer file",
           "for example noun.animal or adj.pert");
  corpus out;
  corpus_report local;
  auto& r = report ? *report : local;
  std::set<std::string, std::less<>> taken;
  const auto read = [&](const char* file, const char* tag) {
    const auto path = folder / file;
    const auto bytes = read_file(path, std::uint64_t{256} << 20);
    std::size_t number = 0;
    for (const std::string_view line : detail::text_lines(as_text(bytes), path.string())) {
      ++number;
      if (line.empty() || line.starts_with("  ")) continue;  // the licence stands at the head
      std::vector<std::string_view> fields;
      for (std::size_t at = 0; at < line.size() && line[at] != '|';) {
        const auto end = std::min(line.find(' ', at), line.size());
        fields.push_back(line.substr(at, end - at));
        at = end + 1;
      }
      const auto bad = [&](const char* what) {
        fail(error_category::data, "negood.corpus.1", path.string() + ", line " + std::to_string(number), what,
             "this should be a data file of WordNet 3");
      };
      if (fields.size() < 6) bad("there are fewer than six fields");
      const auto lex = parse_number<index_type>(fields[1]);
      if (!lex || *lex < 0 || *lex >= static_cast<index_type>(detail::lexicographer_files.size()))
        bad("the lexicographer file is not a number below 45");
      std::size_t count = 0;
      for (const char c : fields[3]) {
        const auto digit = std::string_view("0123456789abcdef").find(c);
        if (digit == std::string_view::npos || count > 255) bad("the number of words is not hexadecimal");
        count = 16 * count + digit;
      }
      if (fields.size() < 4 + 2 * count) bad("there are fewer words than the line says");
      const std::string lex_file(detail::lexicographer_files[static_cast<std::size_t>(*lex)]);
      for (std::size_t w = 0; w < count; ++w) {
        ++r.read;
        auto word = detail::cleaned_word(fields[4 + 2 * w], options.lower_case);
        if (std::ranges::count(options.exclude_files, lex_file) > 0 ||
            (!options.phrases && word.find(' ') != std::string::npos)) {
          ++r.excluded;
        } else if (!taken.insert(word).second) {
          ++r.repeated;
        } else {
          out.words.push_back(std::move(word));
          out.tags.emplace_back(tag);
          out.files.push_back(lex_file);
        }
      }
    }
  };
  if (options.nouns) read("data.noun", "n");
  if (options.adjectives) read("data.adj", "a");
  return out;
}

/// Reads words, one a line; a part of speech and a lexicographer file may follow after tabs. Words stay as they are
/// written; two that are the same text to an encoder (case, underscores for spaces) count once, as the first of them.
inline corpus read_word_list(const std::filesystem::path& file, const corpus_options& options = {},
                             corpus_report* report = nullptr) {
  corpus out;
  corpus_report local;
  auto& r = report ? *report : local;
  std::set<std::string, std::less<>> taken;
  for (const auto& line : read_names(file, {.duplicates = duplicate_policy::keep})) {
    std::array<std::string, 3> fields;
    std::size_t at = 0;
    for (std::size_t k = 0; k < 3 && at <= line.size(); ++k) {
      const auto end = std::min(line.find('\t', at), line.size());
      fields[k] = line.substr(at, end - at);
      at = end + 1;
    }
    ++r.read;
    if (std::ranges::count(options.exclude_files, fields[2]) > 0 || (!options.nouns && fields[1] == "n") ||
        (!options.adjectives && fields[1] == "a") || (!options.phrases && fields[0].find(' ') != std::string::npos)) {
      ++r.excluded;
    } else if (!taken.insert(detail::lower_case_words(fields[0])).second) {
      ++r.repeated;
    } else {
      out.words.push_back(std::move(fields[0]));
      out.tags.push_back(std::move(fields[1]));
      out.files.push_back(std::move(fields[2]));
    }
  }
  return out;
}

/// Removes words that name a class (F-14): case and punctuation folded, or, `exact`, letter by letter, as released
/// code does it (15 ImageNet names stay among its candidates).
inline void remove_class_names(corpus& c, std::span<const std::string> names, bool exact = false,
                               corpus_report* report = nullptr) {
  std::set<std::string, std::less<>> taken;
  for (const auto& n : names) taken.insert(exact ? n : detail::folded(n));
  corpus out;
  for (std::size_t i = 0; i < c.words.size(); ++i) {
    if (taken.contains(exact ? c.words[i] : detail::folded(c.words[i]))) {
      if (report) {
        ++report->class_names;
        if (report->dropped_class_names.size() < 20) report->dropped_class_names.push_back(c.words[i]);
      }
      continue;
    }
    out.words.push_back(std::move(c.words[i]));
    out.tags.push_back(std::move(c.tags[i]));
    out.files.push_back(std::move(c.files[i]));
  }
  c = std::move(out);
}

}  // namespace negood
