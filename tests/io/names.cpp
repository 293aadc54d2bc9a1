#include "io_test.hpp"

#include <negood/io/escape.hpp>
#include <negood/io/names.hpp>

using namespace io_test;

namespace {

std::vector<std::string> names_of(std::string_view text) { return parse_names(text).names; }

std::string from_hex(std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

}  // namespace

TEST_CASE("names: one a line, in order") {
  CHECK(names_of("tench\ngoldfish\ngreat white shark\n") ==
        std::vector<std::string>{"tench", "goldfish", "great white shark"});
  CHECK(names_of("one line without an end") == std::vector<std::string>{"one line without an end"});
  CHECK(names_of("a\nb\n\n  \n\n") == std::vector<std::string>{"a", "b"});
  CHECK(names_of("  a \t\n\tb\n") == std::vector<std::string>{"a", "b"});
  CHECK(code_of([] { names_of("a\n\nb\n"); }) == "negood.names.2");
  CHECK(code_of([] { names_of(""); }) == "negood.names.1");
  CHECK(code_of([] { names_of("\n \n"); }) == "negood.names.1");
  CHECK(code_of([] { names_of(std::string(5000, 'x')); }) == "negood.names.4");
  scratch_folder folder;
  write_file(folder / "names.txt", std::string_view("a\nb\n"));
  CHECK(read_names(folder / "names.txt") == std::vector<std::string>{"a", "b"});
}

TEST_CASE("names: the published list of ImageNet repeats two names") {
  const std::filesystem::path list = std::filesystem::path(NEGOOD_SHARED_DIR) / "imagenet_classes.txt";
  if (!std::filesystem::exists(list)) {
    WARN("no shared data");
    return;
  }
  CHECK(code_of([&] { read_names(list); }) == "negood.names.3");
  const name_list kept = read_name_list(list, {.duplicates = duplicate_policy::keep});
  CHECK(kept.names.size() == 1000);
  REQUIRE(kept.duplicates.size() == 2);
  std::vector<std::string> repeated;
  for (const auto& d : kept.duplicates) repeated.push_back(kept.names[static_cast<std::size_t>(d.first)]);
  std::sort(repeated.begin(), repeated.end());
  CHECK(repeated == std::vector<std::string>{"missile", "sunglasses"});
  CHECK(read_names(list, {.duplicates = duplicate_policy::merge}).size() == 998);
}

TEST_CASE("F-13 duplicate class names are refused with both rows, kept or merged") {
  const std::string_view text = "crane\ndog\ncrane\ncat\ndog\n";
  const error e = error_of([&] { parse_names(text, "classes.txt"); });
  CHECK(e.code() == "negood.names.3");
  CHECK(e.exit_code() == 3);
  CHECK(mentions(e, "line 3"));
  CHECK(mentions(e, "line 1"));
  CHECK(mentions(e, "'crane'"));
  CHECK(mentions(e, "--dup=keep"));
  const name_list kept = parse_names(text, "c", {.duplicates = duplicate_policy::keep});
  CHECK(kept.names == std::vector<std::string>{"crane", "dog", "crane", "cat", "dog"});
  CHECK(kept.class_of_line == std::vector<index_type>{0, 1, 2, 3, 4});
  REQUIRE(kept.duplicates.size() == 2);
  CHECK(kept.duplicates[0].first == 0);
  CHECK(kept.duplicates[0].again == 2);
  const name_list merged = parse_names(text, "c", {.duplicates = duplicate_policy::merge});
  CHECK(merged.names == std::vector<std::string>{"crane", "dog", "cat"});
  CHECK(merged.class_of_line == std::vector<index_type>{0, 1, 0, 2, 1});
  CHECK(code_of([] { parse_names("fox \r\nfox\n"); }) == "negood.names.3");  // equal once normalised
}

TEST_CASE("F-15 byte order mark and CRLF are normalised; invalid UTF-8 and NUL are refused with the byte offset") {
  CHECK(names_of("\xef\xbb\xbftench\r\nfox\r\n") == std::vector<std::string>{"tench", "fox"});
  const auto refused_at = [](std::string_view text, std::string_view code, std::size_t at) {
    const error e = error_of([&] { names_of(text); });
    return e.code() == code && mentions(e, "byte " + std::to_string(at)) && e.exit_code() == 3;
  };
  CHECK(refused_at("ab\n\xff", "negood.text.1", 3));
  CHECK(refused_at("caf\xe9\n", "negood.text.1", 3));         // Latin-1
  CHECK(refused_at("\xc0\xaf", "negood.text.1", 0));          // overlong
  CHECK(refused_at("a\xe0\x80\xaf", "negood.text.1", 1));     // overlong
  CHECK(refused_at("ab\xed\xa0\x80", "negood.text.1", 2));    // surrogate
  CHECK(refused_at("\xf4\x90\x80\x80", "negood.text.1", 0));  // beyond U+10FFFF
  CHECK(refused_at("x\xe2\x82", "negood.text.1", 1));         // cut
  CHECK(refused_at("x\x80", "negood.text.1", 1));             // a continuation alone
  CHECK(refused_at(std::string_view("\xff\xfe"
                                    "a\0",
                                    4),
                   "negood.text.1", 0));
  CHECK(refused_at(std::string_view("a\0b", 3), "negood.text.2", 1));
  CHECK(names_of("\xf4\x8f\xbf\xbf\n狐\nß\n").size() == 3);
}

TEST_CASE("F-15 control and bidirectional characters stay in a name and are spelled where it is shown") {
  const std::string name = names_of("evil\xe2\x80\xaename\x1b[31m\n").front();
  CHECK(name == "evil\xe2\x80\xaename\x1b[31m");
  CHECK(escape_terminal(name) == "evil\\u{202e}name\\u{001b}[31m");
  CHECK(escape_html(name) == "evil\\u{202e}name\\u{001b}[31m");
  CHECK(escape_csv(name) == "evil\\u{202e}name\\u{001b}[31m");
  CHECK(escape_latex(name) == "evil\\textbackslash{}u\\{202e\\}name\\textbackslash{}u\\{001b\\}[31m");
  CHECK(escape_terminal("back\\slash") == "back\\\\slash");  // so that a spelled character cannot be forged
  CHECK(escape_terminal("a\xff\x80z") == "a\\x{ff}\\x{80}z");
  CHECK(escape_terminal("\xf3\xa0\x81\x81") == "\\u{e0041}");
  CHECK(escape_terminal("crème 狐") == "crème 狐");
  for (const char* hidden : {"\xe2\x80\x8b", "\xe2\x80\x8f", "\xe2\x81\xa6", "\xe2\x81\xa9", "\xef\xbb\xbf", "\xc2\x85",
                             "\xd8\x9c", "\xe2\x80\xa8", "\x7f", "\n", "\r"}) {
    CHECK(escape_terminal(hidden).starts_with("\\u{"));
    CHECK(escape_html(hidden).starts_with("\\u{"));
  }
}

TEST_CASE("F-16 CSV formulas, HTML and LaTeX in names are escaped as in the golden file") {
  const byte_vector bytes = read_file(golden("escapes.txt"));
  const std::vector<std::string_view> lines = negood::detail::text_lines(as_text(bytes), "escapes.txt");
  REQUIRE(lines.size() % 4 == 0);
  REQUIRE(lines.size() >= 4 * 30);
  for (std::size_t i = 0; i < lines.size(); i += 4) {
    const std::string name = from_hex(lines[i]);
    CAPTURE(name);
    CHECK(escape_html(name) == lines[i + 1]);
    CHECK(escape_csv(name) == lines[i + 2]);
    CHECK(escape_latex(name) == lines[i + 3]);
  }
  CHECK(escape_html("</script>").find('<') == std::string::npos);
  CHECK(escape_csv("=cmd|' /C calc'!A0").starts_with("\"'="));
  CHECK(escape_latex("\\input{x}").find("\\input") == std::string::npos);
}
