// Class names, and the escapes that make them harmless.
#include "fuzz.hpp"

#include <negood/io/escape.hpp>
#include <negood/io/names.hpp>

#include <set>

using namespace negood;

namespace {

bool harmless(const std::string& text) {
  if (find_invalid_utf8(text) != std::string::npos) return false;
  for (std::size_t at = 0; at < text.size();) {
    const utf8_point c = decode_utf8(std::string_view(text).substr(at));
    if (is_hidden_character(c.value)) return false;
    at += c.length;
  }
  return true;
}

void check_escapes(std::string_view text) {
  const std::string terminal = escape_terminal(text), html = escape_html(text), csv = escape_csv(text),
                    latex = escape_latex(text);
  fuzz::must(harmless(terminal) && harmless(html) && harmless(csv) && harmless(latex));
  fuzz::must(html.find_first_of("<>\"'") == std::string::npos);
  const std::size_t first = csv.find_first_not_of(" \"");
  fuzz::must(first == std::string::npos || std::string_view("=+-@|%").find(csv[first]) == std::string_view::npos ||
             text.find_first_not_of(' ') == std::string_view::npos || text[text.find_first_not_of(' ')] == '"');
  int depth = 0;  // braces of LaTeX stay balanced, escaped ones apart
  for (std::size_t i = 0; i < latex.size(); ++i) {
    if (latex[i] == '\\') {
      ++i;
      continue;
    }
    depth += latex[i] == '{' ? 1 : latex[i] == '}' ? -1 : 0;
    fuzz::must(depth >= 0 && latex[i] != '%' && latex[i] != '#' && latex[i] != '$' && latex[i] != '&');
  }
  fuzz::must(depth == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(byte_view(data, size));
  check_escapes(text);
  for (const duplicate_policy policy : {duplicate_policy::reject, duplicate_policy::keep, duplicate_policy::merge})
    fuzz::accepts([&] {
      const name_list list = parse_names(text, "names", {.duplicates = policy});
      fuzz::must(!list.names.empty());
      for (const std::string& name : list.names) {
        fuzz::must(!name.empty() && name.find('\n') == std::string::npos &&
                   find_invalid_utf8(name) == std::string::npos);
        if (policy == duplicate_policy::keep) check_escapes(name);
      }
      for (const index_type c : list.class_of_line)
        fuzz::must(c >= 0 && c < static_cast<index_type>(list.names.size()));
      if (policy != duplicate_policy::keep)
        fuzz::must(std::set<std::string>(list.names.begin(), list.names.end()).size() == list.names.size());
    });
  return 0;
}
