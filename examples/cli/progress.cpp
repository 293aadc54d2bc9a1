#include "progress.hpp"

#include <negood/text/number.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace negood::cli {

namespace {

bool is_terminal() {
  const char* const term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}
int terminal_width() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}
std::string duration(double seconds) {
  if (!(seconds >= 0) || seconds > 1e7) return "?";
  const auto s = static_cast<index_type>(seconds + 0.5);
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + std::to_string(s % 60) + " s";
  return std::to_string(s / 3600) + " h " + std::to_string(s / 60 % 60) + " min";
}

}  // namespace

progress::progress(const common_options& o, std::string title, index_type total)
    : title_(std::move(title)), total_(total), start_(std::chrono::steady_clock::now()), last_(start_) {
  style_ = choose<style>("--progress", o.progress,
                         {{"auto", is_terminal() ? style::bar : style::plain},
                          {"plain", style::plain},
                          {"json", style::json},
                          {"off", style::off}});
  if (o.quiet) style_ = style::off;
  width_ = std::clamp(terminal_width(), 10, 200);
}

progress::~progress() {
  if (style_ == style::off || (!shown_ && style_ == style::plain)) return;  // short work passes in silence
  show(true);
}

void progress::update(index_type done, const std::string& detail) {
  if (style_ == style::off) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  done_ = done < 0 ? done_ + 1 : done;
  if (first_ < 0) first_ = done_ - 1;
  detail_ = detail;
  const auto now = std::chrono::steady_clock::now();
  const auto pause = style_ == style::plain ? std::chrono::milliseconds(5000) : std::chrono::milliseconds(200);
  if (now - last_ < pause) return;
  last_ = now;
  show(false);
}

void progress::show(bool last) {
  shown_ = true;
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const auto worked = static_cast<double>(done_ - std::max<index_type>(first_, 0));
  const double rate = elapsed > 0 ? worked / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : -1;
  std::string line;
  if (style_ == style::json) {
    ordered_json j{{"task", title_}, {"done", done_}, {"total", total_}, {"rate", rate}};
    j["seconds_left"] = left >= 0 ? ordered_json(left) : ordered_json(nullptr);
    if (!detail_.empty()) j["detail"] = detail_;
    line = dump_json(j) + "\n";
  } else {
    const std::string counts = std::to_string(done_) + "/" + std::to_string(total_);
    const std::string speed = text::fixed(rate, rate < 10 ? 2 : 0) + "/s";
    const std::string rest = last ? duration(elapsed) : duration(left) + " left";
    const std::string tail = counts + "  " + speed + "  " + rest + (detail_.empty() ? "" : "  " + detail_);
    if (style_ == style::plain) {
      line = title_ + ": " + tail + "\n";
    } else {
      const int room = std::min(width_ - 5 - static_cast<int>(title_.size() + tail.size()), 40);
      line = title_ + " ";
      if (room >= 8) {
        const auto full =
            total_ > 0 ? static_cast<int>(static_cast<double>(room) *
                                          std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)))
                       : 0;
        line += "[" + std::string(static_cast<std::size_t>(full), '#') +
                std::string(static_cast<std::size_t>(room - full), '.') + "] ";
      }
      line += tail;
      line = "\r" + line.substr(0, static_cast<std::size_t>(width_ - 1)) + "\033[K" + (last ? "\n" : "");
    }
  }
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace negood::cli
