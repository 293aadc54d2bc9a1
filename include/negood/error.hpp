/// \file error.hpp  One exception type with a stable code; its category is the program's exit code.
///
/// A message reads `[negood.shape.2] nis_loss: images is [64, 512], negatives is [2000, 768]; widths must match`:
/// code, place, what was found, and what to do about it. docs/errors.md lists every code.
#pragma once

#include <negood/config.hpp>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace negood {

/// What kind of thing went wrong. The values are the exit codes of the command line.
enum class error_category : int {
  usage = 2,        ///< a wrong argument or option
  data = 3,         ///< bad input data: NaN, wrong shape, bad label
  artifact = 4,     ///< an incompatible or corrupt model, detector or feature file
  io = 5,           ///< disk full, permission, missing file
  numeric = 6,      ///< a computation left the finite numbers
  resource = 7,     ///< a limit on memory or size
  interrupted = 8,  ///< stopped by a signal; a checkpoint was written
  internal = 70     ///< a broken invariant of the library
};

class error : public std::runtime_error {
 public:
  error(error_category category, std::string code, std::string where, std::string what_happened, std::string hint = {})
      : std::runtime_error("[" + code + "] " + where + ": " + what_happened + (hint.empty() ? "" : "; " + hint)),
        category_(category),
        code_(std::move(code)),
        where_(std::move(where)),
        what_happened_(std::move(what_happened)),
        hint_(std::move(hint)) {}

  error_category category() const noexcept { return category_; }
  int exit_code() const noexcept { return static_cast<int>(category_); }
  const std::string& code() const noexcept { return code_; }
  const std::string& where() const noexcept { return where_; }
  const std::string& what_happened() const noexcept { return what_happened_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  error_category category_;
  std::string code_, where_, what_happened_, hint_;
};

[[noreturn]] inline void fail(error_category category, std::string_view code, std::string_view where,
                              std::string what_happened, std::string_view hint = {}) {
  throw error(category, std::string(code), std::string(where), std::move(what_happened), std::string(hint));
}

/// "[64, 512]": how shapes are written in every message.
inline std::string shape_string(index_type rows, index_type cols) {
  return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

}  // namespace negood
