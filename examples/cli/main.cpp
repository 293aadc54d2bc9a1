// negood: the command line of the library. `negood help [COMMAND]` says what there is.
#include "arguments.hpp"

#include <negood/io/output_lock.hpp>

#include <cstdio>
#include <iostream>
#include <new>

namespace {

using namespace negood;

/// One line on stderr, whatever the message holds.
int complain(const std::string& message, error_category category) {
  const std::string line = "negood: error: " + cli::escape(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
  return static_cast<int>(category);
}

int usage_error(std::string message) {
  std::ranges::replace(message, '\n', ' ');
  return complain("[negood.cli.3] command line: " + message + "; negood help says what there is",
                  error_category::usage);
}

/// Locks of the files the chosen command writes: of two runs that would write the same one, the later ends (F-37).
void lock_outputs(const CLI::App& command, std::vector<output_lock>& locks) {
  for (const CLI::Option* const option : command.get_options()) {
    const auto name = option->get_single_name();
    const bool output = name.ends_with("out") || name == "predictions" || name == "trace" || name == "checkpoint";
    const auto value = option->count() > 0 ? option->results().front() : option->get_default_str();
    if (output && !value.empty()) locks.emplace_back(value);
  }
  for (const CLI::App* const group : command.get_subcommands([](const CLI::App*) { return true; }))
    if (group->get_name().empty()) lock_outputs(*group, locks);
}

int run(int argc, char** argv) {
  CLI::App app("negood: a CLIP model that says \"I do not know this\"", "negood");
  app.set_help_flag("-h,--help", "What there is");
  app.set_version_flag("--version", std::string("negood ") + NEGOOD_VERSION_STRING);
  app.require_subcommand(1);
  app.footer(
      "Scores: higher = more in-distribution. Files and formats: docs/files.md.\n"
      "Exit codes: 0 ok, 1 unknown image with --fail-on-ood, 2 usage, 3 bad data, 4 bad model or detector,\n"
      "5 disk, 6 numeric, 7 too large, 8 interrupted and resumable, 70 a bug.");
  cli::command chosen;
  cli::add_demo(app, chosen);
  cli::add_encode(app, chosen);
  cli::add_fit(app, chosen);
  cli::add_select(app, chosen);
  cli::add_score(app, chosen);
  cli::add_decide(app, chosen);
  cli::add_calibrate(app, chosen);
  cli::add_eval(app, chosen);
  cli::add_inspect(app, chosen);
  auto* const version = app.add_subcommand("version", "The version");
  auto* const help = app.add_subcommand("help", "Help on a command");
  std::string topic;
  help->add_option("command", topic, "Which command");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help and --version
    app.exit(e);
    cli::finish_output();
    return 0;
  } catch (const CLI::ParseError& e) {
    return usage_error(e.what());
  }
  if (*version) {
    std::cout << "negood " << NEGOOD_VERSION_STRING << "\n" << std::flush;
  } else if (*help) {
    const CLI::App* about = topic.empty() ? &app : nullptr;
    for (const CLI::App* const sub : app.get_subcommands({}))
      if (!topic.empty() && sub->check_name(topic)) about = sub;
    if (about == nullptr) return usage_error("there is no command '" + topic + "'");
    // App::help() would answer for the command that was parsed: for `help` itself.
    std::cout << about->get_formatter()->make_help(about, app.get_name(), CLI::AppFormatMode::Normal) << std::flush;
  } else {
    cli::catch_stop_signals();
    std::vector<output_lock> locks;
    for (const CLI::App* const command : app.get_subcommands()) lock_outputs(*command, locks);
    const int code = chosen();
    cli::finish_output();
    return code;
  }
  if (!std::cout) fail(error_category::io, "negood.cli.1", "stdout", "could not be written");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const error& e) {
    return complain(e.what(), e.category());
  } catch (const std::bad_alloc&) {
    return complain("[negood.cli.14] memory: there is not enough", error_category::resource);
  } catch (const std::filesystem::filesystem_error& e) {
    return complain(std::string("[negood.cli.15] files: ") + e.what(), error_category::io);
  } catch (const std::exception& e) {
    return complain(std::string("[negood.cli.16] internal: ") + e.what(), error_category::internal);
  }
}
