/// \file progress.hpp  How far long work is: a bar on a terminal, a line now and then elsewhere, JSON lines for
/// programs.
#pragma once

#include "common.hpp"

#include <chrono>
#include <mutex>

namespace negood::cli {

/// Counts steps of `total` and tells stderr. `tick` and `update` may be called from any thread.
class progress {
 public:
  progress(const common_options& o, std::string title, index_type total);
  ~progress();
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// One more step is done; `detail` stands at the end of the line ("loss 3.1").
  void tick(const std::string& detail = {}) { update(-1, detail); }
  /// `done` steps are done; -1: one more.
  void update(index_type done, const std::string& detail = {});

 private:
  enum class style { off, bar, plain, json };
  void show(bool last);

  style style_ = style::off;
  std::string title_, detail_;
  index_type total_ = 0, done_ = 0, first_ = -1;
  int width_ = 80;
  bool shown_ = false;
  std::chrono::steady_clock::time_point start_, last_;
  std::mutex mutex_;
};

}  // namespace negood::cli
