// Candidate words: WordNet's data files, tagged lists, class names removed.
#include "catch.hpp"

#include "io/io_test.hpp"

#include <negood/io/corpus.hpp>

#include <fstream>

using namespace negood;
using io_test::code_of;
namespace {

const char* const nouns =
    "  1 This is the licence, which is no data.  \n"
    "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived  \n"
    "00002098 05 n 02 Canis_familiaris 0 dog 0 001 @ 00001740 n 0000 | a domestic animal  \n"
    "00003456 13 n 01 hot_dog 0 000 | a sausage  \n"
    "00004567 06 n 0a a1 0 a2 0 a3 0 a4 0 a5 0 a6 0 a7 0 a8 0 a9 0 entity 0 000 | ten words  \n";
const char* const adjectives =
    "00005678 00 a 02 afloat(p) 0 dog 0 000 | borne on water  \n"
    "00005679 01 s 01 canine 0 000 | of a dog  \n";

void write(const std::filesystem::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

}  // namespace

TEST_CASE("WordNet: phrases, markers, repeated words, adjectives that are nouns, excluded files") {
  const io_test::scratch_folder dir;
  write(dir / "data.noun", nouns);
  write(dir / "data.adj", adjectives);
  corpus_report report;
  auto c = read_wordnet(dir.path(), {}, &report);
  CHECK(c.words == std::vector<std::string>{"entity", "canis familiaris", "dog", "hot dog", "a1", "a2", "a3", "a4",
                                            "a5", "a6", "a7", "a8", "a9", "afloat", "canine"});
  CHECK(c.tags.front() == "n");
  CHECK(c.tags.back() == "a");
  CHECK(c.files[1] == "noun.animal");
  CHECK(c.files[14] == "adj.pert");
  CHECK(report.read == 17);
  CHECK(report.repeated == 2);  // entity, and dog among the adjectives

  corpus_report other;
  c = read_wordnet(dir.path(), {.exclude_files = {"noun.animal", "noun.artifact"}, .phrases = false}, &other);
  CHECK(c.words == std::vector<std::string>{"entity", "afloat", "dog", "canine"});
  CHECK(other.excluded == 13);
  CHECK(code_of([&] { read_wordnet(dir.path(), {.exclude_files = {"noun.beast"}}); }) == "negood.corpus.2");
}

TEST_CASE("WordNet files that are cut or are something else are refused") {
  const io_test::scratch_folder dir;
  write(dir / "data.adj", "");
  const std::string whole(nouns);
  for (const char* text : {"12 99 n 01 x 0 000 | y\n", "12 0x n 01 x 0 000\n", "12 03 n zz x 0 000\n", "a b c\n",
                           "00002098 05 n ff dog 0 001 @ 1 n 0000\n", "00002098 05 n ffffffffffff dog 0 0\n"}) {
    CAPTURE(text);
    write(dir / "data.noun", text);
    CHECK(code_of([&] { read_wordnet(dir.path()); }) == "negood.corpus.1");
  }
  for (std::size_t n = 0; n < whole.size(); ++n) {  // any prefix: an answer or an error, never a crash
    write(dir / "data.noun", whole.substr(0, n));
    try {
      read_wordnet(dir.path());
    } catch (const error&) {
    }
  }
}

TEST_CASE("a list may carry tags; F-14 class names go, with case and punctuation folded") {
  const io_test::scratch_folder dir;
  write(dir / "words.txt", "CD-player\tn\tnoun.artifact\nwindsor tie\tn\nblue\ta\tadj.all\nblue\n");
  corpus_report report;
  auto c = read_word_list(dir / "words.txt", {}, &report);
  CHECK(c.words == std::vector<std::string>{"CD-player", "windsor tie", "blue"});
  CHECK(c.tags == std::vector<std::string>{"n", "n", "a"});
  CHECK(report.repeated == 1);
  const std::vector<std::string> names{"cd_player", "Windsor tie"};
  auto exact = c;
  remove_class_names(exact, names, true);
  CHECK(exact.words.size() == 3);
  remove_class_names(c, names, false, &report);
  CHECK(c.words == std::vector<std::string>{"blue"});
  CHECK(report.class_names == 2);
  CHECK(report.dropped_class_names == std::vector<std::string>{"CD-player", "windsor tie"});
  CHECK(read_word_list(dir / "words.txt", {.nouns = false}).words == std::vector<std::string>{"blue"});
  write(dir / "words.txt", "Ice_cream\nice cream\nICE CREAM\nice-cream\n");  // a hyphen is another text
  corpus_report spellings;
  CHECK(read_word_list(dir / "words.txt", {}, &spellings).words == std::vector<std::string>{"Ice_cream", "ice-cream"});
  CHECK(spellings.repeated == 2);
}
