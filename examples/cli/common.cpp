#include "common.hpp"

#include <negood/text/escape.hpp>

#include <csignal>
#include <cstdio>

#include <unistd.h>

namespace negood::cli {

namespace {
volatile std::sig_atomic_t stop_flag = 0;
extern "C" void on_stop_signal(int) { stop_flag = 1; }

void put(std::FILE* to, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fputc('\n', to);
}
}  // namespace

void say(const common_options& o, std::string_view line) {
  if (!o.json && !o.quiet) put(stdout, line);
}
void result(const common_options& o, const ordered_json& value) {
  if (o.json) put(stdout, dump_json(value));
}
void note(const common_options& o, std::string_view text) {
  if (o.quiet) return;
  const std::string line = "negood: note: " + escape(text) + "\n";  // one write: lines of two threads do not mix
  std::fwrite(line.data(), 1, line.size(), stderr);
}
std::string escape(std::string_view text) { return text::escape_terminal(text); }

void finish_output() {
  const bool failed = std::fflush(stdout) != 0 || std::ferror(stdout) != 0;
  if (failed) fail(error_category::io, "negood.cli.1", "stdout", "could not be written", "is the disk full?");
}

void catch_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}
bool stop_requested() noexcept { return stop_flag != 0; }
void throw_if_stopped(std::string_view where) {
  if (stop_requested())
    fail(error_category::interrupted, "negood.cli.9", where, "stopped by a signal; nothing was written",
         "run the command again");
}

std::filesystem::path data_folder() {
  namespace fs = std::filesystem;
  std::error_code problem;
  const fs::path program = fs::read_symlink("/proc/self/exe", problem);
  if (!problem) {
    const fs::path beside = program.parent_path() / NEGOOD_RELATIVE_DATADIR;
    if (fs::is_directory(beside / "models", problem)) return fs::weakly_canonical(beside, problem);
  }
  if (fs::is_directory(fs::path(NEGOOD_SOURCE_DIR) / "models", problem)) return NEGOOD_SOURCE_DIR;
  return NEGOOD_INSTALL_DATADIR;
}
std::filesystem::path model_folder(const std::string& argument) {
  std::error_code ignored;
  if (argument == "demo" && !std::filesystem::exists(argument, ignored)) return data_folder() / "models" / "demo-clip";
  return argument;
}

namespace {

/// What the commands offer on a backend; some could do more in a program of one's own.
enum class precisions { all, f32, f32_and_bf16 };
struct backend_choice {
  std::string_view name;
  bool built;
  precisions arithmetic;
};
constexpr backend_choice backends[] = {{"eigen", !NEGOOD_CLI_CUDA, precisions::all},
                                       {"reference", true, precisions::all},
                                       {"xtensor", NEGOOD_CLI_XTENSOR, precisions::f32},
                                       {"thrust-omp", NEGOOD_CLI_THRUST, precisions::f32_and_bf16},
                                       {"thrust-cuda", NEGOOD_CLI_CUDA, precisions::f32_and_bf16},
                                       {"torch", NEGOOD_CLI_TORCH, precisions::f32},
                                       {"torch-cuda", NEGOOD_CLI_TORCH, precisions::f32}};

}  // namespace

std::string built_in_backends() {
  std::string out;
  for (const auto& b : backends)
    if (b.built) out += (out.empty() ? "" : ", ") + std::string(b.name);
  return out;
}

void check_backend_options(const common_options& o) {
  const auto usage = [](std::string what, std::string_view hint) {
    fail(error_category::usage, "negood.cli.2", "backend", std::move(what), hint);
  };
  const auto found = std::ranges::find(backends, o.backend, &backend_choice::name);
  if (found == std::end(backends))
    usage("there is no backend '" + o.backend + "'", "choose from " + built_in_backends());
  if (!found->built) usage("'" + o.backend + "' is not built in", "this program has " + built_in_backends());
  if (!o.precision.empty()) parse_precision(o.precision);
  if (o.backend == "reference" && !o.precision.empty() && o.precision != "f64")
    usage("the reference backend computes in f64 only", "leave --precision out");
  const bool in_float = o.precision.empty() || o.precision == "f32";
  if ((!in_float && found->arithmetic == precisions::f32) ||
      (o.precision == "f64" && found->arithmetic == precisions::f32_and_bf16))
    usage("the backend " + o.backend + " does not compute in " + o.precision + " here", "leave --precision out");
  if (o.threads < 0 || o.threads > 4096)
    usage(std::to_string(o.threads) + " threads", "use 1 to 4096, or 0 for all this process may use");
}

}  // namespace negood::cli
