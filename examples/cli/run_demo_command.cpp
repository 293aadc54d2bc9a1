// negood demo: runs the demonstration and writes its files.
#include "commands.hpp"
#include "demo.hpp"

namespace negood::cli {

namespace {

template <Backend B>
void run_demo_on(B& ctx, const demo_command_options& o) {
  if constexpr (std::same_as<real_t<B>, float>) {
    std::error_code problem;
    std::filesystem::create_directories(o.out, problem);
    if (problem) fail(error_category::io, "negood.io.6", o.out, "cannot create the folder: " + problem.message());
    progress bar(o.common, "demo", 1000);
    demo::demo_options options;
    options.out = o.out;
    options.models = data_folder() / "models";
    options.fashion = o.fashion;
    options.seed = o.common.seed;
    options.seeds = o.seeds;
    options.progress = [&](const std::string& stage, double done) {
      throw_if_stopped("demo");
      bar.update(static_cast<index_type>(1000 * done), stage);
    };
    demo::write_demo(demo::run_demo(ctx, options), o.out);
  } else {
    fail(error_category::usage, "negood.cli.2", "backend", "the demonstration computes in float",
         "leave --backend and --precision out");
  }
}

}  // namespace

int run_demo_command(const demo_command_options& o) {
  namespace fs = std::filesystem;
  with_backend(o.common, [&](auto& ctx) { run_demo_on(ctx, o); });
  say(o.common, escape((fs::path(o.out) / "report.html").string()));
  result(o.common, {{"out", o.out},
                    {"report", (fs::path(o.out) / "report.html").string()},
                    {"results", (fs::path(o.out) / "results.json").string()},
                    {"detectors", (fs::path(o.out) / "detectors").string()}});
  return 0;
}

}  // namespace negood::cli
