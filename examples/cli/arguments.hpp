/// \file arguments.hpp  Adds the commands to the parser; the chosen one is stored in `run`.
#pragma once

#include "commands.hpp"

#include <CLI/CLI.hpp>

#include <functional>

namespace negood::cli {

using command = std::function<int()>;

void add_encode(CLI::App& app, command& run);
void add_fit(CLI::App& app, command& run);
void add_select(CLI::App& app, command& run);
void add_score(CLI::App& app, command& run);
void add_decide(CLI::App& app, command& run);
void add_calibrate(CLI::App& app, command& run);
void add_eval(CLI::App& app, command& run);
void add_inspect(CLI::App& app, command& run);
void add_demo(CLI::App& app, command& run);

void add_common(CLI::App& to, common_options& o);
void add_stream(CLI::App& to, stream_options& o);
void add_tuning(CLI::App& to, tuning_options& o);
void add_rows(CLI::App& to, row_options& o);

/// Options that live as long as the parser, which refers to them.
template <class Options>
std::shared_ptr<Options> on_parse(CLI::App& sub, command& run, int (*f)(const Options&)) {
  auto o = std::make_shared<Options>();
  sub.callback([&run, o, f] { run = [o, f] { return f(*o); }; });
  return o;
}

}  // namespace negood::cli
