/// \file common.hpp  What every command shares: common options, messages, results, the backend, where models lie.
#pragma once

#include "program_backends.hpp"

#include <negood/io/json.hpp>

#include <filesystem>
#include <string>
#include <string_view>

namespace negood::cli {

struct common_options {
  std::string backend = NEGOOD_CLI_CUDA ? "thrust-cuda" : "eigen";
  std::string precision;  ///< empty: f32, or f64 on the reference backend
  index_type threads = 0;
  std::uint64_t seed = 1;
  std::string progress = "auto";
  bool json = false;
  bool quiet = false;
};

/// A line of human-readable result on stdout; nothing under --json or --quiet. Names from outside pass `escape`.
void say(const common_options& o, std::string_view line);
/// The machine-readable result, one line on stdout, under --json.
void result(const common_options& o, const ordered_json& value);
/// A remark on stderr, one line, escaped; nothing under --quiet.
void note(const common_options& o, std::string_view text);
/// Text as it may stand on a terminal.
std::string escape(std::string_view text);
/// Ends stdout. \throws error negood.cli.1 (category io) where it could not be written
void finish_output();

/// SIGINT and SIGTERM ask to stop; a second one ends the program at once.
void catch_stop_signals();
bool stop_requested() noexcept;
/// \throws error negood.cli.9 (category interrupted) where a signal asked to stop
void throw_if_stopped(std::string_view where);

/// The folder with `models/`: beside the installed program, else the source tree.
std::filesystem::path data_folder();
/// A model folder; `demo` is the embedded model unless a folder of that name exists.
std::filesystem::path model_folder(const std::string& argument);

/// "eigen, reference" and what else was built in.
std::string built_in_backends();
/// Refuses what the chosen backend cannot do. \throws error negood.cli.2 (category usage)
void check_backend_options(const common_options& o);

/// Calls `f(ctx)` with the backend the options ask for.
template <class F>
auto with_backend(const common_options& o, F&& f) {
  check_backend_options(o);
  if (o.backend == "reference") {
    reference::context<double> ctx;
    return f(ctx);
  }
  const precision p = o.precision.empty() ? precision::f32 : parse_precision(o.precision);
#if NEGOOD_CLI_XTENSOR
  if (o.backend == "xtensor") {
    xtensor::context<float> ctx({.threads = o.threads});
    return f(ctx);
  }
#endif
#if NEGOOD_CLI_THRUST
  if (o.backend == "thrust-omp") {
    thrust_omp::context<float> ctx({.threads = o.threads, .precision = p});
    return f(ctx);
  }
#endif
#if NEGOOD_CLI_TORCH
  if (o.backend == "torch" || o.backend == "torch-cuda") {
    libtorch::context<float> ctx(
        {.device = o.backend == "torch" ? "cpu" : "cuda", .threads = o.threads > 0 ? o.threads : available_threads()});
    return f(ctx);
  }
#endif
#if !NEGOOD_CLI_CUDA
  if (p == precision::f64) {
    eigen::context<double> ctx({.threads = o.threads, .precision = p});
    return f(ctx);
  }
  eigen::context<float> ctx({.threads = o.threads, .precision = p});
  if (ctx.precision() != p)
    note(o,
         "this processor has no " + o.precision + "; computing in " + std::string(format_precision(ctx.precision())));
  return f(ctx);
#else
  thrust_cuda::context<float> ctx({.precision = p});
  return f(ctx);
#endif
}

/// The value of `text` in a table of names. \throws error negood.cli.3 (category usage) naming the choices
template <class T>
T choose(std::string_view option, std::string_view text, std::initializer_list<std::pair<std::string_view, T>> table) {
  std::string choices;
  for (const auto& [name, value] : table) {
    if (name == text) return value;
    choices += (choices.empty() ? "" : ", ") + std::string(name);
  }
  fail(error_category::usage, "negood.cli.3", option, "'" + std::string(text) + "' is not a choice",
       "choose from " + choices);
}

}  // namespace negood::cli
