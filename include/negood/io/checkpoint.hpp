/// \file checkpoint.hpp  Checkpoints of a training run: the newest and the one before, each whole or not there.
#pragma once

#include <negood/io/detector.hpp>
#include <negood/prompt/fit_negprompt.hpp>

namespace negood {

/// The file a checkpoint moves to when the next one is written.
inline std::filesystem::path previous_checkpoint(const std::filesystem::path& path) {
  return std::filesystem::path(path.string() + ".previous");
}

namespace detail {

/// Moves the checkpoint at `path` to the name of the one before it, if there is one.
inline void keep_previous_checkpoint(const std::filesystem::path& path, file_system& calls) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored) &&
      calls.rename(path.c_str(), previous_checkpoint(path).c_str()) != 0)
    fail_errno("negood.io.6", path, "cannot keep the checkpoint before", errno);
}

/// What `read` makes of the newest file of a run that it does not refuse; errors of category usage are passed on.
template <class Read>
auto newest_valid_checkpoint(const std::filesystem::path& path, std::string* note, Read&& read)
    -> std::optional<decltype(read(path))> {
  std::string problems;
  for (const auto& candidate : {path, previous_checkpoint(path)}) {
    std::error_code ignored;
    if (!std::filesystem::exists(candidate, ignored)) continue;
    try {
      auto c = read(candidate);
      if (note != nullptr) *note = problems;
      return c;
    } catch (const error& e) {
      if (e.category() == error_category::usage) throw;
      problems += (problems.empty() ? "" : "; ") + std::string(e.what());
    }
  }
  if (problems.empty()) return std::nullopt;
  fail(error_category::artifact, "negood.checkpoint.3", path.string(), "no valid checkpoint: " + problems,
       "start again without --resume");
}

/// Refuses the checkpoint of another run.
inline void require_run(const safetensors_file& file, const std::filesystem::path& path, const std::string& run) {
  if (required_metadata(file, "run", "the name of a run") != run)
    fail(error_category::usage, "negood.checkpoint.1", path.string(), "belongs to a run with other data or options",
         "resume with the options of that run, or start without --resume");
}

/// A tensor of a checkpoint in the precision of the run.
template <class Real>
host_matrix<Real> checkpoint_tensor(const safetensors_file& file, const std::filesystem::path& path,
                                    std::string_view name) {
  if (file.info(name).dtype != scalar_type_of<Real>())
    fail(error_category::usage, "negood.checkpoint.1", path.string(), "was written in another precision",
         "resume with the precision of that run");
  return file.tensor<Real>(name);
}

}  // namespace detail

/// Writes a checkpoint and keeps the one before it under `previous_checkpoint(path)`.
///
/// `run` names what is trained (a hash of data and options): a run takes up only its own checkpoints. A crash at any
/// moment leaves a whole checkpoint under one of the two names. \throws error negood.io.6 where a system call fails
template <class Real>
void save_checkpoint(const training_checkpoint<Real>& c, const std::filesystem::path& path, const std::string& run = {},
                     file_system& calls = default_file_system()) {
  safetensors_writer out;
  sha256 content;
  const auto add = [&](const char* name, const host_matrix<Real>& m) {
    out.add(name, m);
    content.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(Real));
  };
  add("positive", c.positive);
  add("negative", c.negative);
  add("positive_first", c.positive_first);
  add("positive_second", c.positive_second);
  add("negative_first", c.negative_first);
  add("negative_second", c.negative_second);
  out.metadata("format", "negood.checkpoint/1");
  out.metadata("run", run);
  out.metadata("stage", std::to_string(c.stage));
  out.metadata("step", std::to_string(c.step));
  out.metadata("optimizer_steps", std::to_string(c.optimizer_steps));
  out.metadata("content_sha256", content.hex_digest());
  detail::keep_previous_checkpoint(path, calls);
  out.save(path, calls);
}

namespace detail {

template <class Real>
training_checkpoint<Real> read_checkpoint(const std::filesystem::path& path, const std::string& run) {
  const auto file = safetensors_file::read(path);
  check_format(file, "negood.checkpoint", 1);
  require_run(file, path, run);
  training_checkpoint<Real> c;
  sha256 content;
  const auto read = [&](const char* name, host_matrix<Real>& m) {
    m = checkpoint_tensor<Real>(file, path, name);
    content.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(Real));
  };
  read("positive", c.positive);
  read("negative", c.negative);
  read("positive_first", c.positive_first);
  read("positive_second", c.positive_second);
  read("negative_first", c.negative_first);
  read("negative_second", c.negative_second);
  const auto number = [&](const char* key) {
    const auto value = metadata_number<index_type>(file, key, "an integer");
    if (!value || *value < 0) fail_metadata(file, key, "an integer");
    return *value;
  };
  c.stage = static_cast<int>(number("stage"));
  c.step = number("step");
  c.optimizer_steps = number("optimizer_steps");
  if ((c.stage != 1 && c.stage != 2) || content.hex_digest() != required_metadata(file, "content_sha256", "a hash"))
    fail(error_category::artifact, "negood.checkpoint.2", path.string(), "is damaged: its content has another hash");
  return c;
}

}  // namespace detail

/// The newest valid checkpoint of a run: `path`, else the one before it; nothing where there is neither file.
///
/// `note` receives why the newest was passed over. \throws error negood.checkpoint.1 for another run's checkpoint,
/// negood.checkpoint.3 where there are files and none is valid
template <class Real>
std::optional<training_checkpoint<Real>> load_checkpoint(const std::filesystem::path& path, const std::string& run = {},
                                                         std::string* note = nullptr) {
  return detail::newest_valid_checkpoint(path, note, [&](const std::filesystem::path& candidate) {
    return detail::read_checkpoint<Real>(candidate, run);
  });
}

/// Removes both files of a finished run.
inline void remove_checkpoints(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  std::filesystem::remove(previous_checkpoint(path), ignored);
}

}  // namespace negood
