/// \file io_test.hpp  What the tests of negood::io share: expected errors, scratch folders, bytes.
#pragma once

#include "catch.hpp"

#include <negood/io/atomic_file.hpp>

#include <filesystem>
#include <string>

namespace io_test {

using namespace negood;

/// The error that `action` throws, or one with an empty code where it throws none.
template <class Action>
error error_of(Action&& action) {
  try {
    action();
  } catch (const error& e) {
    return e;
  }
  return error(error_category::internal, "", "nothing was thrown", "");
}

template <class Action>
std::string code_of(Action&& action) {
  return error_of(action).code();
}

inline bool mentions(const error& e, std::string_view part) {
  return std::string_view(e.what()).find(part) != std::string_view::npos;
}

inline std::filesystem::path golden(const std::string& name) { return std::filesystem::path(NEGOOD_GOLDEN_DIR) / name; }

/// A folder of its own, removed with all it holds.
class scratch_folder {
 public:
  scratch_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "negood-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = std::filesystem::canonical(pattern);
  }
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  ~scratch_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  std::size_t entries() const {
    std::size_t n = 0;
    for (auto it = std::filesystem::directory_iterator(path_); it != std::filesystem::directory_iterator(); ++it) ++n;
    return n;
  }

 private:
  std::filesystem::path path_;
};

inline byte_vector bytes_of(std::string_view text) {
  const byte_view v = as_byte_view(text);
  return {v.begin(), v.end()};
}

}  // namespace io_test
