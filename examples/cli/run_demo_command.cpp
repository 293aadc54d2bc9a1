// negood demo: runs the demonstration and writes its files.
#include "commands.hpp"
#include "demo.hpp"

namespace negood::cli {

int run_demo_command(const demo_command_options& o) {
  namespace fs = std::filesystem;
  check_backend_options(o.common);
  if (o.common.backend != "eigen")
    fail(error_category::usage, "negood.cli.2", "backend", "the demonstration runs on the eigen backend");
  std::error_code problem;
  fs::create_directories(o.out, problem);
  if (problem) fail(error_category::io, "negood.io.6", o.out, "cannot create the folder: " + problem.message());
  demo::demo_options options;
  options.out = o.out;
  options.models = data_folder() / "models";
  options.fashion = o.fashion;
  options.threads = o.common.threads;
  if (!o.common.precision.empty()) options.arithmetic = parse_precision(o.common.precision);
  options.seed = o.common.seed;
  options.seeds = o.seeds;
  {
    progress bar(o.common, "demo", 1000);
    options.progress = [&](const std::string& stage, double done) {
      throw_if_stopped("demo");
      bar.update(static_cast<index_type>(1000 * done), stage);
    };
    demo::write_demo(demo::run_demo(options), o.out);
  }
  say(o.common, escape((fs::path(o.out) / "report.html").string()));
  result(o.common, {{"out", o.out},
                    {"report", (fs::path(o.out) / "report.html").string()},
                    {"results", (fs::path(o.out) / "results.json").string()},
                    {"detectors", (fs::path(o.out) / "detectors").string()}});
  return 0;
}

}  // namespace negood::cli
