/// \file json.hpp  JSON from outside under caps, and JSON out in one spelling for every locale.
#pragma once

#include <negood/error.hpp>

#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace negood {

using json = nlohmann::json;                  ///< keys in alphabetical order
using ordered_json = nlohmann::ordered_json;  ///< keys as they were set, for output: every key is searched linearly

struct json_limits {
  std::size_t bytes = std::size_t{8} << 20;  ///< a document takes up to ten times its text in memory
  std::size_t depth = 64;
};

namespace detail {

/// Looks at a document before it is built: depth, repeated keys, syntax.
class json_guard : public nlohmann::json_sax<json> {
 public:
  explicit json_guard(std::size_t depth) : limit_(depth) {}
  std::string problem;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return deeper();
  }
  bool key(string_t& k) override {
    if (keys_.back().insert(k).second) return true;
    problem = "the key '" + k.substr(0, 100) + "' stands twice";
    return false;
  }
  bool end_object() override {
    keys_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return deeper(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    problem = "is not valid JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  bool deeper() {
    if (++depth_ <= limit_) return true;
    problem = "is nested deeper than " + std::to_string(limit_) + " levels";
    return false;
  }
  std::size_t limit_, depth_ = 0;
  std::vector<std::set<string_t>> keys_;
};

}  // namespace detail

/// Parses a JSON document; repeated keys, deep nesting and a NUL byte are refused.
/// \throws error negood.json.1 too large (category resource), .2 malformed (category data)
inline json parse_json(std::string_view text, const std::string& where = "json", const json_limits& limits = {}) {
  if (text.size() > limits.bytes)
    fail(error_category::resource, "negood.json.1", where,
         std::to_string(text.size()) + " bytes of JSON; the limit is " + std::to_string(limits.bytes));
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos)  // the parser would stop there, content
    fail(error_category::data, "negood.json.2", where, "holds a NUL at byte " + std::to_string(at));
  detail::json_guard guard(limits.depth);
  if (!json::sax_parse(text.begin(), text.end(), &guard))
    fail(error_category::data, "negood.json.2", where, guard.problem.empty() ? "is malformed" : guard.problem);
  return json::parse(text.begin(), text.end());
}

/// One line of JSON, or indented by `indent` spaces. Doubles are written so that they read back exactly, with a decimal
/// point under every locale; NaN and infinities become null; bytes that are no UTF-8 become U+FFFD.
template <class Json>
std::string dump_json(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace negood
