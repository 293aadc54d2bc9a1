// The tokenizer against the published vocabulary, an independent implementation's ids, and malformed input.
#include <negood/clip/tokenizer.hpp>
#include <negood/hash.hpp>

#include "catch.hpp"
#include "code_of.hpp"

#include <zlib.h>

#include <array>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace negood;
using ids = std::vector<int>;

namespace {

std::string read_gz(const std::string& path) {
  std::string text;
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return text;
  std::array<char, 65536> buffer{};
  for (int n = 0; (n = gzread(file, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(n));
  gzclose(file);
  return text;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream in(path, std::ios::binary);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The published vocabulary, or null where the shared data are absent.
const bpe_tokenizer* published() {
  static const std::string text = read_gz(NEGOOD_SHARED_DIR "/bpe_simple_vocab_16e6.txt.gz");
  if (text.empty()) {
    WARN("skipped: no bpe_simple_vocab_16e6.txt.gz in " NEGOOD_SHARED_DIR);
    return nullptr;
  }
  static const bpe_tokenizer tokenizer = bpe_tokenizer::from_merges(text);
  return &tokenizer;
}

// Ids of a small file: inner 'a' is 64 (33 is id 0), a final 'a' 320, merges from 512, start and end after them.
const std::string small_merges = "#version: test\na b\nab c</w>\nab ab\nabab abc</w>\nc a\n";
int inner(char c) { return c - 33; }
int final_of(char c) { return c - 33 + 256; }

}  // namespace

TEST_CASE("sha256 gives the published digests", "[hash]") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1000000, 'a');
  CHECK(sha256_hex(million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  sha256 pieces;
  for (std::size_t at = 0, step = 1; at < million.size(); at += step, step = step % 130 + 1)
    pieces.update(std::string_view(million).substr(at, step));
  CHECK(pieces.hex_digest() == sha256_hex(million));
  CHECK(pieces.hex_digest() == sha256_hex(million));  // asking does not change the state
}

TEST_CASE("letters, numbers, spaces and lower case of every code point", "[clip][tokenizer]") {
  sha256 digest;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    const char* kind = unicode::is_letter(c)   ? "letter"
                       : unicode::is_number(c) ? "number"
                       : unicode::is_space(c)  ? "space"
                                               : "other";
    digest.update(std::to_string(static_cast<std::uint32_t>(c)) + " " + kind + " " +
                  std::to_string(static_cast<std::uint32_t>(unicode::to_lower(c))) + "\n");
  }
  CHECK(digest.hex_digest() == read_lines(NEGOOD_GOLDEN_DIR "/unicode_digest.txt").at(0));
}

TEST_CASE("golden token ids of the published vocabulary", "[clip][tokenizer]") {
  const auto* tokenizer = published();
  if (tokenizer == nullptr) return;
  CHECK(tokenizer->vocabulary_size() == 49408);
  CHECK(tokenizer->sos() == 49406);
  CHECK(tokenizer->eot() == 49407);
  const std::map<std::string, ids> golden{
      {"a photo of a cat.", {320, 1125, 539, 320, 2368, 269}},
      {"X", {343}},
      {"great white shark", {830, 1579, 7980}},
      {"kite (bird of prey)", {19867, 263, 3329, 539, 17131, 264}},
      {"St. Bernard", {545, 269, 14579}},
      {"T-shirt", {339, 268, 2523}},
      {"potter's wheel", {9026, 568, 6744}},
      {"Band-Aid", {1963, 268, 5182}},
      {"CD player", {4480, 2477}},
      {"baluster / handrail", {38093, 881, 270, 1722, 6879}},
      {"chambered nautilus", {1290, 9193, 5955, 6124, 718}},
      {"Geoffroy's spider monkey", {20629, 626, 344, 568, 7622, 9465}},
      {"Mexican hairless dog (xoloitzcuintli)", {8186, 4658, 1285, 1929, 263, 87, 14628, 14544, 729, 1828, 4250, 264}}};
  for (const auto& entry : golden) {
    INFO(entry.first);
    CHECK(tokenizer->encode(entry.first) == entry.second);
  }
}

TEST_CASE("several hundred odd texts match an independent implementation", "[clip][tokenizer]") {
  const auto* tokenizer = published();
  if (tokenizer == nullptr) return;
  const auto lines = read_lines(NEGOOD_GOLDEN_DIR "/tokenizer.txt");
  REQUIRE(lines.size() > 400);
  for (const auto& line : lines) {
    const auto tab = line.find('\t');
    std::string text;
    for (std::size_t i = 0; i < tab; i += 2) text += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
    std::istringstream numbers(line.substr(tab + 1));
    ids expected;
    for (int id = 0; numbers >> id;) expected.push_back(id);
    INFO(text);
    CHECK(tokenizer->encode(text) == expected);
  }
}

TEST_CASE("the thousand ImageNet names have their token statistics", "[clip][tokenizer]") {
  const auto* tokenizer = published();
  const auto names = read_lines(NEGOOD_SHARED_DIR "/imagenet_classes.txt");
  if (tokenizer == nullptr || names.empty()) {
    WARN("skipped: no shared data in " NEGOOD_SHARED_DIR);
    return;
  }
  REQUIRE(names.size() == 1000);
  std::map<std::size_t, int> histogram;
  std::size_t total = 0;
  for (const auto& name : names) {
    const auto n = tokenizer->encode(name).size();
    ++histogram[n];
    total += n;
  }
  CHECK(total == 2171);
  CHECK(histogram ==
        std::map<std::size_t, int>{{1, 246}, {2, 508}, {3, 154}, {4, 50}, {5, 22}, {6, 10}, {7, 8}, {9, 1}, {12, 1}});
}

TEST_CASE("merges apply by rank, all occurrences from left to right", "[clip][tokenizer]") {
  const auto t = bpe_tokenizer::from_merges(small_merges);
  CHECK(t.vocabulary_size() == 519);
  CHECK(t.sos() == 517);
  CHECK(t.eot() == 518);
  CHECK(t.encode("").empty());
  CHECK(t.encode("a") == ids{final_of('a')});
  CHECK(t.encode("abc") == ids{513});
  CHECK(t.encode("ababc") == ids{512, 513});  // "ab c</w>" comes before "ab ab"
  CHECK(t.encode("abababc") == ids{515});
  CHECK(t.encode("abababab") == ids{514, 512, inner('a'), final_of('b')});  // the last b ends the word: no "ab" there
  CHECK(t.encode("ABca a") == ids{512, inner('c'), final_of('a'), final_of('a')});
  CHECK(t.encode("cab") == ids{516, final_of('b')});
  CHECK(t.encode("caba") == ids{inner('c'), 512, final_of('a')});
  CHECK(t.decode(t.encode("ababc  cab!")) == "ababc cab !");
}

TEST_CASE("the number of merges follows the model's vocabulary", "[clip][tokenizer]") {
  const auto three = bpe_tokenizer::from_merges(small_merges, {.vocabulary_size = 517});
  CHECK(three.vocabulary_size() == 517);
  CHECK(three.encode("cab") == ids{inner('c'), inner('a'), final_of('b')});
  CHECK(bpe_tokenizer::from_merges(small_merges, {.max_merges = 1}).vocabulary_size() == 515);
  CHECK(bpe_tokenizer::from_merges("#version", {.vocabulary_size = 514}).vocabulary_size() == 514);
  CHECK(code_of([] { bpe_tokenizer::from_merges(small_merges, {.vocabulary_size = 520}); }) == "negood.tokenizer.2");
  CHECK(code_of([] { bpe_tokenizer::from_merges(small_merges, {.vocabulary_size = 513}); }) == "negood.tokenizer.2");
}

TEST_CASE("files that are no merges are refused", "[clip][tokenizer]") {
  for (const char* text : {"", "a b\n", "#version\nab\n", "#version\na b c\n", "#version\na \n", "#version\n b\n",
                           "#version\na b\n\nc d\n", "#version\nab c\n", "#version\na\tb\n"}) {
    INFO(text);
    CHECK(code_of([&] { bpe_tokenizer::from_merges(text); }) == "negood.tokenizer.1");
  }
  CHECK(bpe_tokenizer::from_merges("#version\r\na b\r\n").encode("abx") == ids{512, final_of('x')});
}

TEST_CASE("a vocabulary map gives the same tokenizer as the merges", "[clip][tokenizer]") {
  const auto merges = bpe_tokenizer::parse_merges(small_merges);
  REQUIRE(merges.size() == 5);
  std::unordered_map<std::string, int> vocabulary;
  int next = 0;
  const auto add_bytes = [&](const std::string& end) {
    for (int pass = 0; pass < 2; ++pass)
      for (int b = 0, rest = 0; b < 256; ++b) {
        const bool prints = (b > 32 && b < 127) || (b > 160 && b != 173);
        const int code = prints ? b : 256 + rest++;
        if (prints == (pass == 1)) continue;
        std::string token;
        unicode::append_utf8(token, static_cast<char32_t>(code));
        vocabulary[token + end] = next++;
      }
  };
  add_bytes("");
  add_bytes("</w>");
  for (const auto& merge : merges) vocabulary[merge.first + merge.second] = next++;
  vocabulary["<|startoftext|>"] = next++;
  vocabulary["<|endoftext|>"] = next++;
  const auto from_map = bpe_tokenizer::from_vocabulary(vocabulary, merges);
  const auto from_text = bpe_tokenizer::from_merges(small_merges);
  CHECK(from_map.encode("abababc \xC3\xBC!") == from_text.encode("abababc \xC3\xBC!"));
  CHECK(from_map.fingerprint() == from_text.fingerprint());
  CHECK(from_map.fingerprint().size() == 64);
  CHECK(from_map.vocabulary_size() == from_text.vocabulary_size());
  CHECK(bpe_tokenizer::from_merges("#version\na b\nab c</w>\nab ab\nabab abc</w>\na c\n").fingerprint() !=
        from_text.fingerprint());

  auto broken = vocabulary;
  broken.erase("<|endoftext|>");
  CHECK(code_of([&] { bpe_tokenizer::from_vocabulary(broken, merges); }) == "negood.tokenizer.6");
  broken = vocabulary;
  broken.erase("abc</w>");
  CHECK(code_of([&] { bpe_tokenizer::from_vocabulary(broken, merges); }) == "negood.tokenizer.6");
  broken = vocabulary;
  broken["x"] = 2000000000;
  CHECK(code_of([&] { bpe_tokenizer::from_vocabulary(broken, merges); }) == "negood.tokenizer.6");
  broken = vocabulary;
  broken.erase("z</w>");
  const auto without_z = bpe_tokenizer::from_vocabulary(broken, merges);
  CHECK(without_z.encode("za") == ids{inner('z'), final_of('a')});
  CHECK(code_of([&] { without_z.encode("az"); }) == "negood.tokenizer.6");
}

TEST_CASE("names of too many tokens are refused with their count, or truncated before the end (F-17)",
          "[clip][tokenizer][faults]") {
  const auto t = bpe_tokenizer::from_merges(small_merges);
  const std::string seventy_five(75, '1');
  const std::string seventy_six(76, '1');
  const auto full = t.encode_prompt(seventy_five, 77);
  CHECK(full.size() == 77);
  CHECK(full.front() == t.sos());
  CHECK(full.back() == t.eot());
  try {
    t.encode_prompt(seventy_six, 77);
    FAIL("accepted");
  } catch (const error& e) {
    CHECK(e.code() == "negood.tokenizer.5");
    CHECK(e.category() == error_category::data);
    CHECK(std::string(e.what()).find("78 tokens") != std::string::npos);
    CHECK(std::string(e.what()).find("77") != std::string::npos);
  }
  CHECK(t.encode_prompt(seventy_six, 77, overflow_policy::truncate) == full);
  // The context length is the model's: SigLIP's 64, Long-CLIP's 248.
  CHECK(code_of([&] { t.encode_prompt(seventy_five, 64); }) == "negood.tokenizer.5");
  CHECK(t.encode_prompt(seventy_six, 248).size() == 78);
  CHECK(t.encode_prompt("", 2) == ids{t.sos(), t.eot()});
  CHECK(code_of([&] { t.encode_prompt("a", 1); }) == "negood.tokenizer.7");
}

TEST_CASE("invalid UTF-8 and NUL are refused with their byte offset (F-15)", "[clip][tokenizer][faults]") {
  const auto t = bpe_tokenizer::from_merges(small_merges);
  const std::vector<std::pair<std::string, std::string>> cases{
      {"caf\xE9", "byte 3"},              // Latin-1
      {"\x80", "byte 0"},                 // a continuation byte alone
      {"ab\xC0\xAF", "byte 2"},           // overlong
      {"\xE0\x80\x80", "byte 0"},         // overlong
      {"\xF0\x82\x82\xAC", "byte 0"},     // overlong
      {"x\xED\xA0\x80", "byte 1"},        // surrogate
      {"\xF4\x90\x80\x80", "byte 0"},     // above U+10FFFF
      {"\xF5\x80\x80\x80", "byte 0"},     // no such lead byte
      {"ok\xE2\x82", "byte 2"},           // cut short
      {"a\xC3(", "byte 1"},               // no continuation
      {std::string("a\0b", 3), "byte 1"}  // NUL
  };
  for (const auto& [text, place] : cases) {
    try {
      t.encode(text);
      FAIL("accepted");
    } catch (const error& e) {
      CHECK(e.code() == "negood.tokenizer.3");
      CHECK(std::string(e.what()).find(place) != std::string::npos);
    }
  }
  CHECK(code_of([&] { t.encode(std::string((1 << 20) + 1, 'a')); }) == "negood.tokenizer.4");
}

TEST_CASE("a word of a million characters is tokenized in reasonable time", "[clip][tokenizer][faults]") {
  const auto t = bpe_tokenizer::from_merges(small_merges);
  std::string word;
  while (word.size() + 2 < (1u << 20)) word += "ab";
  const auto found = t.encode(word);
  // The last "b" ends the word, so the last pair stays two symbols; the others join in fours.
  CHECK(found.size() == (word.size() / 2 - 1 + 1) / 2 + 2);
  CHECK(t.decode(found) == word);
}

TEST_CASE("texts are cleaned as documented", "[clip][tokenizer]") {
  const auto clean = [](std::string_view text) {
    std::string out;
    for (const char32_t c : clean_text(text)) unicode::append_utf8(out, c);
    return out;
  };
  CHECK(clean("  A\t\n B\xC2\xA0 ") == "a b");
  CHECK(clean("&amp;amp; &amp;lt;") == "& <");
  CHECK(clean("jack-o\xE2\x80\x99-lantern") == "jack-o'-lantern");
  CHECK(clean("\xEF\xBB\xBF"
              "bom\x01") == "bom");
  CHECK(clean("\xCE\xA3\xCE\x9F\xCE\xA6\xCE\x9F\xCE\xA3") ==
        "\xCF\x83\xCE\xBF\xCF\x86\xCE\xBF\xCF\x82");  // final sigma
  CHECK(underscores_to_spaces("great_white_shark") == "great white shark");
}

TEST_CASE("encoding from several threads gives the same ids", "[clip][tokenizer]") {
  const auto t = bpe_tokenizer::from_merges(small_merges);
  const auto expected = t.encode("ababc cab abababab");
  std::vector<int> same(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < same.size(); ++i)
    threads.emplace_back([&, i] {
      bool all = true;
      for (int n = 0; n < 500; ++n) all = all && t.encode("ababc cab abababab") == expected;
      same[i] = all ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  CHECK(same == std::vector<int>(4, 1));
}
